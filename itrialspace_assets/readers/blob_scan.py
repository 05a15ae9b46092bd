"""The blob reader's marks on whole scans: peaks of the Laplacian of Gaussian over position and scale.

Images of one host differ around their lesions only. A reader may be given a second scan that equals the one it marks
nearly everywhere, its *like*: the host's lesion-free image. The like is filtered once, and of each image only the parts
that differ from it. The marks equal those of filtering the whole image, bit for bit.
"""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.imaging.geometry import Volume, bounding_box
from itrialspace_assets.readers.api import Mark
from itrialspace_assets.readers.blob import CLIP_HU
from itrialspace_assets.readers.filters import (
    Box,
    Image,
    bounds,
    common,
    curvatures,
    gaussian_in,
    grow,
    inside,
    reach_of,
    whole,
)
from itrialspace_assets.readers.lungs import dark, lung_region
from itrialspace_assets.readers.resample import CoarseGrid, coarse_grid, coarsen

#: Scales in mm (ours).
SCALES_MM = (2.0, 3.2, 5.0, 8.0, 12.0)
#: Grid on which lungs are told from outside air, mm (ours).
ROUGH_MM = 4.0
#: No two marks are nearer than this, nor than the wider one's radius, mm (ours).
APART_MM = 6.0
#: Changed voxels with a gap of more than this between them are filtered in boxes of their own (ours).
_GAP = 8


@dataclass(frozen=True)
class _Lungs:
    """Lung in a box of the scan, on a rough grid (X, Y, Z) of ``step`` voxels each."""

    box: Box
    step: npt.NDArray[np.int64]
    region: npt.NDArray[np.bool_]

    def hold(
        self, at: npt.NDArray[np.int64], grid: CoarseGrid, spacing: npt.NDArray[np.float64]
    ) -> npt.NDArray[np.bool_]:
        """Which coarse voxels lie in lung.

        Args:
            at: indices (n, 3) in the coarse grid, counted from the box's first voxel.
            grid: the coarse grid over the box.
            spacing: voxel size (mm) of the scan along x, y and z.

        Returns:
            Boolean (n,).
        """
        rough = (at * grid.spacing / spacing / self.step).astype(int)
        return np.asarray(self.region[tuple(np.minimum(rough, np.asarray(self.region.shape) - 1).T)], dtype=bool)


@dataclass(frozen=True)
class _Peaks:
    """Peaks over position and scale: coarse voxels (n, 3), each one's scale by number, its score in HU."""

    at: npt.NDArray[np.int64]
    scale: npt.NDArray[np.int64]
    score: npt.NDArray[np.float64]


@dataclass(frozen=True)
class _Filtered:
    """A scan's lung box on the coarse grid: clipped HU, smoothed at each scale, and the peaks."""

    ct: Volume
    box: Box
    grid: CoarseGrid
    seen: Image
    smooth: list[Image]
    peaks: _Peaks


#: The last like that was filtered.
_LAST: list[_Filtered] = []


def read_scan(ct: Volume, marks: int, like: Volume | None = None) -> list[Mark]:
    """The strongest spots of a scan, best first, no two within the larger's radius.

    Spots are peaks of the Laplacian of Gaussian over position and scale; a spot's score is three times its weakest
    principal curvature, so that vessels, flat along themselves, score low.

    Args:
        ct: HU (X, Y, Z), canonical RAS+.
        marks: at most so many.
        like: a scan on the same grid that equals this one nearly everywhere; saves time, changes no mark.
    """
    lungs = _find_lungs(ct)
    if lungs is None:
        return []
    base = _filtered_like(like, ct)
    if base is None or base.box != lungs.box:
        base = _filter(ct, lungs.box)
    return _best(ct, lungs, base.grid, _peaks_beside(base, ct), marks)


def _find_lungs(ct: Volume) -> _Lungs | None:
    step = np.maximum(1, np.rint(ROUGH_MM / ct.spacing)).astype(int)
    region = lung_region(dark(ct.array[tuple(slice(None, None, int(s)) for s in step)].astype(np.float32)))
    if not region.any():
        return None
    low = bounding_box(region, pad=1)
    box = tuple(
        slice(int(s.start * k), int(min(n, s.stop * k))) for s, k, n in zip(low, step, ct.array.shape, strict=True)
    )
    return _Lungs(box, step, region[low])


