"""The procedural chest: its sides differ, its parts are there, and a seed decides all of it."""

import numpy as np
import pytest

from itrialspace_assets.demo.phantom import draw_anatomy, draw_body, draw_nodule, with_nodules
from itrialspace_assets.hosts.shapes import NoduleShape
from itrialspace_assets.imaging.anatomy import (
    AIRWAY,
    BODY,
    LEFT_LUNG,
    LUNG,
    NODULE,
    RIGHT_LUNG,
    TRACHEA,
    equivalent_diameter,
    lung_mask,
)
from itrialspace_assets.imaging.geometry import Volume

SPACING = np.array([3.5, 3.5, 4.0])
LIVER, HEART, SPLEEN, COLUMN, STERNUM = 1, 115, 3, range(37, 50), 122


def draw(seed: int) -> Volume:
    rng = np.random.default_rng(seed)
    return draw_anatomy(draw_body(rng), rng, SPACING)


@pytest.fixture(scope="module")
def chest() -> Volume:
    return draw(5)


def centre(chest: Volume, *labels: int) -> np.ndarray:
    """Mean world position (mm, RAS) of some labels."""
    return chest.to_world(np.argwhere(np.isin(chest.array, labels)).mean(axis=0))


def test_sides_are_those_of_a_person(chest: Volume) -> None:
    """RAS+: x grows to the patient's right, y to the front, z to the head."""
    heart, liver, spleen = centre(chest, HEART), centre(chest, LIVER), centre(chest, SPLEEN)
    left, right = centre(chest, *LEFT_LUNG), centre(chest, *RIGHT_LUNG)
    assert heart[0] < 0 < liver[0], "heart left, liver right"
    assert spleen[0] < 0, "spleen left"
    assert left[0] < 0 < right[0]
    assert liver[2] < heart[2] < centre(chest, TRACHEA)[2], "liver below heart below trachea"
    assert centre(chest, *COLUMN)[1] < centre(chest, STERNUM)[1], "spine behind sternum"


def test_lobes_lie_as_in_a_person(chest: Volume) -> None:
    for upper, lower in ((28, 29), (30, 32)):
        assert centre(chest, upper)[2] > centre(chest, lower)[2]
    middle = centre(chest, 31)
    assert middle[1] > centre(chest, 32)[1], "the middle lobe lies in front of the lower one"
    assert middle[2] < centre(chest, 30)[2]


def test_every_part_is_there_and_a_lobe_is_nearly_one_piece(chest: Volume) -> None:
    import cc3d

    assert {*LUNG, AIRWAY, BODY, HEART, LIVER} <= set(np.unique(chest.array).tolist())
    assert NODULE not in chest.array
    for lobe in LUNG:
        voxels = chest.array == lobe
        assert cc3d.largest_k(voxels, k=1, connectivity=6).astype(bool).sum() > 0.999 * voxels.sum()
    litres = lung_mask(chest.array).sum() * chest.voxel_mm3 / 1e6
    assert 1.5 < litres < 6.0


def test_a_seed_decides_the_anatomy(chest: Volume) -> None:
    np.testing.assert_array_equal(draw(5).array, chest.array)
    assert (draw(6).array != chest.array).mean() > 0.01


def test_a_nodule_lies_in_its_lobe_clear_of_others(chest: Volume) -> None:
    taken = np.zeros(chest.array.shape, bool)
    rng = np.random.default_rng(1)
    lesions = []
    for lobe in (28, 32):
        lesion = draw_nodule(chest, taken, lobe, NoduleShape(20.0, 0.05, 0.1), rng)
        assert lesion is not None
        taken[lesion.box] |= lesion.mask
        lesions.append(lesion)
        inside = np.isin(chest.array[lesion.box][lesion.mask], LUNG)
        assert inside.all()
        assert equivalent_diameter(lesion.mask.sum() * chest.voxel_mm3) == pytest.approx(20.0, rel=0.2)
    labels = with_nodules(chest, lesions)
    assert (labels.array == NODULE).sum() == sum(lesion.mask.sum() for lesion in lesions)
    assert NODULE not in chest.array, "the host is not changed"


def test_a_lobe_without_space_gives_no_nodule(chest: Volume) -> None:
    taken = np.ones(chest.array.shape, bool)
    assert draw_nodule(chest, taken, 31, NoduleShape(8.0, 0.05, 0.1), np.random.default_rng(1)) is None
