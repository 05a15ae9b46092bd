"""Finds lung in an image of HU by darkness alone: dark regions that do not reach the outside air."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

#: Lung and air are darker than this (ours: between lung at about -800 HU and soft tissue at about 0).
LUNG_BELOW_HU = -450.0
#: Smaller dark regions, as a share of the image, are no lung: trachea, bowel gas (ours).
LEAST_SHARE = 0.002


def dark(hu: npt.NDArray[np.float32]) -> npt.NDArray[np.bool_]:
    """Where an image of HU is as dark as lung or air."""
    return np.asarray(hu < LUNG_BELOW_HU)


def lung_region(darkness: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Dark regions that do not touch the border of an image, with what they enclose in each axial plane filled in.

    Args:
        darkness: what ``dark`` gives for a slice (H, W), or for a scan (X, Y, Z), whose border is that of its axial
            planes.
    """
    parts, count = ndimage.label(darkness)
    if not count:
        return darkness
    outside = np.zeros(count + 1, bool)
    for axis in (0, 1):
        for edge in (0, -1):
            outside[np.take(parts, edge, axis=axis)] = True
    outside[0] = True
    sizes = np.bincount(parts.ravel(), minlength=count + 1)
    outside |= sizes < LEAST_SHARE * darkness.size
    return fill_planes((~outside).take(parts))


def fill_planes(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """A mask (H, W), or of axial planes (X, Y, Z), with the holes of each plane filled in."""
    planes = np.ascontiguousarray(np.moveaxis(np.atleast_3d(mask), 2, 0))
    in_plane = ndimage.generate_binary_structure(2, 1)
    apart = np.zeros_like(in_plane)
    background, count = ndimage.label(~planes, structure=np.stack([apart, in_plane, apart]))
    is_hole = np.ones(count + 1, bool)
    is_hole[0] = False  # 0 is the mask
    for axis in (1, 2):
        for edge in (0, -1):
            is_hole[np.take(background, edge, axis=axis)] = False
    filled: npt.NDArray[np.bool_] = np.moveaxis(planes | is_hole.take(background), 0, 2)
    return filled if mask.ndim == 3 else filled[..., 0]
