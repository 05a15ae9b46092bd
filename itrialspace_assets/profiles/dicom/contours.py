"""Closed curves in axial planes as voxels of a CT whose slices may lie elsewhere than the planes.

A plane stands for the slab around it, half way to its neighbours. A slice takes the plane in whose slab its centre
lies, so that a lesion keeps its volume whether contours are denser than slices, sparser, or between them.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial.distance import directed_hausdorff
from skimage.draw import polygon2mask, polygon_perimeter

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion
from itrialspace_assets.profiles.dicom.grid import TOLERANCE
from itrialspace_assets.profiles.doubts import Doubt, Note

Mask = npt.NDArray[np.bool_]

#: Contours nearer to each other than this along z (mm) lie in one plane; ours: files round to 0.01 mm.
_ONE_PLANE_MM = 0.05
#: Planes farther apart than this (mm) are no neighbours; ours: above the slice distance of any chest CT.
_NEIGHBOUR_MM = 10.0
#: A gap above this multiple of the usual one is left open; ours.
_OPEN_GAP = 1.5
#: The volume of a lesion's voxels may differ from that of its contours by this share without a note; ours.
_VOLUME_SHARE = 0.25
#: A contour that shares more than this of its pixels with what is filled is a hole in it, else a part of its own; ours.
_NESTED_SHARE = 0.5
#: Slices; a slice half way between two planes takes the upper one, whatever the rounding.
_TIE = 1e-3


@dataclass(frozen=True)
class Contour:
    """A closed curve: ``level`` (fractional slice index) and ``curve`` (n, 2; fractional indices along x and y).

    ``hole``: True excludes what it encloses, False includes it, None: a curve inside another is a hole.
    """

    level: float
    curve: npt.NDArray[np.float64]
    hole: bool | None = None


def levels_of(contours: Sequence[Contour], ct: Volume) -> npt.NDArray[np.float64]:
    """Planes (fractional slice indices, ascending) of some contours; all on slices if all lie within the tolerance."""
    found: list[float] = []
    for level in sorted(c.level for c in contours):
        if not found or (level - found[-1]) * ct.spacing[2] > _ONE_PLANE_MM:
            found.append(level)
    levels = np.array(found)
    nearest = np.rint(levels)
    on_slices = bool(np.all(np.abs(levels - nearest) <= TOLERANCE)) and len(np.unique(nearest)) == len(levels)
    return nearest if on_slices else levels


def plane_distance(levels: npt.NDArray[np.float64], ct: Volume) -> list[float]:
    """Distances (slices) between planes that are neighbours."""
    return [float(gap) for gap in np.diff(levels) if gap * ct.spacing[2] <= _NEIGHBOUR_MM]


def fill(
    contours: Sequence[Contour], ct: Volume, thickness: float, *, edge_outside: bool, where: str
) -> tuple[Lesion | None, list[Note]]:
    """Contours as a lesion in the grid of a CT.

    Args:
        contours: at least one.
        ct: the CT (RAS+).
        thickness: usual distance (slices) between planes; a plane without a neighbour stands for as much.
        edge_outside: the pixels of a curve do not belong to the lesion (LIDC's definition).
        where: file and region, for messages.

    Returns:
        The lesion, None if no curve encloses a voxel, and notes on what its user should know.

    Raises:
        CaseRejected: a curve outside the CT.
    """
    nx, ny, nz = ct.array.shape
    points = np.concatenate([c.curve for c in contours])
    levels = levels_of(contours, ct)
    if points.min() < -0.5 or np.any(points > [nx - 0.5, ny - 0.5]) or levels[0] < -0.5 or levels[-1] > nz - 0.5:
        low, high = points.min(axis=0), points.max(axis=0)
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"{where}: expected contours inside the CT ({nx} x {ny} x {nz} voxels), got some from "
            f"({low[0]:.1f}, {low[1]:.1f}, {levels[0]:.1f}) to ({high[0]:.1f}, {high[1]:.1f}, {levels[-1]:.1f})",
        )
    lo = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, [nx - 1, ny - 1])
    hi = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 1, [nx, ny])
    size = (int(hi[0] - lo[0]), int(hi[1] - lo[1]))
    notes: list[Note] = []
    planes = []
    for level in levels:
        here = [c for c in contours if levels[np.argmin(np.abs(levels - c.level))] == level]
        plane, crossing = _plane(here, lo, size, edge_outside=edge_outside)
        planes.append(plane)
        if crossing:
            z = ct.to_world([0, 0, level])[2]
            notes.append(Note(f"{where}: contours cross each other at z={z:.2f} mm", Doubt.CROSSING_CONTOURS))
    low, high = _slabs(levels, thickness)
    first, last = max(0, int(np.ceil(low[0])) - 1), min(nz - 1, int(np.floor(high[-1])) + 1)
    block = np.zeros((*size, last - first + 1), bool)
    for k in range(first, last + 1):
        if (at := np.flatnonzero((low <= k + _TIE) & (k + _TIE < high))).size:
            block[..., k - first] = planes[at[0]]
    drawn = float(sum(p.sum() * (b - a) for p, a, b in zip(planes, low, high, strict=True)))
    if drawn and not block.any():  # thinner than the distance of slices, and between two
        largest = int(np.argmax([p.sum() for p in planes]))
        block[..., int(np.clip(np.rint(levels[largest]), first, last)) - first] = planes[largest]
    if not block.any():
        return None, [*notes, Note(f"{where}: left out: its contours enclose no voxel", Doubt.PARTS_LEFT_OUT)]
    if abs(block.sum() - drawn) > _VOLUME_SHARE * drawn:
        notes.append(
            Note(
                f"{where}: {drawn * ct.voxel_mm3:.0f} mm³ by its contours became {block.sum() * ct.voxel_mm3:.0f} mm³ "
                "in voxels of the CT",
                Doubt.VOLUME_BY_CONTOURS_DIFFERS,
            )
        )
    if not np.array_equal(levels, np.rint(levels)):
        text = f"{where}: its contours lie between the CT's slices; each slice takes the nearest"
        notes.append(Note(text, Doubt.CONTOURS_BETWEEN_SLICES))
    tight = cut_lesion(block)
    offset = np.add(tight.offset, [lo[0], lo[1], first])
    return Lesion((int(offset[0]), int(offset[1]), int(offset[2])), tight.mask), notes


def _slabs(
    levels: npt.NDArray[np.float64], thickness: float
) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Lower and upper bound of the slab of each plane (slices)."""
    gaps = np.diff(levels)
    halves = np.where(gaps <= _OPEN_GAP * thickness, gaps, thickness) / 2
    below, above = np.append(thickness / 2, halves), np.append(halves, thickness / 2)
    return levels - below, levels + above


def _plane(
    contours: Sequence[Contour], lo: npt.NDArray[np.int64], size: tuple[int, int], *, edge_outside: bool
) -> tuple[Mask, bool]:
    """Pixels inside the contours of one plane, and whether some cross; a contour written twice counts once."""
    drawn: list[tuple[Mask, Contour]] = []
    for contour in contours:
        if not any(_same(contour, other) for _, other in drawn):
            drawn.append((_inside(contour.curve, lo, size, edge_outside=edge_outside), contour))
    plane, crossing = np.zeros(size, bool), False
    for inside, contour in sorted(drawn, key=lambda d: (d[1].hole is True, -int(d[0].sum()))):
        shared, whole = int((inside & plane).sum()), int(inside.sum())
        hole = contour.hole if contour.hole is not None else shared > _NESTED_SHARE * whole
        if contour.hole is None and 0 < shared < whole:
            crossing = True
        plane = plane & ~inside if hole else plane | inside
    return plane, crossing


def _same(a: Contour, b: Contour) -> bool:
    if a.hole != b.hole:
        return False
    return all(directed_hausdorff(*pair)[0] <= TOLERANCE for pair in ((a.curve, b.curve), (b.curve, a.curve)))


def _inside(
    curve: npt.NDArray[np.float64], lo: npt.NDArray[np.int64], size: tuple[int, int], *, edge_outside: bool
) -> Mask:
    inside = np.zeros(size, bool)
    if len(curve) < 3:  # a point or a line marks the voxels it touches
        inside[tuple((np.rint(curve).astype(int) - lo).T)] = True
        return inside
    inside = np.asarray(polygon2mask(size, curve - lo), bool)
    if edge_outside:
        rows, columns = polygon_perimeter(*(np.rint(curve).astype(int) - lo).T, shape=size, clip=True)
        inside[rows, columns] = False
    return inside
