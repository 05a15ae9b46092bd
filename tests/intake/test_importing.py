"""Importing own scans: every kind of file, on an asymmetric chest, against the volume they were written from."""

import json
import os
import re
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pydicom
import pytest

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason, TableError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.cases import Rejection
from itrialspace_assets.imaging.anatomy import BODY, LABEL_NAMES, NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import Allowances, ImportCase
from itrialspace_assets.intake.importing import import_scans
from itrialspace_assets.intake.listing import OwnScan, files_of, read_list
from itrialspace_assets.intake.organs import label_maps, organ_map
from itrialspace_assets.intake.own_dataset import own_entry
from itrialspace_assets.intake.own_files import hidden_files
from itrialspace_assets.intake.request import ImportRequest
from itrialspace_assets.profiles.dicom.grid import SeriesIdentity
from itrialspace_assets.profiles.dicom.lidc import read_lidc_xml
from itrialspace_assets.profiles.dicom.regions import RegionChoice
from itrialspace_assets.profiles.dicom.rtstruct import read_rtstruct
from itrialspace_assets.profiles.dicom.seg import read_seg
from itrialspace_assets.profiles.dicom.series import read_ct_series
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.masks import measure_scans, scans_in, sphere
from itrialspace_assets.profiles.registry import Dataset, dataset
from itrialspace_assets.profiles.verify import compare, scans_of

from ..conftest import small_chest
from .dicom_files import lidc_xml, write_multiframe, write_rtstruct, write_seg, write_series

MIDDLE_LOBE = (slice(22, 35), slice(22, 30), slice(10, 16))  # in front of the right lower lobe
BOX = (slice(25, 29), slice(12, 15), slice(8, 10))  # 4 x 3 x 2 voxels in the right lower lobe


def chest_ct() -> Volume:
    labels = small_chest()
    hu = np.full(labels.array.shape, -1000, np.int16)
    hu[labels.array == BODY] = 40
    hu[np.isin(labels.array, range(28, 33))] = -850
    hu[BOX] = 30
    return Volume(hu, labels.affine)


def nodule() -> np.ndarray:
    mask = np.zeros(small_chest().array.shape, bool)
    mask[BOX] = True
    return mask


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A CT and its organ map under TotalSegmentator's labels, stored LAS and LPS."""
    write_volume(tmp_path / "ct.nii.gz", chest_ct(), orientation="LAS")
    names = list(label_maps()["totalsegmentator"]["names"].values())
    theirs = np.zeros(small_chest().array.shape, np.uint8)
    for label in (28, 29, 30, 32):
        theirs[small_chest().array == label] = names.index(LABEL_NAMES[label]) + 1
    theirs[MIDDLE_LOBE] = names.index(LABEL_NAMES[31]) + 1
    write_volume(tmp_path / "organs.nii.gz", Volume(theirs, small_chest().affine), orientation="LPS")
    return tmp_path


@pytest.fixture
def root(tmp_path: Path) -> Settings:
    return load_settings(data_dir=tmp_path / "root", output_dir=tmp_path / "root", workers=1)


def test_label_files_name_real_structures() -> None:
    names = label_maps()["totalsegmentator"]["names"]
    assert len(names) == 117, "the classes of TotalSegmentator's task 'total', version 2"
    assert set(names.values()) <= set(LABEL_NAMES.values())
    assert list(names)[9:14] == [
        "lung_upper_lobe_left",
        "lung_lower_lobe_left",
        "lung_upper_lobe_right",
        "lung_middle_lobe_right",
        "lung_lower_lobe_right",
    ]
    assert list(names)[50:53] == ["heart", "aorta", "pulmonary_vein"]


def test_a_series_reads_as_the_volume_it_was_written_from(tmp_path: Path) -> None:
    write_series(tmp_path / "s", chest_ct())
    ct, identity = read_ct_series(tmp_path / "s")
    np.testing.assert_array_equal(ct.array, chest_ct().array)
    np.testing.assert_allclose(ct.affine, chest_ct().affine, atol=1e-6)
    assert (identity.patient, identity.age, identity.sex) == ("P7", "61", "F")


def test_a_wrong_series_says_what_is_wrong(tmp_path: Path) -> None:
    write_series(tmp_path / "gap", chest_ct(), skip=(11,))
    with pytest.raises(CaseRejected, match=r"expected slices 2\.500 mm apart, got a step of 5\.000 mm after slice 11"):
        read_ct_series(tmp_path / "gap")
    (tmp_path / "none").mkdir()
    (tmp_path / "none" / "x.txt").write_text("no DICOM")
    with pytest.raises(CaseRejected, match="expected the slices of a CT series, got 0 CT slices in 1 files"):
        read_ct_series(tmp_path / "none")
    write_series(tmp_path / "two", chest_ct())
    other = next((tmp_path / "two").iterdir())
    data = pydicom.dcmread(other)
    data.SeriesInstanceUID = "1.2.3"
    data.save_as(other)
    with pytest.raises(CaseRejected, match="expected one CT series, got 2"):
        read_ct_series(tmp_path / "two")


