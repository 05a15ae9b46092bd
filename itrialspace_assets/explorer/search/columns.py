"""The columns of the table ``nodules`` as arrays that are quick to filter and count, read when first asked for.

Row numbers are those of the table, whose rows are sorted by ``nodule_uid``. A million nodules with the columns that the
page shows take about 300 MiB; the whole table would take more than a gigabyte.
"""

import os
import threading
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import numpy.typing as npt
import polars as pl
import pyarrow.parquet as pq

from itrialspace_assets.base.errors import ConfigError, MissingTable, NotFound, TableError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.index.query import Index
from itrialspace_assets.records.schema import Column
from itrialspace_assets.records.store import require_contract
from itrialspace_assets.records.tables import TABLES

#: More distinct values than this are no facet; ours.
MAX_VALUES = 200
#: Rows of an export that are in memory at once; ours.
_BATCH = 20_000
#: Rows that say whether a column can be of few values at all; ours.
_FIRST = 5_000
#: Masks, codes of histograms and orders that are kept, each at most one to eight bytes a nodule; ours.
_KEPT = 48

Value = str | int | float | bool | None
Rows = npt.NDArray[np.intp]
Mask = npt.NDArray[np.bool_]
Codes = npt.NDArray[np.uint8]
_Kept = TypeVar("_Kept")

_TABLE = TABLES["nodules"]
ABOUT = {column.name: column for column in _TABLE.columns}


@dataclass(frozen=True)
class Coded:
    """A column of few values: ``codes`` holds 0 where the value is missing, else its place in ``values`` plus 1."""

    values: tuple[str | int | float | bool, ...]
    codes: Codes


class Described(StrictModel):
    """A column of the index.

    Attributes:
        name: of the column.
        type: text, integer, number or flag.
        unit: mm, %, years; empty: none.
        meaning: for people.
        missing: nodules without a value.
        values: distinct values where it can be a facet, in their order; empty where it cannot.
        low: least value of a number.
        high: greatest value of a number.
    """

    name: str
    type: str
    unit: str
    meaning: str
    missing: int
    values: tuple[str | int | float | bool, ...]
    low: float | None
    high: float | None


def about(name: str) -> Column:
    """The contract of a column.

    Raises:
        ConfigError: there is no such column.
    """
    try:
        return ABOUT[name]
    except KeyError:
        raise ConfigError(f"column {name[:60]!r}: expected a column of the index, as its list names them") from None


