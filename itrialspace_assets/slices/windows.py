"""Preprocess profiles: HU to grey values. Names and numbers are those of the published sets."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import ConfigError


@dataclass(frozen=True)
class PreprocessProfile:
    """A window on an axial plane; centre and width in HU."""

    name: str
    centre: float
    width: float

    def grey(self, plane: npt.NDArray[np.generic]) -> npt.NDArray[np.uint8]:
        """8-bit grey of HU; the scaled value is truncated, as in the published sets."""
        low = self.centre - self.width / 2
        scaled = (np.clip(plane.astype(np.float64), low, low + self.width) - low) / self.width * 255
        return scaled.astype(np.uint8)


PROFILES = {
    p.name: p
    for p in (
        PreprocessProfile("lung_axial", -600, 1500),
        PreprocessProfile("mediastinal_axial", 40, 400),
        PreprocessProfile("bone_axial", 400, 1800),
    )
}
DEFAULT = "lung_axial"


def profile(name: str) -> PreprocessProfile:
    """A profile by name.

    Raises:
        ConfigError: no such profile; lists those there are.
    """
    if name not in PROFILES:
        raise ConfigError(f"preprocess profile {name!r}: expected one of {', '.join(PROFILES)}")
    return PROFILES[name]
