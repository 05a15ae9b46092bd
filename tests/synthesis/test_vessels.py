"""The drawn vessel tree: one piece a lung, wider to the hilum by Murray's law, in the lung's box, repeatable."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.geometry import Volume, bounding_box
from itrialspace_assets.synthesis.vessels import END_MM, FED_MM3, _draw, ends, grow, occupancy

SEED = np.random.SeedSequence(7)


@settings(deadline=None, max_examples=30)
@given(n=st.integers(3, 200), seed=st.integers(0, 1000))
def test_cubes_of_radii_add_up_and_every_branch_leads_to_the_root(n: int, seed: int) -> None:
    points = np.random.default_rng(seed).uniform(0, 100, (n, 3))
    parent, radius = grow(points, 0)
    assert parent[0] == -1
    reached = [i for i in range(n) if i == 0 or parent[i] >= 0]
    for i in reached:
        children = radius[[c for c in reached if parent[c] == i]]
        assert radius[i] ** 3 == pytest.approx((children**3).sum() + END_MM**3)
        steps, at = 0, i
        while at:
            at, steps = parent[at], steps + 1
            assert steps <= n
    if len(reached) == n:
        assert radius.max() == radius[0] == pytest.approx(END_MM * np.cbrt(n))


@pytest.fixture(scope="module")
def chest() -> Volume:
    rng = np.random.default_rng(3)
    return draw_anatomy(draw_body(rng), rng, np.array([1.6, 1.6, 2.4]))


def test_ends_follow_the_volume_of_a_lung_and_the_root_lies_towards_the_middle(chest: Volume) -> None:
    for lobes in ((28, 29), (30, 31, 32)):
        inside = np.isin(chest.array, lobes)
        points, root = ends(chest, lobes, np.zeros(3), SEED)
        assert len(points) == pytest.approx(inside.sum() * chest.voxel_mm3 / FED_MM3, rel=0.02)
        voxels = np.rint(chest.to_voxel(points)).astype(int)
        assert inside[tuple(np.clip(voxels, 0, np.array(inside.shape) - 1).T)].mean() > 0.97
        assert np.linalg.norm(points[root]) == np.linalg.norm(points, axis=1).min()


def test_a_lungs_vessels_are_one_piece_and_widest_at_the_hilum(chest: Volume) -> None:
    x, y, z = bounding_box(lung_mask(chest.array))
    share = occupancy(chest, (z, y, x), SEED)
    assert share.shape == chest.array[x, y, z].shape[::-1]
    np.testing.assert_array_equal(share, occupancy(chest, (z, y, x), SEED))
    assert (share != occupancy(chest, (z, y, x), np.random.SeedSequence(8))).any()
    pieces = cc3d.connected_components(share > 0, connectivity=26)
    sizes = np.sort(np.bincount(pieces.ravel())[1:])[::-1]
    assert sizes[:2].sum() > 0.99 * sizes.sum(), "a tree a lung"
    lung = lung_mask(chest.array[x, y, z]).T
    assert 0.004 < share[lung].mean() / 255 < 0.06
    middle = np.array(share.shape[2]) / 2
    across = np.abs(np.arange(share.shape[2]) - middle)
    full = (share == 255).sum(axis=(0, 1)) / np.maximum(1, lung.sum(axis=(0, 1)))
    near, far = full[(across > 12) & (across < 30)].mean(), full[across > middle * 0.7].mean()
    assert near > 2 * far


def test_a_branch_fills_the_volume_of_its_cylinder() -> None:
    """A straight branch along each axis of an uneven grid: cross section times length, also below a voxel's width."""
    spacing = np.array([1.0, 1.25, 1.5])
    for axis in range(3):
        for radius in (0.4, 1.0, 3.0):
            out = np.zeros((40, 48, 60), np.uint8)
            at = np.tile(np.array([30.0, 24.0, 20.0]), (2, 1))
            at[1, axis] += 12
            _draw(out, at, np.array([-1, 0]), np.array([radius, radius]), spacing)
            length = 12 * spacing[axis]
            wanted = np.pi * radius**2 * length + 4 / 3 * np.pi * radius**3  # with round ends
            got = out.sum() / 255 * np.prod(spacing)
            assert got == pytest.approx(wanted, rel=0.12 if radius > 0.5 else 0.3), (axis, radius)
            middle = out.any(axis=tuple(2 - a for a in range(3) if a != axis))
            assert middle.sum() >= 13


def test_a_lung_of_a_few_voxels_has_no_tree() -> None:
    labels = np.zeros((6, 6, 6), np.uint8)
    labels[2, 2, 2] = 30
    box = (slice(2, 3),) * 3
    assert not occupancy(Volume(labels, np.eye(4)), box, SEED).any()
