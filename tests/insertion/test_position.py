"""Rules and cost of a position, against brute force over every voxel of a small chest."""

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.hosts.shapes import NoduleShape, draw_shape
from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion, shared_voxels, stamp
from itrialspace_assets.insertion import position
from itrialspace_assets.insertion.position import PlannedPosition, find_position
from itrialspace_assets.insertion.prepare import resample_lesion
from itrialspace_assets.profiles.measure import INSIDE_LUNG, lobe_about

from ..conftest import small_chest
from .shapes import ball, chest_with_specks


@settings(max_examples=75, deadline=None)
@given(
    st.floats(3, 11),
    st.integers(0, 99),
    st.sampled_from([28, 29, 30, 32]),
    st.tuples(st.floats(3, 36), st.floats(6, 30), st.floats(3, 26)),
    st.one_of(st.none(), st.floats(0, 15)),
    st.one_of(st.none(), st.floats(0, 15)),
)
@example(7.0, 23, 28, (3.0, 6.0, 3.0), None, None)  # with its own voxels counted, another position would be cheaper
def test_no_position_that_keeps_the_rules_costs_less(
    diameter: float, seed: int, lobe: int, centre: tuple, pleura: float | None, airway_mm: float | None
) -> None:
    """The cost of the module's docstring, worked out for every voxel with whole-volume transforms."""
    chest = chest_with_specks()
    chest.array[24:27, 12:15, 8:14] = 132
    spacing = chest.spacing
    mask = draw_shape(NoduleShape(diameter, 0.2, 0.3), spacing, np.random.default_rng(seed))
    other = Lesion((26, 22, 8), ball(4, tuple(spacing)))
    airway = KDTree(np.argwhere(np.isin(chest.array, (57, 132))) * spacing)
    wanted = PlannedPosition(centre, pleura, airway_mm, 2.0)
    try:
        found = find_position(chest, mask, lobe, wanted, [other], airway)
    except CaseRejected as error:
        assert error.reason is Reason.DOES_NOT_FIT
        found = None
    outline = (
        np.floor(
            ndimage.distance_transform_edt(np.pad(np.isin(chest.array, INSIDE_LUNG), 1), sampling=spacing)[
                1:-1, 1:-1, 1:-1
            ]
            * 4
        )
        / 4
    )
    taken = np.zeros(chest.array.shape, bool)
    taken[other.box] |= other.mask
    blocked = ndimage.binary_dilation(taken, np.ones((3, 3, 3)))
    voxels = np.argwhere(mask)
    anchor = np.rint(voxels.mean(axis=0)).astype(int)
    at = np.argwhere(chest.array == lobe)
    own = at[:, None] + voxels - anchor
    inside = ((own >= 0) & (own < chest.array.shape)).all(axis=(1, 2))
    at, own = at[inside], tuple(np.moveaxis(own[inside], -1, 0))
    labels = chest.array[own]
    fits = lung_mask(labels).all(axis=1) & ~blocked[own].any(axis=1) & ((labels == lobe).mean(axis=1) >= 0.5)
    centres = (at - anchor + voxels.mean(axis=0)) * spacing
    cost = np.linalg.norm(centres - np.array(centre) * spacing, axis=1)
    cost += 0.3 * np.maximum(0, 2.0 - outline[own].min(axis=1))
    if pleura is not None:
        cost += 0.3 * np.abs(np.minimum(outline[tuple(at.T)], 20) - min(pleura, 20))
    if airway_mm is not None:
        cost += 0.2 * np.minimum(20, np.abs(airway.query(centres)[0] - airway_mm))
    costs = {tuple(offset): c for offset, c in zip((at - anchor)[fits].tolist(), cost[fits], strict=True)}

    def in_lobe(offset: tuple) -> bool:
        """Whether the lobe surrounds the lesion there, without its own voxels; slow, so asked where it matters."""
        lesion = Lesion(offset, mask)
        return lobe_about(stamp(chest, [lesion]), lesion)[0] == lobe

    if found is None:
        assert not any(in_lobe(offset) for offset in costs)
        return
    assert found.lesion.offset in costs and in_lobe(found.lesion.offset)
    nearest = tuple(
        int(v)
        for v in np.clip(np.rint(np.array(centre) - voxels.mean(axis=0) + anchor), 0, np.array(chest.array.shape) - 1)
        - anchor
    )
    if nearest in costs and in_lobe(nearest):
        assert (found.lesion.offset, found.moved_by) == (nearest, "")
    else:
        least = costs[found.lesion.offset] - 1e-6
        assert [offset for offset, c in costs.items() if c < least and in_lobe(offset)] == []
        assert found.moved_by