def _filtered_like(like: Volume | None, ct: Volume) -> _Filtered | None:
    """The like of a scan, filtered.

    None without a like, if its grid or type differs, if values are no integers, or if it has no lung.
    """
    if like is None or like.array.shape != ct.array.shape or not np.array_equal(like.affine, ct.affine):
        return None
    if like.array.dtype != ct.array.dtype or not np.issubdtype(ct.array.dtype, np.integer):
        return None
    if not _LAST or _LAST[0].ct is not like:
        lungs = _find_lungs(like)
        if lungs is None:
            return None
        _LAST[:] = [_filter(like, lungs.box)]
    return _LAST[0]


def _filter(ct: Volume, box: Box) -> _Filtered:
    part = ct.array[box]
    grid = coarse_grid(part.shape, ct.spacing)
    seen = np.clip(coarsen(part, grid), *CLIP_HU)
    everything = whole(grid.shape)
    smooth = [gaussian_in(seen, scale / grid.spacing, everything) for scale in SCALES_MM]
    return _Filtered(ct, box, grid, seen, smooth, _find_peaks(smooth, grid.spacing, everything))


def _peaks_beside(base: _Filtered, ct: Volume) -> _Peaks:
    """Peaks of a scan that differs from a filtered one in places."""
    if ct is base.ct:
        return base.peaks
    part, grid, spacing = ct.array[base.box], base.grid, base.grid.spacing
    touched = (grid.touched(box) for box in _changes(base.ct.array[base.box], part))
    changed = [box for box in touched if box is not None]
    if 2 * sum(_voxels(box) for box in changed) > _voxels(whole(grid.shape)):
        return _filter(ct, base.box).peaks
    seen = base.seen.copy()
    for box in changed:
        seen[box] = np.clip(coarsen(part, grid, box), *CLIP_HU)
    reach = [reach_of(scale / spacing) for scale in SCALES_MM]
    zones = [grow(box, reach[-1] + 2, grid.shape) for box in changed]  # a peak there may be new, gone or another
    old = ~_in_any(base.peaks.at, zones)
    found = [_Peaks(base.peaks.at[old], base.peaks.scale[old], base.peaks.score[old])]
    for number, zone in enumerate(zones):
        block = grow(zone, 2, grid.shape)
        smooth = [whole_scan[block].copy() for whole_scan in base.smooth]
        for values, scale, far in zip(smooth, SCALES_MM, reach, strict=True):
            for box in changed:
                seam = common(grow(box, far, grid.shape), block)
                if seam is not None:
                    values[inside(seam, block)] = gaussian_in(seen, scale / spacing, seam)
        peaks = _find_peaks(smooth, spacing, inside(zone, block))
        at = peaks.at + [s.start for s in block]
        new = ~_in_any(at, zones[:number])
        found.append(_Peaks(at[new], peaks.scale[new], peaks.score[new]))
    return _Peaks(
        np.concatenate([p.at for p in found]),
        np.concatenate([p.scale for p in found]),
        np.concatenate([p.score for p in found]),
    )


def _changes(before: npt.NDArray[np.generic], after: npt.NDArray[np.generic]) -> list[Box]:
    """Boxes that hold every voxel in which two images of one shape (X, Y, Z) differ."""
    planes = [k for k in range(before.shape[2]) if not np.array_equal(before[..., k], after[..., k])]
    if not planes:
        return []
    between = slice(planes[0], planes[-1] + 1)
    found = _split(before[..., between] != after[..., between])
    return [(x, y, slice(z.start + between.start, z.stop + between.start)) for x, y, z in found]


def _split(mask: npt.NDArray[np.bool_]) -> list[Box]:
    """Boxes around the true voxels of a mask, apart where a wide empty gap runs right through."""
    box = bounds(mask)
    if box is None:
        return []
    part = mask[box]
    for axis in range(part.ndim):
        hit = np.flatnonzero(part.any(axis=tuple(a for a in range(part.ndim) if a != axis)))
        gaps = np.flatnonzero(np.diff(hit) > _GAP)
        if len(gaps):
            edges = [0, *(int(hit[g]) + 1 for g in gaps), part.shape[axis]]
            parts = []
            for first, last in pairwise(edges):
                at = tuple(slice(first, last) if a == axis else slice(0, n) for a, n in enumerate(part.shape))
                parts += [_moved(_moved(b, at), box) for b in _split(part[at])]
            return parts
    return [box]


