"""Volumes as NIfTI files of several gzip members, a few slices each: a changed lesion costs the members that hold it.

The other members are copied. Equal volumes give equal bytes, however they were packed. Files are read in ``geometry``.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from isal import igzip

from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.imaging.geometry import Array, Box, Volume, slab_depth


@dataclass(frozen=True)
class Packed:
    """A volume's NIfTI file in parts: the header's member, then one for every ``depth`` slices along z."""

    header: bytes
    slabs: tuple[bytes, ...]
    depth: int

    @property
    def data(self) -> bytes:
        """The file. Equal volumes give equal bytes, however they were packed."""
        return b"".join((self.header, *self.slabs))


def pack_volume(volume: Volume, note: str = "") -> Packed:
    """A volume as the parts of its file; ``note`` (at most 79 characters) goes into the description field."""
    depth = slab_depth(volume.array)
    starts = range(0, volume.array.shape[2], depth)
    return Packed(_header(volume, note), tuple(_member(volume.array[..., k : k + depth]) for k in starts), depth)


def repack(packed: Packed, volume: Volume, note: str, slabs: dict[int, Array]) -> Packed:
    """The file of ``volume`` with some slabs' voxels replaced; nothing else is compressed again.

    Args:
        packed: ``pack_volume(volume)``.
        volume: gives grid and type.
        note: description of the new file.
        slabs: voxels (X, Y, depth) by number of the slab.
    """
    parts = list(packed.slabs)
    for number, voxels in slabs.items():
        parts[number] = _member(voxels)
    return Packed(_header(volume, note), tuple(parts), packed.depth)


def paste(packed: Packed, volume: Volume, part: Array, box: Box) -> dict[int, Array]:
    """The slabs of a volume that a changed part touches, as ``repack`` takes them.

    Args:
        packed: ``pack_volume(volume)``; gives the slabs' depth.
        volume: voxels (X, Y, Z), RAS+.
        part: voxels that replace those of ``box``, of its shape.
        box: voxel indices with explicit bounds.

    Returns:
        Voxels (X, Y, depth) by number of the slab.
    """
    x, y, z = box
    slabs: dict[int, Array] = {}
    for number in range(z.start // packed.depth, (z.stop - 1) // packed.depth + 1):
        first = number * packed.depth
        slab = volume.array[..., first : first + packed.depth].copy(order="F")
        low, high = max(z.start, first), min(z.stop, first + slab.shape[2])
        slab[x, y, low - first : high - first] = part[..., low - z.start : high - z.start]
        slabs[number] = slab
    return slabs


def _member(voxels: Array) -> bytes:
    return bytes(igzip.compress(voxels.tobytes(order="F"), compresslevel=1, mtime=0))


def _header(volume: Volume, note: str) -> bytes:
    return bytes(igzip.compress(_head(volume, note), compresslevel=1, mtime=0))


def plain_bytes(volume: Volume, note: str = "") -> bytes:
    """A volume's NIfTI file without compression; ``note`` (at most 79 characters) goes into the description field."""
    return _head(volume, note) + volume.array.tobytes(order="F")


def _head(volume: Volume, note: str) -> bytes:
    header = _grid_header(volume.array.shape, volume.array.dtype, volume.affine.astype(np.float64).tobytes()).copy()
    header["descrip"] = note.encode()[:79]
    return bytes(header.binaryblock) + bytes(4)


@lru_cache(maxsize=16)
def _grid_header(shape: tuple[int, ...], dtype: np.dtype[Any], affine: bytes) -> Any:
    """The header of a file without its note; kept, since nibabel needs milliseconds for it and masks share a grid.

    Args:
        shape: voxels along each axis.
        dtype: of a voxel.
        affine: the bytes of the affine, float64 in C order.
    """
    matrix = np.frombuffer(affine).reshape(4, 4)
    image: Any = nib.Nifti1Image(np.broadcast_to(np.zeros((), dtype), shape), matrix)
    image.header.set_xyzt_units("mm")
    image.set_sform(matrix, code=1)
    image.set_qform(matrix, code=1)
    header = image.header
    header["vox_offset"], header["scl_slope"], header["scl_inter"] = 352, 1, 0
    return header


def write_packed(path: Path, packed: Packed) -> str:
    """Write a packed file by rename; the SHA-256 of its bytes."""
    data = packed.data
    replace_file(path, data)
    return sha256_bytes(data)


def write_volume(path: Path, volume: Volume, note: str = "", orientation: str = "RAS") -> str:
    """Write a NIfTI file (gzip level 1, no time stamp) by rename. Equal inputs give equal bytes.

    Args:
        path: file to write.
        volume: voxels (X, Y, Z) in RAS+ with their affine (mm).
        note: text of the description field, at most 79 characters.
        orientation: axes on disk, for example ``LAS``.

    Returns:
        SHA-256 of the file's bytes.
    """
    if orientation != "RAS":
        image = nib.Nifti1Image(volume.array, volume.affine)
        wanted = nib.orientations.axcodes2ornt(tuple(orientation))
        image = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(volume.affine), wanted))
        volume = Volume(np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64))
    return write_packed(path, pack_volume(volume, note))
