"""Fills in what was drawn on a slice: coloured pixels take the grey of their nearest uncoloured neighbour.

Knows pixels only: neither what was drawn nor why.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: Pixels around a drawing in which its nearest grey neighbours are looked for first (ours: a drawing's lines are a few
#: pixels wide).
_NEAR = 8


def fill_drawing(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey image (H, W) of a grey (H, W) or colour (H, W, 3) one, without its coloured pixels."""
    if image.ndim == 2:
        return image
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    drawn = (red != green) | (red != blue)
    grey = red.copy()
    if not drawn.any() or drawn.all():
        return grey
    rows, columns = np.flatnonzero(drawn.any(axis=1)), np.flatnonzero(drawn.any(axis=0))
    near = (
        slice(max(0, int(rows[0]) - _NEAR), int(rows[-1]) + 1 + _NEAR),
        slice(max(0, int(columns[0]) - _NEAR), int(columns[-1]) + 1 + _NEAR),
    )
    if not _fill(grey[near], drawn[near], _NEAR):
        _fill(grey, drawn, np.inf)
    return grey


def _fill(grey: npt.NDArray[np.uint8], drawn: npt.NDArray[np.bool_], within: float) -> bool:
    """Fill drawn pixels in place if each has a grey neighbour at most ``within`` pixels away; whether it was done."""
    if drawn.all():
        return False
    far, nearest = ndimage.distance_transform_edt(drawn, return_indices=True)
    if far.max() > within:
        return False
    grey[drawn] = grey[tuple(axis[drawn] for axis in nearest)]
    return True
