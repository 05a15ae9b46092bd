"""Profile measurement against geometry worked out by other means."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import ndimage

from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels
from itrialspace_assets.profiles.lobes import from_runs, lobes_of, runs
from itrialspace_assets.profiles.measure import INSIDE_LUNG, measure_scan, nodules_in, pleural_distance

from ..conftest import small_chest

REAL_NODULES = {  # counted independently, see README of the real data
    "0001": [
        (1346, 831.8, 11.67, (128, 200, 156), "left_lung_lower_lobe", 6.7),
        (662, 409.1, 9.21, (405, 346, 87), "right_lung_middle_lobe", 11.8),
    ],
    "0002": [(1188, 734.2, 11.19, (295, 179, 137), "right_lung_lower_lobe", 13.9)],
}
REAL_LOBES = {
    "0001": {28: 2589956, 29: 2477773, 30: 2034488, 31: 909977, 32: 2654936},
    "0002": {28: 2076367, 29: 1901643, 30: 1797002, 31: 793883, 32: 2204858},
}


def with_nodule(at: tuple[int, int, int], size: tuple[int, int, int] = (3, 3, 3)) -> Volume:
    chest = small_chest()
    box = tuple(slice(a, a + n) for a, n in zip(at, size, strict=True))
    chest.array[box] = NODULE
    return chest


def test_a_block_has_the_volume_extent_and_place_that_it_was_given() -> None:
    labels = with_nodule((25, 12, 8), (4, 3, 2))
    (row,) = measure_scan(labels, nodules_in(labels), ["n1"])
    assert row["nodule_vol_mm3"] == pytest.approx(4 * 3 * 2 * 1.5 * 2.0 * 2.5)
    assert (row["w"], row["h"], row["d"]) == (6.0, 6.0, 5.0)
    np.testing.assert_allclose([row[f"coord{a}"] for a in "XYZ"], labels.to_world([26.5, 13.0, 8.5]))
    assert (row["lung_side"], row["lobe_name"], row["lobe_share"]) == ("right", "right_lung_lower_lobe", 1.0)
    assert row["lung_zone"] == "lower_zone"


def test_a_mirrored_chest_changes_side() -> None:
    labels = with_nodule((25, 12, 8))
    swap = np.arange(256)
    swap[[28, 29, 30, 32]] = [30, 32, 28, 29]
    mirrored = Volume(np.ascontiguousarray(swap[labels.array[::-1]]).astype(np.uint8), labels.affine)
    (row,) = measure_scan(mirrored, nodules_in(mirrored), ["n1"])
    assert row["lung_side"] == "left"
    (plain,) = measure_scan(labels, nodules_in(labels), ["n1"])
    assert row["lobe_ml_pct"] == pytest.approx(100 - plain["lobe_ml_pct"], abs=0.01)


def test_siblings() -> None:
    labels = with_nodule((25, 12, 8))
    labels.array[7:10, 12:15, 8:11] = NODULE
    labels.array[26:28, 20:22, 20:22] = NODULE
    rows = measure_scan(labels, nodules_in(labels), ["a", "b", "c"])
    first = {tuple(r[f"coord{x}"] for x in "XYZ"): r for r in rows}
    assert {r["n_nodules_in_patient"] for r in rows} == {3}
    assert all(r["bilateral_distribution"] for r in rows)
    left = next(r for r in rows if r["lung_side"] == "left")
    assert left["ipsilateral"] is False
    assert len(left["all_nodule_ids"].split(",")) == 2
    assert len(first) == 3


@pytest.mark.parametrize("at", [(28, 18, 10), (23, 9, 5), (33, 28, 14)])
def test_pleural_distance_equals_the_transform_of_the_whole_volume(at: tuple[int, int, int]) -> None:
    chest = small_chest()
    whole = ndimage.distance_transform_edt(np.isin(chest.array, INSIDE_LUNG), sampling=chest.spacing)
    assert pleural_distance(chest, at) == pytest.approx(whole[at], abs=1e-4)
    assert pleural_distance(chest, (0, 0, 0)) is None
    for reach_mm in (0.25, 30.0):
        assert pleural_distance(chest, at, reach_mm=reach_mm) == pleural_distance(chest, at)


@given(st.tuples(*[st.floats(0, 100)] * 3))
def test_percentages_and_positions_are_inverse(percents: tuple[float, float, float]) -> None:
    lobe = lobes_of(small_chest().array)["right_lung_upper_lobe"]
    np.testing.assert_allclose(lobe.percent(lobe.position(*percents)), percents, atol=1e-6)


@given(st.sets(st.integers(0, 60), min_size=1))
def test_runs_are_inverse(values: set[int]) -> None:
    indices = np.array(sorted(values))
    np.testing.assert_array_equal(from_runs(runs(indices)), indices)


def test_specks_do_not_stretch_a_lobe() -> None:
    chest = small_chest()
    clean = lobes_of(chest.array)["right_lung_lower_lobe"]
    chest.array[3, 4, 28] = 32
    assert lobes_of(chest.array)["right_lung_lower_lobe"].box == clean.box


@pytest.mark.real
@pytest.mark.parametrize("case", ["0001", "0002"])
@pytest.mark.slow
def test_the_nodules_of_real_masks(real_data: Path, case: str) -> None:
    labels = read_labels(real_data / "masks" / f"DLCS_{case}_seg_sh.nii.gz")
    found = nodules_in(labels)
    rows = measure_scan(labels, found, [str(i) for i in range(len(found))])
    assert len(rows) == len(REAL_NODULES[case])
    for lesion, row, (voxels, mm3, diameter, centre, lobe, pleura) in zip(found, rows, REAL_NODULES[case], strict=True):
        assert lesion.mask.sum() == voxels
        assert row["nodule_vol_mm3"] == pytest.approx(mm3, abs=0.06)
        assert row["nodule_mean_diam_mm"] == pytest.approx(diameter, abs=0.006)
        assert np.abs(lesion.centroid - centre).max() <= 0.55
        assert row["lobe_name"] == lobe
        assert row["pleural_distance_mm"] == pytest.approx(pleura, abs=0.06)
    if case == "0001":
        assert rows[0]["lobe_share"] == pytest.approx(0.57, abs=0.006)
    counts = np.bincount(labels.array.ravel(), minlength=256)
    assert {label: counts[label] for label in REAL_LOBES[case]} == REAL_LOBES[case]
    largest = {lobe.name: lobe.voxels for lobe in lobes_of(labels.array).values()}
    assert all(largest[name] >= 0.9997 * counts[label] for name, label in zip(largest, REAL_LOBES[case], strict=True))