@pytest.mark.real
def test_a_published_series_reads_with_its_geometry(real_data: Path) -> None:
    """Size and spacing of the README of the real data; corners through an independent reader (SimpleITK)."""
    ct, _ = read_ct_series(real_data / "dicom_ct")
    assert ct.array.shape == (512, 512, 20)
    np.testing.assert_allclose(ct.spacing, (0.9765625, 0.9765625, 2.0))
    import SimpleITK as sitk

    image = sitk.ReadImage(sitk.ImageSeriesReader.GetGDCMSeriesFileNames(str(real_data / "dicom_ct")))
    for index in ((0, 0, 0), (511, 100, 19), (37, 290, 4)):
        x, y, z = image.TransformIndexToPhysicalPoint(index)
        at = np.rint(ct.to_voxel([-x, -y, z])).astype(int)
        assert ct.array[tuple(at)] == image[index]


def test_segmentations_of_every_kind_give_the_same_voxels(tmp_path: Path) -> None:
    ct, mask = chest_ct(), nodule()
    series = write_series(tmp_path / "s", ct)
    write_seg(tmp_path / "seg.dcm", series, {"Nodule": mask, "Other": np.roll(mask, 8, axis=1)})
    found = dict(read_seg(tmp_path / "seg.dcm", ct, SeriesIdentity(), RegionChoice()).lesions)
    assert list(found) == ["Nodule", "Other"]
    assert found["Nodule"].box == BOX
    assert found["Nodule"].mask.all()
    assert found["Other"].offset == (25, 20, 8)

    square = np.array([[24.5, 11.5], [28.5, 11.5], [28.5, 14.5], [24.5, 14.5]])
    write_rtstruct(tmp_path / "rt.dcm", ct, {"GTV-1": {8: [square], 9: [square]}, "Lung": {5: [square]}})
    found = dict(read_rtstruct(tmp_path / "rt.dcm", ct, SeriesIdentity(), RegionChoice("gtv")).lesions)
    assert list(found) == ["GTV-1"]
    assert (found["GTV-1"].box, found["GTV-1"].mask.all()) == (BOX, True)
    with pytest.raises(CaseRejected, match="expected a region that matches 'tumour', got 1 'GTV-1', 2 'Lung'"):
        read_rtstruct(tmp_path / "rt.dcm", ct, SeriesIdentity(), RegionChoice("tumour"))

    ring = [(x, y) for x in range(24, 30) for y in range(11, 16) if x in (24, 29) or y in (11, 15)]
    order = sorted(ring, key=lambda p: np.arctan2(p[1] - 13.0, p[0] - 26.5))
    (tmp_path / "r.xml").write_text(lidc_xml(ct, [{8: order, 9: order}, {8: order}, {8: order, 9: order}]))
    ((_, lesion),) = read_lidc_xml(tmp_path / "r.xml", ct, SeriesIdentity()).lesions
    assert (lesion.box, lesion.mask.all()) == (BOX, True), "two of three readers marked both planes"
    (tmp_path / "one.xml").write_text(lidc_xml(ct, [{8: order, 9: order}, {8: order}, {8: order}]))
    ((_, lesion),) = read_lidc_xml(tmp_path / "one.xml", ct, SeriesIdentity()).lesions
    assert lesion.box == (BOX[0], BOX[1], slice(8, 9)), "one of three readers is less than half"


@pytest.mark.parametrize("kind", ["seg", "rt", "inner"])
def test_a_nodule_under_two_names_is_refused(files: Path, root: Settings, kind: str) -> None:
    """A segment or region twice, by two readers, and a tumour inside its own margin (GTV in ITV)."""
    series = write_series(files / "s", chest_ct())
    path = files / f"{kind}.dcm"
    if kind == "seg":
        write_seg(path, series, {"Nodule": nodule(), "Nodule reader 2": nodule()})
    else:
        x, y, z = BOX
        grow = 1 if kind == "inner" else 0
        corners = [
            np.array([[a, b] for a, b in ((x0, y0), (x1, y0), (x1, y1), (x0, y1))]) - 0.5
            for x0, x1, y0, y1 in (
                (x.start, x.stop, y.start, y.stop),
                (x.start - grow, x.stop + grow, y.start - grow, y.stop + grow),
            )
        ]
        planes = range(z.start, z.stop)
        write_rtstruct(
            path,
            chest_ct(),
            {"GTV-1": {k: [corners[0]] for k in planes}, "GTV-1 margin": {k: [corners[1]] for k in planes}},
        )
    scan = OwnScan(str(files / "s"), str(files / "organs.nii.gz"), str(path))
    done, found, (rejection,) = import_scans([scan], root, "MINE", ImportRequest())
    assert (done, found) == (0, 0)
    assert re.search(
        r"expected each nodule once, got \w+ and \w+ at .* with 24 of 24 voxels in common", rejection.detail
    )


