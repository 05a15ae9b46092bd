"""Annotation tables: the publishers' own (counts from their documentation), and wrong ones."""

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.intake.annotation_sources import find_source, shipped_sources
from itrialspace_assets.intake.annotations import Annotated, read_annotations
from itrialspace_assets.intake.bare_profiles import bare_profiles
from itrialspace_assets.intake.outcome import annotated_profiles, new_entry, write_annotated
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import dataset
from itrialspace_assets.profiles.siblings import add_siblings

FILES = {
    "luna16": ("luna16_annotations.csv", "luna16_seriesuids.csv"),
    "lidc": ("lidc_nodules.csv.gz", "lidc_scans.csv.gz"),
    "lndb": ("lndb_trainNodules_gt.csv.gz", None),
    "lungx": ("TestSet_NoduleData_PublicRelease_wTruth.xlsx", None),
    "nsclc_radiomics": ("NSCLC_bounding_boxes_annotations.csv", "NSCLC-Radiomics-Lung1.clinical-version3-Oct-2019.csv"),
}


def read(real: Path, name: str) -> Annotated:
    table, scans = FILES[name]
    return read_annotations(find_source(name), real / "tables" / table, real / "tables" / scans if scans else None)


def said(found: Annotated) -> dict[str, int]:
    return {n.rule: n.rows for n in found.notes}


@pytest.mark.real
@pytest.mark.parametrize(
    ("name", "nodules", "scans", "people", "left_out"),
    [
        ("luna16", 1186, 888, 887, 0),
        ("lidc", 2651, 1018, 1010, 0),
        ("lndb", 768, 229, 229, 451),
        ("lungx", 73, 60, 60, 4),
        ("nsclc_radiomics", 421, 422, 422, 0),
    ],
)
def test_published_tables_hold_what_their_publishers_say(
    real_data: Path, tmp_path: Path, name: str, nodules: int, scans: int, people: int, left_out: int
) -> None:
    """Counts of the tables' README (nodules, scans, patients), counted there independently."""
    source = find_source(name)
    found = read(real_data, name)
    registered = source.entry is None
    entry = dataset(load_settings(), source.dataset) if registered else new_entry(source.dataset, source.entry)
    lines = write_annotated(tmp_path, entry, found, annotated_profiles(found, source, entry, None), [], source)
    loaded = load_profiles(tmp_path / f"{entry.name}_nodule_profiles.csv", entry, "real")
    assert loaded.profiles.height == nodules == found.nodules.height
    assert loaded.scans.height == scans
    assert loaded.scans["person_uid"].n_unique() == people
    assert found.left_out.height == left_out
    assert f"{nodules} nodules in {scans} scans of {people} people" in lines
    assert (loaded.profiles["missing_because"].is_not_null()).all(), "no map was at hand, and each row says so"
    assert (tmp_path / f"{entry.name}.datasets.yaml").exists() != registered


@pytest.mark.real
def test_traps_of_the_published_tables_are_reported_by_row(real_data: Path) -> None:
    """Each trap that the tables' README lists, with its count."""
    assert said(read(real_data, "luna16"))["a scan without a nodule; it stays in the scan list"] == 287
    lidc = said(read(real_data, "lidc"))
    assert lidc["slice_thickness is not slice_spacing_mm; the spacing is used"] == 334
    assert lidc["a scan without a nodule; it stays in the scan list"] == 135
    assert read(real_data, "lidc").nodules.filter(pl.col("native:n_readers").cast(pl.Float64) >= 3).height == 1391
    assert said(read(real_data, "lndb"))["left out: not a nodule by the table's own column Nodule"] == 451
    lungx = read(real_data, "lungx")
    assert said(lungx)["a diagnosis that is neither malignant nor benign; left unlabelled"] == 2
    assert lungx.nodules.filter(pl.col("id") == "LUNGx-CT001_1").select("px", "py", "pz").row(0) == (
        134.0,
        302.0,
        141.0,
    )
    nsclc = said(read(real_data, "nsclc_radiomics"))
    assert nsclc["a scan without a nodule; it stays in the scan list"] == 1
    missing = {
        n.column: n.rows
        for n in read(real_data, "nsclc_radiomics").notes
        if n.rule == "missing in the table of patients"
    }
    assert (missing["age"], missing["Histology"]) == (22, 42)


