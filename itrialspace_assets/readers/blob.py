"""The blob reader: a Laplacian-of-Gaussian detector, a self-test of contrast to noise.

It is no model under study. It finds bright round spots inside dark lung from pixels alone, says
whether there is one and how wide it is, and does not know lobes. Coloured pixels are somebody's
drawing: they are filled in from their grey neighbours before it looks.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.imaging.geometry import Box, Volume, bounding_box

VERSION = "2"
TRAINED_ON = "nothing (fixed filter)"
#: Scales in mm: radii from about 2 to 19 mm in a plane.
SCALES_MM = (1.5, 2.4, 3.8, 6.0, 9.5, 13.5)
SCALES_3D_MM = (2.0, 3.2, 5.0, 8.0, 12.0)
GRID_3D_MM = 2.5
#: Grid on which lungs are told from outside air.
ROUGH_MM = 4.0
#: Window of the slices it is given (profile lung_axial), HU.
LOW_HU, HIGH_HU = -1350.0, 150.0
LUNG_BELOW_HU = -450.0
#: What it looks at is clipped here, so that bone is no brighter than a nodule.
CLIP_HU = (-1000.0, 100.0)


@dataclass(frozen=True)
class Finding:
    """The strongest spot of a slice: response in HU and diameter in mm; zero response without lung."""

    score: float
    diameter_mm: float


@dataclass(frozen=True)
class Mark:
    """A spot of a scan: world position (mm, RAS), diameter in mm, response in HU."""

    world: tuple[float, float, float]
    diameter_mm: float
    score: float


def fill_drawing(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey image (H, W) of a grey or colour one; coloured pixels take their nearest grey neighbour."""
    if image.ndim == 2:
        return image
    drawn = (image.max(axis=2) - image.min(axis=2)) > 0
    grey = image[..., 0].copy()
    if drawn.any() and not drawn.all():
        nearest = ndimage.distance_transform_edt(drawn, return_distances=False, return_indices=True)
        grey[drawn] = grey[tuple(axis[drawn] for axis in nearest)]
    return grey


def lung_region(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Dark regions that do not touch the image's border, with what they enclose filled in."""
    dark = hu < LUNG_BELOW_HU
    parts, count = ndimage.label(dark)
    if not count:
        return dark
    faces = [np.take(parts, i, axis=a).ravel() for a in range(parts.ndim if parts.ndim == 2 else 2) for i in (0, -1)]
    outside = np.zeros(count + 1, bool)
    outside[np.unique(np.concatenate(faces))] = True
    outside[0] = True
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    outside |= sizes < 0.002 * hu.size  # trachea, bowel gas
    inside = ~outside[parts]
    if hu.ndim == 2:
        return np.asarray(ndimage.binary_fill_holes(inside), dtype=bool)
    return np.stack([ndimage.binary_fill_holes(inside[..., k]) for k in range(hu.shape[2])], axis=2)


def _curvatures(smooth: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64]) -> list[npt.NDArray[np.float32]]:
    """Second derivative along each axis (HU/mm²)."""
    kernel = np.array([1.0, -2.0, 1.0])
    return [
        ndimage.correlate1d(smooth, kernel / step**2, axis=axis, mode="nearest") for axis, step in enumerate(spacing)
    ]


def _mixed(
    smooth: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64], a: int, b: int
) -> npt.NDArray[np.float32]:
    """Mixed second derivative (HU/mm²)."""
    kernel = np.array([-0.5, 0.0, 0.5])
    along = ndimage.correlate1d(smooth, kernel / spacing[a], axis=a, mode="nearest")
    return np.asarray(ndimage.correlate1d(along, kernel / spacing[b], axis=b, mode="nearest"))


def _roundness_2d(
    hu: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64], scale: float
) -> npt.NDArray[np.float32]:
    """Twice the weaker principal curvature, scale-normalised, HU: the LoG on a disc, nothing on a line."""
    smooth = ndimage.gaussian_filter(hu, scale / spacing, truncate=3.0, mode="nearest")
    xx, yy = _curvatures(smooth, spacing)
    xy = _mixed(smooth, spacing, 0, 1)
    weaker = (xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.asarray(-2 * scale**2 * weaker, dtype=np.float32)


def read_slice(image: npt.NDArray[np.uint8], pixel_mm: tuple[float, float]) -> Finding:
    """The strongest spot of a slice.

    Args:
        image: (H, W) grey or (H, W, 3) colour, window lung_axial.
        pixel_mm: pixel height and width.
    """
    hu = np.asarray(fill_drawing(image) / 255 * (HIGH_HU - LOW_HU) + LOW_HU, dtype=np.float32)
    region = lung_region(hu)
    if not region.any():
        return Finding(0.0, SCALES_MM[0])
    spacing = np.asarray(pixel_mm, dtype=np.float64)
    seen = np.clip(hu, *CLIP_HU)
    best = Finding(0.0, SCALES_MM[0])
    for scale in SCALES_MM:
        peak = float(_roundness_2d(seen, spacing, scale)[region].max())
        if peak > best.score:
            best = Finding(round(peak, 3), round(float(2 * np.sqrt(2) * scale), 3))
    return best


def _coarse(ct: Volume, box: Box) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float64]]:
    """HU on a grid of about 2.5 mm: block means where the grid is much finer, then linear; voxel size (mm)."""
    part = ct.array[box]
    step = np.maximum(1, np.floor(GRID_3D_MM / ct.spacing)).astype(int)
    n = np.asarray(part.shape) // step
    cut = part[: n[0] * step[0], : n[1] * step[1], : n[2] * step[2]].astype(np.float32)
    blocks = cut.reshape(n[0], step[0], n[1], step[1], n[2], step[2]).mean(axis=(1, 3, 5))
    zoom = np.minimum(1.0, ct.spacing * step / GRID_3D_MM)
    grid = ndimage.zoom(blocks, zoom, order=1, mode="nearest", grid_mode=True)
    return grid, ct.spacing * step * np.asarray(blocks.shape) / np.asarray(grid.shape)