def _moved(box: Box, outer: Box) -> Box:
    """A box that was counted from the first voxel of another, counted from the image's."""
    return tuple(slice(s.start + o.start, s.stop + o.start) for s, o in zip(box, outer, strict=True))


def _voxels(box: Box) -> int:
    return int(np.prod([s.stop - s.start for s in box]))


def _in_any(at: npt.NDArray[np.int64], boxes: list[Box]) -> npt.NDArray[np.bool_]:
    """Which voxels (n, 3) lie in one of some boxes."""
    found = np.zeros(len(at), bool)
    for box in boxes:
        found |= np.all((at >= [s.start for s in box]) & (at < [s.stop for s in box]), axis=1)
    return found


def _find_peaks(smooth: list[Image], spacing: npt.NDArray[np.float64], zone: Box) -> _Peaks:
    """Peaks in a zone that lies two voxels within the smoothed images, or at the scan's own edge."""
    stack = np.stack([-(s**2) * sum(curvatures(g, spacing)) for s, g in zip(SCALES_MM, smooth, strict=True)])
    best = stack.max(axis=0)
    peaks = ((best == ndimage.maximum_filter(best, size=3)) & (best > 0))[zone]
    at = np.argwhere(peaks) + [s.start for s in zone]
    scale = stack[(slice(None), *at.T)].argmax(axis=0)
    return _Peaks(at, scale, _roundness(smooth, spacing, at, scale))


def _roundness(
    smooth: list[Image],
    spacing: npt.NDArray[np.float64],
    at: npt.NDArray[np.int64],
    scale: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Three times the weakest principal curvature at each peak, scale-normalised, HU.

    Args:
        smooth: the image smoothed at each scale, HU (X, Y, Z).
        spacing: voxel size (mm).
        at: voxels (n, 3).
        scale: number of each one's scale (n,).
    """
    scores = np.zeros(len(at))
    for number, image in enumerate(smooth):
        here = scale == number
        if not here.any():
            continue
        points = at[here]
        last = np.asarray(image.shape) - 1

        def value(
            shift: npt.NDArray[np.int64],
            points: npt.NDArray[np.int64] = points,
            image: Image = image,
            last: npt.NDArray[np.int64] = last,
        ) -> npt.NDArray[np.float64]:
            return np.asarray(image[tuple(np.clip(points + shift, 0, last).T)], dtype=np.float64)

        hessian = np.empty((len(points), 3, 3))
        unit = np.eye(3, dtype=np.int64)
        centre = value(np.zeros(3, dtype=np.int64))
        for a in range(3):
            hessian[:, a, a] = (value(unit[a]) - 2 * centre + value(-unit[a])) / spacing[a] ** 2
            for b in range(a):
                mixed = (
                    value(unit[a] + unit[b])
                    - value(unit[a] - unit[b])
                    - value(unit[b] - unit[a])
                    + value(-unit[a] - unit[b])
                )
                hessian[:, a, b] = hessian[:, b, a] = mixed / (4 * spacing[a] * spacing[b])
        scores[here] = -3 * SCALES_MM[number] ** 2 * np.linalg.eigvalsh(hessian)[:, -1]
    return scores


def _best(ct: Volume, lungs: _Lungs, grid: CoarseGrid, peaks: _Peaks, marks: int) -> list[Mark]:
    """The best peaks in lung, by score and then by index, that are apart."""
    chosen = np.flatnonzero((peaks.score > 0) & lungs.hold(peaks.at, grid, ct.spacing))
    at, scale, score = peaks.at[chosen], peaks.scale[chosen], peaks.score[chosen]
    found: list[Mark] = []
    kept: list[npt.NDArray[np.float64]] = []
    for i in np.lexsort((at[:, 2], at[:, 1], at[:, 0], -score)):
        radius = np.sqrt(3) * SCALES_MM[scale[i]]
        position = at[i] * grid.spacing
        if kept and np.linalg.norm(kept - position, axis=1).min() < max(radius, APART_MM):
            continue
        kept.append(position)
        fine = np.array([s.start for s in lungs.box]) + (at[i] + 0.5) * grid.spacing / ct.spacing - 0.5
        x, y, z = (round(float(v), 3) for v in ct.to_world(fine))
        found.append(Mark((x, y, z), round(float(2 * radius), 3), round(float(score[i]), 3)))
        if len(found) == marks:
            break
    return found
