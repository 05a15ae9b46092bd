"""CTs that hold no HU, and organ maps of another numbering, mirrored or upside down, are refused; whole ones pass."""

import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.anatomy import BODY, LABEL_NAMES, TRACHEA
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import Allowances
from itrialspace_assets.intake.organs import label_maps, organ_map
from itrialspace_assets.profiles.plausible import anatomy_faults, hu_fault
from itrialspace_assets.profiles.registry import datasets

from ..conftest import small_chest

LIVER, SPLEEN = 1, 3


def chest() -> Volume:
    """Five lobes, trachea, spine, liver and spleen under our labels."""
    labels = small_chest()
    labels.array[22:35, 22:30, 10:16] = 31
    labels.array[17:20, 18:21, 20:29] = TRACHEA
    labels.array[16:21, 4:7, 1:29] = 40
    labels.array[24:36, 10:28, 1:4] = LIVER
    labels.array[4:10, 8:18, 1:4] = SPLEEN
    return labels


def ct_of(labels: Volume, seed: int = 0) -> Volume:
    hu = np.full(labels.array.shape, -1000, np.int16)
    hu[labels.array != 0] = 40
    hu[labels.array == 40] = 300
    hu[np.isin(labels.array, range(28, 33))] = -850
    hu[labels.array == TRACHEA] = -980
    return Volume(hu, labels.affine)


def under(labels: Volume, key: str) -> Volume:
    """A map under the numbers of another program."""
    names = list(label_maps()[key]["names"].values())
    theirs = np.zeros_like(labels.array)
    for label in np.unique(labels.array):
        if LABEL_NAMES[label] in names and label not in (0, BODY):
            theirs[labels.array == label] = names.index(LABEL_NAMES[label]) + 1
    return Volume(theirs, labels.affine)


def test_a_whole_chest_has_no_fault(tmp_path: Path) -> None:
    labels = chest()
    assert anatomy_faults(labels, ct_of(labels)).text == ""
    for key in ("totalsegmentator", "totalsegmentator_v1"):
        write_volume(tmp_path / "a.nii.gz", under(labels, key))
        found = organ_map(tmp_path / "a.nii.gz", key, ct_of(labels))
        np.testing.assert_array_equal(found.array, labels.array)


def test_version_1_of_totalsegmentator() -> None:
    """The lobes are 13 to 17 and the trachea 43 (docs/facts/datasets.md#organ-maps)."""
    names = list(label_maps()["totalsegmentator_v1"]["names"])
    assert len(names) == 104
    assert names[12:17] == list(label_maps()["totalsegmentator"]["names"])[9:14]
    assert (names[42], names[43], names[57], names[69], names[103]) == (
        "trachea",
        "heart_myocardium",
        "rib_left_1",
        "rib_right_1",
        "urinary_bladder",
    )
    assert set(label_maps()["totalsegmentator_v1"]["names"].values()) <= set(LABEL_NAMES.values())


@pytest.mark.parametrize(
    ("written", "read"),
    [
        ("totalsegmentator_v1", "totalsegmentator"),
        ("totalsegmentator", "totalsegmentator_v1"),
        ("vista3d", "totalsegmentator"),
        ("totalsegmentator", "vista3d"),
        ("totalsegmentator_v1", "vista3d"),
    ],
)
def test_a_map_of_another_numbering_is_refused_and_named(tmp_path: Path, written: str, read: str) -> None:
    labels = chest()
    write_volume(tmp_path / "a.nii.gz", labels if written == "vista3d" else under(labels, written))
    with pytest.raises(
        CaseRejected, match=rf"a\.nii\.gz: expected .* {read}, got .*its numbers fit --labels {written}$"
    ):
        organ_map(tmp_path / "a.nii.gz", read, ct_of(labels))


def test_a_map_of_five_lobes_alone_under_other_numbers_is_refused(tmp_path: Path) -> None:
    """Lobes numbered 1 to 5, as programs for lobes alone write them."""
    labels = chest()
    lobes = np.where(np.isin(labels.array, range(28, 33)), labels.array - 27, 0).astype(np.uint8)
    write_volume(tmp_path / "a.nii.gz", Volume(lobes, labels.affine))
    for key in label_maps():
        with pytest.raises(CaseRejected, match="got none; make the map again, or say whose numbers") as told:
            organ_map(tmp_path / "a.nii.gz", key, ct_of(labels))
        assert told.value.reason is Reason.NO_LOBE


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda a: a[::-1], "the left lobes not left of the right lobes"),
        (lambda a: a[:, ::-1], "right_lung_middle_lobe not in front of right_lung_lower_lobe"),
        (lambda a: a[..., ::-1], "left_lung_upper_lobe not above left_lung_lower_lobe"),
        (lambda a: np.where(a == 32, 12, a), "no right_lung_lower_lobe"),
        (lambda a: np.where(a == BODY, 28, a), "not left of|HU"),
    ],
)
def test_a_map_that_contradicts_anatomy_is_refused(
    tmp_path: Path, change: Callable[[np.ndarray], np.ndarray], message: str
) -> None:
    labels = chest()
    changed = Volume(np.ascontiguousarray(change(labels.array)).astype(np.uint8), labels.affine)
    write_volume(tmp_path / "a.nii.gz", changed)
    with pytest.raises(CaseRejected, match=message) as told:
        organ_map(tmp_path / "a.nii.gz", "vista3d", ct_of(labels))
    assert told.value.reason is Reason.NOT_A_LABEL_MAP