def read_volume(ct: Volume, marks: int) -> list[Mark]:
    """The strongest spots of a scan, best first, no two within the larger's radius.

    Spots are peaks of the Laplacian of Gaussian over position and scale; a spot's score is three
    times its weakest principal curvature, so that vessels, flat along themselves, score low.
    """
    step = np.maximum(1, np.rint(ROUGH_MM / ct.spacing)).astype(int)
    rough = lung_region(ct.array[tuple(slice(None, None, int(s)) for s in step)].astype(np.float32))
    if not rough.any():
        return []
    low = bounding_box(rough, pad=1)
    bounds = [
        slice(int(s.start * k), int(min(n, s.stop * k))) for s, k, n in zip(low, step, ct.array.shape, strict=True)
    ]
    box = (bounds[0], bounds[1], bounds[2])
    hu, spacing = _coarse(ct, box)
    nearest = [
        np.minimum((np.arange(n) * d / c / k).astype(int), s.stop - s.start - 1)
        for n, d, c, k, s in zip(hu.shape, spacing, ct.spacing, step, low, strict=True)
    ]
    region = rough[low][np.ix_(*nearest)]
    seen = np.clip(hu, *CLIP_HU)
    smooths = [ndimage.gaussian_filter(seen, s / spacing, truncate=3.0, mode="nearest") for s in SCALES_3D_MM]
    stack = np.stack([-(s**2) * sum(_curvatures(g, spacing)) for s, g in zip(SCALES_3D_MM, smooths, strict=True)])
    scale, best = stack.argmax(axis=0), stack.max(axis=0)
    peaks = (best == ndimage.maximum_filter(best, size=3)) & region & (best > 0)
    at = np.argwhere(peaks)
    scale = scale[peaks]
    scores = _roundness_3d(smooths, spacing, at, scale)
    order = np.lexsort((at[:, 2], at[:, 1], at[:, 0], -scores))
    found: list[Mark] = []
    kept = np.empty((0, 3))
    for i in order[scores[order] > 0]:
        radius = np.sqrt(3) * SCALES_3D_MM[scale[i]]
        position = at[i] * spacing
        if len(kept) and np.linalg.norm(kept - position, axis=1).min() < max(radius, 6.0):
            continue
        kept = np.vstack([kept, position])
        fine = np.array([s.start for s in box]) + (at[i] + 0.5) * spacing / ct.spacing - 0.5
        world = ct.to_world(fine)
        found.append(
            Mark(
                (round(float(world[0]), 3), round(float(world[1]), 3), round(float(world[2]), 3)),
                round(float(2 * radius), 3),
                round(float(scores[i]), 3),
            )
        )
        if len(found) == marks:
            break
    return found


def _roundness_3d(
    smooths: list[npt.NDArray[np.float32]],
    spacing: npt.NDArray[np.float64],
    at: npt.NDArray[np.int64],
    scale: npt.NDArray[np.int64],
) -> npt.NDArray[np.float64]:
    """Three times the weakest principal curvature at each peak, scale-normalised, HU."""
    scores = np.zeros(len(at))
    for level, smooth in enumerate(smooths):
        here = scale == level
        if not here.any():
            continue
        points = at[here]
        padded = np.pad(smooth, 1, mode="edge")

        def value(
            dx: int, dy: int, dz: int, points: npt.NDArray[np.int64] = points, padded: npt.NDArray[np.float32] = padded
        ) -> npt.NDArray[np.float64]:
            return padded[points[:, 0] + 1 + dx, points[:, 1] + 1 + dy, points[:, 2] + 1 + dz].astype(np.float64)

        hessian = np.empty((len(points), 3, 3))
        unit = np.eye(3, dtype=int)
        for a in range(3):
            hessian[:, a, a] = (value(*unit[a]) - 2 * value(0, 0, 0) + value(*-unit[a])) / spacing[a] ** 2
            for b in range(a):
                mixed = (
                    value(*(unit[a] + unit[b]))
                    - value(*(unit[a] - unit[b]))
                    - value(*(unit[b] - unit[a]))
                    + value(*(-unit[a] - unit[b]))
                )
                hessian[:, a, b] = hessian[:, b, a] = mixed / (4 * spacing[a] * spacing[b])
        scores[here] = -3 * SCALES_3D_MM[level] ** 2 * np.linalg.eigvalsh(hessian)[:, -1]
    return scores
