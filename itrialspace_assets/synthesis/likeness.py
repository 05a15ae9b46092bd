"""How alike two lesions look: HU inside, sharpness of the border, texture. Knows volumes and lesions; no table."""

from dataclasses import dataclass

import numpy as np
from scipy import ndimage

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, lesion_box
from itrialspace_assets.synthesis.fidelity import Floats
from itrialspace_assets.synthesis.quality import HIGH_HU, LOW_HU

#: Edges of bins of 50 HU: a small lesion has a few dozen voxels, so bins are wider than those of whole CTs (ours).
_BINS = np.arange(LOW_HU, HIGH_HU + 1, 50.0)
#: Voxels inside the border that texture needs (ours).
LEAST_INSIDE = 8
#: Voxels around a lesion that its border's gradient needs.
_AROUND = (2, 2, 2)


@dataclass(frozen=True)
class Look:
    """What is measured of one lesion.

    Attributes:
        shares: of its voxels by HU, in bins of 50 HU.
        edge: mean size of the HU gradient over the voxels of its border, HU per mm.
        texture: standard deviation of HU over the voxels inside the border; None with fewer than 8 of them.
        voxels: of the lesion.
    """

    shares: Floats
    edge: float
    texture: float | None
    voxels: int


def look(ct: Volume, lesion: Lesion) -> Look:
    """Measure a lesion.

    Args:
        ct: HU (X, Y, Z).
        lesion: its voxels on the same grid.
    """
    box = lesion_box([lesion], ct.array.shape, _AROUND)
    hu = np.clip(ct.array[box].astype(np.float64), LOW_HU, HIGH_HU)
    mask = np.zeros(hu.shape, bool)
    mask[tuple(slice(a.start - b.start, a.stop - b.start) for a, b in zip(lesion.box, box, strict=True))] = lesion.mask
    inside = ndimage.binary_erosion(mask)
    slopes = np.gradient(hu, *(float(s) for s in ct.spacing))
    steepness = np.sqrt(np.sum(np.square(slopes), axis=0))
    counts = np.histogram(hu[mask], _BINS)[0]
    texture = float(hu[inside].std()) if inside.sum() >= LEAST_INSIDE else None
    return Look(counts / counts.sum(), float(steepness[mask & ~inside].mean()), texture, int(mask.sum()))


def shared(a: Look, b: Look) -> float:
    """Share of their HU histograms that two lesions have in common, 0 to 1; of few voxels below 1 by chance alone."""
    return float(np.minimum(a.shares, b.shares).sum())
