"""Measures the shape of a lesion, and draws shapes: those of the procedural donors.

Arrays and mm only; reads no file. Whoever uses a drawn shape marks it ``procedural``.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import ConvexHull
from scipy.spatial.distance import pdist

from itrialspace_assets.imaging.geometry import bounding_box

Floats = npt.NDArray[np.float64]
Bools = npt.NDArray[np.bool_]


def describe(mask: Bools, spacing: Floats) -> dict[str, float]:
    """Shape of a lesion (X, Y, Z) on voxels of ``spacing`` mm, shape (3,); figures as the table ``donors`` states them.

    ``sphericity`` compares surfaces (of the equal-volume sphere, and of the lesion's mesh), ``solidity``
    the volume with that of its convex hull, ``elongation`` the longest principal axis with the shortest;
    ``longest_mm`` is the greatest distance between two of its voxels' corners.
    """
    edge = mask & ~ndimage.binary_erosion(mask)
    corners = np.zeros(np.array(mask.shape) + 1, bool)
    for corner in np.ndindex(2, 2, 2):
        corners[tuple(slice(c, c + n) for c, n in zip(corner, mask.shape, strict=True))] |= edge
    hull = ConvexHull(np.argwhere(corners) * spacing)
    points = np.argwhere(mask) * spacing
    spread = np.cov(points.T, bias=True) if len(points) > 1 else np.zeros((3, 3))
    axes = np.linalg.eigvalsh(spread + np.diag(spacing**2 / 12))  # a voxel has an extent of its own
    volume = float(mask.sum() * np.prod(spacing))
    return {
        "sphericity": round(sphericity(mask, spacing), 4),
        "solidity": round(min(1.0, volume / float(hull.volume)), 4),
        "elongation": round(float(np.sqrt(axes[-1] / axes[0])), 4),
        "longest_mm": round(float(pdist(hull.points[hull.vertices]).max()), 4),
    }


def sphericity(mask: Bools, spacing: Floats) -> float:
    """Surface of the sphere of equal volume over that of the lesion's mesh; mask (X, Y, Z), spacing (3,) in mm."""
    from skimage import measure  # slow to import, needed once a host

    vertices, faces, _, _ = measure.marching_cubes(np.pad(mask, 1).astype(np.float32), 0.5, spacing=tuple(spacing))
    area = float(measure.mesh_surface_area(vertices, faces))
    volume = float(mask.sum() * np.prod(spacing))
    return float(np.pi ** (1 / 3) * (6 * volume) ** (2 / 3) / area)


@dataclass(frozen=True)
class NoduleShape:
    """What a drawn nodule should look like: smooth bumps (``lobulation``) and narrow rays (``spiculation``), 0 for a
    ball."""

    diameter_mm: float
    lobulation: float
    spiculation: float


def radius_at(unit: Floats, shape: NoduleShape, directions: Floats, weights: Floats) -> Floats:
    """Distance (mm) of a shape's surface from its centre in some directions.

    Args:
        unit: unit vectors (..., 3) to look along.
        shape: what it should look like.
        directions: unit vectors (7, 3): three of bumps, four of rays.
        weights: height of each, in [-1, 1], shape (7,).
    """
    cosines = unit @ directions.T
    towards = cosines[..., :3]
    cubes = towards * towards * towards  # many times faster than ``** 3``, and the same on every processor
    height = 1 + shape.lobulation * (cubes @ weights[:3])
    if shape.spiculation:
        fourth = np.maximum(cosines[..., 3:], 0) ** 2
        fourth *= fourth
        height += shape.spiculation * ((fourth * fourth * fourth) @ np.abs(weights[3:]))
    return np.asarray(shape.diameter_mm / 2 * height)


def draw_directions(rng: np.random.Generator) -> tuple[Floats, Floats]:
    """Seven directions and their weights, as ``radius_at`` wants them."""
    directions = rng.normal(size=(7, 3))
    directions /= np.linalg.norm(directions, axis=1, keepdims=True)
    return directions, rng.uniform(-1, 1, 7)


def draw_shape(shape: NoduleShape, spacing: Floats, rng: np.random.Generator) -> Bools:
    """A drawn lesion (X, Y, Z), cropped, in one piece; its volume is that of the ball of ``diameter_mm`` to a voxel.

    Args:
        shape: what it should look like.
        spacing: voxel size in mm, shape (3,).
        rng: gives its bumps and rays.
    """
    directions, weights = draw_directions(rng)
    half = np.ceil(shape.diameter_mm * 0.9 / spacing).astype(int) + 1
    axes = [np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)]
    distance = np.sqrt(sum(a * a for a in np.ix_(*axes)))

    def shares(near: npt.NDArray[np.int64]) -> Floats:
        """Distance of some voxels from the centre, as a share of the surface's in that direction."""
        at = np.stack([a[i] for a, i in zip(axes, np.unravel_index(near, distance.shape), strict=True)], axis=-1)
        far = distance.ravel()[near]
        return np.asarray(far / radius_at(at / np.maximum(far, 1e-6)[:, None], shape, directions, weights))

    voxels = max(1, round(np.pi / 6 * shape.diameter_mm**3 / float(np.prod(spacing))))
    # a ball that holds more voxels than that bounds their shares, and so how far any of them can lie
    ball = np.flatnonzero(distance <= shape.diameter_mm / 2 * 1.05 + spacing.max())
    near = np.flatnonzero(distance <= np.partition(shares(ball), voxels - 1)[voxels - 1] * _farthest(shape, weights))
    share = shares(near)
    last = np.partition(share, voxels - 1)[voxels - 1]
    mask = np.zeros(distance.shape, bool)
    mask.flat[near[share < last]] = True
    mask.flat[near[share == last][: voxels - int(mask.sum())]] = True  # of equals the first
    piece = np.asarray(cc3d.largest_k(mask, k=1, connectivity=26), dtype=bool)
    return np.ascontiguousarray(piece[bounding_box(piece)])


def _farthest(shape: NoduleShape, weights: Floats) -> float:
    """No surface of these weights lies farther (mm) from the centre, in any direction."""
    bumps, rays = shape.lobulation * np.abs(weights[:3]).sum(), shape.spiculation * np.abs(weights[3:]).sum()
    return float(shape.diameter_mm / 2 * (1 + bumps + rays) * (1 + 1e-9))  # and the rounding of a unit vector
