"""Tables that users bring: read as they are, or refused with file, row and column."""

from datetime import date
from pathlib import Path

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.user_files.reader_files import read_reader_study
from itrialspace_assets.analysis.user_files.scoring_files import read_scan_marks, read_scored_cases
from itrialspace_assets.base.errors import TableError

MARKS = "seriesuid,coordX,coordY,coordZ,probability\na,1,2,3,0.9\nb,4,5,6,0.1\n"
NODULES = "seriesuid,coordX,coordY,coordZ,diameter_mm\na,1,2,3,8\n"
STUDY = "reader,modality,case,truth,score\nr,m,a,0,0.1\nr,m,b,1,0.7\ns,m,a,0,0.2\ns,m,b,1,0.3\n"
IMRMC = "front matter\nBEGIN DATA:\ntruth,a,truth,0\n-1,b,0,1\nr,a,m,0.1\nr,b,m,0.7\n"
CASES = "truth,score,host,donor\n1,0.9,h,d\n0,0.2,h,\n"


def files(folder: Path, **texts: str) -> dict[str, Path]:
    found = {}
    for name, text in texts.items():
        found[name] = folder / f"{name}.csv"
        found[name].write_text(text)
    return found


def test_files_of_luna16_are_read_as_they_are(tmp_path: Path) -> None:
    given = files(
        tmp_path,
        marks=MARKS,
        nodules=NODULES,
        scans="b\na\nc\n",
        excluded=NODULES.replace("a,1,2,3,8", "b,0,0,0,-1\nb,9,9,9,"),
    )
    found = read_scan_marks(given["marks"], given["nodules"], given["excluded"], given["scans"])
    assert found.scans == ("b", "a", "c")
    assert found.marks.scan.tolist() == [1, 0]
    np.testing.assert_array_equal(found.marks.place, [[1, 2, 3], [4, 5, 6]])
    assert found.marks.score.tolist() == [0.9, 0.1]
    assert found.nodules.scan.tolist() == [1, 0, 0]
    assert found.nodules.diameter_mm.tolist() == [8, 10, 10]
    assert found.nodules.excluded.tolist() == [False, True, True]
    assert found.notes == ()


def test_a_list_of_scans_may_have_a_header_and_other_columns(tmp_path: Path) -> None:
    given = files(tmp_path, marks=MARKS, nodules=NODULES, scans="n,SeriesUID\n1,a\n2,b\n")
    assert read_scan_marks(given["marks"], given["nodules"], None, given["scans"]).scans == ("a", "b")


def test_without_a_list_the_scans_are_those_named_and_a_note_says_so(tmp_path: Path) -> None:
    given = files(tmp_path, marks=MARKS, nodules=NODULES)
    found = read_scan_marks(given["marks"], given["nodules"], None, None)
    assert found.scans == ("a", "b")
    assert "2 scans are those that the tables name" in found.notes[0]


def test_parquet_and_frames_are_read_as_csv_is(tmp_path: Path) -> None:
    given = files(tmp_path, marks=MARKS, nodules=NODULES)
    marks = pl.read_csv(given["marks"])
    marks.write_parquet(tmp_path / "marks.parquet")
    nodules = pl.read_csv(given["nodules"])
    first = read_scan_marks(given["marks"], given["nodules"], None, None)
    for source in (marks, tmp_path / "marks.parquet"):
        found = read_scan_marks(source, nodules, None, pl.DataFrame({"seriesuid": ["a", "b"]}))
        np.testing.assert_array_equal(found.marks.place, first.marks.place)
        assert found.marks.score.tolist() == first.marks.score.tolist()


