"""Finds where a lesion goes. Knows a host's map, a lesion's shape and what was asked for; nothing of donors or trials.

Rules that always hold (``strict``): every voxel of the lesion lies in one of the five lobes, so none on
pleura, vessel or airway; at least half of it, and most of what surrounds it, in the wanted lobe; one
voxel at least between it and any other lesion.

The voxel nearest to the wanted centre is taken if the rules hold there. Else, of all voxels where they
hold, the one with the least cost in mm, ties by voxel order:

    cost = |centre - wanted| + 0.3 |pleura - wanted pleura| + 0.2 |airway - wanted airway| + 0.3 max(0, margin wanted - margin)

``pleura`` and ``airway`` are distances of the centre (pleura counted to 20 mm), ``margin`` is the least
distance of any voxel of the lesion to the lung's outline. No distance grows faster than one moves, and the
weights sum to less than one: so they choose among places of similar nearness and never outweigh nearness.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.anatomy import LUNG, lung_mask
from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.geometry import Box, Volume
from itrialspace_assets.profiles.measure import INSIDE_LUNG, SHELL_VOXELS
from itrialspace_assets.volumes import Lesion

#: Search radii in mm, tried in turn; the last spans any lung.
SEARCH_MM = (8.0, 20.0, 60.0, 400.0)
PLEURA_WEIGHT, AIRWAY_WEIGHT, MARGIN_WEIGHT = 0.3, 0.2, 0.3
#: Beyond this distance (mm) one place is as far from the pleura as another.
PLEURA_CAP_MM = 20.0
_GATHERED = 400_000  # voxels looked up at once

Bools = npt.NDArray[np.bool_]
Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Wanted:
    """What was asked for: the centre (voxels, fractional), and distances in mm where they matter."""

    centre: npt.ArrayLike
    pleural_mm: float | None = None
    airway_mm: float | None = None
    margin_mm: float = 0.0


@dataclass(frozen=True)
class Placement:
    """Where a lesion came to lie, how far (mm) from where it was wanted, and which rule moved it (empty: none)."""

    lesion: Lesion
    shift_mm: float
    moved_by: str = ""


@dataclass(frozen=True)
class _Shape:
    """A lesion's voxels, those of its surface and those around it, as offsets from an anchor voxel."""

    anchor: Ints
    centroid: Floats
    voxels: Ints
    surface: Ints
    shell: Ints
    reach: Ints

    @classmethod
    def of(cls, mask: Bools) -> "_Shape":
        voxels = np.argwhere(mask)
        centroid = voxels.mean(axis=0)
        anchor = np.rint(centroid).astype(np.int64)
        pad = SHELL_VOXELS
        grown = ndimage.binary_dilation(np.pad(mask, pad), iterations=pad)
        edge = mask & ~ndimage.binary_erosion(mask)
        shell = np.argwhere(grown & ~np.pad(mask, pad)) - pad
        reach = np.abs(np.concatenate([voxels, shell]) - anchor).max(axis=0)
        return cls(anchor, centroid, voxels - anchor, np.argwhere(edge) - anchor, shell - anchor, reach)


