"""Slices of a CT as the original's viewers show them: window, mask, letters of orientation, cross at the nodule.

Radiological view with square pixels: patient right on the image's left, front or head on top. Reads no file.
"""

from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.pictures import png, radiological

#: Centre and width (HU) of each window (published).
WINDOWS: Mapping[str, tuple[float, float]] = {
    "lung": (-600, 1500),
    "mediastinum": (40, 400),
    "bone": (400, 1800),
    "soft_tissue": (50, 350),
}
#: Plane -> the axis that it lies across, and its letters on the left, right, top and bottom (published).
PLANES: Mapping[str, tuple[int, str]] = {"axial": (2, "RLAP"), "coronal": (1, "RLSI"), "sagittal": (0, "APSI")}
#: Colours (red, green, blue), share of the mask's colour, and sizes in pixels (published).
_MASK, _SHARE, _LETTERS, _LETTER_PX, _CROSS, _CROSS_PX = (255, 50, 50), 0.35, (255, 255, 0), 14, (0, 255, 0), 8


def middle(ct: Volume, plane: str) -> int:
    """Index of the middle slice of a plane."""
    return int(ct.array.shape[PLANES[plane][0]]) // 2


def slice_picture(
    ct: Volume,
    plane: str,
    index: int,
    window: str = "lung",
    mask: Volume | None = None,
    cross: npt.NDArray[np.float64] | None = None,
) -> bytes:
    """PNG of one slice.

    Args:
        ct: HU (X, Y, Z), RAS+.
        plane: axial, coronal or sagittal.
        index: voxel index across the plane.
        window: one of ``WINDOWS``.
        mask: on the same grid; voxels above 0 are tinted.
        cross: voxel (3,) at which a cross is drawn.

    Raises:
        ConfigError: no such plane or window, or the index lies outside the volume.
    """
    from PIL import Image, ImageDraw, ImageFont

    for name, value, known in (("plane", plane, PLANES), ("window", window, WINDOWS)):
        if value not in known:
            raise ConfigError(f"{name} {value!r}: expected one of {', '.join(known)}")
    axis, letters = PLANES[plane]
    if not 0 <= index < ct.array.shape[axis]:
        raise ConfigError(f"index {index}: expected 0 to {ct.array.shape[axis] - 1} of the {plane} slices")
    across = tuple(a for a in range(3) if a != axis)
    centre, width = WINDOWS[window]
    hu = np.take(ct.array, index, axis).astype(np.float32)
    grey = np.clip((np.nan_to_num(hu, nan=-1e4) - centre + width / 2) / width * 255, 0, 255)
    colour = np.repeat(grey[..., None], 3, axis=2)
    if mask is not None:
        inside = np.take(mask.array, index, axis) > 0
        colour[inside] = (1 - _SHARE) * colour[inside] + _SHARE * np.array(_MASK)
    shown = np.stack([radiological(colour[..., c]) for c in range(3)], axis=2).astype(np.uint8)
    size = [ct.array.shape[a] for a in across]
    step = [float(ct.spacing[a]) / float(ct.spacing[list(across)].min()) for a in across]
    columns, rows = (max(1, round(n * s)) for n, s in zip(size, step, strict=True))
    image = Image.fromarray(np.ascontiguousarray(shown)).resize((columns, rows), Image.Resampling.BILINEAR)
    draw, font = ImageDraw.Draw(image), ImageFont.load_default(_LETTER_PX)
    if cross is not None:
        # a voxel's middle, counted from the right and from below: the view is turned
        x, y = (n - (cross[a] + 0.5) * s for n, a, s in zip((columns, rows), across, step, strict=True))
        draw.line([(x - _CROSS_PX, y), (x + _CROSS_PX, y)], _CROSS)
        draw.line([(x, y - _CROSS_PX), (x, y + _CROSS_PX)], _CROSS)
    places = (
        ((3, rows / 2), "lm"),
        ((columns - 3, rows / 2), "rm"),
        ((columns / 2, 3), "mt"),
        ((columns / 2, rows - 3), "mb"),
    )
    for letter, (at, anchor) in zip(letters, places, strict=True):
        draw.text(at, letter, _LETTERS, font, anchor)
    return png(np.asarray(image))
