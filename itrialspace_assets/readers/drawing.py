"""Fills in what was drawn on a slice: coloured pixels take the grey of their nearest uncoloured neighbour.

Knows pixels only: neither what was drawn nor why.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.readers.filters import bounds, grow


def fill_drawing(image: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Grey image (H, W) of a grey (H, W) or colour (H, W, 3) one, without its coloured pixels."""
    if image.ndim == 2:
        return image
    red, green, blue = image[..., 0], image[..., 1], image[..., 2]
    drawn = (red != green) | (red != blue)
    grey = red.copy()
    box = bounds(drawn)
    if box is None or drawn.all():
        return grey
    near = grow(box, 1, drawn.shape)  # what lies farther out is never the nearest
    part, here = grey[near], drawn[near]
    nearest = ndimage.distance_transform_edt(here, return_distances=False, return_indices=True)
    part[here] = part[tuple(axis[here] for axis in nearest)]
    return grey
