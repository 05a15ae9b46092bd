"""Nodules and CTs of an import that are doubtful: refused, or taken under an option that the profile names."""

from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError, Reason
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.cases import Rejection
from itrialspace_assets.imaging.anatomy import BODY
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import Allowances
from itrialspace_assets.intake.importing import import_scans
from itrialspace_assets.intake.listing import OwnScan
from itrialspace_assets.intake.own_dataset import own_dataset
from itrialspace_assets.intake.request import ImportRequest

from ..conftest import small_chest

BOX = (slice(25, 29), slice(12, 15), slice(8, 10))  # in the right lower lobe
VISTA = ImportRequest(labels="vista3d")


@pytest.fixture
def scan(tmp_path: Path) -> OwnScan:
    """A chest of five lobes, its CT, and nodule masks still to be written."""
    labels = small_chest()
    labels.array[22:35, 22:30, 10:16] = 31
    hu = np.full(labels.array.shape, -1000, np.int16)
    hu[labels.array == BODY] = 40
    hu[np.isin(labels.array, range(28, 33))] = -850
    hu[BOX] = 30
    write_volume(tmp_path / "ct.nii.gz", Volume(hu, labels.affine))
    write_volume(tmp_path / "organs.nii.gz", labels)
    return OwnScan(str(tmp_path / "ct.nii.gz"), str(tmp_path / "organs.nii.gz"), str(tmp_path / "n.nii.gz"))


@pytest.fixture
def root(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "root", output_dir=tmp_path / "root", workers=1)


def masked(scan: OwnScan, *values: tuple[tuple[slice, ...], float], dtype: type = np.uint8, name: str = "n") -> None:
    chest = small_chest()
    array: np.ndarray = np.zeros(chest.array.shape, dtype)
    for box, value in values:
        array[box] = value
    write_volume(Path(scan.ct).parent / f"{name}.nii.gz", Volume(array, chest.affine))


def take(scan: OwnScan, root: Settings, request: ImportRequest = VISTA) -> tuple[int, int, list[Rejection]]:
    return import_scans([scan], root, "MINE", request)


def profiles(root: Settings) -> pl.DataFrame:
    return pl.read_csv(own_dataset("MINE").profile_csv(root.data))


def test_touching_nodules_of_two_values_stay_two_and_specks_are_told(scan: OwnScan, root: Settings) -> None:
    left, right = (slice(25, 27), *BOX[1:]), (slice(27, 29), *BOX[1:])
    masked(scan, (left, 7), (right, 4), ((slice(31, 32), slice(12, 14), slice(8, 9)), 4))
    assert take(scan, root) == (1, 2, [])
    assert profiles(root)["doubts"].to_list() == ["specks_left_out"] * 2
    assert profiles(root)["annotation"].to_list() == ["ct_N4", "ct_N7"]
    for name, box in (("N4", right), ("N7", left)):
        voxels = read_labels(root.data / f"masks/MINE/nodule_seg/ct_{name}.nii.gz").array != 0
        assert voxels[box].all() and voxels.sum() == 12


def test_a_map_of_probabilities_needs_a_threshold_which_the_profile_names(scan: OwnScan, root: Settings) -> None:
    masked(scan, (BOX, 0.7), ((slice(25, 29), slice(12, 15), slice(10, 11)), 0.3), dtype=np.float32)
    _, found, (rejection,) = take(scan, root)
    assert found == 0
    assert "n.nii.gz: expected whole numbers, 0 outside nodules, got float32 from 0 to 0.7" in rejection.detail
    allowed = Allowances(threshold=0.5)
    assert take(scan, root, replace(VISTA, allowed=allowed)) == (1, 1, [])
    assert profiles(root)["doubts"].to_list() == ["threshold"]
    assert (read_labels(root.data / "masks/MINE/nodule_seg/ct_N1.nii.gz").array != 0)[BOX].sum() == 24


def test_a_nodule_given_twice_or_outside_the_body_is_refused(scan: OwnScan, root: Settings) -> None:
    folder = Path(scan.ct).with_name("m")
    scan = replace(scan, nodules=str(folder))
    masked(scan, (BOX, 1), name="m/a")
    masked(scan, ((slice(25, 29), slice(13, 16), slice(8, 10)), 1), name="m/b")
    _, _, (rejection,) = take(scan, root)
    assert rejection.reason is Reason.BAD_POSITION
    assert "expected each nodule once, got a and b at" in rejection.detail
    assert "16 of 24 voxels in common; keep one of them" in rejection.detail
    (folder / "b.nii.gz").unlink()
    masked(scan, ((slice(0, 3), slice(0, 3), slice(0, 2)), 1), name="m/c")
    _, _, (rejection,) = take(scan, root)
    assert "nodule c at (-28.5, -34.0, 8.2) mm: expected a nodule inside the body, got 0 of 18" in rejection.detail
    (folder / "c.nii.gz").unlink()
    assert take(scan, root) == (1, 1, [])


def test_a_ct_without_orientation_is_taken_by_a_word_and_still_kept_from_others(scan: OwnScan, root: Settings) -> None:
    masked(scan, (BOX, 1))
    hu = read_volume(Path(scan.ct))

    def without_orientation(array: np.ndarray) -> None:
        raw = bytearray(nib.Nifti1Image(array, hu.affine).to_bytes())
        raw[252:256] = bytes(4)  # qform_code and sform_code
        Path(scan.ct).write_bytes(raw)

    without_orientation(hu.array)
    _, _, (rejection,) = take(scan, root)
    assert "ct.nii.gz: expected an orientation, got sform_code 0 and qform_code 0" in rejection.detail
    trusting = replace(VISTA, allowed=Allowances(trust="sform"))
    assert take(scan, root, trusting) == (1, 1, [])
    assert profiles(root)["doubts"].to_list() == ["trusted_orientation"]
    without_orientation(hu.array - 1)
    with pytest.raises(ConfigError, match=r"MINE holds another scan under this id .*other voxel values.*--replace"):
        take(scan, root, trusting)
    assert take(scan, root, replace(trusting, replace_scans=True)) == (1, 1, [])


def test_a_request_that_cannot_be_met_is_refused_at_once() -> None:
    for wrong, message in (
        ({"roi": "("}, r"--roi '\(': expected a regular expression"),
        ({"roi": "x", "segments": ("1",)}, "--roi and --segment: expected one of them, got both"),
        ({"labels": "nnunet"}, "expected one of totalsegmentator, .*totalsegmentator_v1"),
        ({"frame": "ras"}, "--frame 'ras': expected RAS or LPS"),
    ):
        with pytest.raises(ConfigError, match=message):
            ImportRequest(**wrong)  # type: ignore[arg-type]


def test_a_damaged_nodule_file_is_rejected_by_name(scan: OwnScan, root: Settings) -> None:
    """A DICOM header with a length that cannot be: pydicom raises an error of its own for it."""
    meta = b"\2\0\0\0UL\x29\0\x1e\0\0\0" + b"\2\0\x10\0UI\x14\x001.2.840.10008.1.2.1\0"
    path = Path(scan.ct).with_name("seg.dcm")
    path.write_bytes(bytes(128) + b"DICM" + meta + b"\x08\0\x60\0CS\4\0SEG ")
    _, _, (rejection,) = take(replace(scan, nodules=str(path)), root)
    assert rejection.reason is Reason.UNREADABLE_VOLUME
    assert f"{path}: expected NIfTI, CSV, XML or DICOM, got " in rejection.detail
