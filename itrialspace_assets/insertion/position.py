"""Finds the position of a lesion from a host's map, a lesion's shape and the wanted place; knows no donor, no trial.

Rules that always hold (``strict``): every voxel of the lesion lies in one of the five lobes, so none on pleura,
vessel or airway; its centre, at least half of it, and most of what surrounds it (without its own voxels) lie in the
wanted lobe; at least one voxel lies between it and any other lesion.

The voxel nearest to the wanted centre is taken if the rules hold there. Else, of all voxels where they hold, the one
with the least cost in mm:

    cost = |centre - wanted| + 0.3 |pleura - wanted pleura| + 0.2 |airway - wanted airway|
           + 0.3 max(0, wanted margin - margin)

``pleura`` and ``airway`` are distances of the centre, ``margin`` is the least distance of any voxel of the lesion to
the lung's outline. Pleura and margin are known in quarters of a mm; pleura, and the difference to the wanted airway
distance, count up to 20 mm. No distance grows faster than the centre moves, and the weights sum to less than one: so
they choose among positions of similar nearness and never outweigh nearness. The weights are ours, those of planning.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.hosts.clearance import AIRWAY_WEIGHT, CAP_MM, MARGIN_WEIGHT, PLEURA_WEIGHT
from itrialspace_assets.hosts.depth import DEPTH_STEPS, LungDepth
from itrialspace_assets.imaging.anatomy import LUNG, lung_mask
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.measure import SHELL_VOXELS

#: Search radii in mm, tried in turn; the last spans any lung. With each the half width of the box from whose first
#: voxel distances are counted: between places of equal cost their last bits decide, which depend on it. Ours.
SEARCH_MM = ((5, 5), (7, 10), (10, 10), (14, 20), (20, 20), (28, 40), (40, 40), (400, 400))
#: Added (mm) to the cost that bounds a radius: no less than what rounding makes of it. Ours.
_ROUNDING_MM = 1e-6
#: Candidates that are sorted and tried before all are. Ours.
_FIRST = 20_000
#: Voxels looked up at once, so that memory stays small. Ours.
_GATHERED = 2_000_000

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class PlannedPosition:
    """What was asked for.

    Attributes:
        centre: index (3,) in the host's canonical RAS+ grid, fractional.
        pleural_mm: distance of the centre to the pleura; None: any.
        airway_mm: distance of the centre to airway or trachea; None: any.
        margin_mm: free lung around the lesion.
    """

    centre: npt.ArrayLike
    pleural_mm: float | None = None
    airway_mm: float | None = None
    margin_mm: float = 0.0


@dataclass(frozen=True)
class Position:
    """Where a lesion lies.

    Attributes:
        lesion: its voxels in the host's canonical RAS+ grid.
        shift_mm: distance of its centre to the wanted one.
        moved_by: the rule that moved it; empty: none.
    """

    lesion: Lesion
    shift_mm: float
    moved_by: str = ""


@dataclass(frozen=True)
class _Shape:
    """A lesion's voxels, those of its surface and those around it.

    Attributes:
        anchor: voxel (3,) next to the centroid, in the lesion's own block.
        centroid: mean voxel index (3,) in that block.
        voxels: offsets (n, 3) of its voxels from the anchor.
        surface: offsets of its surface.
        ends: offsets of the surface voxels farthest out in 26 directions.
        shell: offsets of what surrounds it.
        reach: voxels (3,) that voxels and shell extend from the anchor.
        core: radius (mm) about the anchor that is lesion: a position needs at least so much lung around it.
        inner: distance (mm) from the anchor to the nearest voxel that is no lesion; 0 if the anchor is none.
    """

    anchor: Ints
    centroid: Floats
    voxels: Ints
    surface: Ints
    ends: Ints
    shell: Ints
    reach: Ints
    core: float
    inner: float

    @classmethod
    def of(cls, mask: Bools, spacing: Floats) -> "_Shape":
        voxels = np.argwhere(mask)
        centroid = voxels.mean(axis=0)
        anchor = np.rint(centroid).astype(np.int64)
        pad = SHELL_VOXELS
        grown = ndimage.binary_dilation(np.pad(mask, pad), iterations=pad)
        edge = mask & ~ndimage.binary_erosion(mask)
        shell = np.argwhere(grown & ~np.pad(mask, pad)) - pad
        reach = np.abs(np.concatenate([voxels, shell]) - anchor).max(axis=0)
        surface = np.argwhere(edge) - anchor
        directions = np.array([d for d in np.ndindex(3, 3, 3) if d != (1, 1, 1)]) - 1
        ends = surface[np.unique((surface @ directions.T).argmax(axis=0))]
        inner = _depth_in(mask, anchor, spacing)
        core = max(0.0, inner - float(spacing.max()))
        return cls(anchor, centroid, voxels - anchor, surface, ends, shell - anchor, reach, core, inner)


@lru_cache(maxsize=256)
def _shape_of(bits: bytes, size: tuple[int, ...], spacing: tuple[float, ...]) -> _Shape:
    """The shape of a mask's bytes; kept, since a donor goes into many hosts, and its outline to an empty site."""
    return _Shape.of(np.frombuffer(bits, bool).reshape(size), np.array(spacing))


