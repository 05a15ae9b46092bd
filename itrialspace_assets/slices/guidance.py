"""Draws guidance on a picture: a box, a contour, both, or nothing.

``contour`` runs two pixels outside what it points at and covers none of it. ``contour_published`` is that of the
published sets: painted over the edge, it hides small nodules. A box keeps three pixels of distance (published rule);
where the picture's border leaves less room its line is drawn on the border, beside the pixels that it points at.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.imaging.pictures import outline
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.slices.windows import Image8

Bools = npt.NDArray[np.bool_]
Colour = tuple[int, int, int]
#: Rows and columns.
Pixels = tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]

# docs/facts/evaluation.md#guidance
GREEN: Colour = (0, 255, 0)
RED: Colour = (255, 50, 50)
BOX_PADDING = 3
#: Pixels between a nodule and its contour; ours.
CONTOUR_GAP = 2


def in_colour(picture: Image8) -> Image8:
    """A copy (H, W, 3) of a grey (H, W) or colour (H, W, 3) picture."""
    if picture.ndim == 3:
        return picture.copy()
    colour = np.empty((*picture.shape, 3), np.uint8)
    colour[...] = picture[..., None]
    return colour


@dataclass(frozen=True, eq=False)
class Guidance:
    """What is drawn around some pixels; each mark is worked out once for all pictures of a plane.

    Attributes:
        pointed_at: pixels of what guidance points at (H, W). Nothing is drawn around none, as on a neighbour of the
            target's plane that the target does not reach.
    """

    pointed_at: Bools

    def draw(self, picture: Image8, condition: str) -> Image8:
        """A picture (H, W) or (H, W, 3), not changed, under one condition; in colour (H, W, 3) unless ``plain``.

        Raises:
            ValueError: no such condition.
        """
        marks = self._marks(condition)
        if condition == "plain":
            return picture
        image = in_colour(picture)
        for pixels, colour in marks:
            image[pixels] = colour
        return image

    def covers(self, condition: str, shown: Bools) -> bool:
        """Whether a condition draws over any of the pixels (H, W) that show the target, wherever guidance points."""
        return any(bool(shown[pixels].any()) for pixels, _ in self._marks(condition))

    def _marks(self, condition: str) -> list[tuple[Pixels, Colour]]:
        """Pixels and colour of what a condition draws, in order."""
        if condition not in CONDITIONS:
            raise ValueError(f"expected one of {', '.join(CONDITIONS)}, got {condition!r}")
        if condition == "plain" or self._extent is None:
            return []
        found = [(self._box, GREEN)] if condition.startswith("bbox") else []
        if condition.endswith("contour"):
            found.append((self._contour, RED))
        if condition.endswith("contour_published"):
            found.append((self._published_contour, RED))
        return found

    @cached_property
    def _extent(self) -> tuple[int, int, int, int] | None:
        """First and last row, first and last column of what is pointed at."""
        rows = np.flatnonzero(self.pointed_at.any(axis=1))
        if not len(rows):
            return None
        columns = np.flatnonzero(self.pointed_at[rows[0] : rows[-1] + 1].any(axis=0))
        return int(rows[0]), int(rows[-1]), int(columns[0]), int(columns[-1])

    @cached_property
    def _box(self) -> Pixels:
        """Two nested rectangles of one pixel, clamped to the picture; never over what they point at."""

        def lines(part: Bools, top: int, left: int) -> Bools:
            assert self._extent is not None
            first, last, start, stop = self._extent
            height, width = np.shape(self.pointed_at)
            drawn = np.zeros_like(part)
            for pad in (BOX_PADDING, BOX_PADDING + 1):
                upper, lower = max(0, first - pad) - top, min(height - 1, last + pad) - top
                west, east = max(0, start - pad) - left, min(width - 1, stop + pad) - left
                drawn[[upper, lower], west : east + 1] = True
                drawn[upper : lower + 1, [west, east]] = True
            return drawn & ~part

        return self._near(BOX_PADDING + 1, lines)

    @cached_property
    def _contour(self) -> Pixels:
        return self._near(CONTOUR_GAP + 1, lambda part, *_: outline(part, CONTOUR_GAP))

    @cached_property
    def _published_contour(self) -> Pixels:
        """The inner edge, dilated once: three pixels wide, over the nodule (docs/facts/evaluation.md#guidance)."""

        def edge(part: Bools, *_: int) -> Bools:
            cross = ndimage.generate_binary_structure(2, 1)
            return np.asarray(ndimage.binary_dilation(part & ~ndimage.binary_erosion(part, cross), cross), dtype=bool)

        return self._near(1, edge)

    def _near(self, pad: int, drawn: Callable[[Bools, int, int], Bools]) -> Pixels:
        """Rows and columns that are drawn on the part around what is pointed at, with ``pad`` pixels on each side.

        Args:
            pad: how far the mark reaches.
            drawn: gives the mark's pixels from the part, its first row and its first column.
        """
        assert self._extent is not None
        first, last, start, stop = self._extent
        top, left = max(0, first - pad), max(0, start - pad)
        part = self.pointed_at[top : last + pad + 1, left : stop + pad + 1]
        rows, columns = np.nonzero(drawn(part, top, left))
        return rows + top, columns + left


def draw(picture: Image8, pointed_at: Bools, condition: str) -> Image8:
    """One picture under one condition; see ``Guidance``.

    Args:
        picture: grey (H, W) or colour (H, W, 3); not changed.
        pointed_at: pixels of what guidance points at (H, W).
        condition: which guidance.
    """
    return Guidance(pointed_at).draw(picture, condition)
