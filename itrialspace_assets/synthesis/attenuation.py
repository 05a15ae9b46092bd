"""HU of tissues before a scanner blurs them and adds noise: organs, lung, bone, nodules; with sources.

A table only; knows no image. Values are for unenhanced CT at 120 kV.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.anatomy import AIRWAY, BODY, BONES, LUNG, PULMONARY_VEIN, TRACHEA

PROKOP = "Prokop & Galanski, Spiral and Multislice Computed Tomography of the Body, Thieme 2003"
MAISI = "band of medians published with MAISI (docs/facts/synthesis.md#hu-bands)"
OURS = "ours: between its neighbours in this table; no publication"


@dataclass(frozen=True)
class Tissue:
    """HU of some labels.

    Attributes:
        labels: the labels.
        hu: mean.
        low: lower end of the published range that the mean lies in.
        high: upper end of that range.
        texture_hu: standard deviation of the texture. Ours.
        source: where the range is published.
    """

    labels: tuple[int, ...]
    hu: float
    low: float
    high: float
    texture_hu: float
    source: str


TISSUES: dict[str, Tissue] = {
    "air": Tissue((0, TRACHEA, AIRWAY), -1000, -1000, -1000, 0, "definition of the HU scale"),
    "liver": Tissue((1,), 55, 45, 65, 8, PROKOP),
    "spleen": Tissue((3,), 45, 35, 55, 8, PROKOP),
    "kidney": Tissue((5, 14), 30, 20, 40, 8, PROKOP),
    "blood": Tissue(
        (6, 7, 17, 25, 58, 59, 60, 61, 108, 109, 110, 111, 112, 113, 115, PULMONARY_VEIN, 123, 124, 125),
        48,
        45,
        65,
        8,
        PROKOP,
    ),
    "brain": Tissue((22,), 33, 20, 45, 8, f"{PROKOP} (white matter 20 to 30, grey matter 37 to 45)"),
    "spinal cord": Tissue((121,), 28, 20, 30, 8, f"{PROKOP} (white matter)"),
    "pancreas": Tissue((4,), 40, -56.59, 149.51, 8, MAISI),
    "fluid": Tissue((10, 15, 116, 117), 10, 0, 20, 8, "simple fluid: 0 to 20 HU, as radiology teaching has it"),
    "muscle": Tissue((*range(98, 108),), 38, 10, 40, 12, "skeletal muscle: 10 to 40 HU, as radiology teaching has it"),
    "bone": Tissue(BONES, 320, 71.40, 1000, 40, f"{MAISI}; spongy and compact bone together"),
    "cartilage": Tissue((114,), 110, 45, 320, 8, OURS),
    "body": Tissue((BODY,), -20, -100, 40, 55, f"fat and muscle unresolved; fat -100 to -50 HU: {PROKOP}"),
}
#: Every other organ: unenhanced soft tissue.
SOFT = Tissue((), 40, 20, 65, 8, f"{PROKOP}: from kidney to liver")

#: Aerated lung at the front and at the back of a person who lies on the back, in inspiration: the ends of the range
#: -910 to -850 HU in PROKOP. The lower parts are denser, by little at full inspiration: Millar & Denison, Thorax
#: 1989;44:485 (0.0715 g/cm3 in the middle at total lung capacity, a slight vertical gradient).
LUNG_FRONT_HU, LUNG_BACK_HU = -910.0, -850.0
#: Wall of trachea and bronchi: soft tissue, 1 to 3 mm thick in the trachea (Applied Radiology, MDCT of the central
#: airways), thinner further out. One thickness for all is ours.
WALL_HU, WALL_MM = 40.0, 1.5
#: Vessels of the lung hold blood.
VESSEL_HU = 48.0
#: Standard deviation (HU) of the parenchyma's grain, and its correlation length. Ours.
GRAIN_HU, GRAIN_MM = 30.0, 5.0


@dataclass(frozen=True)
class NoduleTissue:
    """Attenuation of a lesion.

    Attributes:
        mean_hu: mean.
        texture_hu: standard deviation of its inner texture.
        core_hu: mean of a denser core; None: it has none.
    """

    mean_hu: float = 35.0
    texture_hu: float = 12.0
    core_hu: float | None = None


#: Mean of the ground-glass part: between the cut-offs (-675 and -562 HU) found for that part of subsolid nodules by
#: Wang et al., Iran J Radiol 2018;15:e61846, and below the -400 HU above which Lee et al., PLoS One 2018;13:e0205490,
#: count a voxel as solid; a solid part lies above their higher threshold of -160 HU.
GLASS_HU = -600.0
SOLID = NoduleTissue()
NODULES: dict[str, NoduleTissue] = {
    "solid": SOLID,
    "part_solid": NoduleTissue(GLASS_HU, 25.0, SOLID.mean_hu),
    "ground_glass": NoduleTissue(GLASS_HU, 25.0),
}


def _tables() -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
    mean, texture = (np.full(256, v, dtype=np.float32) for v in (SOFT.hu, SOFT.texture_hu))
    for tissue in TISSUES.values():
        mean[list(tissue.labels)] = tissue.hu
        texture[list(tissue.labels)] = tissue.texture_hu
    mean[list(LUNG)] = (LUNG_FRONT_HU + LUNG_BACK_HU) / 2
    texture[list(LUNG)] = 0.0  # its own grain and vessels instead
    return mean, texture


#: Mean HU, and standard deviation of the texture, by label.
MEAN_HU, TEXTURE_HU = _tables()