def test_a_series_under_two_ids_is_refused(files: Path, root: Settings) -> None:
    """At once, and after it was imported; its nodules would be in the dataset twice."""
    for name in ("a", "b"):
        write_series(files / name, chest_ct())
    a, b = (OwnScan(str(files / name), str(files / "organs.nii.gz")) for name in ("a", "b"))
    with pytest.raises(ConfigError, match=r"expected each series once in MINE, got .* under the ids 'a' and 'b'"):
        import_scans([a, b], root, "MINE", ImportRequest())
    assert import_scans([a], root, "MINE", ImportRequest())[0] == 1
    assert import_scans([a], root, "MINE", ImportRequest())[0] == 1, "again is not twice"
    with pytest.raises(ConfigError, match="under the ids 'a' and 'b'; import it once, or into another dataset"):
        import_scans([b], root, "MINE", ImportRequest())
    assert import_scans([b], root, "OTHER", ImportRequest())[0] == 1


def test_a_hole_in_a_contour_is_a_hole(tmp_path: Path) -> None:
    outer = np.array([[9.5, 9.5], [16.5, 9.5], [16.5, 16.5], [9.5, 16.5]])
    inner = np.array([[11.5, 11.5], [13.5, 11.5], [13.5, 13.5], [11.5, 13.5]])
    write_rtstruct(tmp_path / "rt.dcm", chest_ct(), {"nodule": {7: [outer, inner]}})
    ((_, lesion),) = read_rtstruct(tmp_path / "rt.dcm", chest_ct(), SeriesIdentity(), RegionChoice("nodule")).lesions
    assert lesion.mask.sum() == 49 - 4


@pytest.mark.parametrize("kind", ["mask", "seg", "list_ras", "list_lps", "folder"])
def test_import_then_index(files: Path, root: Settings, kind: str) -> None:
    """One nodule, told in five ways, lands at the same place with the same lobe; a sphere is marked."""
    frame, nodules = None, files / "n.nii.gz"
    centre = chest_ct().to_world([26.5, 13, 8.5])
    if kind in ("mask", "folder"):
        target = files / "own" / "first.nii.gz" if kind == "folder" else nodules
        write_volume(target, Volume(nodule().astype(np.uint8), chest_ct().affine), orientation="RPS")
        nodules = files / "own" if kind == "folder" else nodules
    elif kind == "seg":
        write_seg(files / "seg.dcm", write_series(files / "s", chest_ct()), {"Nodule": nodule()})
        nodules = files / "seg.dcm"
    else:
        x, y, z = centre if kind == "list_ras" else centre * [-1, -1, 1]
        nodules, frame = files / "n.csv", "RAS" if kind == "list_ras" else "LPS"
        nodules.write_text(f"x,y,z,diameter_mm,label\n{x},{y},{z},7,1\n")
    ct = files / "s" if kind == "seg" else files / "ct.nii.gz"
    done, found, rejected = import_scans(
        [OwnScan(str(ct), str(files / "organs.nii.gz"), str(nodules))], root, "MINE", ImportRequest(frame=frame)
    )
    assert (done, found, rejected) == (1, 1, [])
    entry = dataset(root, "MINE")
    row = load_profiles(entry.profile_csv(root.data), entry, root.anatomy).profiles.row(0, named=True)
    np.testing.assert_allclose([row["coordX"], row["coordY"], row["coordZ"]], centre, atol=1.3)
    assert (row["reinsertion_lobe"], row["lung_side"]) == ("right_lung_lower_lobe", "right")
    procedural = kind.startswith("list")
    assert (row["mask_source"] == "procedural", row["label"]) == (procedural, 1 if procedural else None)
    ct_id = "s" if kind == "seg" else "ct"
    labels = read_labels(entry.organ_map(root.data, ct_id))
    if not procedural:
        np.testing.assert_array_equal(labels.array == NODULE, nodule())
        assert row["nodule_vol_mm3"] == pytest.approx(24 * 1.5 * 2.0 * 2.5)
    assert (labels.array == BODY).any()
    np.testing.assert_array_equal(read_volume(root.data / f"raw_ct/MINE/{ct_id}.nii.gz").array, chest_ct().array)
    if kind == "seg":
        assert (row["age"], row["sex"], row["person_uid"]) == (61.0, "F", "MINE/P7")