@dataclass(frozen=True)
class _Crop:
    """Part of a host about some voxel, its outside filled with 0; ``low`` is the host index of its first voxel."""

    labels: npt.NDArray[np.uint8]
    free: Bools  # lung, and not within a voxel of another lesion
    low: Ints

    @classmethod
    def of(cls, host: Volume, low: Ints, high: Ints, others: Sequence[Lesion]) -> "_Crop":
        """The voxels from ``low`` up to, not including, ``high``; both may lie outside the host."""
        labels = np.zeros(high - low, np.uint8)
        begin, end = np.maximum(low, 0), np.minimum(high, host.array.shape)
        if np.all(end > begin):
            inner = tuple(slice(a, b) for a, b in zip(begin - low, end - low, strict=True))
            labels[inner] = host.array[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
        free = lung_mask(labels)
        for other in others:
            grown = ndimage.binary_dilation(np.pad(other.mask, 1), np.ones((3, 3, 3)))
            start = np.asarray(other.offset) - 1 - low
            a, b = np.maximum(start, 0), np.minimum(start + grown.shape, high - low)
            if np.all(b > a):
                part = tuple(slice(x, y) for x, y in zip(a, b, strict=True))
                free[part] &= ~grown[tuple(slice(x, y) for x, y in zip(a - start, b - start, strict=True))]
        return cls(labels, free, low)

    def flat(self, offsets: Ints) -> Ints:
        """Offsets as steps in the crop's memory."""
        return np.asarray(offsets @ (np.array(self.labels.strides) // self.labels.itemsize), dtype=np.int64)


def place(
    host: Volume,
    mask: Bools,
    lobe_label: int,
    wanted: Wanted,
    others: Sequence[Lesion] = (),
    airway: KDTree | None = None,
    within: Box | None = None,
) -> Placement:
    """The place of a lesion, by the rules and the cost that this module states.

    Args:
        host: nodule-free label map (X, Y, Z).
        mask: the lesion on the host's grid, cropped.
        lobe_label: 28 to 32.
        wanted: what was asked for.
        others: lesions already placed.
        airway: airway and trachea of the host in mm from voxel 0.
        within: the lobe's box; nothing outside it is looked at.

    Raises:
        CaseRejected: the position is not finite, or no place in the lobe holds the lesion.
    """
    target = np.asarray(wanted.centre, dtype=np.float64)
    if not np.all(np.isfinite(target)):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a finite position, got {target.tolist()}")
    shape = _Shape.of(mask)
    nearest = np.clip(np.rint(target - shape.centroid + shape.anchor), 0, np.asarray(host.array.shape) - 1).astype(np.int64)  # fmt: skip
    crop = _Crop.of(host, nearest - shape.reach - 1, nearest + shape.reach + 2, others)
    broken = _broken(crop, nearest, shape, lobe_label)
    if not broken:
        return _placed(mask, nearest, shape, target, host.spacing, "")
    nx, ny, nz = host.array.shape
    box = within or (slice(0, nx), slice(0, ny), slice(0, nz))
    found = _search(
        host, shape, lobe_label, target, nearest, wanted, others, airway, _core(mask, shape, host.spacing), box
    )
    if found is None:
        size = float((6 * mask.sum() * host.voxel_mm3 / np.pi) ** (1 / 3))
        raise CaseRejected(
            Reason.DOES_NOT_FIT, f"lobe {lobe_label}: no place holds a lesion of {size:.1f} mm wholly inside the lung"
        )
    return _placed(mask, found, shape, target, host.spacing, broken)


def _placed(mask: Bools, at: Ints, shape: _Shape, target: Floats, spacing: Floats, moved_by: str) -> Placement:
    first = at - shape.anchor
    lesion = Lesion((int(first[0]), int(first[1]), int(first[2])), mask)
    return Placement(lesion, float(np.linalg.norm((lesion.centroid - target) * spacing)), moved_by)


def _core(mask: Bools, shape: _Shape, spacing: Floats) -> float:
    """Radius (mm) about the anchor that is lesion: a place needs at least so much lung around it."""
    inner = edt.edt(np.pad(mask, 1), anisotropy=tuple(spacing), black_border=True)
    return max(0.0, float(inner[tuple(shape.anchor + 1)]) - float(spacing.max()))


def _broken(crop: _Crop, at: Ints, shape: _Shape, lobe_label: int) -> str:
    """Which rule a lesion at a voxel breaks first; empty if none."""
    here = at - crop.low
    own = tuple((here + shape.voxels).T)
    labels = crop.labels[own]
    if not lung_mask(labels).all():
        return "it would leave the lung"
    if not crop.free[own].all():
        return "it would touch another lesion"
    around = int(_lobe_around(crop.labels[tuple((here + shape.shell).T)][None])[0])
    if (labels == lobe_label).mean() < 0.5 or around != lobe_label:
        return "it would lie in another lobe"
    return ""


def _lobe_around(shells: npt.NDArray[np.uint8]) -> Ints:
    """Most frequent lobe of each row of labels, the lowest of equals; 0 without any."""
    counts = np.stack([(shells == label).sum(axis=1) for label in LUNG], axis=1)
    return np.asarray(np.where(counts.any(axis=1), np.asarray(LUNG)[counts.argmax(axis=1)], 0), dtype=np.int64)


def _search(
    host: Volume, shape: _Shape, lobe_label: int, target: Floats, start: Ints, wanted: Wanted,
    others: Sequence[Lesion], airway: KDTree | None, core: float, within: Box,
) -> Ints | None:  # fmt: skip
    """Anchor voxel of the place with the least cost; None if there is no place."""
    spacing = host.spacing
    # beyond the lobe's box only what a lesion in it, and the way to the pleura, can reach
    spare = np.maximum(shape.reach + 1, np.ceil(PLEURA_CAP_MM / spacing).astype(np.int64))
    least, most = (np.array([getattr(s, end) for s in within]) for end in ("start", "stop"))
    for radius in SEARCH_MM:
        around = np.ceil(radius / spacing).astype(np.int64)
        first, last = np.maximum(start - around, least), np.minimum(start + around + 1, most)
        whole = bool(np.all(first == least) and np.all(last == most))
        if np.any(first >= last):
            continue  # the box is farther away
        crop = _Crop.of(host, first - spare, last + spare, others)
        depth = edt.edt(crop.free, anisotropy=tuple(spacing), black_border=False)
        points = np.argwhere((crop.labels == lobe_label) & (depth > core))
        offset = (points + crop.low - shape.anchor + shape.centroid - target) * spacing
        distance = np.sqrt(np.einsum("ij,ij->i", offset, offset))
        near = np.all((points >= spare) & (points < np.array(crop.labels.shape) - spare), axis=1)
        if not whole:
            near &= distance <= radius
        points, distance = points[near], distance[near]
        outline = edt.edt(np.isin(crop.labels, INSIDE_LUNG), anisotropy=tuple(spacing), black_border=False)
        bound = distance.copy()
        if wanted.pleural_mm is not None:
            pleura = np.minimum(outline[tuple(points.T)], PLEURA_CAP_MM)
            bound += PLEURA_WEIGHT * np.abs(pleura - min(wanted.pleural_mm, PLEURA_CAP_MM))
        if wanted.airway_mm is not None and airway is not None and len(points):
            far, _ = airway.query((points + crop.low) * spacing)
            bound += AIRWAY_WEIGHT * np.abs(far - wanted.airway_mm)
        best, cost = _cheapest(crop, shape, lobe_label, points, bound, outline, wanted.margin_mm)
        # a place beyond the radius costs more than the radius: the best is final if it does not
        if best is not None and (whole or cost <= radius):
            return np.asarray(best + crop.low, dtype=np.int64)
        if whole:
            return None
    return None


def _cheapest(
    crop: _Crop, shape: _Shape, lobe_label: int, points: Ints, bound: Floats, outline: npt.NDArray[np.float32], margin_mm: float
) -> tuple[Ints | None, float]:  # fmt: skip
    """Of candidate anchors (n, 3) with a lower bound of their cost each, the cheapest at which the rules hold."""
    order = np.argsort(bound, kind="stable")
    points, bound = points[order], bound[order]
    labels, free, room = crop.labels.ravel(), crop.free.ravel(), outline.ravel()
    surface, voxels, shell = (crop.flat(x) for x in (shape.surface, shape.voxels, shape.shell))
    at = crop.flat(points)
    best, cost = None, np.inf
    step = max(1, _GATHERED // max(1, len(surface)))
    some = max(1, _GATHERED // max(1, len(voxels) + len(shell)))
    for first in range(0, len(points), step):
        if bound[first] >= cost:
            break
        batch = np.arange(first, min(first + step, len(points)))
        batch = batch[free[at[batch][:, None] + surface].all(axis=1)]
        for begin in range(0, len(batch), some):
            part = batch[begin : begin + some]
            if bound[part[0]] >= cost:
                break
            own = at[part][:, None] + voxels
            fits = free[own].all(axis=1) & ((labels[own] == lobe_label).mean(axis=1) >= 0.5)
            fits &= _lobe_around(labels[at[part][:, None] + shell]) == lobe_label
            part = part[fits]
            if len(part):
                short = np.maximum(0.0, margin_mm - room[at[part][:, None] + surface].min(axis=1))
                total = bound[part] + MARGIN_WEIGHT * short
                if total.min() < cost:
                    best, cost = points[part[int(total.argmin())]], float(total.min())
    return best, cost