def test_positions_that_do_not_exist_are_refused() -> None:
    chest = small_chest()
    with pytest.raises(CaseRejected) as nan:
        find_position(chest, ball(4, (1, 1, 1)), 32, PlannedPosition([np.nan, 1, 1]))
    assert nan.value.reason is Reason.BAD_POSITION
    with pytest.raises(CaseRejected) as big:
        find_position(chest, np.ones((20, 30, 20), bool), 32, PlannedPosition([28, 18, 9]))
    assert big.value.reason is Reason.DOES_NOT_FIT
    taken = [cut_lesion(chest.array == 32)]
    with pytest.raises(CaseRejected):
        find_position(chest, ball(4, tuple(chest.spacing)), 32, PlannedPosition([28, 18, 9]), taken)


@pytest.mark.parametrize(("beyond_half", "moved_by"), [(0, ""), (1, "it would lie in another lobe")])
def test_half_of_a_lesion_or_more_lies_in_the_wanted_lobe(beyond_half: int, moved_by: str) -> None:
    """Its centre and all that surrounds it lie in the lobe, so this rule alone decides."""
    chest = small_chest()
    chest.array[:] = 32
    shape = ball(4, tuple(chest.spacing))
    low = np.array([20, 12, 8])
    voxels = np.argwhere(shape)
    middle = np.rint(voxels.mean(axis=0)).astype(int)
    elsewhere = voxels[(voxels != middle).any(axis=1)][: len(voxels) // 2 + beyond_half] + low
    chest.array[tuple(elsewhere.T)] = 30
    found = find_position(chest, shape, 32, PlannedPosition(voxels.mean(axis=0) + low))
    assert found.moved_by == moved_by
    assert (chest.array[found.lesion.box][found.lesion.mask] == 32).mean() >= 0.5


def test_companions_keep_a_voxel_between_them() -> None:
    chest = small_chest()
    shape = ball(5, tuple(chest.spacing))
    first = find_position(chest, shape, 32, PlannedPosition([28, 18, 9]))
    second = find_position(chest, shape, 32, PlannedPosition([28, 18, 9]), [first.lesion])
    assert second.moved_by == "it would touch another lesion"
    whole = np.zeros(chest.array.shape, np.uint8)
    for lesion in (first.lesion, second.lesion):
        whole[lesion.box] += lesion.mask
    assert whole.max() == 1
    assert ndimage.label(whole, np.ones((3, 3, 3)))[1] == 2
    assert shared_voxels(first.lesion, second.lesion) == 0


def test_a_lesion_at_the_face_of_the_volume_stays_inside_it() -> None:
    chest = small_chest()
    chest.array[:] = 32
    shape = resample_lesion(ball(5, (1, 1, 1)), np.ones(3), chest.spacing)
    lesion = find_position(chest, shape, 32, PlannedPosition([0, 0, 29])).lesion
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
    chest.array[15:20, 12, 12] = 32  # a wisp of lobe beside it: a position has some lobe around it
    assert find_position(chest, shape, 32, PlannedPosition([26, 12, 12])).lesion.offset == (20, 10, 10)


@pytest.mark.parametrize("seed", range(4))
def test_no_anchor_in_the_closed_radius_keeps_off_the_other_lesion(seed: int) -> None:
    """Against every voxel about it; the bound is worth something: most of what lies closer is known to be closed."""
    spacing, draw = np.array([0.7, 0.8, 1.25]), np.random.default_rng(seed)
    mask, taken = (draw_shape(NoduleShape(d, 0.1, 0.2), spacing, draw) for d in (9.0, 8.0))
    shape, other = position._Shape.of(mask, spacing), Lesion((20, 20, 20), taken)
    start = np.rint(other.centroid + draw.uniform(-2, 2, 3)).astype(np.int64)
    grid = np.zeros((50, 50, 50), bool)
    grid[other.box] |= taken
    blocked = ndimage.binary_dilation(grid, np.ones((3, 3, 3)))
    anchors = np.argwhere(np.ones((25, 25, 25), bool)) + start - 12
    free = ~blocked[tuple(np.moveaxis(anchors[:, None] + shape.voxels, -1, 0))].any(axis=1)
    nearest = float(np.linalg.norm((anchors[free] - start) * spacing, axis=1).min())
    assert nearest - 4.0 < position._closed(shape, start, [other], spacing) <= nearest
    assert position._closed(shape, start + 30, [other], spacing) == 0.0


def test_candidates_that_are_tried_first_decide_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same position, whether a few of the candidates are sorted first or all at once."""
    host, shape = small_chest(), ball(4.0, (1.5, 2.0, 2.5))
    wanted = PlannedPosition((23.0, 9.0, 5.0), pleural_mm=9.0, margin_mm=2.0)
    found = []
    for first in (1, 7, 10**6):
        monkeypatch.setattr(position, "_FIRST", first)
        found.append(find_position(host, shape, 32, wanted).lesion.offset)
    assert found[0] == found[1] == found[2]
    assert position._limits(np.arange(10.0)) == (np.inf,)
    monkeypatch.setattr(position, "_FIRST", 3)
    assert position._limits(np.arange(10.0)) == (3.0, np.inf)