def _depth_in(mask: Bools, at: Ints, spacing: Floats) -> float:
    """Distance (mm) from a voxel (3,) of a block to the nearest one that is not true; voxels beyond it are not."""
    outside = ~np.pad(mask, 1)
    x, y, z = (((np.arange(n) - c - 1) * mm) ** 2 for n, c, mm in zip(outside.shape, at, spacing, strict=True))
    return float(np.sqrt((x[:, None, None] + y[:, None] + z)[outside].min()))


def _grown(lesion: Lesion) -> Lesion:
    """A lesion with the voxels within one of it: where no other may lie."""
    x, y, z = (o - 1 for o in lesion.offset)
    return Lesion((x, y, z), ndimage.binary_dilation(np.pad(lesion.mask, 1), np.ones((3, 3, 3))))


def _closed(shape: _Shape, start: Ints, others: Sequence[Lesion], spacing: Floats) -> float:
    """Radius (mm) about a voxel in which no anchor can lie, since the lesion would touch another that lies there.

    With ``g`` the depth of ``start`` in the other one's grown voxels and ``h`` half a voxel's diagonal, a voxel within
    ``h`` of the point ``g - h`` along the way to an anchor is grown; it is lesion too if it is nearer to the anchor
    than ``inner``.

    Args:
        shape: of the lesion.
        start: host index (3,).
        others: lesions in the host's grid, grown.
        spacing: voxel size, mm.
    """
    if not shape.inner:
        return 0.0
    depth = 0.0
    for other in others:
        at = start - other.offset
        if np.all((at >= 0) & (at < other.mask.shape)):
            depth = max(depth, _depth_in(other.mask, at, spacing))
    return depth + shape.inner - float(np.linalg.norm(spacing)) - _ROUNDING_MM * 1000 if depth > 0 else 0.0


