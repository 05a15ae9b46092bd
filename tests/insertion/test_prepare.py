"""Size, pose and wholeness of a donor on the host's grid."""

import cc3d
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.hosts.shapes import NoduleShape, describe, draw_shape
from itrialspace_assets.imaging.anatomy import equivalent_diameter
from itrialspace_assets.imaging.geometry import bounding_box
from itrialspace_assets.insertion.prepare import pose_matrix, resample_lesion


@settings(max_examples=15, deadline=None)
@given(
    st.floats(3, 40),
    st.floats(0.5, 1.5),
    st.sampled_from([(0.02, 0.0), (0.3, 0.0), (0.1, 0.9)]),
    st.tuples(*[st.floats(0.5, 1.6)] * 3),
    st.tuples(st.floats(0.5, 1.2), st.floats(0.5, 1.2), st.floats(0.8, 2.0)),
    st.tuples(*[st.floats(0, 360)] * 3),
    st.integers(0, 99),
)
def test_the_diameter_is_the_one_asked_for_and_the_lesion_one_piece(
    asked: float, scale: float, kind: tuple[float, float], donor: tuple, host: tuple, angles: tuple, seed: int
) -> None:
    """docs/facts/insertion.md#tolerances: the larger of 2 % and half a voxel, whatever grid, shape and pose."""
    mask = draw_shape(NoduleShape(asked / scale, *kind), np.array(donor), np.random.default_rng(seed))
    out = resample_lesion(mask, np.array(donor), np.array(host), scale, pose_matrix(angles, mirrored=bool(seed % 2)))
    wanted = equivalent_diameter(mask.sum() * np.prod(donor)) * scale
    got = equivalent_diameter(out.sum() * np.prod(host))
    assert abs(got - wanted) <= max(0.02 * wanted, min(host) / 2)
    assert cc3d.connected_components(out, connectivity=26).max() == 1
    assert bounding_box(out) == tuple(slice(0, n) for n in out.shape)


def test_equal_grids_give_the_donor_itself_and_its_mirror_image() -> None:
    mask = draw_shape(NoduleShape(12, 0.3, 0.3), np.array([1, 1, 2.0]), np.random.default_rng(1))
    grid = np.array([1, 1, 2.0])
    np.testing.assert_array_equal(resample_lesion(mask, grid, grid), mask)
    np.testing.assert_array_equal(resample_lesion(mask, grid, grid, 1.0, pose_matrix(mirrored=True)), mask[::-1])


def test_a_quarter_turn_about_the_long_axis_turns_left_to_back() -> None:
    """RAS axes: turning +90 degrees about z takes x (right) to y (front)."""
    mask = np.zeros((21, 5, 3), bool)
    mask[:, 2, 1] = True
    mask[15:, :, :] = True  # the head is at the patient's right
    out = resample_lesion(mask, np.ones(3), np.ones(3), 1.0, pose_matrix((0, 0, 90)))
    assert out.shape[1] > 2 * out.shape[0]
    along = out.sum(axis=(0, 2))
    assert along[-6:].sum() > 3 * along[:6].sum(), "now it is in front"


def test_resampling_does_not_mirror() -> None:
    mask = np.zeros((12, 6, 6), bool)
    mask[:, 2:4, 2:4] = True
    mask[9:, :, :] = True  # a head at the right end
    out = resample_lesion(mask, np.ones(3), np.array([1.0, 1.0, 0.5]))
    along = out.any(axis=(1, 2)).nonzero()[0]
    middle = (along[0] + along[-1]) // 2
    assert out[middle + 2 :].sum() > 2 * out[: middle - 1].sum()


def test_bad_donors_are_refused() -> None:
    with pytest.raises(CaseRejected) as empty:
        resample_lesion(np.zeros((3, 3, 3), bool), np.ones(3), np.ones(3))
    assert empty.value.reason is Reason.EMPTY_LESION
    with pytest.raises(CaseRejected):
        resample_lesion(np.ones((3, 3, 3), bool), np.ones(3), np.ones(3), float("nan"))


def test_drawn_shapes_are_what_they_are_called() -> None:
    rng, grid = np.random.default_rng(3), np.full(3, 0.7)
    smooth, lobulated, spiculated = (
        describe(draw_shape(NoduleShape(20, *k), grid, rng), grid) for k in ((0.02, 0), (0.3, 0), (0.06, 0.6))
    )
    assert smooth["solidity"] > max(0.85, lobulated["solidity"], spiculated["solidity"])
    assert smooth["sphericity"] > max(lobulated["sphericity"], spiculated["sphericity"])
    assert spiculated["longest_mm"] > smooth["longest_mm"] * 1.15
