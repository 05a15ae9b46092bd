"""Brings a donor's voxels onto the host's grid at the planned size, exactly in volume.

Knows arrays and spacings only.
"""

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.geometry import bounding_box


def signed_distance(mask: npt.NDArray[np.bool_], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
    """Distance (mm) to the mask's surface, positive inside; zero lies half a voxel outside the edge voxels."""
    anisotropy = tuple(float(s) for s in spacing)
    inside = edt.edt(mask, anisotropy=anisotropy, black_border=False)
    outside = edt.edt(~mask, anisotropy=anisotropy, black_border=False)
    return np.asarray(inside - outside, dtype=np.float32)


def resample_lesion(
    mask: npt.NDArray[np.bool_],
    spacing: npt.NDArray[np.float64],
    host_spacing: npt.NDArray[np.float64],
    scale: float = 1.0,
) -> npt.NDArray[np.bool_]:
    """The lesion on the host's grid, cropped, its centroid near a voxel centre.

    The signed distance field is interpolated about the centroid and cut at the level that gives
    ``scale``³ times the donor's volume to within one host voxel; the result is one 26-connected
    piece. Equal grids at scale 1 return the donor's own voxels.

    Args:
        mask: donor voxels (X, Y, Z), cropped.
        spacing: donor voxel size, mm.
        host_spacing: host voxel size, mm.
        scale: isotropic factor on lengths.

    Raises:
        CaseRejected: the donor is empty, or the scale is not a positive number.
    """
    if not mask.any():
        raise CaseRejected(Reason.EMPTY_LESION, "expected at least one donor voxel, got none")
    if not (np.isfinite(scale) and scale > 0):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a scale > 0, got {scale}")
    if scale == 1.0 and np.allclose(spacing, host_spacing, rtol=1e-4):
        return mask
    voxels = max(1, round(float(mask.sum() * np.prod(spacing) * scale**3 / np.prod(host_spacing))))
    pad = 3
    field = signed_distance(np.pad(mask, pad), spacing)
    centroid = np.argwhere(mask).mean(axis=0) + pad
    reach = (np.asarray(mask.shape) * spacing * scale / host_spacing / 2 + 3).astype(int) + 1
    axes = [
        np.arange(-r, r + 1) * h / (scale * s) + c
        for r, h, s, c in zip(reach, host_spacing, spacing, centroid, strict=True)
    ]
    grid = np.meshgrid(*axes, indexing="ij")
    values = ndimage.map_coordinates(field, grid, order=1, mode="nearest")
    # beyond the donor's crop the field keeps falling, so that the cut never runs along the crop's edge
    outside = [
        np.maximum(np.maximum(-a, a - (n - 1)), 0) * s for a, n, s in zip(grid, field.shape, spacing, strict=True)
    ]
    values = values - np.sqrt(sum(o**2 for o in outside))
    level = np.partition(values.ravel(), -voxels)[-voxels]
    out = values >= level
    if int(out.sum()) > voxels:  # ties at the level: keep the first in C order, so that bytes repeat
        tied = np.flatnonzero((values == level).ravel())
        out.ravel()[tied[voxels - int((values > level).sum()) :]] = False
    piece = cc3d.largest_k(out, k=1, connectivity=26)
    return np.asarray(piece[bounding_box(piece)], dtype=bool)
