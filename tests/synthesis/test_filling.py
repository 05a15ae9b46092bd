"""Closing a label map for rendering: gaps in the body, specks beside it, and nothing else."""

from pathlib import Path

import edt
import numpy as np
import pytest
from scipy import ndimage

from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.geometry import Volume, bounding_box, read_labels
from itrialspace_assets.synthesis.filling import close_map
from itrialspace_assets.synthesis.tissue import render_host

from ..conftest import small_chest


def with_gaps() -> Volume:
    """The small chest: a seam along the outer side of the right lung alone, cut by the last slices, a hole in the left
    one, two specks."""
    chest = small_chest()
    chest.array[2:38, 3:33, 26:30] = 200
    chest.array[35, 9:29, 5:30] = 0
    chest.array[34, 12:20, 6:9] = 0
    chest.array[8, 15, 10] = 0
    chest.array[0, 0:2, 3] = 200
    chest.array[39, 34, 12:15] = 200
    return chest


def air_near_lung(labels: Volume, mm: float) -> int:
    """Voxels without a label within a distance of the lungs."""
    lung, reach = lung_mask(labels.array), np.ceil(mm / labels.spacing).astype(int)
    near = tuple(slice(max(0, s.start - r), s.stop + r) for s, r in zip(bounding_box(lung), reach, strict=True))
    away = edt.edt(np.asfortranarray(~lung[near]), anisotropy=tuple(labels.spacing))
    return int(((labels.array[near] == 0) & (away <= mm)).sum())


def test_gaps_take_the_nearest_label_and_specks_become_air() -> None:
    chest = with_gaps()
    before = chest.array.copy()
    closed = close_map(chest)
    gaps = np.zeros(before.shape, bool)
    gaps[35, 9:29, 5:30] = gaps[34, 12:20, 6:9] = gaps[8, 15, 10] = True
    assert closed.filled == gaps.sum() == 20 * 25 + 8 * 3 + 1
    assert closed.dropped == 2 + 3
    distance = ndimage.distance_transform_edt(before == 0, sampling=chest.spacing)
    sources = np.argwhere(before > 0) * chest.spacing
    for voxel in np.argwhere(gaps)[::7]:
        apart = np.linalg.norm(sources - voxel * chest.spacing, axis=1)
        near = before[before > 0][np.isclose(apart, distance[tuple(voxel)])]
        assert closed.labels.array[tuple(voxel)] in near
    assert closed.labels.array[8, 15, 10] == 29, "a hole in the left lung is lung"
    assert set(closed.labels.array[35, 9:29, 5:30].ravel()) == {30, 32, 200}
    changed = closed.labels.array != before
    assert (changed == (gaps | (changed & (closed.labels.array == 0)))).all(), "nothing else changes"
    np.testing.assert_array_equal(chest.array, before)


def test_a_seam_is_rendered_as_tissue() -> None:
    chest = with_gaps()
    seeds = np.random.SeedSequence(1), np.random.SeedSequence(2)
    inside = np.s_[35, 12:26, 8:22]
    assert (render_host(chest, *seeds).array[inside] == -1000).all()
    assert (render_host(close_map(chest).labels, *seeds).array[inside] > -950).all()


def test_a_map_without_gaps_and_specks_stays_as_it_is() -> None:
    chest = small_chest()
    closed = close_map(chest)
    assert closed.labels is chest
    assert (closed.filled, closed.dropped) == (0, 0)
    empty = Volume(np.zeros((4, 4, 4), np.uint8), chest.affine)
    assert close_map(empty).labels is empty


def test_air_that_reaches_a_side_and_a_part_of_the_body_that_stands_apart_stay() -> None:
    chest = small_chest()
    chest.array[2:6, 10, 10] = 0  # open to the left
    arm = np.zeros((60, 36, 30), np.uint8)
    arm[:40] = chest.array
    arm[46:56, 10:20, 2:28] = 200
    closed = close_map(Volume(arm, chest.affine))
    np.testing.assert_array_equal(closed.labels.array, arm)


def test_the_greatest_piece_of_a_small_map_is_no_speck() -> None:
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:5, 2:5, 2:5] = 200
    labels[6, 6, 6] = 200
    closed = close_map(Volume(labels, np.diag([1.0, 1.0, 1.0, 1.0])))
    assert (closed.filled, closed.dropped, int((closed.labels.array > 0).sum())) == (0, 1, 27)


@pytest.mark.real
@pytest.mark.slow
def test_no_air_is_left_between_lung_and_body_wall_of_a_real_map(real_data: Path) -> None:
    """Within 10 mm of the lungs, where a chest has its wall, mediastinum and diaphragm."""
    for path in sorted((real_data / "masks").glob("*.nii.gz")):
        labels = read_labels(path)
        closed = close_map(labels)
        assert air_near_lung(labels, 10.0) > 100_000, path.name
        assert air_near_lung(closed.labels, 10.0) == 0, path.name
        assert 0.001 < closed.filled / (labels.array > 0).sum() < 0.02
        assert closed.dropped < 5_000