@pytest.mark.parametrize(
    ("table", "old", "new", "message"),
    [
        ("marks", "b,4,5,6,0.1", "b,4,x,6,0.1", r"row 1, column coordY: expected a finite number, got 'x'"),
        ("marks", "0.9", "nan", r"row 0, column probability: expected a finite number"),
        ("marks", "0.9", "inf", r"row 0, column probability: expected a finite number"),
        ("marks", "b,4", ",4", r"row 1, column seriesuid: expected a value"),
        ("marks", "b,4", "z,4", r"row 1, column seriesuid: expected one of the 3 scans of the list, got 'z'"),
        ("marks", "probability", "chance", r"expected one column probability or score or rating, got"),
        ("marks", "coordX", "probability,coordX", r"fields"),
        ("nodules", ",8", ",0", r"row 0, column diameter_mm: expected a number above 0"),
        ("nodules", "a,1,2,3,8", "a,1,2,3,8\na,1,2,3,9", r"row 1, column seriesuid: expected each nodule once"),
        ("excluded", ",-1", ",big", r"row 0, column diameter_mm: expected a diameter in mm, -1 or nothing"),
        ("scans", "c", "a", r"row 2, column seriesuid: expected each scan once, got 'a'"),
        ("scans", "c", "c,d", r"fields"),
        ("marks", "a,1", "a,-1e308", r"row 0, column coordX: expected a number of at most 1e\+06"),
        ("nodules", ",8", ",1e200", r"row 0, column diameter_mm: expected a number of at most 1000"),
        ("excluded", ",-1", ",1e200", r"row 0, column diameter_mm: expected a diameter of at most 1000 mm"),
    ],
)  # fmt: skip
def test_a_wrong_value_is_named_by_row_and_column(tmp_path: Path, table: str, old: str, new: str, message: str) -> None:
    texts = {"marks": MARKS, "nodules": NODULES, "excluded": NODULES.replace(",8", ",-1"), "scans": "a\nb\nc\n"}
    assert old in texts[table]
    texts[table] = texts[table].replace(old, new)
    given = files(tmp_path, **texts)
    with pytest.raises(TableError, match=f"{table}.csv: .*{message}"):
        read_scan_marks(given["marks"], given["nodules"], given["excluded"], given["scans"])


def test_wrong_numbers_in_frames_are_found_too() -> None:
    place = {"coordX": [0.0, 1.0], "coordY": [0.0, 1.0], "coordZ": [0.0, 1.0]}
    marks = pl.DataFrame({"seriesuid": ["a", "b"], **place, "score": [1.0, float("nan")]})
    nodules = pl.DataFrame({"seriesuid": ["a", "b"], **place, "diameter_mm": [5.0, float("nan")]})
    with pytest.raises(TableError, match=r"marks: row 1, column score: expected a finite number, got nan"):
        read_scan_marks(marks, nodules.head(1), None, None)
    found = read_scan_marks(marks.head(1), nodules.head(1), nodules.tail(1), None)
    assert found.nodules.diameter_mm.tolist() == [5, 10]
    with pytest.raises(TableError, match=r"annotations: row 1, column diameter_mm"):
        read_scan_marks(marks.head(1), nodules, None, None)


def test_what_is_no_number_in_parquet_is_no_number() -> None:
    """A truth, a date and a list were taken for numbers, or ended in a traceback; a category is its text."""
    place = {"coordX": [0.0], "coordY": [0.0], "coordZ": [0.0]}
    nodules = pl.DataFrame({"seriesuid": ["a"], **place, "diameter_mm": [5.0]})
    for wrong in ([True], [date(2026, 1, 2)], [[1.0]], [b"1"]):
        marks = pl.DataFrame({"seriesuid": ["a"], **place | {"coordY": wrong}, "score": [1.0]})
        with pytest.raises(TableError, match=r"marks: row 0, column coordY: expected a finite number"):
            read_scan_marks(marks, nodules, None, None)
    with pytest.raises(TableError, match=r"marks: row 0, column seriesuid: expected a value"):
        read_scan_marks(pl.DataFrame({"seriesuid": [["a"]], **place, "score": [1.0]}), nodules, None, None)
    text = {"seriesuid": "a", "coordX": "0", "coordY": "2.5", "coordZ": "0", "score": "1"}
    category = pl.DataFrame(text).cast(pl.Categorical)
    np.testing.assert_array_equal(read_scan_marks(category, nodules, None, None).marks.place, [[0, 2.5, 0]])


def test_files_that_are_no_tables_are_named(tmp_path: Path) -> None:
    given = files(tmp_path, marks=MARKS, nodules=NODULES, scans="n,scan\n1,a\n")
    (tmp_path / "broken.parquet").write_bytes(b"PAR1 not a table")
    for marks, message in (
        (tmp_path / "none.csv", "marks: expected none.csv, found none"),
        (tmp_path / "none.parquet", "marks: expected none.parquet, found none"),
        (tmp_path / "broken.parquet", "broken.parquet: expected a Parquet table"),
    ):
        with pytest.raises(TableError, match=message):
            read_scan_marks(marks, given["nodules"], None, None)
    with pytest.raises(TableError, match=r"scans.csv: expected one id a line, or a column seriesuid, got 2 columns"):
        read_scan_marks(given["marks"], given["nodules"], None, given["scans"])


