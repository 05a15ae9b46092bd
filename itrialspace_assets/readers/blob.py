"""The blob reader's answers to slices: a Laplacian-of-Gaussian detector, a self-test of contrast to noise.

It is no model under study. It finds bright round spots inside dark lung from pixels alone, says whether there is one
and how wide it is, and does not know lobes. Coloured pixels are filled in from their grey neighbours before it looks.

Slices of one plane differ in what is drawn on them, so the last plane that was filtered is remembered, and of the next
slice only what differs is filtered again. The answer is that of filtering the whole slice, bit for bit.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.readers.drawing import fill_drawing
from itrialspace_assets.readers.filters import (
    Box,
    Image,
    bounds,
    common,
    curvatures,
    gaussian_in,
    grow,
    holds,
    inside,
    mixed_curvature,
    reach_of,
)
from itrialspace_assets.readers.lungs import dark, lung_region

VERSION = "2"
TRAINED_ON = "nothing (fixed filter)"
#: Scales in mm (ours): radii from about 2 to 19 mm in a plane.
SCALES_MM = (1.5, 2.4, 3.8, 6.0, 9.5, 13.5)
#: Window of the slices it is given (profile lung_axial), HU (docs/facts/evaluation.md#windows).
LOW_HU, HIGH_HU = -1350.0, 150.0
#: What it looks at is clipped here, so that bone is no brighter than a nodule (ours).
CLIP_HU = (-1000.0, 100.0)

#: HU of each of the 256 grey values, and the same clipped.
_HU = np.asarray(np.arange(256, dtype=np.uint8) / 255 * (HIGH_HU - LOW_HU) + LOW_HU, dtype=np.float32)
_SEEN_HU = np.clip(_HU, *CLIP_HU)
_IS_DARK = dark(_HU)


@dataclass(frozen=True)
class Finding:
    """The strongest spot of a slice: response in HU and diameter in mm; zero response without lung."""

    score: float
    diameter_mm: float


@dataclass(frozen=True)
class _Filtered:
    """A slice and its filters' outcome, one array (H, W) a scale: smoothed HU and roundness in HU.

    Roundness is valid in ``window``, smoothed HU one pixel farther.
    """

    seen: Image
    pixel_mm: tuple[float, float]
    window: Box
    smooth: list[Image]
    roundness: list[Image]


#: The last slice that was filtered as a whole.
_LAST: list[_Filtered] = []


def read_slice(image: npt.NDArray[np.uint8], pixel_mm: tuple[float, float]) -> Finding:
    """The strongest spot of a slice.

    Args:
        image: (H, W) grey or (H, W, 3) colour, window lung_axial, front on top, the patient's right on the left.
        pixel_mm: pixel height and width.
    """
    grey = fill_drawing(image)
    region = lung_region(_IS_DARK[grey])
    window = bounds(region)
    best = Finding(0.0, SCALES_MM[0])
    if window is None:
        return best
    lung = region[window]
    for scale, roundness in zip(SCALES_MM, _roundness(_SEEN_HU[grey], pixel_mm, window), strict=True):
        peak = float(roundness[window][lung].max())
        if peak > best.score:
            best = Finding(round(peak, 3), round(float(2 * np.sqrt(2) * scale), 3))
    return best


def _roundness(seen: Image, pixel_mm: tuple[float, float], window: Box) -> list[Image]:
    """Roundness of a slice at each scale (HU), arrays (H, W) that are valid in ``window``."""
    last = _LAST[0] if _LAST else None
    if last and last.pixel_mm == pixel_mm and last.seen.shape == seen.shape and holds(last.window, window):
        changed = bounds(last.seen != seen)
        if changed is None:
            return last.roundness
        if 2 * (changed[0].stop - changed[0].start) * (changed[1].stop - changed[1].start) < seen.size:
            return [_renewed(last, seen, i, changed) for i in range(len(SCALES_MM))]
    spacing = np.asarray(pixel_mm, dtype=np.float64)
    outer = grow(window, 1, seen.shape)
    smooth, roundness = [], []
    for scale in SCALES_MM:
        here = gaussian_in(seen, scale / spacing, outer)
        smooth.append(_placed(here, outer, seen.shape))
        roundness.append(_placed(_round(here, spacing, scale)[inside(window, outer)], window, seen.shape))
    _LAST[:] = [_Filtered(seen, pixel_mm, window, smooth, roundness)]
    return roundness


def _renewed(last: _Filtered, seen: Image, number: int, changed: Box) -> Image:
    """Roundness at one scale of a slice that differs from the last one in the box ``changed`` alone."""
    scale, spacing = SCALES_MM[number], np.asarray(last.pixel_mm, dtype=np.float64)
    outer = grow(last.window, 1, seen.shape)
    blurred = common(grow(changed, reach_of(scale / spacing), seen.shape), outer)
    touched = common(grow(blurred, 1, seen.shape), last.window) if blurred else None
    if blurred is None or touched is None:
        return last.roundness[number]
    block = grow(touched, 1, seen.shape)
    smooth = last.smooth[number][block].copy()
    seam = common(blurred, block)
    assert seam is not None  # what is touched lies in or beside what is blurred
    smooth[inside(seam, block)] = gaussian_in(seen, scale / spacing, seam)
    roundness = last.roundness[number].copy()
    roundness[touched] = _round(smooth, spacing, scale)[inside(touched, block)]
    return roundness


def _round(smooth: Image, spacing: npt.NDArray[np.float64], scale: float) -> Image:
    """Twice the weaker principal curvature, scale-normalised, HU: the LoG on a disc, nothing on a line."""
    xx, yy = curvatures(smooth, spacing)
    xy = mixed_curvature(smooth, spacing, 0, 1)
    weaker = (xx + yy) / 2 + np.sqrt(((xx - yy) / 2) ** 2 + xy**2)
    return np.asarray(-2 * scale**2 * weaker, dtype=np.float32)


def _placed(part: Image, box: Box, shape: tuple[int, ...]) -> Image:
    """An image with ``part`` in a box and zero elsewhere."""
    image = np.zeros(shape, np.float32)
    image[box] = part
    return image
