"""Nodule masks that users bring: instances, probabilities, duplicates and places that cannot be."""

from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason, TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.cases import Rejection
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import Allowances, allowances
from itrialspace_assets.intake.importing import OwnScan, import_scans
from itrialspace_assets.intake.outcome import measured_profiles, write_outcome
from itrialspace_assets.intake.own_dataset import own_dataset
from itrialspace_assets.intake.request import ImportRequest
from itrialspace_assets.profiles.doubts import Doubt
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.masks import instances, joined, measure_scans, scans_in
from itrialspace_assets.profiles.registry import Demographics, dataset

from ..conftest import small_chest

LOWER = (slice(24, 28), slice(12, 16), slice(6, 10))  # blocks of 4 x 4 x 4 voxels in the right lower lobe
BESIDE = (slice(28, 32), slice(12, 16), slice(6, 10))  # touches LOWER
LEFT = (slice(8, 12), slice(12, 16), slice(6, 10))
BODY_HU, LUNG_HU = 40, -850


@pytest.fixture
def brought(tmp_path: Path) -> Path:
    """A CT and its organ map under our labels, five lobes."""
    labels = small_chest()
    labels.array[22:35, 22:30, 10:16] = 31
    hu = np.where(labels.array == 0, -1000, np.where(labels.array == 200, BODY_HU, LUNG_HU)).astype(np.int16)
    write_volume(tmp_path / "ct.nii.gz", Volume(hu, labels.affine))
    write_volume(tmp_path / "organs.nii.gz", labels)
    return tmp_path


def settings_of(folder: Path) -> Settings:
    return load_settings(data_dir=folder / "root", output_dir=folder / "root", workers=1)


def bring(
    folder: Path, nodules: str, allowed: Allowances | None = None, tell: Callable[[str], None] | None = None
) -> tuple[pl.DataFrame, list[Rejection]]:
    """Profiles of one imported scan, and what was rejected."""
    root = settings_of(folder)
    scan = OwnScan(str(folder / "ct.nii.gz"), str(folder / "organs.nii.gz"), str(folder / nodules), "A")
    _, _, rejected = import_scans(
        [scan],
        root,
        "MINE",
        ImportRequest(labels="vista3d", frame="RAS", allowed=allowed or Allowances(), replace_scans=True),
        tell=tell,
    )
    entry = dataset(root, "MINE")
    return load_profiles(entry.profile_csv(root.data), entry, root.anatomy).profiles, rejected


def masked(folder: Path, *blocks: tuple[tuple[slice, ...], float], dtype: type = np.uint8, name: str = "n") -> Path:
    array: np.ndarray = np.zeros(small_chest().array.shape, dtype)
    for box, value in blocks:
        array[box] = value
    path = folder / f"{name}.nii.gz"
    write_volume(path, Volume(array, small_chest().affine))
    return path


@pytest.mark.parametrize("dtype", [np.uint8, np.int32, np.float32])
def test_touching_nodules_of_two_values_stay_two(brought: Path, dtype: type) -> None:
    masked(brought, (LOWER, 1), (BESIDE, 7), dtype=dtype)
    profiles, rejected = bring(brought, "n.nii.gz")
    assert not rejected
    assert profiles["annotation_id"].to_list() == ["A_N1", "A_N7"]
    assert profiles["nodule_vol_mm3"].to_list() == [64 * 7.5, 64 * 7.5]


@pytest.mark.parametrize("value", [1, 255])
def test_one_value_is_a_binary_mask(brought: Path, value: int) -> None:
    masked(brought, (LOWER, value), (LEFT, value))
    profiles, _ = bring(brought, "n.nii.gz")
    assert sorted(profiles["lung_side"]) == ["left", "right"]


def test_an_instance_value_may_lie_in_two_places(brought: Path) -> None:
    masked(brought, (LOWER, 1), (LEFT, 1), (BESIDE, 2))
    profiles, _ = bring(brought, "n.nii.gz")
    assert profiles["annotation_id"].to_list() == ["A_N1", "A_N1_2", "A_N2"]