def test_a_missing_organ_map_ends_with_what_to_run_and_goes_on_later(files: Path, root: Settings) -> None:
    scan = OwnScan(str(files / "ct.nii.gz"))
    with pytest.raises(
        ConfigError, match=r"TotalSegmentator -i .*raw_ct/MINE/ct\.nii\.gz -o (.*organ_seg/ct_seg\.nii\.gz) --ml"
    ) as told:
        import_scans([scan], root, "MINE", ImportRequest())
    place = root.data / "masks/MINE/organ_seg/ct_seg.nii.gz"
    assert str(place) in str(told.value)
    place.parent.mkdir(parents=True)
    place.write_bytes((files / "organs.nii.gz").read_bytes())
    assert import_scans([scan], root, "MINE", ImportRequest())[:2] == (1, 0)
    entry = dataset(root, "MINE")
    assert entry.organ_map(root.data, "ct").exists()


def test_a_folder_of_structures_is_an_organ_map(files: Path) -> None:
    for structure, label in (("lung_lower_lobe_right", 32), ("lung_upper_lobe_left", 28)):
        write_volume(
            files / "ts" / f"{structure}.nii.gz",
            Volume((small_chest().array == label).astype(np.uint8), small_chest().affine),
        )
    found = organ_map(files / "ts", "totalsegmentator", chest_ct(), Allowances(unusual_anatomy=True))
    np.testing.assert_array_equal(found.array == 32, small_chest().array == 32)
    with pytest.raises(CaseRejected, match="expected one label map, got a folder"):
        organ_map(files / "ts", "vista3d", chest_ct())
    ours = small_chest()
    ours.array[MIDDLE_LOBE] = 31
    write_volume(files / "same.nii.gz", ours)
    same = organ_map(files / "same.nii.gz", "vista3d", chest_ct())
    np.testing.assert_array_equal(same.array[same.array != BODY], ours.array[same.array != BODY])


def test_one_bad_scan_is_put_aside_and_the_rest_go_on(files: Path, root: Settings) -> None:
    (files / "broken.nii.gz").write_bytes((files / "ct.nii.gz").read_bytes()[:200])
    write_volume(files / "other.nii.gz", Volume(np.zeros((5, 5, 5), np.uint8), np.eye(4)))
    (files / "l.csv").write_text(
        "ct,organs,nodules,ct_id\nct.nii.gz,organs.nii.gz,,A\nbroken.nii.gz,organs.nii.gz,,B\nct.nii.gz,other.nii.gz,,C\nct.nii.gz,organs.nii.gz,other.nii.gz,D\n"
    )
    done, _, rejected = import_scans(read_list(files / "l.csv"), root, "MINE", ImportRequest())
    assert done == 1
    assert {r.uid: r.reason for r in rejected} == {
        "B": Reason.UNREADABLE_VOLUME,
        "C": Reason.GRID_MISMATCH,
        "D": Reason.GRID_MISMATCH,
    }


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x,y,z\n1,2,3\n", "missing diameter_mm"),
        ("x,y,z,diameter_mm\n1,2,a,4\n", "row 0: expected numbers"),
        ("x,y,z,diameter_mm\n900,2,3,4\n", "row 0: expected a place inside the CT"),
        ("x,y,z,diameter_mm\n0,0,20,-4\n", "row 0: expected a place inside the CT and a diameter of 0-200 mm"),
    ],
)
def test_a_wrong_nodule_list_names_the_row(files: Path, root: Settings, text: str, message: str) -> None:
    (files / "n.csv").write_text(text)
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "n.csv"))
    _, _, (rejection,) = import_scans([scan], root, "MINE", ImportRequest(frame="RAS"))
    assert message in rejection.detail


