"""Lesions as bits over a host map: the record from which every inserted mask can be made again.

Bits are written as text, so that they fit into journals and tables. Nothing here decides where a lesion goes.
"""

import base64
import json
import zlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Box, Volume, bounding_box
from itrialspace_assets.imaging.packing import Packed, repack


@dataclass(frozen=True)
class Lesion:
    """A boolean block (X, Y, Z) and the index of its first voxel in the host grid (RAS+)."""

    offset: tuple[int, int, int]
    mask: npt.NDArray[np.bool_]

    @property
    def box(self) -> Box:
        """Where the block lies in the host grid."""
        lo, size = self.offset, self.mask.shape
        return slice(lo[0], lo[0] + size[0]), slice(lo[1], lo[1] + size[1]), slice(lo[2], lo[2] + size[2])

    @property
    def indices(self) -> npt.NDArray[np.int64]:
        """Host indices of the lesion's voxels, shape (n, 3)."""
        return np.asarray(np.argwhere(self.mask) + np.asarray(self.offset), dtype=np.int64)

    @property
    def centroid(self) -> npt.NDArray[np.float64]:
        """Mean voxel index, shape (3,)."""
        return np.asarray(self.indices.mean(axis=0), dtype=np.float64)


def cut_lesion(mask: npt.NDArray[np.bool_]) -> Lesion:
    """The smallest block that holds all true voxels of a whole-volume mask (X, Y, Z).

    Raises:
        ValueError: the mask is empty.
    """
    box = bounding_box(mask)
    return Lesion((box[0].start, box[1].start, box[2].start), np.ascontiguousarray(mask[box]))


def pack_bits(lesion: Lesion) -> str:
    """Text of a lesion: JSON of offset, shape and base64 of the deflated bits (C order)."""
    bits = zlib.compress(np.packbits(lesion.mask.ravel()).tobytes(), 9)
    content = [list(map(int, lesion.offset)), list(lesion.mask.shape), base64.b64encode(bits).decode()]
    return json.dumps(content, separators=(",", ":"))


def unpack_bits(text: str) -> Lesion:
    """Inverse of ``pack_bits``.

    Raises:
        ValueError: the text is no lesion.
    """
    try:
        offset, shape, bits = json.loads(text)
        raw = np.frombuffer(zlib.decompress(base64.b64decode(bits)), dtype=np.uint8)
        mask = np.unpackbits(raw, count=int(np.prod(shape))).astype(bool).reshape(shape)
        return Lesion((int(offset[0]), int(offset[1]), int(offset[2])), mask)
    except (ValueError, zlib.error, TypeError, IndexError) as error:
        raise ValueError(f"expected a packed lesion, got {text[:40]!r}: {error}") from None


def lesion_box(lesions: Sequence[Lesion], shape: tuple[int, ...], pad: tuple[int, int, int]) -> Box:
    """Smallest box (voxel indices) around some lesions, cut at the volume's edge.

    Args:
        lesions: at least one, all on one grid.
        shape: shape of the grid (X, Y, Z).
        pad: voxels that are added on each side along x, y and z.
    """
    low = np.min([lesion.offset for lesion in lesions], axis=0) - pad
    high = np.max([np.add(lesion.offset, lesion.mask.shape) for lesion in lesions], axis=0) + pad
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2]))


def shared_voxels(a: Lesion, b: Lesion) -> int:
    """Number of voxels that two lesions on one grid share."""
    low = np.maximum(a.offset, b.offset)
    high = np.minimum(np.add(a.offset, a.mask.shape), np.add(b.offset, b.mask.shape))
    if np.any(high <= low):
        return 0
    first, second = (
        x.mask[tuple(slice(lo - o, hi - o) for lo, hi, o in zip(low, high, x.offset, strict=True))] for x in (a, b)
    )
    return int((first & second).sum())


def stamp(host: Volume, lesions: list[Lesion]) -> Volume:
    """A copy of the host map (X, Y, Z; RAS+) with label 23 in every voxel of ``lesions``."""
    labels = host.array.copy(order="K")
    for lesion in lesions:
        labels[lesion.box][lesion.mask] = NODULE
    return Volume(labels, host.affine)


def stamp_packed(packed: Packed, host: Volume, lesions: list[Lesion], note: str) -> Packed:
    """The file of ``stamp(host, lesions)``: only the slabs that a lesion touches are packed again.

    Args:
        packed: the host's own file, ``pack_volume(host)``.
        host: the host map.
        lesions: voxels that become label 23, on the host's grid.
        note: description of the new file.
    """
    depth = packed.depth
    slabs: dict[int, npt.NDArray[np.uint8]] = {}
    for lesion in lesions:
        x, y, z = lesion.box
        for number in range(z.start // depth, (z.stop - 1) // depth + 1):
            first = number * depth
            slab = slabs.setdefault(number, host.array[..., first : first + depth].copy(order="F"))
            low, high = max(z.start, first), min(z.stop, first + slab.shape[2])
            part = slab[x, y, low - first : high - first]
            part[lesion.mask[..., low - z.start : high - z.start]] = NODULE
    return repack(packed, host, note, dict(slabs))
