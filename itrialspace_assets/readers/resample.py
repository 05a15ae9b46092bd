"""Brings a scan onto a coarse grid: block means where it is much finer, then linear between blocks.

A part of the coarse grid can be made alone, with the very bits that making all of it would give.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.readers.filters import Box, Image, whole

#: Voxel size (mm) that is aimed at (ours).
GRID_MM = 2.5


@dataclass(frozen=True)
class CoarseGrid:
    """Where the coarse voxels of a part of a scan lie."""

    step: npt.NDArray[np.int64]  # voxels of the scan that make a block, along each axis
    blocks: tuple[int, ...]
    shape: tuple[int, ...]
    spacing: npt.NDArray[np.float64]  # mm

    def neighbours(self, axis: int) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.float64]]:
        """The lower block beside each coarse voxel along an axis, and the share that the upper one has in its value."""
        n, blocks = self.shape[axis], self.blocks[axis]
        at = np.clip((np.arange(n) + 0.5) * (blocks / n) - 0.5, 0, blocks - 1)
        return np.floor(at).astype(np.int64), at - np.floor(at)

    def touched(self, box: Box) -> Box | None:
        """The coarse voxels whose value the voxels in ``box`` (of the part of the scan) have a share in."""
        found = []
        for axis, bound in enumerate(box):
            low, _ = self.neighbours(axis)
            first, last = bound.start // self.step[axis], (bound.stop - 1) // self.step[axis]
            hit = np.flatnonzero((low + 1 >= first) & (low <= last))
            if not len(hit):
                return None  # behind the last whole block
            found.append(slice(int(hit[0]), int(hit[-1]) + 1))
        return tuple(found)


def coarse_grid(shape: tuple[int, ...], spacing: npt.NDArray[np.float64]) -> CoarseGrid:
    """Grid of about 2.5 mm over an image with a voxel size in mm; never finer than the image."""
    step = np.maximum(1, np.floor(GRID_MM / spacing)).astype(np.int64)
    blocks = tuple(int(n) for n in np.asarray(shape) // step)
    zoom = np.minimum(1.0, spacing * step / GRID_MM)
    coarse = tuple(round(float(n * z)) for n, z in zip(blocks, zoom, strict=True))
    return CoarseGrid(step, blocks, coarse, spacing * step * np.asarray(blocks) / np.asarray(coarse))


def coarsen(image: npt.NDArray[np.generic], grid: CoarseGrid, box: Box | None = None) -> Image:
    """HU on the coarse grid, or on a box of it, as ``ndimage.zoom(..., order=1, grid_mode=True)`` computes it.

    Of an image of whole numbers a part equals the whole bit for bit: block sums of them are exact in any order.

    Args:
        image: HU (X, Y, Z).
        grid: ``coarse_grid`` of the image.
        box: coarse voxels that are wanted; all without one.
    """
    box = box or whole(grid.shape)
    lower, upper, shares, blocks = [], [], [], []
    for axis, bound in enumerate(box):
        index, share = grid.neighbours(axis)
        index, share = index[bound], share[bound]
        first, last = int(index[0]), min(grid.blocks[axis], int(index[-1]) + 2)
        blocks.append(slice(first, last))
        lower.append(index - first)
        upper.append(np.minimum(index + 1, last - 1) - first)
        shares.append(share.reshape([-1 if a == axis else 1 for a in range(3)]))
    means = _block_means(image, grid, tuple(blocks)).astype(np.float64)

    def sides(values: npt.NDArray[np.float64], axis: int) -> Iterator[npt.NDArray[np.float64]]:
        """The weighted values of the lower and of the upper neighbour along an axis."""
        yield values.take(lower[axis], axis) * (1.0 - shares[axis])
        yield values.take(upper[axis], axis) * (1.0 - (1.0 - shares[axis]))

    value = np.zeros([s.stop - s.start for s in box])
    for along_x in sides(means, 0):  # in the order in which scipy weights and adds the eight corners
        for along_y in sides(along_x, 1):
            for along_z in sides(along_y, 2):
                value += along_z
    return value.astype(np.float32)


def _block_means(image: npt.NDArray[np.generic], grid: CoarseGrid, blocks: Box) -> Image:
    x, y, z = (int(s) for s in grid.step)
    cut = image[tuple(slice(b.start * s, b.stop * s) for b, s in zip(blocks, (x, y, z), strict=True))]
    cut = cut.astype(np.float32)
    nx, ny, nz = (b.stop - b.start for b in blocks)
    return np.asarray(cut.reshape(nx, x, ny, y, nz, z).mean(axis=(1, 3, 5)))