def test_swapped_sides_of_liver_and_spleen_show_a_mirrored_scan() -> None:
    labels = chest()
    mirrored = Volume(np.ascontiguousarray(labels.array[::-1]), labels.affine)
    swap = np.arange(256, dtype=np.uint8)
    swap[[28, 29, 30, 32, 31]] = [30, 32, 28, 29, 29]
    mirrored = Volume(swap[mirrored.array], labels.affine)
    assert "spleen not left of liver" in anatomy_faults(mirrored, ct_of(mirrored)).wrong


def test_a_lobe_that_is_missing_or_airless_needs_a_word(tmp_path: Path) -> None:
    labels = chest()
    without = Volume(np.where(labels.array == 31, 32, labels.array), labels.affine)
    collapsed = ct_of(labels)
    collapsed.array[labels.array == 29] = 30
    for one, ct, message in (
        (without, ct_of(labels), "got no right_lung_middle_lobe; if the patient is so .*--unusual-anatomy"),
        (labels, collapsed, "got left_lung_lower_lobe with a median of 30 HU"),
    ):
        write_volume(tmp_path / "a.nii.gz", one)
        with pytest.raises(CaseRejected, match=message):
            organ_map(tmp_path / "a.nii.gz", "vista3d", ct)
        found = organ_map(tmp_path / "a.nii.gz", "vista3d", ct, Allowances(unusual_anatomy=True))
        np.testing.assert_array_equal(found.array, one.array)


def test_unusual_anatomy_is_not_a_wrong_side(tmp_path: Path) -> None:
    labels = chest()
    write_volume(tmp_path / "a.nii.gz", under(labels, "totalsegmentator_v1"))
    with pytest.raises(CaseRejected, match="--labels totalsegmentator_v1"):
        organ_map(tmp_path / "a.nii.gz", "totalsegmentator", ct_of(labels), Allowances(unusual_anatomy=True))
    left = Volume(np.where(np.isin(labels.array, (30, 31)), 200, labels.array), labels.affine)
    left.array[np.isin(labels.array, (28, 29, 32))] = np.array([31, 32, BODY])[
        np.searchsorted([28, 29, 32], labels.array[np.isin(labels.array, (28, 29, 32))])
    ]
    assert "the right lobes not right of the middle of the body" in anatomy_faults(left, ct_of(labels)).wrong


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda hu: hu + 1024, r"HU after -1024: the rescale intercept was not applied"),
        (lambda hu: hu - 1024, r"HU after \+1024: the rescale intercept was applied twice"),
        (lambda hu: np.clip((hu + 1000) // 6, 0, 255), r"0\.0 % of voxels with HU of lung .* values from 0 to 216"),
        (np.zeros_like, "values from 0 to 0"),
        (lambda hu: np.where(hu == -1000, 0, hu), "0 HU in every corner of every slice"),
    ],
)
def test_a_ct_that_holds_no_hu_says_why(change: Callable[[np.ndarray], np.ndarray], message: str) -> None:
    hu = ct_of(chest()).array
    assert hu_fault(hu) is None
    assert re.search(message, hu_fault(change(hu).astype(np.int16)) or "")


@pytest.mark.parametrize("padding", [-1024, -2000, -3024])
def test_padding_below_air_is_padding(padding: int) -> None:
    labels = chest()
    ct = ct_of(labels)
    ct.array[labels.array == 0] = padding
    assert hu_fault(ct.array) is None
    assert anatomy_faults(labels, ct).text == ""


def test_the_procedural_data_root_passes(data_root: Path, settings) -> None:  # type: ignore[no-untyped-def]
    done = 0
    for name, entry in datasets(settings).items():
        for path in sorted((data_root / "raw_ct" / name).glob("*.nii.gz"))[:1]:
            ct = read_volume(path)
            organs = entry.organ_map(data_root, path.name.removesuffix(".nii.gz"))
            assert hu_fault(ct.array) is None
            assert anatomy_faults(read_labels(organs), ct).text == ""
            done += 1
    assert done == 7


@pytest.mark.real
@pytest.mark.parametrize("case", ["0001", "0002"])
def test_real_lobes_lie_as_lobes_do(real_data: Path, case: str) -> None:
    """Real maps over a CT of their own labels: anatomy is measured, the HU are made."""
    labels = read_labels(real_data / "masks" / f"DLCS_{case}_seg_sh.nii.gz")
    small = Volume(np.ascontiguousarray(labels.array[::4, ::4, ::4]), labels.affine @ np.diag([4.0, 4, 4, 1]))
    assert anatomy_faults(small, ct_of(small)).text == ""
    mirrored = Volume(np.ascontiguousarray(small.array[::-1]), small.affine)
    assert "the left lobes not left of the right lobes" in anatomy_faults(mirrored, ct_of(mirrored)).wrong