@pytest.mark.real
@pytest.mark.parametrize("name", ["luna16", "lidc", "lndb"])
def test_companions_and_distances_equal_a_brute_force_computation(real_data: Path, name: str) -> None:
    """Independent: plain Python over all pairs of a scan, for every nodule of the table."""
    source, found = find_source(name), read(real_data, name)
    entry = (
        dataset(load_settings(), source.dataset) if source.entry is None else new_entry(source.dataset, source.entry)
    )
    profiles = bare_profiles(found, source, entry)
    rows = found.nodules.select("scan", "id", "rx", "ry", "rz").rows()
    by_scan: dict[str, list[tuple[str, float, float, float]]] = {}
    for scan, uid, *place in rows:
        by_scan.setdefault(scan, []).append((uid, *place))
    for (scan, uid, *place), got in zip(rows, profiles.iter_rows(named=True), strict=True):
        others = sorted(
            (sum((a - b) ** 2 for a, b in zip(place, o[1:], strict=True)) ** 0.5, o[0])
            for o in by_scan[scan]
            if o[0] != uid
        )
        assert got["n_nodules_in_patient"] == len(others) + 1
        assert got["all_nodule_ids"] == (",".join(o[1] for o in others) or None)
        if others:
            assert got["nearest_nodule_id"] == others[0][1]
            assert got["nearest_nodule_dist_mm"] == pytest.approx(others[0][0], abs=1e-3)
            np.testing.assert_allclose(
                [float(v) for v in got["all_nodule_dists_mm"].split(",")], [o[0] for o in others], atol=1e-3
            )


def test_lps_becomes_ras(tmp_path: Path) -> None:
    table = tmp_path / "t.csv"
    table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\nA,10,-20,30,8\nA,10,-20,36,5\n")
    (tmp_path / "s.csv").write_text("A\nB\n")
    found = read_annotations(find_source("luna16"), table, tmp_path / "s.csv")
    assert found.nodules.select("x", "y", "z").rows() == [(-10.0, 20.0, 30.0), (-10.0, 20.0, 36.0)]
    assert found.nodules["id"].to_list() == ["A_1", "A_2"]
    assert found.scans["ct_id"].to_list() == ["A", "B"]
    table.write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\nA,10,-20,36,5\nA,10,-20,30,8\n")
    again = read_annotations(find_source("luna16"), table, tmp_path / "s.csv")
    assert dict(again.nodules.select("id", "diameter").rows()) == {"A_1": 8.0, "A_2": 5.0}, (
        "ids do not depend on row order"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("seriesuid,coordX,coordY,diameter_mm\nA,1,2,3\n", "missing columns 'coordZ'; it has seriesuid"),
        (
            "seriesuid,coordX,coordY,coordZ,diameter_mm\nA,1,2,x,3\n",
            r"coordZ: expected a number, got \['x'\] in rows 0",
        ),
        (
            "seriesuid,coordX,coordY,coordZ,diameter_mm\nA,1,2,3,-3\n",
            r"diameter: expected sizes > 0, got \[-3.0\] in rows 0",
        ),
        (
            "seriesuid,coordX,coordY,coordZ,diameter_mm\nA,1,2,inf,3\n",
            r"coordZ: expected a number, got \['inf'\] in rows 0",
        ),
        ("", "empty file"),
    ],
)
def test_a_wrong_annotation_table_names_the_row(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "t.csv").write_text(text)
    (tmp_path / "s.csv").write_text("A\n")
    with pytest.raises(TableError, match=message):
        read_annotations(find_source("luna16"), tmp_path / "t.csv", tmp_path / "s.csv")


