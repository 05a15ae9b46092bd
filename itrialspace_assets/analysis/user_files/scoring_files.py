"""Reads the tables that users bring to be scored: marks and annotations in the columns of LUNA16, and scored cases.

An error names file, row and column. Reader studies are read by ``reader_files``.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.matching import UNSTATED_DIAMETER_MM, MarkArrays, NoduleArrays
from itrialspace_assets.analysis.user_files.user_tables import SCORE, TableSource, UserTable, as_numbers
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.records.text_tables import read_csv

_SCAN = ("seriesuid", "scan_uid")
_PLACE = ("coordX", "coordY", "coordZ")
_DIAMETER = ("diameter_mm",)
#: Largest diameter, and largest coordinate (mm) of a scan (ours): beyond, squares of distances overflow to hits.
_MOST_DIAMETER_MM, _MOST_MM = 1e3, 1e6


@dataclass(frozen=True)
class ScanMarks:
    """Marks and findings of numbered scans, and what was assumed where the files do not say."""

    scans: tuple[str, ...]
    marks: MarkArrays
    nodules: NoduleArrays
    notes: tuple[str, ...]


def read_scan_marks(
    marks: TableSource, annotations: TableSource, excluded: TableSource | None, scans: TableSource | None
) -> ScanMarks:
    """Marks and annotations in the columns of LUNA16.

    Args:
        marks: seriesuid, coordX, coordY, coordZ (mm), probability (or score); a row a mark.
        annotations: seriesuid, coordX, coordY, coordZ, diameter_mm; a row a nodule.
        excluded: the same of findings that are neither right nor wrong to mark; a diameter of -1 or none is taken as
            10 mm. None: there are none.
        scans: ids of all scans that were read, one a line, with or without the header seriesuid. None: the scans that
            the other tables name, which leaves out those without a nodule and a mark.

    Raises:
        TableError: a table cannot be read, a value is wrong, a nodule is listed twice, or a row names a scan that is
            not among ``scans``; names the row and the column.
    """
    found, nodules = UserTable.read(marks, "marks"), UserTable.read(annotations, "annotations")
    tables = [found, nodules]
    if excluded is not None:
        tables.append(UserTable.read(excluded, "excluded findings"))
    ids = [table.texts(*_SCAN) for table in tables]
    notes: tuple[str, ...] = ()
    if scans is None:
        listed = pl.concat([series.rename("scan") for series in ids]).unique().sort()
        notes = (
            f"No list of scans was given: the {len(listed)} scans are those that the tables name. A scan without a "
            "nodule and without a mark is missing from every rate.",
        )
    else:
        listed = _scan_ids(scans)
    codes = [_codes(table, series, listed) for table, series in zip(tables, ids, strict=True)]
    places = [np.column_stack([table.numbers(axis, most=_MOST_MM) for axis in _PLACE]) for table in tables]
    _refuse_twice(nodules, codes[1], places[1])
    diameters = [nodules.numbers(*_DIAMETER, above=0, most=_MOST_DIAMETER_MM)]
    if excluded is not None:
        diameters.append(_stated_or_usual(tables[2]))
    count = len(diameters[0])
    of_nodules = NoduleArrays(
        scan=np.concatenate(codes[1:]),
        place=np.concatenate(places[1:]),
        diameter_mm=np.concatenate(diameters),
        excluded=np.arange(sum(map(len, diameters))) >= count,
    )
    return ScanMarks(tuple(listed), MarkArrays(codes[0], places[0], found.numbers(*SCORE)), of_nodules, notes)


def _stated_or_usual(table: UserTable) -> Floats:
    """Diameters (mm) of excluded findings; the usual one where none is stated, or a negative one."""
    column = table.column(*_DIAMETER)
    stated = as_numbers(column)
    table.refuse(stated.is_null() & column.is_not_null(), column, "a diameter in mm, -1 or nothing")
    values = stated.cast(pl.Float64).fill_null(np.nan).to_numpy()
    too_large = pl.Series(np.abs(values) > _MOST_DIAMETER_MM)
    table.refuse(too_large, column, f"a diameter of at most {_MOST_DIAMETER_MM:g} mm, -1 or nothing")
    return np.where(values > 0, values, UNSTATED_DIAMETER_MM)


def _scan_ids(source: TableSource) -> pl.Series:
    """Ids of a list of scans, in its order."""
    if isinstance(source, pl.DataFrame):
        table = UserTable("scans", source)
    else:
        raw = read_csv(Path(source), "scans", header=False)
        names = [str(v).strip().casefold() for v in raw.row(0)]
        headed = any(name in _SCAN for name in names)
        if not headed and raw.width != 1:
            raise TableError(
                f"{Path(source).name}: expected one id a line, or a column seriesuid, got {raw.width} columns"
            )
        table = UserTable(
            Path(source).name,
            raw[1:].rename(dict(zip(raw.columns, names, strict=True)))
            if headed
            else raw.rename({raw.columns[0]: _SCAN[0]}),
        )
    ids = table.texts(*_SCAN)
    table.refuse(~ids.is_first_distinct(), ids, "each scan once")
    return ids


def _codes(table: UserTable, ids: pl.Series, listed: pl.Series) -> Ints:
    """Number of each row's scan in the list."""
    numbered = pl.DataFrame({"id": listed, "code": np.arange(len(listed), dtype=np.int64)})
    codes = pl.DataFrame({"id": ids}).join(numbered, on="id", how="left", maintain_order="left")["code"]
    table.refuse(codes.is_null(), ids, f"one of the {len(listed)} scans of the list")
    return codes.to_numpy()


def _refuse_twice(table: UserTable, scan: Ints, place: Floats) -> None:
    key = pl.DataFrame({"scan": scan, **dict(zip("xyz", place.T, strict=True))}).to_struct("key")
    table.refuse(~key.is_first_distinct(), table.column(*_SCAN), "each nodule once, with a place of its own")


@dataclass(frozen=True)
class ScoredCases:
    """Truth and score of cases, and the persons that they share; null: a person of its own."""

    truth: Flags
    score: Floats
    host: pl.Series
    donor: pl.Series


def read_scored_cases(source: TableSource, truth: str, score: str, host: str | None, donor: str | None) -> ScoredCases:
    """A long table of scored cases, a row each.

    Args:
        source: file or frame.
        truth: column of 0 and 1.
        score: column of numbers, higher for more likely diseased.
        host: column of the person whose anatomy it is; None: each row its own.
        donor: column of the person whose nodule it is; an empty cell is a person of its own, as is each row where
            None is given.

    Raises:
        TableError: it cannot be read, has no such column, or a value is wrong; names the row and the column.
    """
    table = UserTable.read(source, "scored cases")
    own = pl.Series([None] * table.frame.height, dtype=pl.String)
    return ScoredCases(
        truth=table.truths(truth),
        score=table.numbers(score),
        host=table.texts(host) if host else own,
        donor=table.texts(donor, blank=True) if donor else own,
    )