class Columns:
    """The columns of one version of the table; threads may share it."""

    def __init__(self, path: Path) -> None:
        """Open the table.

        Raises:
            MissingTable: there is none yet.
            TableError: it is damaged, or was accepted under another contract.
        """
        if not path.exists():
            raise MissingTable(_TABLE.name, "")
        require_contract(_TABLE.name, [path])
        self._path = path
        self._file = path.open("rb")  # stays open: a table that is made again does not mix with this one
        self._lock = threading.RLock()
        self._series: dict[str, pl.Series] = {}
        self._made: dict[Hashable, object] = {}
        self._passing: dict[Hashable, object] = {}
        self.height = self.series("nodule_uid").len()

    def series(self, name: str) -> pl.Series:
        """A column as it is in the table.

        Raises:
            ConfigError: there is no such column.
        """
        about(name)
        found = self._series.get(name)
        if found is None:
            with self._lock:
                found = self._series.get(name)
                if found is None:
                    self._series[name] = found = self._read(name)
        return found

    def frame(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        """Columns, of some rows or of all.

        Args:
            names: of the columns.
            rows: row numbers, in the order that is wanted; None: all.

        Raises:
            ConfigError: there is no such column.
        """
        return pl.DataFrame([self._some(name, rows) for name in dict.fromkeys(names)])

    def whole(self, row: int) -> pl.DataFrame:
        """Every column of one row."""
        with self._lock:
            self._file.seek(0)
            return pl.scan_parquet(self._file).slice(row, 1).collect()

    def batches(self, mask: Mask) -> Iterator[pl.DataFrame]:
        """Every column of the rows of a mask, some thousand rows at a time; at least one frame, which may be empty.

        Raises:
            TableError: the table was made again since it was opened here.
        """
        at = 0
        with self._path.open("rb") as file:
            if os.fstat(file.fileno()).st_ino != os.fstat(self._file.fileno()).st_ino:
                raise TableError("nodules: made again just now; ask again")
            for batch in pq.ParquetFile(file).iter_batches(_BATCH):
                chosen, at = mask[at : at + batch.num_rows], at + batch.num_rows
                if chosen.any() or at == self.height:
                    yield pl.DataFrame(batch).filter(chosen)

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers or whole numbers; NaN where the value is missing.

        Raises:
            ConfigError: there is no such column, or it holds none.
        """
        if about(name).type not in ("number", "integer"):
            raise ConfigError(f"column {name}: expected a column of numbers, got one of type {about(name).type}")
        return self.kept(("numbers", name), lambda: self.series(name).cast(pl.Float64).to_numpy())

    def coded(self, name: str) -> Coded:
        """A column of at most ``MAX_VALUES`` values.

        Raises:
            ConfigError: there is no such column, or it holds more values.
        """
        about(name)
        found = self.kept(("coded", name), lambda: self._code(name))
        if found is None:
            raise ConfigError(f"column {name}: expected at most {MAX_VALUES} different values; ask for its histogram")
        return found

    def compact(self, name: str) -> pl.Series:
        """A column of all rows; texts of which there are few as an enumeration, which takes a byte a row.

        Raises:
            ConfigError: there is no such column.
        """
        coded = self.kept(("coded", name), lambda: self._code(name)) if about(name).type == "text" else None
        if coded is None:
            return self._some(name, None)
        values = pl.Series(name, [None, *coded.values], dtype=pl.Enum(pl.Series(coded.values, dtype=pl.String())))
        return values[coded.codes.astype(np.intp)]

    def row(self, uid: str) -> int:
        """Row number of a nodule.

        Raises:
            NotFound: there is no such nodule.
        """
        uids = self.series("nodule_uid")
        at = int(uids.search_sorted(uid))
        if at >= self.height or uids[at] != uid:
            raise NotFound(f"nodule {uid!r}: expected a nodule_uid of the index")
        return at

    def index(self, names: Sequence[str]) -> Index:
        """The index with these columns alone, for its own questions."""
        return self.kept(("index", *names), lambda: Index(pl.DataFrame([self.series(name) for name in names])))

    def kept(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """What ``make`` gave the first time; threads that ask at once make it once.

        Args:
            key: of what is kept.
            make: makes it.
        """
        with self._lock:
            if key not in self._made:
                self._made[key] = make()
            return self._made[key]  # type: ignore[return-value]

    def kept_for_now(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """As ``kept``, but only what was asked for last is kept, ``_KEPT`` results at most.

        Args:
            key: of what is kept.
            make: makes it.
        """
        with self._lock:
            made = self._passing.pop(key, None)
            self._passing[key] = found = make() if made is None else made
            if len(self._passing) > _KEPT:
                self._passing.pop(next(iter(self._passing)))
            return found  # type: ignore[return-value]

    def described(self) -> tuple[Described, ...]:
        """Every column of the table, in its order."""
        return self.kept("described", lambda: tuple(self._describe(column) for column in _TABLE.columns))

    def _describe(self, column: Column) -> Described:
        missing, low, high = self._statistics(column.name)
        coded = None
        if column.type != "number":
            with self._lock:  # one column after another, and not kept: all would take more than a gigabyte
                series = self._seen_or_read(column.name)
                if len(series.head(_FIRST).unique()) <= MAX_VALUES:  # most columns of ids end here
                    coded = self.kept(("coded", column.name), lambda: _coded(series))
        return Described(
            name=column.name,
            type=column.type,
            unit=column.unit,
            meaning=column.description,
            missing=missing,
            values=coded.values if coded else (),
            low=None if column.type in ("text", "flag") else low,
            high=None if column.type in ("text", "flag") else high,
        )

    def _statistics(self, name: str) -> tuple[int, Any, Any]:
        """Missing values, least and greatest value, as the file's footer says."""
        with self._lock:
            self._file.seek(0)
            footer = pq.read_metadata(self._file)
        at = footer.schema.names.index(name)
        groups = [footer.row_group(i).column(at).statistics for i in range(footer.num_row_groups)]
        ends = [end for group in groups if group.has_min_max for end in (group.min, group.max)]
        return sum(g.null_count for g in groups), min(ends, default=None), max(ends, default=None)

    def _seen_or_read(self, name: str) -> pl.Series:
        """A column that is not kept for this."""
        found = self._series.get(name)
        return self._read(name) if found is None else found

    def _read(self, name: str) -> pl.Series:
        with self._lock:
            self._file.seek(0)
            return pl.read_parquet(self._file, columns=[name])[name].rechunk()

    def _some(self, name: str, rows: Rows | None) -> pl.Series:
        if rows is None:
            return self._seen_or_read(about(name).name)
        coded = self._made.get(("coded", name))
        if isinstance(coded, Coded):  # less memory than the column itself
            values = pl.Series(name, [None, *coded.values], dtype=_TABLE.schema[name])
            return values[coded.codes[rows].astype(np.intp)]
        return self.series(name)[rows]

    def _code(self, name: str) -> Coded | None:
        return _coded(self._seen_or_read(name))


def _coded(series: pl.Series) -> Coded | None:
    distinct = series.drop_nulls().unique()
    if distinct.len() > MAX_VALUES:
        return None
    known = set(distinct)
    order = [v for v in ABOUT[series.name].allowed if v in known]
    values = order if len(order) == len(known) else sorted(known)
    codes = np.zeros(series.len(), np.uint8)  # at most MAX_VALUES, and 0
    if values:
        places = pl.Series(range(1, len(values) + 1), dtype=pl.UInt8())
        codes = series.replace_strict(pl.Series(values, dtype=series.dtype), places, default=0).to_numpy()
    return Coded(tuple(values), codes)