def test_probabilities_need_a_threshold(brought: Path) -> None:
    inner = tuple(slice(s.start + 1, s.stop - 1) for s in LOWER)
    masked(brought, (LOWER, 0.3), (inner, 0.9), dtype=np.float32)
    profiles, (rejection,) = bring(brought, "n.nii.gz")
    assert profiles.height == 0
    assert rejection.reason is Reason.NOT_A_LABEL_MAP
    assert "n.nii.gz: expected whole numbers, 0 outside nodules, got float32 from 0 to 0.9" in rejection.detail
    assert "--threshold" in rejection.detail
    for threshold, voxels in ((0.5, 8), (0.2, 64)):
        profiles, rejected = bring(brought, "n.nii.gz", Allowances(threshold=threshold))
        assert not rejected
        row = profiles.row(0, named=True)
        assert row["nodule_vol_mm3"] == voxels * 7.5
        assert row["doubts"] == "threshold"


def test_a_row_without_doubt_names_none(brought: Path) -> None:
    masked(brought, (LOWER, 1))
    assert bring(brought, "n.nii.gz")[0]["doubts"].to_list() == [None]


def test_an_interpolated_mask_of_whole_numbers_is_no_instance_map(brought: Path) -> None:
    edge = (slice(23, 24), slice(12, 13), slice(6, 7))
    masked(brought, (LOWER, 255), (edge, 128))
    _, (rejection,) = bring(brought, "n.nii.gz")
    assert "got fewer for 128 (1 of 2 values); a mask that was interpolated needs --threshold" in rejection.detail
    assert bring(brought, "n.nii.gz", Allowances(threshold=128))[0].height == 1


def test_negative_values_are_no_mask() -> None:
    mask = Volume(np.full((4, 5, 6), -1, np.int16), np.eye(4))
    with pytest.raises(CaseRejected, match="expected values from 0, 0 outside nodules, got -1"):
        instances(mask, Path("m.nii"))


def test_specks_are_said(brought: Path) -> None:
    masked(brought, (LOWER, 1), ((slice(8, 9), slice(12, 13), slice(6, 8)), 1))
    told: list[str] = []
    profiles, rejected = bring(brought, "n.nii.gz", tell=told.append)
    assert (profiles.height, profiles["doubts"].to_list(), rejected) == (1, ["specks_left_out"], [])
    assert "n.nii.gz: 2 voxels in pieces below 3 voxels left out" in told[0]


@pytest.mark.parametrize("kind", ["files", "list"])
def test_a_nodule_given_twice_is_refused(brought: Path, kind: str) -> None:
    if kind == "files":
        (brought / "n").mkdir()
        masked(brought / "n", (LOWER, 1), name="first")
        masked(brought / "n", ((slice(25, 28), *LOWER[1:]), 1), name="second")
    else:
        x, y, z = small_chest().to_world([26, 14, 8])
        (brought / "n.csv").write_text(f"id,x,y,z,diameter_mm\nfirst,{x},{y},{z},9\nsecond,{x},{y},{z},8\n")
    _, (rejection,) = bring(brought, "n" if kind == "files" else "n.csv")
    assert "expected each nodule once, got first and second at (" in rejection.detail


@pytest.mark.parametrize(("end", "doubts"), [("\n", None), ("\r\n", None), ("", "list_cut_off")])
def test_a_list_without_its_last_line_end_may_be_cut_off(brought: Path, end: str, doubts: str | None) -> None:
    """A file that ends in 1 may have ended in 12."""
    x, y, z = small_chest().to_world([26, 14, 8])
    for encoding in ("utf-8", "utf-16"):
        (brought / "n.csv").write_bytes(f"x,y,z,diameter_mm\n{x},{y},{z},9{end}".encode(encoding))
        assert bring(brought, "n.csv")[0]["doubts"].to_list() == [doubts]


def test_neighbours_are_not_the_same_nodule(brought: Path) -> None:
    (brought / "n").mkdir()
    masked(brought / "n", (LOWER, 1), name="first")
    masked(brought / "n", ((slice(27, 31), *LOWER[1:]), 1), name="second")  # a quarter in common
    assert bring(brought, "n")[0]["doubts"].to_list() == ["shared_voxels"] * 2
    (brought / "n" / "second.nii.gz").unlink()
    masked(brought / "n", (BESIDE, 1), name="second")  # they touch, and share none
    assert bring(brought, "n")[0]["doubts"].to_list() == [None] * 2


