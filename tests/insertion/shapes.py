"""Lesions and hosts that tests of insertion share."""

import numpy as np

from itrialspace_assets.imaging.geometry import Volume

from ..conftest import small_chest


def ball(radius_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    half = [int(np.ceil(radius_mm / s)) + 1 for s in spacing]
    grid = np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)), indexing="ij")
    return sum(g**2 for g in grid) <= radius_mm**2


def chest_with_specks() -> Volume:
    """The small chest with an airway, a speck of a lobe far away, and no lobe 31."""
    chest = small_chest()
    chest.array[28, 20, 10:24] = 57
    chest.array[36, 31, 27] = 32
    return chest
