"""Parts of a volume that travel quickly: a box of it, or every n-th voxel, as the bytes of a NIfTI file.

The file is the volume's in RAS+, whatever file or patch it was read from.
"""

from isal import igzip

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.imaging.packing import plain_bytes

#: Every n-th voxel: at most this many are left out; ours.
MAX_STEP = 16


def box_of(text: str, volume: Volume) -> Box:
    """The box that six numbers name: first and last voxel (not included) along x, y, z; cut at the volume's edge.

    Raises:
        ConfigError: not six whole numbers, or a box without a voxel.
    """
    try:
        x0, x1, y0, y1, z0, z1 = (int(part) for part in text.split(","))
    except ValueError:
        raise ConfigError(f"box {text[:60]!r}: expected six whole numbers x0,x1,y0,y1,z0,z1") from None
    pairs = zip((x0, y0, z0), (x1, y1, z1), volume.array.shape, strict=True)
    x, y, z = (slice(max(0, a), min(n, b)) for a, b, n in pairs)
    if any(s.start >= s.stop for s in (x, y, z)):
        raise ConfigError(f"box {text!r}: expected voxels of a volume of {volume.array.shape}, got none")
    return x, y, z


def every(volume: Volume, step: int) -> Volume:
    """Every ``step``-th voxel along each axis, from voxel 0 on."""
    if step == 1:
        return volume
    affine = volume.affine.copy()
    affine[:3, :3] *= step
    return Volume(volume.array[::step, ::step, ::step].copy(order="F"), affine)


def nifti(volume: Volume, note: str, is_packed: bool = True) -> bytes:
    """Bytes of a NIfTI file; packed, one gzip member: browsers unpack no more than one.

    Args:
        volume: voxels (X, Y, Z), RAS+.
        note: text of the description field, at most 79 characters.
        is_packed: gzip; else as it is, which is quicker where the network is.
    """
    data = plain_bytes(volume, note)
    return bytes(igzip.compress(data, compresslevel=1, mtime=0)) if is_packed else data