@dataclass(frozen=True)
class _Crop:
    """Part of a host; what lies outside the host is 0.

    Attributes:
        labels: label map (X, Y, Z).
        free: lung that is not within a voxel of another lesion.
        low: host index (3,) of its first voxel.
    """

    labels: npt.NDArray[np.uint8]
    free: Bools
    low: Ints

    @classmethod
    def of(cls, host: Volume, low: Ints, high: Ints, others: Sequence[Lesion]) -> "_Crop":
        """The part of a host between two corners, which may lie outside it.

        Args:
            host: nodule-free label map (X, Y, Z), canonical RAS+.
            low: host index (3,) of the first voxel.
            high: host index (3,) behind the last voxel.
            others: lesions in the host's grid, grown; their voxels are not free.
        """
        labels = np.zeros(high - low, np.uint8)
        begin, end = np.maximum(low, 0), np.minimum(high, host.array.shape)
        if np.all(end > begin):
            inner = tuple(slice(a, b) for a, b in zip(begin - low, end - low, strict=True))
            labels[inner] = host.array[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
        free = lung_mask(labels)
        for other in others:
            start = np.asarray(other.offset) - low
            a, b = np.maximum(start, 0), np.minimum(start + other.mask.shape, high - low)
            if np.all(b > a):
                part = tuple(slice(x, y) for x, y in zip(a, b, strict=True))
                free[part] &= ~other.mask[tuple(slice(x, y) for x, y in zip(a - start, b - start, strict=True))]
        return cls(labels, free, low)

    def flat(self, offsets: Ints) -> Ints:
        """Offsets as steps in the crop's memory."""
        return np.asarray(offsets @ (np.array(self.labels.strides) // self.labels.itemsize), dtype=np.int64)


def find_position(
    host: Volume,
    mask: Bools,
    lobe_label: int,
    wanted: PlannedPosition,
    others: Sequence[Lesion] = (),
    airway: KDTree | None = None,
    within: Box | None = None,
    depth: LungDepth | None = None,
) -> Position:
    """The position of a lesion, by the rules and the cost that this module states.

    Args:
        host: nodule-free label map (X, Y, Z), canonical RAS+.
        mask: the lesion on the host's grid, cropped.
        lobe_label: 28 to 32.
        wanted: what was asked for.
        others: lesions that are already in the host.
        airway: airway and trachea of the host, in mm from the host's first voxel along its axes.
        within: the lobe's box; no position outside it is tried.
        depth: of the host; None: the whole map counts as the box of the lungs.

    Raises:
        CaseRejected: the wanted centre is not finite, or no position in the lobe holds the lesion.
    """
    target = np.asarray(wanted.centre, dtype=np.float64)
    if not np.all(np.isfinite(target)):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a finite position, got {target.tolist()}")
    shape = _shape_of(mask.tobytes(), mask.shape, tuple(host.spacing.tolist()))
    last = np.asarray(host.array.shape) - 1
    nearest = np.clip(np.rint(target - shape.centroid + shape.anchor), 0, last).astype(np.int64)
    grown = [_grown(other) for other in others]
    crop = _Crop.of(host, nearest - shape.reach - 1, nearest + shape.reach + 2, grown)
    broken = _broken(crop, nearest, shape, lobe_label)
    if not broken:
        return _position(mask, nearest, shape, target, host.spacing, "")
    nx, ny, nz = host.array.shape
    whole = slice(0, nx), slice(0, ny), slice(0, nz)
    box, deep = within or whole, depth or LungDepth(host, whole)
    found = _search(host, deep, shape, lobe_label, target, nearest, wanted, grown, airway, box)
    if found is None:
        size = float((6 * mask.sum() * host.voxel_mm3 / np.pi) ** (1 / 3))
        raise CaseRejected(
            Reason.DOES_NOT_FIT, f"lobe {lobe_label}: no place holds a lesion of {size:.1f} mm wholly inside the lung"
        )
    return _position(mask, found, shape, target, host.spacing, broken)


def _position(mask: Bools, at: Ints, shape: _Shape, target: Floats, spacing: Floats, moved_by: str) -> Position:
    first = at - shape.anchor
    lesion = Lesion((int(first[0]), int(first[1]), int(first[2])), mask)
    return Position(lesion, float(np.linalg.norm((lesion.centroid - target) * spacing)), moved_by)


def _broken(crop: _Crop, at: Ints, shape: _Shape, lobe_label: int) -> str:
    """Which rule a lesion at a voxel breaks first; empty if none."""
    here = at - crop.low
    own = tuple((here + shape.voxels).T)
    labels = crop.labels[own]
    if not lung_mask(labels).all():
        return "it would leave the lung"
    if not crop.free[own].all():
        return "it would touch another lesion"
    around = int(_lobe_around(crop.labels[tuple((here + shape.shell).T)][:, None])[0])
    if crop.labels[tuple(here)] != lobe_label or (labels == lobe_label).mean() < 0.5 or around != lobe_label:
        return "it would lie in another lobe"
    return ""


def _lobe_around(shells: npt.NDArray[np.uint8]) -> Ints:
    """Most frequent lobe of each column of labels, the lowest of equals; 0 without any."""
    counts = np.stack([np.count_nonzero(shells == label, axis=0) for label in LUNG])
    return np.asarray(np.where(counts.any(axis=0), np.asarray(LUNG)[counts.argmax(axis=0)], 0), dtype=np.int64)


@dataclass(frozen=True)
class _Rest:
    """What a lower bound of the cost lacks: margins, and distances to the airway, which are slow to look up.

    Attributes:
        wanted: what was asked for.
        airway: airway and trachea of the host in mm.
        at: anchors of the candidates, flat in the crop.
        shape: voxels of the crop.
        first: index (3,) of the crop's first voxel, from the corner that distances are counted from.
        centre: what is added to an anchor's index from that corner to get its lesion's centre in the host (voxels).
        spacing: voxel size, mm.
        counted: cost of the airway distance (mm) that the bound already holds; empty if none was asked for.
    """

    wanted: PlannedPosition
    airway: KDTree | None
    at: Ints
    shape: tuple[int, ...]
    first: Ints
    centre: Floats
    spacing: Floats
    counted: Floats

    def of(self, part: Ints, margin: Floats) -> Floats:
        """Cost (mm) that the bound lacks, of candidates by number, with the margins (mm) of their lesions."""
        cost = MARGIN_WEIGHT * np.maximum(0.0, self.wanted.margin_mm - margin)
        if len(self.counted) and self.airway is not None and self.wanted.airway_mm is not None:
            centres = np.stack(np.unravel_index(self.at[part], self.shape), axis=1) + self.first + self.centre
            far = self.airway.query(centres * self.spacing)[0]
            cost += AIRWAY_WEIGHT * np.minimum(CAP_MM, np.abs(far - self.wanted.airway_mm)) - self.counted[part]
        return np.asarray(cost, dtype=np.float64)


def _candidates(allowed: Bools, spare: Ints, first: Ints, offset: Floats, spacing: Floats) -> tuple[Ints, Floats]:
    """Allowed voxels of a crop, flat, with the length (mm) of their index, counted from ``first``, plus ``offset``.

    Args:
        allowed: voxels of the crop (X, Y, Z).
        spare: voxels (3,) at its faces that are none.
        first: index (3,) of its first voxel.
        offset: what is added (voxels).
        spacing: voxel size, mm.
    """
    for axis, n in enumerate(spare):
        for face in (slice(None, n), slice(allowed.shape[axis] - n, None)):
            allowed[tuple(face if a == axis else slice(None) for a in range(3))] = False
    at = np.flatnonzero(allowed)
    square = np.zeros(len(at))
    index = np.unravel_index(at, allowed.shape)
    for axis, (low, shift, step) in enumerate(zip(first, offset, spacing, strict=True)):
        square += (((np.arange(low, low + allowed.shape[axis]) + shift) * step) ** 2)[index[axis]]
    return at, np.sqrt(square)


def _search(
    host: Volume,
    deep: LungDepth,
    shape: _Shape,
    lobe_label: int,
    target: Floats,
    start: Ints,
    wanted: PlannedPosition,
    others: Sequence[Lesion],
    airway: KDTree | None,
    within: Box,
) -> Ints | None:
    """Anchor voxel of the position with the least cost; None if there is no position."""
    spacing = host.spacing
    spare = shape.reach + 1  # how far a lesion in the lobe's box can reach beyond it
    least, most = (np.array([getattr(s, end) for s in within]) for end in ("start", "stop"))
    moved_mm = float(np.linalg.norm((start - shape.anchor + shape.centroid - target) * spacing))
    nearest_mm = _closed(shape, start, others, spacing) - moved_mm  # no position costs less
    cost = np.inf
    for reach, half in SEARCH_MM:
        radius = min(reach, cost + _ROUNDING_MM)  # what lies beyond the cost of a position costs more
        around = np.ceil(radius / spacing).astype(np.int64)
        first, last = np.maximum(start - around, least), np.minimum(start + around + 1, most)
        whole = bool(np.all(first == least) and np.all(last == most))
        if np.any(first >= last) or (radius < nearest_mm and not whole):
            continue  # the box, or any position, is farther away
        crop = _Crop.of(host, first - spare, last + spare, others)
        outline = deep.over(crop.low, crop.low + crop.labels.shape, max(CAP_MM, shape.core, wanted.margin_mm))
        corner = np.maximum(start - np.ceil(half / spacing).astype(np.int64), least) - spare
        from_corner, centre = crop.low - corner, corner - shape.anchor + shape.centroid
        allowed = (crop.labels == lobe_label) & (outline > shape.core * DEPTH_STEPS)
        at, distance = _candidates(allowed, spare, from_corner, centre - target, spacing)
        if not whole:
            near = distance <= radius
            at, distance = at[near], distance[near]
        bound = distance.copy()
        if wanted.pleural_mm is not None:
            pleura = np.minimum(outline.ravel()[at] / DEPTH_STEPS, CAP_MM)
            bound += PLEURA_WEIGHT * np.abs(pleura - min(wanted.pleural_mm, CAP_MM))
        away = np.zeros(0)
        if wanted.airway_mm is not None and airway is not None:
            # slow to look up; a lower bound is known, since the distance changes by no more than the centre moves
            here = abs(float(airway.query(target * spacing)[0]) - wanted.airway_mm)
            away = AIRWAY_WEIGHT * np.minimum(CAP_MM, np.maximum(0.0, here - distance))
            bound += away
        for limit in _limits(bound):
            part = np.flatnonzero(bound <= limit)
            part = part[np.argsort(bound[part], kind="stable")]
            counted = away[part] if len(away) else away
            rest = _Rest(wanted, airway, at[part], crop.labels.shape, from_corner, centre, spacing, counted)
            best, cost = _cheapest(crop, shape, lobe_label, at[part], bound[part], outline, rest)
            if cost <= limit:
                break  # what lies beyond costs more
        # a position beyond the radius costs more than the radius: the best is final if it does not
        if best is not None and (whole or cost <= radius):
            return np.asarray(np.array(np.unravel_index(best, crop.labels.shape)) + crop.low, dtype=np.int64)
        if whole:
            return None
    return None


def _limits(bound: Floats) -> tuple[float, ...]:
    """Bounds up to which candidates are sorted and tried: that of the first few, then any; most end with the first."""
    if len(bound) <= _FIRST:
        return (np.inf,)
    return float(np.partition(bound, _FIRST)[_FIRST]), np.inf


def _cheapest(
    crop: _Crop, shape: _Shape, lobe_label: int, at: Ints, bound: Floats, outline: npt.NDArray[np.uint8], rest: _Rest
) -> tuple[int | None, float]:
    """The candidate with the least cost at which the rules hold, and that cost; None if there is none.

    Args:
        crop: part of the host.
        shape: of the lesion.
        lobe_label: the wanted lobe.
        at: anchors of the candidates, flat in the crop, in the order of ``bound``.
        bound: lower bound (mm) of the cost of each.
        outline: lung depth over the crop.
        rest: what the bounds lack.
    """
    labels, free, depth = crop.labels.ravel(), crop.free.ravel(), outline.ravel()
    # as columns: one voxel of each candidate, of many candidates, lies in a row, over which numpy is quick
    ends, surface, voxels, shell = (
        crop.flat(x)[:, None] for x in (shape.ends, shape.surface, shape.voxels, shape.shell)
    )
    best, cost = None, np.inf
    dearest = max(1, len(voxels) + len(shell))
    first, step = 0, 64
    while first < len(at) and bound[first] < cost:
        part = np.arange(first, min(first + step, len(at)))
        first, step = first + step, min(2 * step, max(64, _GATHERED // dearest))
        for tested in (ends, surface):  # most fail at the ends
            part = part[free.take(at[part] + tested).all(axis=0)]
        if not len(part):
            continue
        own = at[part] + voxels
        fits = free.take(own).all(axis=0)
        part, own = part[fits], own[:, fits]
        part = part[2 * np.count_nonzero(labels.take(own) == lobe_label, axis=0) >= len(voxels)]
        part = part[_lobe_around(labels.take(at[part] + shell)) == lobe_label]
        if len(part):
            margin = depth.take(at[part] + surface).min(axis=0) / DEPTH_STEPS
            total = bound[part] + rest.of(part, margin)
            if total.min() < cost:
                best, cost = int(at[part[int(total.argmin())]]), float(total.min())
    return best, cost