def test_ids_are_text_and_a_spreadsheets_numbers_become_whole(tmp_path: Path) -> None:
    siemens = "1.3.12.2.1107.5.1.4.50025.2009032512001515743702999.0.0.0"
    head = "seriesuid,coordX,coordY,coordZ,diameter_mm\n"
    (tmp_path / "t.csv").write_text(f"{head}{siemens},1,2,3,8\n17.0,1,2,3,8\n")
    (tmp_path / "s.csv").write_text(f"{siemens}\n17\n007\n")
    found = read_annotations(find_source("luna16"), tmp_path / "t.csv", tmp_path / "s.csv")
    assert found.nodules["scan"].to_list() == [siemens, "17"]
    assert found.scans["scan"].to_list() == [siemens, "17", "007"]
    (tmp_path / "t.csv").write_text(f"{head}A,1,2,3,8\n1.36141E+30,1,2,3,8\n")
    with pytest.raises(TableError, match=r"seriesuid: expected ids, got \['1\.36141E\+30'\] in rows 1: a spreadsheet"):
        read_annotations(find_source("luna16"), tmp_path / "t.csv", tmp_path / "s.csv")


def test_a_header_never_becomes_a_scan(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\nA,1,2,3,8\n")
    (tmp_path / "s.csv").write_bytes(b"\xef\xbb\xbfseriesuid\r\nA\r\n")
    with pytest.raises(TableError, match=r"s\.csv: expected ids of scans from the first line on, got a header"):
        read_annotations(find_source("luna16"), tmp_path / "t.csv", tmp_path / "s.csv")


def test_an_odd_age_leaves_no_table_behind(tmp_path: Path) -> None:
    columns = "PatientID,SeriesInstanceUID,AnnotationID,LesionID,NoduleID,StudyDate,CoordX,CoordY,CoordZ,label"
    (tmp_path / "t.csv").write_text(f"{columns},Age_at_StudyDate,Gender\n1,1.2,1_1,1,1,2001,1,2,3,0,061Y,Male\n")
    source = find_source("luna25")
    found = read_annotations(source, tmp_path / "t.csv")
    entry = dataset(load_settings(), source.dataset)
    (tmp_path / "out").mkdir()
    with pytest.raises(TableError, match=r"age: expected a number.*061Y"):
        write_annotated(tmp_path / "out", entry, found, annotated_profiles(found, source, entry, None), [], source)
    assert not list((tmp_path / "out").iterdir())


def test_the_table_of_scans_is_asked_for_and_checked(tmp_path: Path) -> None:
    (tmp_path / "t.csv").write_text("seriesuid,coordX,coordY,coordZ,diameter_mm\nA,1,2,3,4\n")
    with pytest.raises(ConfigError, match="scans without a nodule must stay in every denominator"):
        read_annotations(find_source("luna16"), tmp_path / "t.csv")
    (tmp_path / "s.csv").write_text("B\nB\n")
    with pytest.raises(TableError, match="repeated in rows 0, 1"):
        read_annotations(find_source("luna16"), tmp_path / "t.csv", tmp_path / "s.csv")


def test_a_users_own_source_is_a_yaml_file(tmp_path: Path) -> None:
    source = tmp_path / "mine.yaml"
    source.write_text(
        "mine:\n  about: ours\n  dataset: OURS\n  scan: scan\n  finding: n\n  diameter: d\n"
        "  centre: {x: x, y: y, z: z, frame: RAS}\n  native: {patient: who}\n"
    )
    (tmp_path / "t.csv").write_text("scan,n,x,y,z,d,who\nS1,1,1,2,3,9,P1\nS2,1,4,5,6,7,P1\n")
    kind = find_source(str(source))
    found = read_annotations(kind, tmp_path / "t.csv")
    entry = new_entry(kind.dataset, kind.entry, kind.native)
    write_annotated(tmp_path / "out", entry, found, annotated_profiles(found, kind, entry, None), [], kind)
    loaded = load_profiles(tmp_path / "out/OURS_nodule_profiles.csv", entry, "real").profiles
    assert loaded.select("annotation_id", "coordX", "nodule_mean_diam_mm", "person_uid").rows() == [
        ("S1_1", 1.0, 9.0, "OURS/P1"),
        ("S2_1", 4.0, 7.0, "OURS/P1"),
    ]
    source.write_text("mine: {about: x, dataset: Y, scan: s, centre: {x: a, y: b, z: c, frame: XYZ}}")
    with pytest.raises(ConfigError, match=r"mine: centre\.frame"):
        find_source(str(source))
    with pytest.raises(ConfigError, match=f"expected a YAML file or one of {', '.join(shipped_sources())}"):
        find_source("luna17")


def test_luna25_and_dlcs24_by_their_published_columns(tmp_path: Path) -> None:
    (tmp_path / "l.csv").write_text(
        "PatientID,SeriesInstanceUID,StudyDate,CoordX,CoordY,CoordZ,LesionID,AnnotationID,NoduleID,label,Age_at_StudyDate,Gender\n"
        "100,1.2.3,19990102,5,-6,-70,1,100_1_19990102,100_1,1,61,Male\n"
    )
    found = read_annotations(find_source("luna25"), tmp_path / "l.csv")
    entry = dataset(load_settings(), "LUNA25")
    write_annotated(
        tmp_path / "a",
        entry,
        found,
        annotated_profiles(found, find_source("luna25"), entry, None),
        [],
        find_source("luna25"),
    )
    row = load_profiles(tmp_path / "a/LUNA25_nodule_profiles.csv", entry, "real").profiles.row(0, named=True)
    assert (row["annotation_id"], row["label"], row["age"], row["sex"]) == ("100_1_19990102", 1, 61.0, "M")
    assert (row["coordX"], row["coordY"], row["reinsertion_nodule_diam_mm"]) == (-5.0, 6.0, None)
    assert "no diameter" in row["missing_because"]
    assert row["lesion_uid"] == "LUNA25/lesion/LUNA25/100/1"
    (tmp_path / "d.csv").write_text(
        "patient-id,nodule_id,ct_nifti_file,coordX,coordY,coordZ,w,h,d,Malignant_lbl,benchmark_split\n"
        "DLCS_1,DLCS_1_01,DLCS_1.nii.gz,-106.55,-63.84,-211.68,4,5,6,0,train\n"
    )
    found = read_annotations(find_source("dlcs24"), tmp_path / "d.csv")
    entry = dataset(load_settings(), "DLCS24")
    write_annotated(
        tmp_path / "b",
        entry,
        found,
        annotated_profiles(found, find_source("dlcs24"), entry, None),
        [],
        find_source("dlcs24"),
    )
    row = load_profiles(tmp_path / "b/DLCS24_nodule_profiles.csv", entry, "real").profiles.row(0, named=True)
    assert (row["scan_uid"], row["coordX"], row["nodule_mean_diam_mm"], row["label"]) == (
        "DLCS24/DLCS_1",
        -106.55,
        5.0,
        0,
    )
    assert row["diam_definition"] == "mean_of_box_edges"


def test_siblings_without_a_centre_have_no_distance() -> None:
    frame = pl.DataFrame(
        {
            "scan": ["s", "s", "s", "t"],
            "id": ["b", "a", "c", "d"],
            "x": [0.0, 3.0, None, 1.0],
            "y": [0.0, 4.0, None, 1.0],
            "z": [0.0, 0.0, None, 1.0],
            "lung_side": ["left", "right", "unknown", "left"],
            "lobe_name": ["left_lung_upper_lobe", "right_lung_upper_lobe", "background", "left_lung_upper_lobe"],
        }
    )
    rows = {r["id"]: r for r in add_siblings(frame).iter_rows(named=True)}
    assert (rows["b"]["nearest_nodule_id"], rows["b"]["nearest_nodule_dist_mm"], rows["b"]["ipsilateral"]) == (
        "a",
        5.0,
        False,
    )
    assert rows["b"]["all_nodule_ids"] == "a,c"
    assert rows["b"]["all_nodule_dists_mm"] is None
    assert rows["c"]["nearest_nodule_dist_mm"] is None
    assert rows["c"]["ipsilateral"] is None
    assert (rows["d"]["n_nodules_in_patient"], rows["d"]["nearest_nodule_id"]) == (1, None)
    assert rows["a"]["bilateral_distribution"]
