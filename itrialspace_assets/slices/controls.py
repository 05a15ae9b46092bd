"""Controls that show whether a reader looks at pixels: a picture without anatomy, and guidance on the other side.

A reader that answers a blank picture as it answers a slice, or follows a box wherever it stands, does not read.
Knows no file and no table.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.slices.windows import Image8

Bools = npt.NDArray[np.bool_]

#: HU above which a pixel counts as body for the line that a place is mirrored about; ours: above lung, below fat.
BODY_HU = -500.0


def blank(picture: Image8) -> Image8:
    """A picture (H, W) or (H, W, 3) with its mean in every pixel, each channel by itself, rounded half to even."""
    mean = np.rint(picture.mean(axis=(0, 1), dtype=np.float64)).astype(np.uint8)
    return np.broadcast_to(mean, picture.shape).copy()


def contralateral(hu: npt.NDArray[Any], pointed_at: Bools) -> Bools:
    """The place (H, W) mirrored left-right about the middle of the body.

    Where it would leave the picture it is moved to the border. The middle is the mean column of what is denser than
    ``BODY_HU``, without the place itself, so that a lesion image and its twin have the same; without any such pixel it
    is the picture's.

    Args:
        hu: the plane (H, W), axial or coronal.
        pointed_at: pixels of the place (H, W).
    """
    width = hu.shape[1]
    per_column = ((hu > BODY_HU) & ~pointed_at).sum(axis=0)
    total = int(per_column.sum())
    twice = round(2 * float((per_column * np.arange(width)).sum()) / total) if total else width - 1
    found = np.zeros(pointed_at.shape, bool)
    rows, columns = np.nonzero(pointed_at)
    if len(columns):
        mirrored = twice - columns
        mirrored += max(0, -int(mirrored.min())) - max(0, int(mirrored.max()) - width + 1)
        found[rows, mirrored] = True
    return found