def test_what_stops_before_work(files: Path, root: Settings) -> None:
    ok = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"))
    (files / "n.csv").write_text("x,y,z,diameter_mm\n0,0,20,4\n")
    for scans, labels, message in (
        ([ok], "nnunet", "expected one of totalsegmentator, vista3d"),
        ([OwnScan(str(files / "none.nii.gz"))], "vista3d", "expected a file or folder, found none"),
        ([ok, ok], "totalsegmentator", "expected unique ids"),
        ([OwnScan(ok.ct, ok.organs, "", "../x")], "totalsegmentator", "expected a name without a path"),
        ([OwnScan(ok.ct, ok.organs, str(files / "n.csv"))], "totalsegmentator", "needs --frame RAS or --frame LPS"),
    ):
        with pytest.raises(ConfigError, match=message):
            import_scans(scans, root, "MINE", ImportRequest(labels=labels))
    for name, message in (
        ("../MINE", "expected letters, digits and _"),
        ("LUNA16", "is shipped with its own columns"),
        ("NLST3D", "withdrawn"),
    ):
        with pytest.raises(ConfigError, match=message):
            import_scans([ok], root, name, ImportRequest())
    assert not (root.data / "raw_ct").exists()


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"x,y,z,diameter_mm,id\n1,2\n", "row 0 with 2"),
        ("x,y,z,diameter_mm,id\n1,2,20,4,größer\n".encode("latin-1"), "column id: expected UTF-8, got the byte 0xF6"),
        (b"x;y;z;diameter_mm\n1,0;2,0;20,0;4,5\n", "separated by commas, got ';'"),
        (b"x,y,z,diameter_mm\n1,2,,4\n", "row 0: expected numbers for x, y, z, diameter_mm, got nothing as z"),
        (b"x,y,z,diameter_mm\n1,2,2_0,4\n", "got 2_0 as z"),
        (b"x,y,z,diameter_mm\n1,2,20,nan\n", "got nothing as diameter_mm"),
        (b"x,y,z,diameter_mm,label\n1,2,20,4,maybe\n", "row 0: label: expected 1, 0, malignant, benign or nothing"),
        (b"x,y,z,diameter_mm,id\n1,2,20,4,a/b\n", "row 0: expected an id without a path"),
        (b"", "got an empty file"),
        (b"x,y,z,diameter_mm\n", "got x, y, z, diameter_mm; missing all"),
    ],
)
def test_a_nodule_list_of_a_spreadsheet_is_refused_with_the_place(
    files: Path, root: Settings, data: bytes, why: str
) -> None:
    (files / "n.csv").write_bytes(data)
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "n.csv"))
    _, found, (rejection,) = import_scans([scan], root, "MINE", ImportRequest(frame="RAS"))
    assert (found, rejection.reason is Reason.UNEXPECTED) == (0, False)
    assert "n.csv: " in rejection.detail and why in rejection.detail


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_a_nodule_list_is_read_in_the_encodings_of_spreadsheets(files: Path, root: Settings, encoding: str) -> None:
    x, y, z = chest_ct().to_world([27.0, 14.0, 9.0])
    text = f"x,y,z,diameter_mm,id\r\n{x},{y},{z},4,größer\r\n,,,,\r\n\r\n"
    (files / "n.csv").write_bytes(text.encode(encoding))
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "n.csv"))
    assert import_scans([scan], root, "MINE", ImportRequest(frame="RAS")) == (1, 1, [])
    entry = dataset(root, "MINE")
    loaded = load_profiles(entry.profile_csv(root.data), entry, root.anatomy)
    assert loaded.profiles["annotation_id"].to_list() == ["ct_größer"]


def test_another_scan_under_the_same_id_is_refused(files: Path, root: Settings, tmp_path: Path) -> None:
    def take(ct: Path, ct_id: str = "CT", **more: bool) -> tuple[int, int, list[Rejection]]:
        scan = OwnScan(str(ct), str(files / "organs.nii.gz"), "", ct_id)
        return import_scans([scan], root, "MINE", ImportRequest(**more))

    for patient in ("P0", "P1"):
        write_series(tmp_path / patient / "CT", chest_ct())
        for file in (tmp_path / patient / "CT").iterdir():
            header = pydicom.dcmread(file)
            header.PatientID, header.SeriesInstanceUID = patient, f"1.2.{patient[1]}"
            header.save_as(file)
    entry = dataset_of(root)
    take(tmp_path / "P0" / "CT")
    with pytest.raises(
        ConfigError, match=r"another scan under this id \(patient P0, series 1\.2\.0\), got .*P1, .*--ct-id"
    ):
        take(tmp_path / "P1" / "CT")
    assert pl.read_csv(entry.scan_list_csv(root.data))["patient"].to_list() == ["P0"]
    take(tmp_path / "P1" / "CT", replace_scans=True)
    assert pl.read_csv(entry.scan_list_csv(root.data))["patient"].to_list() == ["P1"]
    with pytest.raises(ConfigError, match="another scan under this id"):
        take(tmp_path / "P0" / "CT")

    take(files / "ct.nii.gz", "N")
    (tmp_path / "copy").mkdir()
    write_volume(tmp_path / "copy" / "same.nii.gz", chest_ct(), orientation="RAS")
    assert take(tmp_path / "copy" / "same.nii.gz", "N") == (1, 0, []), "the same voxels, stored otherwise"
    other, moved = chest_ct(), chest_ct()
    other.array[BOX] += 1
    moved.affine[2, 3] += 5
    for volume, why in (
        (other, "other voxel values"),
        (moved, "another place"),
        (Volume(other.array[1:], other.affine), r"\(40, 36, 30\) voxels\), got .*\(39, 36, 30\) voxels"),
    ):
        write_volume(tmp_path / "copy" / "other.nii.gz", volume)
        with pytest.raises(ConfigError, match=why):
            take(tmp_path / "copy" / "other.nii.gz", "N")


