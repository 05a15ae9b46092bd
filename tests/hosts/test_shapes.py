"""A drawn shape is that of the whole grid, although only the voxels that it can reach are looked at."""

import cc3d
import numpy as np
import pytest

from itrialspace_assets.hosts.shapes import NoduleShape, draw_directions, draw_shape, radius_at
from itrialspace_assets.imaging.geometry import bounding_box


@pytest.mark.parametrize("kind", [(0.0, 0.0), (0.02, 0.0), (0.3, 0.0), (0.06, 0.45)])
@pytest.mark.parametrize(("diameter", "spacing"), [(3.0, (1.0, 1.0, 2.5)), (9.0, (0.7, 0.7, 1.25))])
def test_a_shape_is_the_nearest_voxels_by_their_share_of_the_surface(
    kind: tuple[float, float], diameter: float, spacing: tuple[float, float, float]
) -> None:
    shape, step = NoduleShape(diameter, *kind), np.array(spacing)
    half = np.ceil(diameter * 0.9 / step).astype(int) + 1
    at = np.stack(np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, step, strict=True)), indexing="ij"), -1)
    distance = np.linalg.norm(at, axis=-1)
    surface = radius_at(at / np.maximum(distance, 1e-6)[..., None], shape, *draw_directions(np.random.default_rng(5)))
    voxels = max(1, round(np.pi / 6 * diameter**3 / float(step.prod())))
    nearest = np.argsort((distance / surface).ravel(), kind="stable")[:voxels]
    whole = np.zeros(distance.shape, bool)
    whole.flat[nearest] = True
    piece = cc3d.largest_k(whole, k=1, connectivity=26) > 0
    assert np.array_equal(draw_shape(shape, step, np.random.default_rng(5)), piece[bounding_box(piece)])
