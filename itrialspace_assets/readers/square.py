"""Pads a picture to a square before any model's processor sees it, and counts what a processor's crop would lose.

Processors often shrink the shorter edge to a size and then cut the middle out, which cuts the sides off a picture that
is not square. A reader must not know where the target lies, so every pixel of the picture counts as the target's.
"""

import numpy as np

from itrialspace_assets.readers.api import Generation, Picture


def coloured(picture: Picture) -> Picture:
    """A picture (H, W) or (H, W, 3) in three channels."""
    return np.repeat(picture[..., None], 3, axis=2) if picture.ndim == 2 else picture


def squared(picture: Picture) -> Picture:
    """A picture (H, W) or (H, W, 3) in the middle of a black square; every window shows air as black."""
    height, width = picture.shape[:2]
    side = max(height, width)
    above, left = (side - height) // 2, (side - width) // 2
    rows, columns = (above, side - height - above), (left, side - width - left)
    return np.pad(picture, (rows, columns, (0, 0))[: picture.ndim])


def pixels_lost(shape: tuple[int, ...], edge: int, crop: tuple[int, int]) -> int:
    """Pixels of a squared picture that a processor cuts off, wholly or in part.

    Args:
        shape: height and width of the picture before it was padded.
        edge: edge of the square after the processor resized it.
        crop: height and width of the middle that the processor keeps.
    """
    height, width = shape[:2]
    side = max(height, width)
    kept = [_whole(n, (side - n) // 2, side, side * c / edge) for n, c in zip((height, width), crop, strict=True)]
    return height * width - kept[0] * kept[1]


def _whole(length: int, start: int, side: int, kept: float) -> int:
    """How many of ``length`` pixels from ``start`` on lie whole in the ``kept`` middle of ``side`` pixels."""
    low = np.ceil((side - kept) / 2 - 1e-6)
    high = np.floor((side + kept) / 2 + 1e-6)
    return max(0, int(min(start + length, high) - max(start, low)))


def rejected(lost: int) -> Generation:
    """What a reader returns for a request of whose picture its processor would lose pixels."""
    return Generation(failure=f"expected that the reader sees its whole picture, got {lost} pixels cut off by a crop")