def test_two_scans_whose_nodules_would_share_an_id_are_refused(files: Path, root: Settings) -> None:
    write_volume(files / "B_N1.nii.gz", Volume(nodule().astype(np.uint8), chest_ct().affine))
    (files / "m").mkdir()
    (files / "B_N1.nii.gz").rename(files / "m" / "B_N1.nii.gz")
    write_volume(files / "n.nii.gz", Volume(nodule().astype(np.uint8), chest_ct().affine))
    ct, organs = str(files / "ct.nii.gz"), str(files / "organs.nii.gz")
    import_scans([OwnScan(ct, organs, str(files / "m"), "A")], root, "MINE", ImportRequest())
    with pytest.raises(TableError, match=r"got A_B_N1 in the scans MINE/A\.nii\.gz and MINE/A_B\.nii\.gz"):
        import_scans([OwnScan(ct, organs, str(files / "n.nii.gz"), "A_B")], root, "MINE", ImportRequest())


def test_what_a_mac_leaves_beside_masks_is_left_out(files: Path, root: Settings) -> None:
    write_volume(files / "m" / "N1.nii.gz", Volume(nodule().astype(np.uint8), chest_ct().affine))
    for name in ("._N1.nii.gz", ".DS_Store"):
        (files / "m" / name).write_bytes(b"\0\5\x16\7")
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "m"))
    assert import_scans([scan], root, "MINE", ImportRequest()) == (1, 1, [])
    assert [p.name for p in hidden_files(files_of([scan]))] == [".DS_Store", "._N1.nii.gz"]


def test_a_root_whose_name_is_a_pattern_holds_its_own_rows(files: Path, tmp_path: Path) -> None:
    for name, ids in (("study1", ["x"]), ("study[1]", ["a", "b"]), ("study*", ["y"])):
        settings = load_settings(data_dir=tmp_path / name, output_dir=tmp_path / name, workers=1)
        for ct_id in ids:
            scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "n.nii.gz"), ct_id)
            write_volume(files / "n.nii.gz", Volume(nodule().astype(np.uint8), chest_ct().affine))
            import_scans([scan], settings, "MINE", ImportRequest())
        table = pl.read_csv((settings.data / "profiles" / "MINE_nodule_profiles.csv").read_bytes())
        assert table["annotation"].to_list() == [f"{ct_id}_N1" for ct_id in ids]


def test_folders_of_the_root_may_be_links(files: Path, root: Settings, tmp_path: Path) -> None:
    for name in ("raw_ct", "masks"):
        (tmp_path / "big" / name).mkdir(parents=True)
        root.data.mkdir(exist_ok=True)
        (root.data / name).symlink_to(tmp_path / "big" / name)
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"))
    assert import_scans([scan], root, "MINE", ImportRequest()) == (1, 0, [])
    assert (tmp_path / "big" / "raw_ct" / "MINE" / "ct.nii.gz").is_file()


def test_names_that_are_not_utf8_are_named_by_their_bytes(files: Path, root: Settings) -> None:
    (files / "d").mkdir()
    for folder, ct in ((files, None), (files / "d", "d")):
        os.link(files / "ct.nii.gz", os.fsencode(folder) + b"/M\xfcller.nii.gz")
        path = Path(os.fsdecode(os.fsencode(files) + b"/M\xfcller.nii.gz")) if ct is None else files / ct
        with pytest.raises(ConfigError, match=r"expected file names in UTF-8, got b'M\\xfcller\.nii\.gz'.*convmv"):
            import_scans([OwnScan(str(path))], root, "MINE", ImportRequest())


