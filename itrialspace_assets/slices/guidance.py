"""Draws guidance on a slice: a box, a contour, both, or nothing.

Guidance never covers what it points at: the box keeps three pixels of distance (published rule),
the contour runs two pixels outside the nodule (the published one is painted over it and hides
small nodules).
"""

import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.pictures import outline
from itrialspace_assets.records.tables import CONDITIONS

GREEN = (0, 255, 0)
RED = (255, 50, 50)
BOX_PADDING = 3
CONTOUR_GAP = 2


def draw(grey: npt.NDArray[np.uint8], mask: npt.NDArray[np.bool_], condition: str) -> npt.NDArray[np.uint8]:
    """A slice (H, W) under one condition; colour (H, W, 3) unless ``plain``.

    Args:
        grey: the slice (H, W).
        mask: pixels of what guidance points at (H, W).
        condition: which guidance.

    Raises:
        ValueError: no such condition, or guidance is asked for and the mask is empty.
    """
    if condition not in CONDITIONS:
        raise ValueError(f"expected one of {', '.join(CONDITIONS)}, got {condition!r}")
    if condition == "plain":
        return grey
    if not mask.any():
        raise ValueError("expected at least one pixel to point at, got an empty mask")
    image = np.repeat(grey[..., None], 3, axis=2)
    if "bbox" in condition:
        rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
        for pad in (BOX_PADDING, BOX_PADDING + 1):
            top, bottom = max(0, rows[0] - pad), min(grey.shape[0] - 1, rows[-1] + pad)
            left, right = max(0, columns[0] - pad), min(grey.shape[1] - 1, columns[-1] + pad)
            image[[top, bottom], left : right + 1] = GREEN
            image[top : bottom + 1, [left, right]] = GREEN
    if "contour" in condition:
        image[outline(mask, CONTOUR_GAP)] = RED
    return image
