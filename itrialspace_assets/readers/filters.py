"""Filters that can be computed in a part of an image; the bits equal those of filtering the whole image.

A box is a tuple of one slice (explicit bounds) an axis, in voxels of the image. Edges are continued by their nearest
value.
"""

import numpy as np
import numpy.typing as npt
from scipy import ndimage

Image = npt.NDArray[np.float32]
Box = tuple[slice, ...]

#: Gaussians end at this many standard deviations (ours).
TRUNCATE = 3.0


def reach_of(sigma: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """How far (voxels along each axis) a Gaussian with a standard deviation (voxels) sees."""
    return (TRUNCATE * np.asarray(sigma) + 0.5).astype(np.int64)


def whole(shape: tuple[int, ...]) -> Box:
    """The box that holds all of an image."""
    return tuple(slice(0, n) for n in shape)


def bounds(mask: npt.NDArray[np.bool_]) -> Box | None:
    """Smallest box that holds every true voxel of a mask; None if there is none."""
    found = []
    for axis in range(mask.ndim):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(mask.ndim) if a != axis)))
        if not len(hit):
            return None
        found.append(slice(int(hit[0]), int(hit[-1]) + 1))
    return tuple(found)


def grow(box: Box, by: int | npt.NDArray[np.int64], shape: tuple[int, ...]) -> Box:
    """A box with more voxels on every side, cut at the image's edge.

    Args:
        box: in voxels of the image.
        by: voxels that are added on each side: one number for all axes, or one for each.
        shape: voxels of the image along each axis.
    """
    reach = np.broadcast_to(by, (len(box),))
    return tuple(
        slice(max(0, s.start - int(r)), min(n, s.stop + int(r))) for s, r, n in zip(box, reach, shape, strict=True)
    )


def common(a: Box, b: Box) -> Box | None:
    """What two boxes share; None if they share nothing."""
    both = tuple(slice(max(s.start, t.start), min(s.stop, t.stop)) for s, t in zip(a, b, strict=True))
    return both if all(s.start < s.stop for s in both) else None


def holds(outer: Box, inner: Box) -> bool:
    """Whether a box lies within another."""
    return all(o.start <= i.start and i.stop <= o.stop for o, i in zip(outer, inner, strict=True))


def inside(box: Box, outer: Box) -> Box:
    """A box counted from the first voxel of another that holds it."""
    return tuple(slice(s.start - o.start, s.stop - o.start) for s, o in zip(box, outer, strict=True))


def gaussian_in(image: Image, sigma: npt.NDArray[np.float64], box: Box) -> Image:
    """``ndimage.gaussian_filter`` of an image, in a box alone.

    Args:
        image: HU, two or three axes.
        sigma: standard deviation (voxels) along each axis.
        box: what is wanted.
    """
    wide = grow(box, reach_of(sigma), image.shape)
    part, kept = image[wide], inside(box, wide)
    for axis, width in enumerate(sigma):
        part = ndimage.gaussian_filter1d(part, width, axis=axis, truncate=TRUNCATE, mode="nearest")
        part = part[(slice(None),) * axis + (kept[axis],)]
    return np.asarray(part)


def curvatures(smooth: Image, spacing: npt.NDArray[np.float64]) -> list[Image]:
    """Second derivative along each axis (HU/mm²) of an image with a voxel size in mm."""
    kernel = np.array([1.0, -2.0, 1.0])
    return [
        ndimage.correlate1d(smooth, kernel / step**2, axis=axis, mode="nearest") for axis, step in enumerate(spacing)
    ]


def mixed_curvature(smooth: Image, spacing: npt.NDArray[np.float64], a: int, b: int) -> Image:
    """Mixed second derivative along two axes (HU/mm²).

    Args:
        smooth: HU, two or three axes.
        spacing: voxel size (mm) along each axis.
        a: one axis.
        b: the other.
    """
    kernel = np.array([-0.5, 0.0, 0.5])
    along = ndimage.correlate1d(smooth, kernel / spacing[a], axis=a, mode="nearest")
    return np.asarray(ndimage.correlate1d(along, kernel / spacing[b], axis=b, mode="nearest"))
