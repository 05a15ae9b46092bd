"""Preprocess profiles: plane, windows, pixel size and file of a picture; names and numbers of the published sets.

A profile is one row of the table below. Nothing here reads a volume or draws guidance.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import ConfigError

Image8 = npt.NDArray[np.uint8]

#: Axes (of RAS+ volumes) that planes are cut across.
SAGITTAL, CORONAL, AXIAL = 0, 1, 2


@dataclass(frozen=True)
class Window:
    """HU that become grey 0 to 255; the scaled value is truncated, or rounded half to even, as published."""

    low: float
    high: float
    rounded: bool = False

    def grey(self, hu: npt.NDArray[np.generic]) -> Image8:
        """8-bit grey of HU (any shape)."""
        scaled = (np.clip(hu.astype(np.float64), self.low, self.high) - self.low) / (self.high - self.low) * 255
        return (np.rint(scaled) if self.rounded else scaled).astype(np.uint8)


@dataclass(frozen=True)
class PreprocessProfile:
    """How a plane becomes a picture.

    Attributes:
        name: as in tables and settings.
        windows: one for a grey picture (H, W), three for a colour one (H, W, 3).
        axis: the axis that the plane is cut across: ``AXIAL``, ``CORONAL`` or ``SAGITTAL``.
        pixel_mm: width and height of a pixel that the plane is resampled to; None: the voxels' own.
        bar_mm: length of a scale bar drawn into the picture; None: none.
        encoding: ``png``, or ``npy``: the uint8 array.
    """

    name: str
    windows: tuple[Window, ...]
    axis: int = AXIAL
    pixel_mm: float | None = None
    bar_mm: float | None = None
    encoding: Literal["png", "npy"] = "png"

    def picture(self, hu: npt.NDArray[np.generic]) -> Image8:
        """Grey (H, W) or colour (H, W, 3) of a plane of HU (H, W)."""
        channels = [window.grey(hu) for window in self.windows]
        return channels[0] if len(channels) == 1 else np.stack(channels, axis=-1)


# docs/facts/evaluation.md#windows
_LUNG = (Window(-1350, 150),)
_MEDGEMMA = (Window(-1024, 1024, True), Window(-135, 215, True), Window(0, 80, True))
#: Pixel size (mm) of the profile whose pictures are alike for all readers, whatever the scan; ours.
SAME_INPUT_MM = 0.7
#: Length (mm) of the scale bar; ours.
BAR_MM = 20.0
PROFILES = {
    p.name: p
    for p in (
        PreprocessProfile("lung_axial", _LUNG),
        PreprocessProfile("lung_axial_medgemma", _MEDGEMMA),
        PreprocessProfile("mediastinal_axial", (Window(-160, 240),)),
        PreprocessProfile("bone_axial", (Window(-500, 1300),)),
        PreprocessProfile("lung_coronal", _LUNG, axis=CORONAL),
        PreprocessProfile("lung_sagittal", _LUNG, axis=SAGITTAL),
        PreprocessProfile("lung_axial_npy", _LUNG, encoding="npy"),
        PreprocessProfile("lung_axial_0_7mm", _LUNG, pixel_mm=SAME_INPUT_MM),
        PreprocessProfile("lung_axial_0_7mm_bar", _LUNG, pixel_mm=SAME_INPUT_MM, bar_mm=BAR_MM),
    )
}
#: The profile that is cut unless a study asks for others.
DEFAULT = "lung_axial"


def profile(name: str) -> PreprocessProfile:
    """A profile by name.

    Raises:
        ConfigError: no such profile; lists those there are.
    """
    if name not in PROFILES:
        raise ConfigError(f"preprocess profile {name!r}: expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
