"""Size, containment and place of inserted lesions, on shapes with known answers."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.anatomy import equivalent_diameter, lung_mask
from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.geometry import bounding_box
from itrialspace_assets.insertion.place import Wanted, place
from itrialspace_assets.insertion.prepare import resample_lesion
from itrialspace_assets.volumes import cut_lesion

from ..conftest import small_chest


def ball(radius_mm: float, spacing: tuple[float, float, float]) -> np.ndarray:
    half = [int(np.ceil(radius_mm / s)) + 1 for s in spacing]
    grid = np.meshgrid(*(np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=True)), indexing="ij")
    return sum(g**2 for g in grid) <= radius_mm**2


@settings(max_examples=40, deadline=None)
@given(
    st.floats(4, 30), st.floats(0.5, 1.5),
    st.tuples(*[st.floats(0.5, 1.6)] * 3), st.tuples(st.floats(0.5, 1.2), st.floats(0.5, 1.2), st.floats(0.8, 2.0)),
)  # fmt: skip
def test_the_resampled_diameter_is_the_one_asked_for(
    diameter: float, scale: float, donor: tuple[float, float, float], host: tuple[float, float, float]
) -> None:
    mask = ball(diameter / 2, donor)
    out = resample_lesion(mask, np.array(donor), np.array(host), scale)
    wanted = equivalent_diameter(mask.sum() * np.prod(donor)) * scale
    got = equivalent_diameter(out.sum() * np.prod(host))
    assert abs(got - wanted) <= max(0.02 * wanted, min(host) / 2)


def test_equal_grids_give_the_donor_itself() -> None:
    mask = ball(5, (1, 1, 2))
    out = resample_lesion(mask, np.array([1, 1, 2.0]), np.array([1, 1, 2.0]))
    np.testing.assert_array_equal(out, mask[bounding_box(mask)])


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


def test_the_nearest_place_that_holds_all_of_it() -> None:
    chest = small_chest()
    shape = ball(5, tuple(chest.spacing))
    found = place(chest, shape, 32, Wanted([28, 18, 9]))
    assert found.shift_mm == pytest.approx(0, abs=1e-9)
    corner = place(chest, shape, 32, Wanted([22, 8, 4]))  # the lobe's corner: has to move inwards
    assert corner.shift_mm > 3
    at = corner.lesion.indices
    assert lung_mask(chest.array)[tuple(at.T)].all()
    assert (chest.array[tuple(at.T)] == 32).mean() >= 0.5
    inside = np.argwhere(chest.array == 32)
    others = np.linalg.norm((inside - [22, 8, 4]) * chest.spacing, axis=1) < corner.shift_mm - 1e-6
    offsets = at - np.rint(corner.lesion.centroid).astype(int)
    for voxel in inside[others]:  # brute force: nothing nearer would have done
        spot = voxel + offsets
        assert not lung_mask(chest.array)[tuple(spot.T)].all()


def test_places_that_are_none() -> None:
    chest = small_chest()
    with pytest.raises(CaseRejected) as nan:
        place(chest, ball(4, (1, 1, 1)), 32, Wanted([np.nan, 1, 1]))
    assert nan.value.reason is Reason.BAD_POSITION
    with pytest.raises(CaseRejected) as big:
        place(chest, np.ones((20, 30, 20), bool), 32, Wanted([28, 18, 9]))
    assert big.value.reason is Reason.DOES_NOT_FIT
    taken = [cut_lesion(chest.array == 32)]
    with pytest.raises(CaseRejected):
        place(chest, ball(4, tuple(chest.spacing)), 32, Wanted([28, 18, 9]), taken)


def test_a_lesion_at_the_face_of_the_volume_stays_inside_it() -> None:
    chest = small_chest()
    chest.array[:] = 32
    shape = resample_lesion(ball(5, (1, 1, 1)), np.ones(3), chest.spacing)
    assert shape.any(axis=(1, 2)).all(), "cropped to its voxels"
    lesion = place(chest, shape, 32, Wanted([0, 0, 29])).lesion
    assert (np.array(lesion.offset) >= 0).all()
    assert (np.add(lesion.offset, lesion.mask.shape) <= chest.array.shape).all()
    assert chest.array[lesion.box][lesion.mask].all()


def test_a_dumbbell_fits_a_cavity_of_its_shape() -> None:
    shape = np.zeros((13, 5, 5), bool)
    shape[:5] = shape[8:] = True
    shape[:, 2, 2] = True
    chest = small_chest()
    chest.array[chest.array >= 28] = 200
    chest.array[20:33, 10:15, 10:15][shape] = 32
    chest.array[15:18, 11:14, 12] = 32  # a wisp of lobe beside it: a place has some lobe around it
    chest.array[18, 12, 12] = chest.array[19, 12, 12] = 32
    assert place(chest, shape, 32, Wanted([26, 12, 12])).lesion.offset == (20, 10, 10)