def test_a_nodule_outside_the_body_is_refused(brought: Path) -> None:
    masked(brought, ((slice(0, 3), slice(0, 4), slice(6, 10)), 1))
    _, (rejection,) = bring(brought, "n.nii.gz")
    assert rejection.reason is Reason.BAD_POSITION
    assert "nodule N1 at (-28.5, -33.0, 25.8) mm: expected a nodule inside the body, got 4 of 48" in rejection.detail


def test_an_organ_map_is_no_nodule_mask(brought: Path) -> None:
    _, (rejection,) = bring(brought, "organs.nii.gz")
    assert "expected nodules, got 6 regions that hold 100 % of the lungs" in rejection.detail


def test_a_file_of_a_folder_that_holds_two_lesions_is_two(brought: Path) -> None:
    (brought / "n").mkdir()
    gap = (slice(24, 28), slice(12, 16), slice(11, 13))  # a missing slice above LOWER: the same nodule
    masked(brought / "n", (LOWER, 1), (gap, 1), (LEFT, 1), name="all")
    profiles, _ = bring(brought, "n")
    assert profiles.select("annotation_id", "nodule_vol_mm3").rows() == [("A_all", 96 * 7.5), ("A_all_2", 64 * 7.5)]


def test_pieces_join_through_a_third() -> None:
    grid = Volume(np.zeros((20, 4, 4), np.uint8), np.eye(4))
    blocks = [(slice(a, a + 3), slice(0, 3), slice(0, 3)) for a in (0, 8, 4, 15)]
    lesions = [instances(_volume(grid, box), Path("m"))[0][0][1] for box in blocks]
    assert [lesion.offset[0] for lesion in joined(lesions, grid)] == [0, 15]
    assert [int(lesion.mask.sum()) for lesion in joined(lesions, grid)] == [81, 27]


def _volume(grid: Volume, box: tuple[slice, ...]) -> Volume:
    array = grid.array.copy()
    array[box] = 1
    return Volume(array, grid.affine)


def test_the_other_files_of_a_scan_say_how_their_grid_differs(brought: Path) -> None:
    moved = small_chest()
    moved.affine[2, 3] += 2.5
    write_volume(brought / "n.nii.gz", Volume((moved.array == 30).astype(np.uint8), moved.affine))
    _, (rejection,) = bring(brought, "n.nii.gz")
    assert rejection.detail.endswith(
        "n.nii.gz: expected the grid of its CT, got voxel 0 at (-30, -36, 9.5) mm instead of (-30, -36, 7) mm, "
        "2.50 mm away"
    )


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.full((40, 36, 30), 64536, np.uint16), "expected HU from -32768 to 32767, got values from 64536"),
        (np.full((40, 36, 30), 60, np.int16), "expected a CT of a chest in HU, got 0.0 % of voxels with HU of lung"),
    ],
)
def test_a_ct_that_holds_no_hu_is_refused(brought: Path, array: np.ndarray, message: str) -> None:
    write_volume(brought / "ct.nii.gz", Volume(array, small_chest().affine))
    masked(brought, (LOWER, 1))
    _, (rejection,) = bring(brought, "n.nii.gz")
    assert rejection.reason is Reason.IMPLAUSIBLE_HU
    assert f"ct.nii.gz: {message}" in rejection.detail


def test_measuring_splits_instances_and_refuses_probabilities(tmp_path: Path) -> None:
    settings = settings_of(tmp_path)
    write_volume(tmp_path / "organs" / "x_seg.nii.gz", small_chest())
    (tmp_path / "nodules").mkdir()
    masked(tmp_path / "nodules", (LOWER, 1), (BESIDE, 2), name="x_mask")
    rows, _ = measure_scans(scans_in(tmp_path / "organs", tmp_path / "nodules"), settings, "a")
    assert rows["nodule_vol_mm3"].to_list() == [64 * 7.5, 64 * 7.5]
    masked(tmp_path / "nodules", (LOWER, 0.4), dtype=np.float32, name="x_mask")
    rows, (rejection,) = measure_scans(scans_in(tmp_path / "organs", tmp_path / "nodules"), settings, "b")
    assert rows.is_empty()
    assert "x_mask.nii.gz: expected whole numbers" in rejection.detail


