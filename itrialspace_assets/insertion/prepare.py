"""Brings a donor's voxels onto the host's grid at the planned size and pose, exactly in volume.

Knows arrays (X, Y, Z) and voxel sizes (mm) only.
"""

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial.transform import Rotation

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import bounding_box

#: More than any lobe could hold: a ball of 87 mm at 0.7 mm. Ours.
MOST_VOXELS = 1_000_000

Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]


def pose_matrix(rotation_deg: tuple[float, float, float] = (0.0, 0.0, 0.0), mirrored: bool = False) -> Floats:
    """The matrix (3, 3) of a pose in mm, RAS+: mirrored left to right, then turned about the fixed axes x, y, z.

    Args:
        rotation_deg: turns about x, y and z.
        mirrored: whether it is mirrored.
    """
    turn = Rotation.from_euler("xyz", rotation_deg, degrees=True).as_matrix()
    return np.asarray(turn @ np.diag([-1.0 if mirrored else 1.0, 1.0, 1.0]), dtype=np.float64)


def signed_distance(mask: Bools, spacing: Floats) -> npt.NDArray[np.float32]:
    """Distance (mm) of each voxel to a mask's surface, positive inside; same shape as the mask (X, Y, Z).

    Zero lies half a voxel outside the edge voxels.
    """
    anisotropy = tuple(float(s) for s in spacing)
    inside = edt.edt(mask, anisotropy=anisotropy, black_border=False)
    outside = edt.edt(~mask, anisotropy=anisotropy, black_border=False)
    return np.asarray(inside - outside, dtype=np.float32)


def resample_lesion(
    mask: Bools, spacing: Floats, host_spacing: Floats, scale: float = 1.0, pose: Floats | None = None
) -> Bools:
    """The lesion on the host's grid, cropped, its centroid near a voxel centre.

    The signed distance field is interpolated about the centroid and cut at the level that gives ``scale``³ times the
    donor's volume to within one host voxel; the result is one 26-connected piece. Of a donor in several pieces the
    largest gives the shape, and all of them the volume. Where grids are equal, the scale is 1 and nothing is turned,
    the voxels of a donor of one piece are returned unchanged (mirrored if asked).

    Args:
        mask: donor voxels (X, Y, Z), cropped.
        spacing: donor voxel size, mm.
        host_spacing: host voxel size, mm.
        scale: isotropic factor on lengths.
        pose: rotation or reflection in mm, see ``pose_matrix``; none if not given.

    Raises:
        CaseRejected: the donor is empty, the scale is not a positive number, or the lesion larger than any lobe.
    """
    if not mask.any():
        raise CaseRejected(Reason.EMPTY_LESION, "expected at least one donor voxel, got none")
    if not (np.isfinite(scale) and scale > 0):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a scale > 0, got {scale}")
    turn = np.eye(3) if pose is None else np.asarray(pose, dtype=np.float64)
    whole = _one_piece(mask)
    same = scale == 1.0 and np.allclose(spacing, host_spacing, rtol=1e-4) and whole.sum() == mask.sum()
    if same and np.allclose(np.abs(turn), np.eye(3)):
        flips = tuple(slice(None, None, -1 if turn[a, a] < 0 else 1) for a in range(3))
        return np.ascontiguousarray(whole[flips])
    voxels = max(1, round(float(mask.sum() * np.prod(spacing) * scale**3 / np.prod(host_spacing))))
    if voxels > MOST_VOXELS:
        raise CaseRejected(
            Reason.DOES_NOT_FIT, f"expected at most {MOST_VOXELS} voxels, got {voxels} at a scale of {scale:g}"
        )
    values = _sample(whole, spacing, host_spacing, scale, turn)
    piece = _piece_of(values, voxels)
    return np.ascontiguousarray(piece[bounding_box(piece)])


def _one_piece(mask: Bools) -> Bools:
    piece = np.asarray(cc3d.largest_k(mask, k=1, connectivity=26), dtype=bool)
    return piece[bounding_box(piece)]


def _sample(mask: Bools, spacing: Floats, host_spacing: Floats, scale: float, turn: Floats) -> npt.NDArray[np.float64]:
    """The donor's distance field (mm of the donor) at the voxel centres of a host grid about its centroid."""
    pad = 3
    field = signed_distance(np.pad(mask, pad), spacing)
    points = np.argwhere(mask)
    centroid = points.mean(axis=0)
    reach_mm = float(np.linalg.norm((points - centroid) * spacing, axis=1).max() + np.max(spacing)) * scale
    if np.allclose(np.abs(turn), np.eye(3)):  # along the axes: a tight box instead of a ball's
        reach_mm = (np.abs(points - centroid).max(axis=0) + 1) * spacing * scale
    reach = np.ceil(reach_mm / host_spacing).astype(int) + 2
    axes = [np.arange(-r, r + 1) * h for r, h in zip(reach, host_spacing, strict=True)]
    grid = np.meshgrid(*axes, indexing="ij")
    back = turn.T / scale  # host mm -> donor mm
    at = [sum(back[i, j] * grid[j] for j in range(3) if back[i, j]) / spacing[i] + centroid[i] + pad for i in range(3)]
    values = ndimage.map_coordinates(field, at, order=1, mode="nearest")
    # beyond the donor's crop the field keeps falling, so that the cut never runs along the crop's edge
    outside = [np.maximum(np.maximum(-a, a - (n - 1)), 0) * s for a, n, s in zip(at, field.shape, spacing, strict=True)]
    return np.asarray(values - np.sqrt(sum(o**2 for o in outside)), dtype=np.float64)


def _piece_of(values: npt.NDArray[np.float64], voxels: int) -> Bools:
    """The largest piece with about ``voxels`` voxels that a cut of the field gives.

    A lesion with thin parts may fall apart at the cut that has the right count; then the cut is lowered until its
    largest piece has that count. The voxels are cut in one fixed order (value, then index), so the same inputs give
    the same piece.
    """
    order = np.argsort(-values, axis=None, kind="stable")

    def cut(count: int) -> Bools:
        out = np.zeros(values.size, bool)
        out[order[:count]] = True
        return np.asarray(cc3d.largest_k(out.reshape(values.shape), k=1, connectivity=26), dtype=bool)

    best = cut(voxels)
    low, high = voxels, min(values.size, 2 * voxels + 8)
    while best.sum() < voxels and low + 1 < high:
        middle = (low + high) // 2
        piece = cut(middle)
        if abs(int(piece.sum()) - voxels) <= abs(int(best.sum()) - voxels):
            best = piece
        low, high = (middle, high) if piece.sum() < voxels else (low, middle)
    return best