def test_an_odd_age_is_refused_at_the_import(tmp_path: Path, files: Path, root: Settings) -> None:
    for age in ("045Y", "61 years", "-1", "130"):
        (tmp_path / "l.csv").write_text(f"ct,age\nct.nii.gz,61.5\nct.nii.gz,{age}\n")
        with pytest.raises(ConfigError, match=rf"row 1: age: expected years from 0 to 120 or nothing, got '{age}'"):
            read_list(tmp_path / "l.csv")
        with pytest.raises(ConfigError, match="age: expected years"):
            import_scans([OwnScan(str(files / "ct.nii.gz"), age=age)], root, "MINE", ImportRequest())


def test_an_age_that_is_none_in_the_headers_rejects_its_scan_alone(files: Path, root: Settings, tmp_path: Path) -> None:
    write_series(tmp_path / "s", chest_ct())
    for file in (tmp_path / "s").iterdir():
        header = pydicom.dcmread(file)
        header.PatientAge = "999Y"
        header.save_as(file)
    scans = [OwnScan(str(tmp_path / "s"), str(files / "organs.nii.gz")), OwnScan(str(files / "ct.nii.gz"))]
    scans[1] = replace(scans[1], organs=str(files / "organs.nii.gz"), age="61")
    done, _, (rejection,) = import_scans(scans, root, "MINE", ImportRequest())
    assert (done, rejection.uid) == (1, "s")
    assert "PatientAge: expected years from 0 to 120, got '999'; state it in the column age" in rejection.detail
    assert import_scans([replace(scans[0], age="60")], root, "MINE", ImportRequest()) == (1, 0, [])


def test_two_imports_at_once_keep_each_others_rows(files: Path, root: Settings) -> None:
    ct, organs = str(files / "ct.nii.gz"), str(files / "organs.nii.gz")

    def take(ct_id: str) -> None:
        import_scans([OwnScan(ct, organs, "", ct_id)], root, "MINE", ImportRequest())

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(take, "ABCD"))
    assert pl.read_csv(dataset_of(root).scan_list_csv(root.data))["ct_id"].to_list() == ["A", "B", "C", "D"]


def dataset_of(root: Settings) -> Dataset:
    return Dataset(name="MINE", **own_entry())


def test_a_second_import_adds_and_replaces(files: Path, root: Settings) -> None:
    write_volume(files / "n.nii.gz", Volume(nodule().astype(np.uint8), chest_ct().affine))
    one = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"), str(files / "n.nii.gz"), "A")
    import_scans([one], root, "MINE", ImportRequest())
    import_scans([OwnScan(one.ct, one.organs, "", "B")], root, "MINE", ImportRequest())
    entry = dataset(root, "MINE")
    loaded = load_profiles(entry.profile_csv(root.data), entry, root.anatomy)
    assert (loaded.profiles.height, loaded.scans["ct_id"].to_list()) == (1, ["A", "B"])
    import_scans([OwnScan(one.ct, one.organs, "", "A")], root, "MINE", ImportRequest())
    loaded = load_profiles(entry.profile_csv(root.data), entry, root.anatomy)
    assert (loaded.profiles.height, loaded.scans["n_nodules"].to_list()) == (0, [0, 0]), "hosts without a nodule stay"


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "SAR", "PIR"])
def test_measuring_does_not_depend_on_how_a_map_is_stored(tmp_path: Path, orientation: str) -> None:
    labels = small_chest()
    labels.array[BOX] = NODULE
    labels.array[8:10, 20:22, 15:17] = NODULE
    settings = load_settings(data_dir=tmp_path / "w", output_dir=tmp_path / "w", workers=1)
    write_volume(tmp_path / "a" / "x_seg.nii.gz", labels)
    write_volume(tmp_path / "b" / "x_seg.nii.gz", labels, orientation=orientation)
    plain, _ = measure_scans(scans_in(tmp_path / "a"), settings, "a")
    stored, _ = measure_scans(scans_in(tmp_path / "b"), settings, "b")
    assert plain.height == 2
    assert plain.equals(stored)


def test_nodule_masks_beside_organ_maps_measure_as_label_23_does(tmp_path: Path) -> None:
    labels = small_chest()
    settings = load_settings(data_dir=tmp_path / "w", output_dir=tmp_path / "w", workers=1)
    write_volume(tmp_path / "organs" / "x_seg.nii.gz", labels)
    write_volume(tmp_path / "nodules" / "x_mask.nii.gz", Volume(nodule().astype(np.uint8), labels.affine))
    apart, rejected = measure_scans(scans_in(tmp_path / "organs", tmp_path / "nodules"), settings, "a")
    labels.array[BOX] = NODULE
    write_volume(tmp_path / "both" / "x.nii.gz", labels)
    together, _ = measure_scans(scans_in(tmp_path / "both"), settings, "b")
    assert not rejected
    assert apart.drop("from").equals(together.drop("from"))
    (tmp_path / "nodules" / "y_mask.nii.gz").write_bytes(b"")
    with pytest.raises(ConfigError, match="found none for y"):
        scans_in(tmp_path / "organs", tmp_path / "nodules")


