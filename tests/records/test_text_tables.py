"""Tables of text as other programs write them: read as they are, or refused with the place and the cause."""

import csv
import gzip
import io
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.records import text_tables
from itrialspace_assets.records.text_tables import read_csv, read_text_table

ROWS = [{"id": "1.2.0", "note": "größer"}, {"id": "007", "note": None}]
TEXT = "id,note\n1.2.0,größer\n007,\n"


@pytest.mark.parametrize(
    "data",
    [
        TEXT.encode(),
        TEXT.encode("utf-8-sig"),
        TEXT.encode("utf-16"),
        TEXT.encode("utf-16-le"),
        TEXT.encode("utf-16-be"),
        TEXT.replace("\n", "\r\n").encode("utf-8-sig"),
        TEXT.replace("\n", "\r").encode(),
        (TEXT + "\n\r\n").encode(),
        gzip.compress(TEXT.encode(), mtime=0),
    ],
)
def test_encodings_and_line_ends_give_the_same_text(tmp_path: Path, data: bytes) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    assert read_csv(tmp_path / "t.csv").to_dicts() == ROWS


def test_brackets_and_wildcards_in_a_name_are_a_name(tmp_path: Path) -> None:
    for name, value in (("ann[1].csv", "mine"), ("ann1.csv", "other"), ("a*.csv", "star"), ("a?.csv", "mark")):
        (tmp_path / name).write_text(f"id\n{value}\n")
    for folder, name, value in (("", "ann[1].csv", "mine"), ("", "a*.csv", "star"), ("", "a?.csv", "mark")):
        assert read_csv(tmp_path / folder / name)["id"].to_list() == [value]
    for folder in ("study1", "study[1]"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "t.csv").write_text(f"id\n{folder}\n")
    assert read_text_table(tmp_path / "study[1]" / "t.csv", "t")["id"].to_list() == ["study[1]"]


def test_tabs_where_the_name_says_so_and_tables_without_a_header(tmp_path: Path) -> None:
    (tmp_path / "t.tsv").write_text("id\tnote\n1\ta, b\n")
    assert read_csv(tmp_path / "t.tsv").to_dicts() == [{"id": "1", "note": "a, b"}]
    (tmp_path / "l.csv").write_bytes(b"\xef\xbb\xbf1.2.3\r\n1.2.0\r\n")
    assert read_csv(tmp_path / "l.csv", header=False)["column_1"].to_list() == ["1.2.3", "1.2.0"]
    (tmp_path / "q.csv").write_text('id,note\n1,"two\nlines, one row"\n')
    assert read_csv(tmp_path / "q.csv").to_dicts() == [{"id": "1", "note": "two\nlines, one row"}]


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "empty file"),
        (b"\xef\xbb\xbf\r\n", "empty file"),
        (b"a,b\n1,2\n3,gr\xf6\xdfer\n", r"row 1, column b: expected UTF-8, got the byte 0xF6 .*größer.*iconv"),
        (b"a,gr\xf6\xdfe\n1,2\n", r"the header, column größe: expected UTF-8"),
        (b"a;b\n1,5;2,5\n", "separated by commas, got ';'"),
        (b"a\tb\n1\t2\n", r"separated by commas, got '\\t'"),
        (b"sep=;\na;b\n", "got Excel's 'sep=;'"),
        (b"a,b\n1\n2,3\n", r"1 rows without the header's 2 fields: row 0 with 1 \(a file that was cut off"),
        (b"a,b\n1,2\n1,5,2\n", r"row 1 with 3 \(a decimal comma\?\)"),
        (b'a,b\n1,"x\n2,y\n', "open quotation mark"),
        (b"a,b,a\n1,2,3\n", "'a' more than once"),
        (b"PK\x03\x04rest", "Excel workbook"),
        (b"<!DOCTYPE html><p>", "web page"),
        (b"version https://git-lfs.github.com/spec/v1\n", "git lfs pull"),
        (b"a,b\n1,\0\n", "binary"),
        (b"\x1f\x8b\x08truncated", "expected a CSV table"),
        ("a,b\n1,2\n".encode("utf-16")[:-1], "UTF-16 text, got an incomplete file"),
    ],
)
def test_what_is_no_table_is_refused_with_the_place_and_the_cause(tmp_path: Path, data: bytes, why: str) -> None:
    (tmp_path / "t.csv").write_bytes(data)
    with pytest.raises(TableError, match=rf"t\.csv: .*{why}"):
        read_csv(tmp_path / "t.csv")
    with pytest.raises(TableError, match=r"nodules: expected none\.csv, found none"):
        read_csv(tmp_path / "none.csv", "nodules")


@pytest.mark.parametrize(
    ("text", "widths"),
    [
        ("a,b\n1,2\n\n3,4", [2, 2, 0, 2]),
        ('a,b\n"x,y",2\n"two\nlines",""', [2, 2, 2]),
        ('a,b\n"say ""hi"", you",2', [2, 2]),
        ("a,b\n \n1", [2, 0, 1]),
        ("", [1]),
        ('a,b\n"1",2\n \n3', [2, 2, 1, 1]),
        ('a,b\n5",2', None),
        ('a,b\n"1" ,2', None),
    ],
)
def test_fields_are_counted_as_a_parser_counts_them(text: str, widths: list[int] | None) -> None:
    found = text_tables._widths(text, ",")
    assert (found if found is None else found.tolist()) == widths
    if widths is not None and '"' in text:
        assert widths == [len(row) for row in csv.reader(io.StringIO(text), strict=True)]
