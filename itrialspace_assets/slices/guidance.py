"""Draws guidance on a picture: a box, a contour, both, or nothing.

``contour`` runs two pixels outside what it points at and covers none of it. ``contour_published`` is that of the
published sets: painted over the edge, it hides small nodules. A box keeps three pixels of distance (published rule);
where the picture's border leaves less room its line is drawn on the border, beside the pixels that it points at.
"""

from collections.abc import Iterator

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.imaging.pictures import around, outline
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.slices.windows import Image8

Bools = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]

# docs/facts/evaluation.md#guidance
GREEN: Colour = (0, 255, 0)
RED: Colour = (255, 50, 50)
BOX_PADDING = 3
#: Pixels between a nodule and its contour; ours.
CONTOUR_GAP = 2


def in_colour(picture: Image8) -> Image8:
    """A copy (H, W, 3) of a grey (H, W) or colour (H, W, 3) picture."""
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture.copy()


def draw(picture: Image8, pointed_at: Bools, condition: str) -> Image8:
    """A picture under one condition, in colour (H, W, 3) unless ``plain``.

    Args:
        picture: grey (H, W) or colour (H, W, 3); not changed.
        pointed_at: pixels of what guidance points at (H, W). Nothing is drawn around none, as on a neighbour of the
            target's plane that the target does not reach.
        condition: which guidance.

    Raises:
        ValueError: no such condition.
    """
    if condition not in CONDITIONS:
        raise ValueError(f"expected one of {', '.join(CONDITIONS)}, got {condition!r}")
    if condition == "plain":
        return picture
    image = in_colour(picture)
    for pixels, colour in _marks(pointed_at, condition):
        image[pixels] = colour
    return image


def covers(pointed_at: Bools, condition: str, shown: Bools) -> bool:
    """Whether a condition draws over any pixel (H, W) that shows something.

    Args:
        pointed_at: what guidance points at (H, W).
        condition: which guidance.
        shown: the pixels in question (H, W): of the target, also where guidance points elsewhere.
    """
    return any(bool((pixels & shown).any()) for pixels, _ in _marks(pointed_at, condition))


def _marks(pointed_at: Bools, condition: str) -> Iterator[tuple[Bools, Colour]]:
    """Pixels and colour of what a condition draws, in order."""
    if not pointed_at.any():
        return
    if condition.startswith("bbox"):
        yield _box(pointed_at), GREEN
    if condition.endswith("contour"):
        yield outline(pointed_at, CONTOUR_GAP), RED
    if condition.endswith("contour_published"):
        yield _published_contour(pointed_at), RED


def _box(pointed_at: Bools) -> Bools:
    """Two nested rectangles of one pixel, clamped to the picture; never over what they point at."""
    line = np.zeros(pointed_at.shape, bool)
    height, width = np.shape(pointed_at)
    rows, columns = np.flatnonzero(pointed_at.any(axis=1)), np.flatnonzero(pointed_at.any(axis=0))
    for pad in (BOX_PADDING, BOX_PADDING + 1):
        top, bottom = max(0, rows[0] - pad), min(height - 1, rows[-1] + pad)
        left, right = max(0, columns[0] - pad), min(width - 1, columns[-1] + pad)
        line[[top, bottom], left : right + 1] = True
        line[top : bottom + 1, [left, right]] = True
    return line & ~pointed_at


def _published_contour(pointed_at: Bools) -> Bools:
    """The inner edge, dilated once: about three pixels wide, over the nodule (docs/facts/evaluation.md#guidance)."""
    cross = ndimage.generate_binary_structure(2, 1)
    line = np.zeros(pointed_at.shape, bool)
    part = around(pointed_at, 1)
    edge = pointed_at[part] & ~ndimage.binary_erosion(pointed_at[part], cross)
    line[part] = ndimage.binary_dilation(edge, cross)
    return line
