"""Brings a label map to a grid that the network takes, and its CT back to the host's grid. Imports no torch.

A map is padded to the next legal size, never stretched, so that its voxels and its affine do not change; only a map
that no legal size holds, or whose voxel size the network does not take, is resampled.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Box, Volume

#: Bounds of the network's input (docs/facts/synthesis.md#grid): voxel size in plane and along z (mm), least field of
#: view (mm).
PIXEL_MM, SLICE_MM, LEAST_FIELD_MM = (0.5, 3.0), (0.5, 5.0), 256.0
#: A case is rejected if resampling changes its lesions' volume by more (docs/facts/synthesis.md#volume-change).
MOST_VOLUME_CHANGE = 0.05
#: Bits of a label: planes of the ControlNet's condition (docs/facts/synthesis.md#conditioning).
BITS = 8


@dataclass(frozen=True)
class Legal:
    """Grids that a network takes (docs/facts/synthesis.md#grid).

    Attributes:
        xy: sizes along x, and the same along y, voxels.
        z: sizes along z, voxels.
        field_mm: least field of view in plane.
    """

    xy: tuple[int, ...] = (256, 384, 512)
    z: tuple[int, ...] = (128, 256, 384, 512, 640, 768)
    field_mm: float = LEAST_FIELD_MM


@dataclass(frozen=True)
class Prepared:
    """A label map that a network takes.

    Attributes:
        labels: the map (X, Y, Z), canonical RAS+.
        spacing: its voxel size (x, y, z), mm.
        inside: where the host's own voxels lie in it.
        resampled: voxels of ``labels`` per voxel of the host along each axis, before padding; None where they are the
            same.
    """

    labels: npt.NDArray[np.uint8]
    spacing: npt.NDArray[np.float64]
    inside: Box
    resampled: npt.NDArray[np.float64] | None


def prepare(host: Volume, legal: Legal) -> Prepared:
    """Bring a label map to a legal grid: the first and last slice are repeated, air is put around the body in plane.

    Args:
        host: label map (X, Y, Z), canonical RAS+, with its lesions stamped in.
        legal: what the network takes.

    Raises:
        CaseRejected: a grid that cannot be made legal, or a lesion whose volume changes by resampling.
    """
    spacing, size, (side, _, height) = legal_grid(host.array.shape, host.spacing, legal)
    labels, ratio = host.array, None
    if not np.allclose(spacing, host.spacing, rtol=1e-3):
        ratio = host.spacing / spacing
        labels = _to_grid(host.array, ratio, size, 0)
        before, after = ((a == NODULE).sum() * np.prod(s) for a, s in ((host.array, host.spacing), (labels, spacing)))
        if before and abs(after - before) > MOST_VOLUME_CHANGE * before:
            raise CaseRejected(
                Reason.GRID_MISMATCH,
                f"label map: voxels of {_mm(host.spacing)} mm are not legal, and on a legal grid of "
                f"{_mm(spacing)} mm its lesions have {after:.0f} instead of {before:.0f} mm3",
            )
    nx, ny, nz = labels.shape
    low = (side - nx) // 2, (side - ny) // 2, (height - nz) // 2
    flat = np.pad(labels, ((low[0], side - nx - low[0]), (low[1], side - ny - low[1]), (0, 0)))
    padded = np.pad(flat, ((0, 0), (0, 0), (low[2], height - nz - low[2])), mode="edge")
    x, y, z = (slice(a, a + n) for a, n in zip(low, labels.shape, strict=True))
    return Prepared(padded, host.spacing if ratio is None else spacing, (x, y, z), ratio)


def legal_grid(
    shape: tuple[int, ...], spacing: npt.NDArray[np.float64], legal: Legal
) -> tuple[npt.NDArray[np.float64], tuple[int, int, int], tuple[int, int, int]]:
    """The legal grid that holds a grid.

    Args:
        shape: voxels (X, Y, Z).
        spacing: voxel size (x, y, z), mm.
        legal: what the network takes.

    Returns:
        The nearest voxel size (mm) that the network takes, voxels of the grid at that size, and the legal size around.

    Raises:
        CaseRejected: no legal size holds its field of view.
    """
    x, y, z = (float(s) for s in spacing)
    field = np.array(shape) * spacing
    pixel = x if abs(x - y) <= 1e-3 * x else (x + y) / 2
    pixel = float(np.clip(max(pixel, field[:2].max() / legal.xy[-1]), *PIXEL_MM))
    wanted = np.array([pixel, pixel, np.clip(max(z, field[2] / legal.z[-1]), *SLICE_MM)])
    nx, ny, nz = (max(1, round(n * a / b)) for n, a, b in zip(shape, spacing, wanted, strict=True))
    least = int(np.ceil(legal.field_mm / pixel - 1e-6))
    side = next((n for n in legal.xy if n >= max(nx, ny, least)), None)
    height = next((n for n in legal.z if n >= nz), None)
    if side is None or height is None:
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"label map: expected at most {legal.xy[-1]} x {legal.xy[-1]} x {legal.z[-1]} voxels over at least "
            f"{legal.field_mm:g} mm, got {(nx, ny, nz)} of {_mm(wanted)} mm",
        )
    return wanted, (nx, ny, nz), (side, side, height)


def restore(ct: npt.NDArray[np.float32], prepared: Prepared, host: Volume) -> npt.NDArray[np.float32]:
    """A CT on the host's own grid: padding is cut off; the CT of a resampled map is interpolated.

    Args:
        ct: HU (X, Y, Z) over the prepared map.
        prepared: that map.
        host: the host's label map.
    """
    inside = ct[prepared.inside]
    if prepared.resampled is None:
        return np.asarray(inside, dtype=np.float32)
    return np.asarray(_to_grid(inside, 1 / prepared.resampled, host.array.shape, 1), dtype=np.float32)


def bit_planes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The ControlNet's condition (8, X, Y, Z): plane b is bit b of the label, the lowest bit first."""
    return np.stack([(labels >> bit) & 1 for bit in range(BITS)])


def _to_grid(
    array: npt.NDArray[Any], ratio: npt.NDArray[np.float64], shape: tuple[int, ...], order: int
) -> npt.NDArray[Any]:
    """An array on another grid about the same middle.

    Args:
        array: (X, Y, Z).
        ratio: voxels (3,) of the other grid for each of its own.
        shape: voxels of the other grid.
        order: 0 takes the nearest voxel, 1 interpolates.
    """
    step = 1 / ratio
    offset = (np.array(array.shape) - 1) / 2 - step * (np.array(shape) - 1) / 2
    return np.asarray(ndimage.affine_transform(array, step, offset, shape, order=order, mode="nearest"))


def _mm(spacing: npt.NDArray[np.float64]) -> str:
    return " x ".join(f"{s:g}" for s in spacing)
