"""Planes of a volume as PNG, drawn as evaluation slices are: the same turn, the same grey values, the same bytes.

Letters of the sides are not drawn into the picture; ``sides`` says them. Knows no case and no address.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
import numpy.typing as npt

from itrialspace_assets.explorer.images.volumes import VoxelUnit
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.pictures import label_grey, png, radiological
from itrialspace_assets.slices.planes import Plane
from itrialspace_assets.slices.windows import AXIAL, CORONAL, SAGITTAL, PreprocessProfile, Window

Axis = Literal["axial", "coronal", "sagittal"]
WindowName = Literal["lung", "mediastinum", "bone", "soft_tissue", "difference"]
AXES: dict[Axis, int] = {"axial": AXIAL, "coronal": CORONAL, "sagittal": SAGITTAL}
#: HU that become black and white (docs/facts/explorer.md, centre and width -600/1500, 40/400, 400/1800, 50/350); of
#: differences, which lie about 0, ours.
WINDOWS: dict[WindowName, Window] = {
    "lung": Window(-1350, 150),
    "mediastinum": Window(-160, 240),
    "bone": Window(-500, 1300),
    "soft_tissue": Window(-125, 225),
    "difference": Window(-800, 800),
}
#: Colour and opacity of a mask over a picture (docs/facts/explorer.md).
MASK_COLOUR, MASK_OPACITY = (255, 50, 50), 0.35


@dataclass(frozen=True)
class PatientSides:
    """What lies at the edges of a picture: R right, L left, A front, P back, S head, I feet of the patient."""

    left: str
    right: str
    top: str
    bottom: str


#: Sides of the pictures across each axis, as ``imaging.pictures.radiological`` turns them.
SIDES: dict[Axis, PatientSides] = {
    "axial": PatientSides("R", "L", "A", "P"),
    "coronal": PatientSides("R", "L", "S", "I"),
    "sagittal": PatientSides("A", "P", "S", "I"),
}


def clamped(volume: Volume, axis: Axis, index: int) -> int:
    """The plane that is nearest to an index.

    Args:
        volume: in RAS+.
        axis: across the plane.
        index: voxels along the axis.
    """
    return min(max(0, index), int(volume.array.shape[AXES[axis]]) - 1)


def busiest(mask: Volume, axis: Axis) -> int | None:
    """The plane that shows most of a mask (X, Y, Z), the lowest of equals; None of an empty one."""
    across = tuple(a for a in range(3) if a != AXES[axis])
    counts = np.count_nonzero(mask.array, axis=across)
    return int(counts.argmax()) if counts.any() else None


def plane_picture(volume: Volume, unit: VoxelUnit, axis: Axis, index: int, window: WindowName) -> npt.NDArray[np.uint8]:
    """Grey pixels (H, W) of a plane, radiological; labels as greys that differ between neighbours.

    Args:
        volume: HU or labels (X, Y, Z), canonical RAS+.
        unit: of its voxels.
        axis: the plane's name.
        index: along the axis, within the volume.
        window: of HU; not used of labels.
    """
    if unit == "label":
        plane = np.moveaxis(volume.array, AXES[axis], 0)[index]
        return np.asarray(radiological(label_grey(plane)), dtype=np.uint8)
    profile = PreprocessProfile(f"{window}_{axis}", (WINDOWS[window],), axis=AXES[axis])
    return profile.picture(Plane(volume, profile, index).hu())


def plane_png(
    volume: Volume, unit: VoxelUnit, axis: Axis, index: int, window: WindowName, mask: Volume | None = None
) -> bytes:
    """PNG of a plane; a mask on the same grid is laid over in red, one on another grid is not drawn.

    Args:
        volume: HU or labels (X, Y, Z), canonical RAS+.
        unit: of its voxels.
        axis: the plane's name.
        index: along the axis, within the volume.
        window: of HU.
        mask: voxels other than 0 are shown.
    """
    grey = plane_picture(volume, unit, axis, index, window)
    if mask is None or not volume.same_grid(mask):
        return png(np.ascontiguousarray(grey))
    over = np.asarray(radiological(np.moveaxis(mask.array, AXES[axis], 0)[index])) != 0
    image = np.repeat(grey[..., None], 3, axis=2)
    mixed = (1 - MASK_OPACITY) * image[over] + MASK_OPACITY * np.array(MASK_COLOUR)
    image[over] = np.rint(mixed).astype(np.uint8)
    return png(image)
