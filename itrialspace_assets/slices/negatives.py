"""Finds an axial plane of a real scan without a nodule, and a place in lung on it for guidance to surround."""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.imaging.pictures import lesion_plane

#: A negative plane keeps this far (mm) from every annotated nodule's extent (docs/facts/evaluation.md#negative-levels).
CLEAR_MM = 15.0
#: Least share of the body's area that is lung on a negative plane (docs/facts/evaluation.md#negative-levels).
LUNG_SHARE = 0.05
#: Least distance (pixels) between the middle of the guided place and the lung's edge (ours).
_FROM_EDGE = 2
#: Nearest places that are tried on a plane (ours).
_TRIED = 4000


def negative_place(
    host: Volume,
    lesions: list[Lesion],
    extents: tuple[tuple[float, float], ...],
    lesion: Lesion,
    seed: int,
) -> Lesion | None:
    """A nodule's outline, moved to an axial plane clear of nodules; None if there is none that holds it.

    Args:
        host: the organ map (labels, RAS+).
        lesions: every known voxel of a nodule, over the host's grid.
        extents: world z (mm) from and to of every annotated nodule, whether its voxels are known or not.
        lesion: the nodule; its largest plane lies in lung at the new place, as near to the old one as the lung allows.
        seed: draws the order in which planes are tried.

    Returns:
        The outline over the host's grid, cut at its ends.
    """
    spacing = host.spacing
    clear = _clear_planes(host, lesions, extents)
    lungs = lung_mask(host.array)
    share = lungs.sum(axis=(0, 1)) / np.maximum(1, (host.array > 0).sum(axis=(0, 1)))
    planes = np.flatnonzero(clear & (share >= LUNG_SHARE))
    own = lesion_plane(lesion)
    points = np.argwhere(lesion.mask[..., own - lesion.offset[2]]) + lesion.offset[:2]
    centre = np.rint(points.mean(axis=0)).astype(int)
    offsets = points - centre
    for k in np.random.default_rng(seed).permutation(planes):
        lung = lungs[..., k]
        seats = np.argwhere(ndimage.distance_transform_edt(lung) >= _FROM_EDGE)
        order = np.argsort(np.linalg.norm((seats - centre) * spacing[:2], axis=1), kind="stable")[:_TRIED]
        at = seats[order][:, None, :] + offsets[None, :, :]
        at = at[np.all((at >= 0) & (at < lung.shape), axis=(1, 2))]
        fits = lung[at[..., 0], at[..., 1]].all(axis=1)
        if fits.any():
            across = at[int(np.argmax(fits))][0] - points[0]
            return _moved(lesion, np.array([*across, int(k) - own]), host.array.shape)
    return None


def _moved(lesion: Lesion, by: npt.NDArray[np.int64], shape: tuple[int, ...]) -> Lesion:
    """A lesion moved by some voxels (3,), without what leaves a grid of a shape."""
    first = np.asarray(lesion.offset) + by
    low, high = np.maximum(first, 0), np.minimum(first + lesion.mask.shape, shape)
    inner = tuple(slice(int(a), int(b)) for a, b in zip(low - first, high - first, strict=True))
    return Lesion((int(low[0]), int(low[1]), int(low[2])), lesion.mask[inner])


def _clear_planes(
    host: Volume, lesions: list[Lesion], extents: tuple[tuple[float, float], ...]
) -> npt.NDArray[np.bool_]:
    """Which planes (Z,) are far enough from every nodule."""
    clear = np.ones(host.array.shape[2], bool)
    for lesion in lesions:
        clear[np.flatnonzero(lesion.mask.any(axis=(0, 1))) + lesion.offset[2]] = False
    for low, high in extents:
        first, last = (host.to_voxel([0, 0, z])[2] for z in (low, high))
        clear[max(0, int(np.floor(first))) : max(0, int(np.ceil(last)) + 1)] = False
    reach = int(np.ceil(CLEAR_MM / host.spacing[2]))
    return np.asarray(~ndimage.binary_dilation(~clear, iterations=reach), dtype=bool)