def test_a_long_table_of_readings(tmp_path: Path) -> None:
    given = files(tmp_path, study=STUDY, other=STUDY.replace("modality", "Treatment").replace("score", "rating"))
    for path in given.values():
        found = read_reader_study(path)
        assert (found.modalities, found.readers, found.cases) == (("m",), ("r", "s"), ("a", "b"))
        assert found.truth.tolist() == [False, True]
        np.testing.assert_array_equal(found.score, [[[0.1, 0.7], [0.2, 0.3]]])


def test_a_file_of_imrmc(tmp_path: Path) -> None:
    path = tmp_path / "study.imrmc"
    path.write_text(IMRMC.replace("r,b,m,0.7", "r,b,m,0.7\n\ns,b,m,-2"), encoding="utf-16")
    found = read_reader_study(path)
    assert (found.readers, found.cases, found.truth.tolist()) == (("r", "s"), ("a", "b"), [False, True])
    np.testing.assert_array_equal(found.score, [[[0.1, 0.7], [np.nan, -2]]])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("s,m,b,1,0.3", "s,m,a,0,0.3", r"row 3, column case: expected each case once for a reader and modality"),
        ("s,m,b,1", "s,m,b,0", r"row 3, column truth: expected the same truth in every row of a case"),
        ("s,m,b,1", "s,m,b,2", r"row 3, column truth: expected 0 or 1, got '2'"),
        ("0.3", "", r"row 3, column score: expected a finite number, got None"),
        ("s,m,b", ",m,b", r"row 3, column reader: expected a value"),
        ("case", "patient", r"expected one column case, got reader, modality, patient"),
    ],
)  # fmt: skip
def test_a_wrong_reading_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    given = files(tmp_path, study=STUDY.replace(old, new))
    with pytest.raises(TableError, match=message):
        read_reader_study(given["study"])


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("r,b,m,0.7", "r,b,m", r"line 6, column reader, case, modality, score: expected four fields"),
        ("r,b,m,0.7", "r,b,m,1e999", r"line 6, column score: expected a finite number"),
        ("r,b,m,0.7", "r,b,m,high", r"line 6, column score: expected a finite number, got 'r,b,m,high'"),
        ("r,b,m,0.7", "r,a,m,0.7", r"line 6, column case: expected each case once"),
        ("r,b,m,0.7", "r,c,m,0.7", r"line 6, column case: expected a case with a line of truth"),
        ("r,b,m,0.7", "r,b,,0.7", r"line 6, column modality: expected a value"),
        ("-1,b,0,1", "-1,b,0,5", r"line 4, column score: expected 0 or 1 as truth"),
        ("r,b,m,0.7", '"r,b,m,0.7', r"line 6, column reader: expected a line without quotation marks"),
        ("-1,b,0,1", "truth,a,0,1", r"line 4, column case: expected one line of truth for each case"),
    ],
)
def test_a_wrong_line_of_imrmc_is_named(tmp_path: Path, old: str, new: str, message: str) -> None:
    path = tmp_path / "study.imrmc"
    path.write_text(IMRMC.replace(old, new))
    with pytest.raises(TableError, match=f"study.imrmc: {message}"):
        read_reader_study(path)


def test_scored_cases_with_persons_of_their_own(tmp_path: Path) -> None:
    given = files(tmp_path, cases=CASES)
    found = read_scored_cases(given["cases"], "truth", "score", "host", "donor")
    assert (found.truth.tolist(), found.score.tolist()) == ([True, False], [0.9, 0.2])
    assert (found.host.to_list(), found.donor.to_list()) == (["h", "h"], ["d", None])
    assert read_scored_cases(given["cases"], "truth", "score", None, None).host.to_list() == [None, None]
    with pytest.raises(TableError, match=r"row 1, column donor: expected a value"):
        read_scored_cases(given["cases"], "truth", "score", "donor", None)