def test_measuring_names_the_doubt_in_its_table(tmp_path: Path) -> None:
    labels = small_chest()
    labels.array[LOWER] = 23
    write_volume(tmp_path / "m" / "x.nii.gz", labels)
    labels.array[8, 12, 6] = 23
    write_volume(tmp_path / "m" / "y.nii.gz", labels)
    rows, rejected = measure_scans(scans_in(tmp_path / "m"), settings_of(tmp_path), "a")
    entry, out = own_dataset("MINE"), tmp_path / "MINE_nodule_profiles.csv"
    entry = entry.model_copy(update={"label": None, "demographics": Demographics()})
    write_outcome(out, entry, measured_profiles(rows, entry), ["x", "y"], rejected)
    found = load_profiles(out, entry, "real").profiles
    assert dict(found.select("scan_uid", "doubts").rows()) == {"MINE/x": None, "MINE/y": "specks_left_out"}
    out.write_text(out.read_text().replace("specks_left_out", "specks"))
    with pytest.raises(TableError, match=r"expected codes of trusted_orientation, .* joined with ; .* first: specks\)"):
        load_profiles(out, entry, "real")


def test_measuring_refuses_a_map_of_another_numbering(tmp_path: Path) -> None:
    """Numbers 28 to 32 of TotalSegmentator are vertebrae, from L4 upwards."""
    labels = small_chest()
    spine = np.where(labels.array != 0, 200, 0).astype(np.uint8)
    for i, label in enumerate((28, 29, 30, 31, 32)):
        spine[16:24, 5:9, 4 + 4 * i : 7 + 4 * i] = label
    spine[LOWER] = 23
    write_volume(tmp_path / "m" / "x.nii.gz", Volume(spine, labels.affine))
    rows, (rejection,) = measure_scans(scans_in(tmp_path / "m"), settings_of(tmp_path), "a")
    assert rows.is_empty()
    assert "left_lung_upper_lobe not above left_lung_lower_lobe" in rejection.detail
    assert "its import --labels" in rejection.detail


def test_a_refused_scan_leaves_no_file(brought: Path) -> None:
    masked(brought, (LOWER, 0.4), dtype=np.float32)
    _, rejected = bring(brought, "n.nii.gz")
    assert len(rejected) == 1
    assert not list((brought / "root").rglob("*.nii.gz"))


def test_trust_is_a_doubt_of_the_row(brought: Path) -> None:
    """Every file of the scan says left in its qform and right in its sform; the user knows which one holds."""
    masked(brought, (LOWER, 1))
    for name in ("ct", "organs", "n"):
        image = nib.load(brought / f"{name}.nii.gz")
        mirrored = nib.Nifti1Image(np.asanyarray(image.dataobj), image.affine)
        mirrored.set_qform(np.diag([-1.0, 1, 1, 1]) @ image.affine, code=1)
        nib.save(mirrored, brought / f"{name}.nii.gz")
    profiles, (rejection,) = bring(brought, "n.nii.gz")
    assert profiles.is_empty()
    assert "ct.nii.gz: expected one orientation, got two" in rejection.detail
    row = bring(brought, "n.nii.gz", Allowances(trust="sform"))[0].row(0, named=True)
    assert (row["lung_side"], row["doubts"]) == ("right", "trusted_orientation")
    _, (rejection,) = bring(brought, "n.nii.gz", Allowances(trust="qform"))
    assert "the left lobes not left of the right lobes" in rejection.detail, "the wrong one does not pass"


def test_options_that_cannot_be() -> None:
    assert allowances(None, None, False).doubts == ()
    assert allowances("sform", 0.5, True).doubts == (
        Doubt.TRUSTED_ORIENTATION,
        Doubt.THRESHOLD,
        Doubt.UNUSUAL_ANATOMY,
    )
    with pytest.raises(ConfigError, match="--trust 'best': expected sform or qform"):
        allowances("best", None, False)
    for threshold in (0.0, -1.0, float("nan"), float("inf")):
        with pytest.raises(ConfigError, match="expected a number above 0"):
            allowances(None, threshold, False)
