"""Reads tables of text (CSV, TSV) that other programs wrote: every value as text, nothing guessed.

The bytes are read here and not by polars, which takes ``[1]`` in a file's name as a pattern and reads another file.
UTF-8 and UTF-16 are read, with or without a byte-order mark; another encoding or separator is refused by name. Rows
are numbered from 0, without the header.
"""

import codecs
import csv
import gzip
import io
import zlib
from itertools import product
from pathlib import Path

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import TableError

#: Texts that stand for a missing value.
BLANK = ("", "nan", "na", "none", "null", "n/a")
#: The same in every mixture of capitals: looked up as they are, without a copy of the table in lower case.
_BLANK_SPELLINGS = ["".join(s) for text in BLANK for s in product(*({c, c.upper()} for c in text))]
#: A number as programs write it, as a regular expression.
NUMBER = r"^[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$"
_UTF16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
_GZIP = b"\x1f\x8b"
#: First bytes of files that people give in place of a table.
_OTHER_FILES = {
    b"PK\x03\x04": "a ZIP archive or an Excel workbook; save the sheet as CSV UTF-8",
    b"\xd0\xcf\x11\xe0": "an old Excel workbook; save the sheet as CSV UTF-8",
    b"%PDF": "a PDF document",
    b"PAR1": "a Parquet table; let its name end in .parquet",
    b"version https://git-lfs": "a Git LFS pointer; fetch the file itself with `git lfs pull`",
    b"<!DOCTYPE": "a web page; the download went wrong",
    b"<html": "a web page; the download went wrong",
}


def read_csv(path: Path, what: str = "table", *, header: bool = True) -> pl.DataFrame:
    """A table as text: an empty field is null, a quoted empty one is "".

    Args:
        path: the file; gzip is unpacked. The suffix ``.tsv`` lets tabs separate columns.
        what: what the file holds, for the message where there is none.
        header: the first line names the columns; else they are ``column_1``, ``column_2``, ...

    Raises:
        TableError: no file, another kind of file, another encoding or separator, or rows that do not have as many
            fields as the first line; names the file, the row and the column.
    """
    text = read_text(path, what).strip("\n")
    if not text:
        raise TableError(f"{path.name}: expected a CSV table{' with a header' * header}, got an empty file")
    separator = _separator(path, text.partition("\n")[0])
    if wrong := _ragged(text, separator, header):
        raise TableError(f"{path.name}: expected a CSV table, got {wrong}")
    try:
        raw = pl.read_csv(text.encode(), infer_schema=False, has_header=header, separator=separator)
    except pl.exceptions.PolarsError as error:
        raise TableError(f"{path.name}: expected a CSV table, got {str(error).splitlines()[0]}") from None
    if not header:
        return raw.rename({c: f"column_{i}" for i, c in enumerate(raw.columns, 1)})
    try:
        names = [c.strip() for c in next(csv.reader(io.StringIO(text), delimiter=separator))]
    except csv.Error as error:
        raise TableError(f"{path.name}: expected a CSV table with a header, got: {error}") from None
    if twice := sorted({c for c in names if names.count(c) > 1}):
        raise TableError(f"{path.name}: expected unique columns, got {', '.join(map(repr, twice))} more than once")
    raw.columns = names
    return raw


def read_text_table(path: Path, what: str) -> pl.DataFrame:
    """A table with a header as text: trimmed, blanks as null. See ``read_csv``."""
    raw = read_csv(path, what).with_columns(pl.all().str.strip_chars())
    return raw.with_columns(pl.when(pl.all().is_in(_BLANK_SPELLINGS)).then(None).otherwise(pl.all()).name.keep())


def read_text(path: Path, what: str) -> str:
    """The file's text, with Unix line ends.

    Args:
        path: the file; gzip is unpacked.
        what: what the file holds, for the message where there is none.

    Raises:
        TableError: no file, another kind of file, or another encoding; names the file.
    """
    try:
        data = path.read_bytes()
        if data.startswith(_GZIP):
            data = gzip.decompress(data)
    except FileNotFoundError:
        raise TableError(f"{what}: expected {path.name}, found none in {path.parent.name}/") from None
    except (OSError, EOFError, zlib.error) as error:
        raise TableError(f"{path.name}: expected a CSV table, got {error}") from None
    for start, kind in _OTHER_FILES.items():
        if data.startswith(start):
            raise TableError(f"{path.name}: expected a CSV table, got {kind}")
    try:
        if data.startswith(_UTF16):
            text = data.decode("utf-16")
        elif data[1:2] == b"\0" != data[:1]:
            text = data.decode("utf-16-le")
        elif data[:1] == b"\0" != data[1:2]:
            text = data.decode("utf-16-be")
        else:
            text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise TableError(f"{path.name}: {_undecodable(path, data, error)}") from None
    if "\0" in text:
        raise TableError(f"{path.name}: expected a CSV table in UTF-8, got a binary file (NUL characters)")
    text = text.replace("\r\n", "\n")
    return text if "\n" in text else text.replace("\r", "\n")


