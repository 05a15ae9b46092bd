"""Position and shape of a nodule by the rules of the original system, quirks included, for comparison with its masks.

The rules are those of docs/facts/insertion.md#published-placement: only the centre keeps a margin, distances to snap
are in voxels, the zoom is aligned at the corners, companions are pasted over one another. Works on crops and gives
what whole-volume code would give.
"""

from dataclasses import dataclass

import cc3d
import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.anatomy import LEFT_LUNG, LUNG, RIGHT_LUNG, lung_mask
from itrialspace_assets.imaging.geometry import Volume, bounding_box, box_around
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.measure import pleural_distance

#: Published configuration (docs/facts/insertion.md#published-configuration).
MAX_SNAP_VOXELS = 25
MIN_PLEURAL_MM = 2.0
SHIFT_VOXELS = 15
SLAB_SLICES = 5
MIN_COMPONENT = 3
#: The original's planner never scales by more.
MAX_SCALE = 1.5
THRESHOLD = 0.5

Bools = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Target:
    """The labels that a nodule may be aimed at.

    Attributes:
        labels: the lobe, or all lobes of what it falls back to.
        low: first voxel (3,) of their box, canonical RAS+.
        high: last voxel (3,) of their box.
        occupied: indices along z of the slices that hold them, ascending.
        fallback: side or lung where the lobe itself is missing; empty: the lobe.
    """

    labels: tuple[int, ...]
    low: npt.NDArray[np.int64]
    high: npt.NDArray[np.int64]
    occupied: npt.NDArray[np.int64]
    fallback: str = ""


@dataclass(frozen=True)
class CompatPosition:
    """Where the published rules put a nodule.

    Attributes:
        ijk: centre, canonical RAS+ voxels.
        first: first candidate for it.
        snapped: whether it was moved to the nearest voxel of the target.
        snap_voxels: how far.
        pleural_mm: distance of the centre to the nearest voxel outside the lobes.
        warnings: what the original system would warn of.
    """

    ijk: tuple[int, int, int]
    first: tuple[int, int, int]
    snapped: bool
    snap_voxels: float
    pleural_mm: float
    warnings: tuple[str, ...]


def target_of(host: Volume, lobe_label: int) -> Target:
    """What a nodule for a lobe is aimed at: the lobe, else the lobes of its side, else both lungs.

    Specks of a label count, as in the original.

    Args:
        host: nodule-free label map (X, Y, Z), canonical RAS+.
        lobe_label: 28 to 32.

    Raises:
        CaseRejected: the host holds no lung.
    """
    side = LEFT_LUNG if lobe_label in LEFT_LUNG else RIGHT_LUNG
    for labels, fallback in (((lobe_label,), ""), (side, "side"), (LUNG, "lung")):
        mask = np.isin(host.array, labels) if len(labels) > 1 else host.array == labels[0]
        occupied = np.flatnonzero(mask.any(axis=(0, 1)))
        if len(occupied):
            box = bounding_box(mask)
            return Target(
                labels, np.array([s.start for s in box]), np.array([s.stop - 1 for s in box]), occupied, fallback
            )
    raise CaseRejected(Reason.NO_LOBE, "no lung voxels found in the organ map")


def find_position_compat(host: Volume, target: Target, cc: float, ml: float, ap: float) -> CompatPosition:
    """The position that the published rules take (docs/facts/insertion.md#published-placement).

    Args:
        host: nodule-free label map (X, Y, Z), canonical RAS+.
        target: what the nodule is aimed at.
        cc: wanted position in the target's box, percent from inferior.
        ml: the same, from patient left.
        ap: the same, from posterior.

    Raises:
        CaseRejected: a percentage is no number (the original misplaces such a nodule silently), or
            there is nothing to snap to.
    """
    if not np.all(np.isfinite([cc, ml, ap])):
        raise CaseRejected(Reason.BAD_POSITION, f"expected finite percentages, got {[cc, ml, ap]}")
    warnings = [f"no voxel of the lobe: placed in the {target.fallback}"] if target.fallback else []
    first = _initial(host, target, cc, ml, ap)
    at, away = _snap(host, target, first)
    if away > 0:
        warnings.append(f"snapped {away:.1f} voxels to the target")
    at = _away_from_pleura(host, target, at)
    pleura = pleural_distance(host, at, LUNG) or 0.0
    if pleura < MIN_PLEURAL_MM:
        warnings.append(f"{pleura:.2f} mm from the pleura, below {MIN_PLEURAL_MM:g} mm")
    ijk, begun = (int(at[0]), int(at[1]), int(at[2])), (int(first[0]), int(first[1]), int(first[2]))
    return CompatPosition(ijk, begun, away > 0, float(away), float(pleura), tuple(warnings))