def test_a_sphere_has_its_diameter() -> None:
    chest = small_chest()
    lesion = sphere(chest, [20, 18, 15], 14.0)
    volume = lesion.mask.sum() * chest.voxel_mm3
    assert (6 * volume / np.pi) ** (1 / 3) == pytest.approx(14.0, rel=0.05)
    np.testing.assert_allclose(lesion.centroid, [20, 18, 15], atol=0.01)


def test_verify_finds_what_was_changed_in_a_table(settings: Settings, own_root: Path, tmp_path: Path) -> None:
    entry = dataset(settings, "DLCS24")
    path = entry.profile_csv(own_root)
    frame = pl.read_csv(path, infer_schema=False)
    content = frame.with_columns(
        pleural_distance_mm=(pl.col("pleural_distance_mm").cast(pl.Float64) + 7).cast(pl.String)
    ).write_csv()
    path.unlink()
    path.write_text(content)
    at = load_settings(data_dir=own_root, output_dir=tmp_path / "o", workers=1)
    profiles, scans = scans_of(at, entry)
    measured, rejected = measure_scans(scans, at, "verify")
    summary, each = compare(profiles, measured)
    assert not rejected
    off = summary.filter(pl.col("share") < 1)
    assert off["column"].to_list() == ["pleural_distance_mm"]
    assert off["median_difference"].item() == pytest.approx(-7, abs=1e-3)
    assert each.filter(~pl.col("agree")).height == frame.height


def test_a_case_is_equal_after_json() -> None:
    case = ImportCase(
        ct_id="a",
        dataset="MINE",
        ct=Path("ct"),
        organs=Path("organs.nii.gz"),
        nodules=None,
        labels="vista3d",
        frame="LPS",
        roi="gtv",
        patient="p",
        age="61",
        sex=None,
        allowed=Allowances(trust="qform", threshold=0.5),
    )
    assert ImportCase.model_validate(json.loads(json.dumps(case.model_dump(mode="json")))) == case


def test_a_frame_is_ras_or_lps(files: Path, root: Settings) -> None:
    scan = OwnScan(str(files / "ct.nii.gz"), str(files / "organs.nii.gz"))
    with pytest.raises(ConfigError, match="--frame 'XYZ': expected RAS or LPS"):
        import_scans([scan], root, "MINE", ImportRequest(frame="XYZ"))


def test_what_was_left_out_is_told(files: Path, root: Settings) -> None:
    """Notes of a scan reach the caller, now and when the scan was imported before."""
    masks = {"Nodule": nodule(), "Heart": np.roll(nodule(), 8, axis=1)}
    write_seg(files / "seg.dcm", write_series(files / "s", chest_ct()), masks)
    scan = OwnScan(str(files / "s"), str(files / "organs.nii.gz"), str(files / "seg.dcm"))
    for segments, count in (((), 1), ((), 1), (("1", "Heart"), 2)):
        told: list[str] = []
        found = import_scans([scan], root, "MINE", ImportRequest(segments=segments), tell=told.append)
        assert found == (1, count, [])
        assert len(told) == (count == 1)
        assert all("s: " in note and "left out: 2 'Heart' (Nodule)" in note for note in told)
    with pytest.raises(ConfigError, match="--roi and --segment: expected one of them"):
        import_scans([scan], root, "MINE", ImportRequest(roi="gtv", segments=("1",)))
    with pytest.raises(ConfigError, match="expected a regular expression"):
        import_scans([scan], root, "MINE", ImportRequest(roi="gtv("))


def test_a_multi_frame_ct_and_a_reading_without_a_nodule_make_a_negative(files: Path, root: Settings) -> None:
    write_multiframe(files / "ct.dcm", chest_ct())
    (files / "r.xml").write_text(lidc_xml(chest_ct(), [{}, {}]).replace("unblindedReadNodule", "nonNodule"))
    scan = OwnScan(str(files / "ct.dcm"), str(files / "organs.nii.gz"), str(files / "r.xml"))
    assert import_scans([scan], root, "MINE", ImportRequest()) == (1, 0, [])
    np.testing.assert_array_equal(read_volume(root.data / "raw_ct/MINE/ct.nii.gz").array, chest_ct().array)