def _undecodable(path: Path, data: bytes, error: UnicodeDecodeError) -> str:
    """Where the first byte is that the encoding does not have, and what to do."""
    if error.encoding != "utf-8":
        return f"expected UTF-16 text, got an incomplete file at byte {error.start}"
    before = data[: error.start].split(b"\n")
    header = data.split(b"\n")[0].decode("cp1252", "replace").split(",")
    field = before[-1].count(b",")
    name = header[field].strip() if field < len(header) else "?"
    start = error.start - len(before[-1].rpartition(b",")[2])
    word = data[start : start + 40].split(b"\n")[0].split(b",")[0]
    place = "the header" if len(before) == 1 else f"row {len(before) - 2}"
    return (
        f"{place}, column {name}: expected UTF-8, got the byte 0x{data[error.start]:02X} (as Windows-1252: "
        f"{word.decode('cp1252', 'replace').strip()!r}); save the file as UTF-8, or convert it with "
        f"`iconv -f WINDOWS-1252 -t UTF-8 {path.name} > utf8.csv`"
    )


def _widths(text: str, separator: str) -> npt.NDArray[np.int64] | None:
    """Fields of each line; 0 of an empty one that has not as many as the first. None where a quotation mark stands
    anywhere but at the edges of a field or doubled: then only a parser can tell.

    Args:
        text: a whole table.
        separator: of its columns.
    """
    data = np.frombuffer(f"\n{text}\n".encode(), np.uint8)
    end, mark = data == ord("\n"), data == ord(separator)
    quotes = np.flatnonzero(data == ord('"'))
    if len(quotes):
        edge = end | mark
        edge[quotes] = True
        if len(quotes) % 2 or not (edge[quotes[::2] - 1] & edge[quotes[1::2] + 1]).all():
            return None
        inside = np.zeros(len(data), np.int8)
        inside[quotes[::2]], inside[quotes[1::2]] = 1, -1
        outside = np.cumsum(inside, dtype=np.int8) == 0
        end &= outside
        mark &= outside
    ends = np.flatnonzero(end)
    widths = np.diff(np.searchsorted(np.flatnonzero(mark), ends)) + 1
    other = np.flatnonzero(widths != widths[0])
    lines = [data[ends[i] : ends[i + 1]].tobytes().decode() for i in other]
    space = "\n" if len(quotes) else None  # as the parser takes it, which sees white space as a field
    widths[other[[not line.strip(space) for line in lines]]] = 0
    return np.asarray(widths, dtype=np.int64)


def _separator(path: Path, first: str) -> str:
    """Separator of the columns, by the first line."""
    if first.lower().startswith("sep="):
        raise TableError(f"{path.name}: expected the header in the first line, got Excel's {first!r}; delete that line")
    if path.name.removesuffix(".gz").endswith(".tsv") and "\t" in first:
        return "\t"
    if "," not in first and (mark := next((m for m in (";", "\t", "|") if m in first), None)):
        raise TableError(f"{path.name}: expected columns separated by commas, got {mark!r} in the header")
    return ","


def _ragged(text: str, separator: str, header: bool) -> str:
    """What is wrong with rows that do not have as many fields as the first line; empty if there are none."""
    widths = _widths(text, separator)
    if widths is None:
        try:
            parsed = csv.reader(io.StringIO(text), delimiter=separator, strict=True)
            widths = np.array([len(row) for row in parsed])
        except csv.Error as error:
            return f"{error} (an open quotation mark?)"
    width = int(widths[0])
    rows = [(int(i) - header, int(widths[i])) for i in np.flatnonzero((widths != 0) & (widths != width))]
    shown = ", ".join(f"row {i} with {n}" for i, n in rows[:3])
    first = "header" if header else "first row"
    comma = " (a decimal comma?)" if rows and rows[0][1] > width else " (a file that was cut off?)"
    return f"{len(rows)} rows without the {first}'s {width} fields: {shown}{comma}" if rows else ""