def _initial(host: Volume, target: Target, cc: float, ml: float, ap: float) -> npt.NDArray[np.int64]:
    rank = round(min(100.0, max(0.0, cc)) / 100.0 * (len(target.occupied) - 1))
    k = int(target.occupied[rank])
    bottom = max(0, k - SLAB_SLICES)
    slab = np.isin(host.array[..., bottom : k + SLAB_SLICES + 1], target.labels)
    plane = np.argwhere(slab.any(axis=2))  # in C order, so the first of equals is the original's first
    if 0 <= ml <= 100 and 0 <= ap <= 100:
        raw = target.low[:2] + np.array([ml, ap]) / 100.0 * (target.high - target.low)[:2]
    else:
        raw = (plane * slab.sum(axis=2)[tuple(plane.T)][:, None]).sum(axis=0) / slab.sum()
    nearest = plane[int(((plane - raw) ** 2).sum(axis=1).argmin())]
    return np.array([nearest[0], nearest[1], k])


def _snap(host: Volume, target: Target, first: npt.NDArray[np.int64]) -> tuple[npt.NDArray[np.int64], float]:
    if host.array[tuple(first)] in target.labels:
        return first, 0.0
    box = box_around(first, MAX_SNAP_VOXELS, host.array.shape)
    points = np.argwhere(np.isin(host.array[box], target.labels)) + [s.start for s in box]
    square = ((points - first) ** 2).sum(axis=1)
    if not len(points) or square.min() > MAX_SNAP_VOXELS**2:
        raise CaseRejected(
            Reason.DOES_NOT_FIT,
            f"cannot snap to the target within {MAX_SNAP_VOXELS} voxels (initial candidate {first.tolist()})",
        )
    return np.asarray(points[int(square.argmin())]), float(np.sqrt(square.min()))


def _away_from_pleura(host: Volume, target: Target, at: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    if (pleural_distance(host, at, LUNG) or 0.0) >= MIN_PLEURAL_MM:
        return at
    spare = np.ceil(MIN_PLEURAL_MM / host.spacing).astype(int) + 1  # makes distances up to the minimum exact
    wide = box_around(at, SHIFT_VOXELS + spare, host.array.shape)
    depth = edt.edt(lung_mask(host.array[wide]), anisotropy=tuple(host.spacing), black_border=False)
    cube = box_around(at, SHIFT_VOXELS, host.array.shape)
    inner = tuple(slice(c.start - w.start, c.stop - w.start) for c, w in zip(cube, wide, strict=True))
    points = np.argwhere(np.isin(host.array[cube], target.labels))
    if not len(points):
        return at
    depths = depth[inner][tuple(points.T)]
    points = points + [s.start for s in cube]
    deep = depths >= MIN_PLEURAL_MM
    if not deep.any():
        return np.asarray(points[int(depths.argmax())])
    points = points[deep]
    return np.asarray(points[int(((points - at) ** 2).sum(axis=1).argmin())])


def prepare_compat(
    donor: Bools, spacing: npt.NDArray[np.float64], host: Volume, ijk: tuple[int, int, int], scale: float
) -> Lesion:
    """The published resampling: largest piece, corner-aligned zoom, small pieces removed, holes filled.

    Args:
        donor: the donor's voxels (X, Y, Z).
        spacing: voxel size of the donor, mm.
        host: label map whose grid the lesion lies on.
        ijk: voxel of the host at which the centre of mass is pasted.
        scale: factor on lengths.

    Raises:
        CaseRejected: nothing is left of the donor (the original calls that a success).
    """
    if not donor.any():
        raise CaseRejected(Reason.EMPTY_LESION, "expected at least one donor voxel, got none")
    if not (np.isfinite(scale) and 0 < scale <= MAX_SCALE):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a scale in 0-{MAX_SCALE:g}, got {scale}")
    piece = np.asarray(cc3d.largest_k(donor, k=1, connectivity=6), dtype=bool)
    crop = np.pad(piece[bounding_box(piece)], 1)
    factor = scale * spacing / host.spacing
    if np.any(np.abs(factor - 1) > 0.01):
        crop = ndimage.zoom(crop.astype(np.float32), factor, order=1) >= THRESHOLD
    if not crop.any():
        raise CaseRejected(Reason.EMPTY_LESION, f"nothing of the donor is left at a zoom of {factor.round(3).tolist()}")
    low = np.rint(np.array(ijk) - np.array(ndimage.center_of_mass(crop))).astype(int)
    parts = cc3d.dust(crop, threshold=MIN_COMPONENT, connectivity=6)
    begin, end = np.maximum(low, 0), np.minimum(low + crop.shape, host.array.shape)
    inner = tuple(slice(a - o, b - o) for a, b, o in zip(begin, end, low, strict=True))
    mask = ndimage.binary_fill_holes(np.asarray(parts[inner], dtype=bool)) if np.all(end > begin) else np.zeros(0)
    if not mask.any():
        raise CaseRejected(Reason.EMPTY_LESION, f"nothing of the donor lies in the host at {list(ijk)}")
    tight = bounding_box(mask)
    offset = [int(a) + s.start for a, s in zip(begin, tight, strict=True)]
    return Lesion((offset[0], offset[1], offset[2]), np.ascontiguousarray(mask[tight]))
