"""All pictures of one plane: in the profile's windows, with its scale bar, under every condition and control.

Knows no table and writes no file.
"""

import io
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.pictures import png
from itrialspace_assets.slices.controls import blank, contralateral
from itrialspace_assets.slices.guidance import Guidance
from itrialspace_assets.slices.planes import Plane
from itrialspace_assets.slices.windows import SAGITTAL, Image8, PreprocessProfile

Bools = npt.NDArray[np.bool_]

#: Pixels that a scale bar is high, and keeps from the picture's lower right corner; ours.
BAR_PIXELS, BAR_MARGIN = 3, 8


@dataclass(frozen=True, eq=False)
class DrawnPicture:
    """One picture of a plane; ``covers`` says whether a pixel that shows the target was drawn over."""

    condition: str
    control: str
    image: Image8
    covers: bool


def pictures_of(plane: Plane, pointed_at: Bools, pictures: tuple[tuple[str, str], ...]) -> Iterator[DrawnPicture]:
    """The pictures of a plane. A sagittal one has no other side, so none with a contralateral box.

    Args:
        plane: gives HU and profile.
        pointed_at: pixels (H, W) of what guidance surrounds; empty on a neighbour that it does not reach.
        pictures: (control, condition) of each.

    Raises:
        CaseRejected: the scale bar does not fit into the picture.
    """
    hu = plane.hu()
    shown = plane.profile.picture(hu)
    bar = scale_bar(shown.shape[:2], plane.profile.bar_mm, plane.pixel[0])
    bases = {"none": _white(shown, bar)}
    controls = {control for control, _ in pictures}
    if {"blank", "box_only"} & controls:
        bases["blank"] = bases["box_only"] = _white(blank(shown), bar)
    own = Guidance(pointed_at)
    across = Guidance(contralateral(hu, pointed_at)) if "contralateral_box" in controls else own
    under_bar = bool((bar & pointed_at).any())
    for control, condition in pictures:
        if control == "contralateral_box" and plane.profile.axis == SAGITTAL:
            continue
        guidance = across if control == "contralateral_box" else own
        image = guidance.draw(bases.get(control, bases["none"]), condition)
        yield DrawnPicture(condition, control, image, under_bar or guidance.covers(condition, pointed_at))


def scale_bar(shape: tuple[int, ...], length_mm: float | None, pixel_mm: float) -> Bools:
    """Pixels (H, W) of a bar in the lower right corner; none without a length.

    Args:
        shape: height and width of the picture.
        length_mm: length of the bar; None: no bar.
        pixel_mm: width of a pixel.

    Raises:
        CaseRejected: the picture is too small for it.
    """
    bar = np.zeros(shape, bool)
    if length_mm is None:
        return bar
    height, width = shape
    length = round(length_mm / pixel_mm)
    if length + BAR_MARGIN > width or height < BAR_PIXELS + BAR_MARGIN:
        raise CaseRejected(
            Reason.DOES_NOT_FIT,
            f"expected a picture that holds a scale bar of {length_mm:g} mm ({length} pixels), got {width}×{height}",
        )
    right, lower = width - BAR_MARGIN, height - BAR_MARGIN
    bar[lower - BAR_PIXELS : lower, right - length : right] = True
    return bar


def _white(picture: Image8, pixels: Bools) -> Image8:
    if not pixels.any():
        return picture
    marked = picture.copy()
    marked[pixels] = 255
    return marked


def encode(image: Image8, profile: PreprocessProfile) -> bytes:
    """The bytes of a picture's file; equal pixels give equal bytes."""
    if profile.encoding == "png":
        return png(image)
    out = io.BytesIO()
    np.save(out, np.ascontiguousarray(image), allow_pickle=False)
    return out.getvalue()
