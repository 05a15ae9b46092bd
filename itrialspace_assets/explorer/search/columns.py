"""The columns of the table ``nodules`` as arrays that are quick to filter and count, read when first asked for.

Row numbers are those of the table, whose rows are sorted by ``nodule_uid``. The whole table of a million nodules would
take more than a gigabyte: what was asked for lately is kept, each column in the one form that takes least.
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
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.lately import Lately
from itrialspace_assets.explorer.search.texts import Texts, texts_of
from itrialspace_assets.records.schema import Column
from itrialspace_assets.records.store import require_contract, table_path
from itrialspace_assets.records.tables import TABLES

#: More distinct values than this are no facet; ours.
MAX_VALUES = 200
#: Rows of an export that are in memory at once; ours.
_BATCH = 20_000
#: Rows that say whether a column can be of few values at all; ours.
_FIRST = 5_000
#: Bytes of columns, masks, codes and orders that are kept; ours, so that the server stays under 600 MiB.
_KEPT = 176 * 2**20

#: Columns of a table of at most so many rows are kept though only some rows were asked for; ours.
_SMALL = 100_000
#: Columns that the free text is looked for in: a dataset's name and every id are part of one of them.
SEARCHED = ("nodule_uid", "scan_uid", "person_uid")

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
        self._reading = threading.Lock()
        self._lately = Lately(_KEPT)
        self.height = int(pq.read_metadata(path).num_rows)

    def series(self, name: str) -> pl.Series:
        """A column as it is in the table, read anew each time.

        Raises:
            ConfigError: there is no such column.
        """
        about(name)
        with self._reading:
            self._file.seek(0)
            return pl.read_parquet(self._file, columns=[name])[name].rechunk()

    def frame(self, names: Sequence[str], rows: Rows | None = None) -> pl.DataFrame:
        """Columns, of some rows or of all.

        Args:
            names: of the columns.
            rows: row numbers, in the order that is wanted; None: all.

        Raises:
            ConfigError: there is no such column.
        """
        chosen = dict.fromkeys(names)
        return pl.DataFrame([self.series(name) if rows is None else self._some(name, rows) for name in chosen])

    def whole(self, row: int) -> pl.DataFrame:
        """Every column of one row."""
        with self._reading:
            self._file.seek(0)
            return pl.scan_parquet(self._file).slice(row, 1).collect()

    def together(self, names: Sequence[str], rows: Rows) -> pl.DataFrame:
        """Columns of a few rows that mostly lie together, read from the file: what is kept is for other questions.

        Args:
            names: of the columns.
            rows: row numbers, at least one, rising.

        Raises:
            ConfigError: there is no such column.
        """
        first, last = int(rows[0]), int(rows[-1])
        if last - first > _BATCH:
            return self.frame(names, rows)
        with self._reading:
            self._file.seek(0)
            some = pl.scan_parquet(self._file).select(about(n).name for n in names).slice(first, last - first + 1)
            return some.collect()[rows - first]

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
        found = self.few(name)
        if found is None:
            raise ConfigError(f"column {name}: expected at most {MAX_VALUES} different values; ask for its histogram")
        return found

    def few(self, name: str) -> Coded | None:
        """A column of at most ``MAX_VALUES`` values; None: it holds more.

        Raises:
            ConfigError: there is no such column.
        """
        about(name)
        return self.kept(("coded", name), lambda: None if self._has_many(name) else _coded(self.series(name)))

    def texts(self, name: str) -> Texts:
        """A column of texts, for searches in them.

        Raises:
            ConfigError: there is no such column, or it holds none.
        """
        if about(name).type != "text":
            raise ConfigError(f"column {name}: expected a column of text, got one of {about(name).type}s")

        def make() -> Texts:
            with self._reading:
                self._file.seek(0)
                return texts_of(pq.ParquetFile(self._file).read([name])[name])

        return self.kept(("texts", name), make)

    def codes(self, name: str) -> npt.NDArray[Any]:
        """A whole number for each text of a column, equal where the texts are: that of ``values``, if there are few."""
        few = self.few(name)
        return self.texts(name).places if few is None else few.codes

    def values(self, name: str) -> tuple[str, ...]:
        """Texts of a column of few: the code of each is its place, from 1.

        Raises:
            ConfigError: there is no such column, or it holds many.
        """
        return tuple(map(str, self.coded(name).values))

    def compact(self, name: str) -> pl.Series:
        """A column of all rows; texts of which there are few as an enumeration, which takes a byte a row.

        Raises:
            ConfigError: there is no such column.
        """
        coded = self.few(name) if about(name).type == "text" else None
        if coded is None:
            return self.series(name)
        values = pl.Series(name, [None, *coded.values], dtype=pl.Enum(pl.Series(coded.values, dtype=pl.String())))
        return values[coded.codes.astype(np.intp)]

    def row_of(self, uid: str) -> int | None:
        """Row number of a nodule; None if there is no such nodule."""
        return self.texts("nodule_uid").place(uid)  # sorted, and no two rows have the same

    def row(self, uid: str) -> int:
        """Row number of a nodule.

        Raises:
            NotFound: there is no such nodule.
        """
        at = self.row_of(uid)
        if at is None:
            raise NotFound(f"nodule {uid!r}: expected a nodule_uid of the index")
        return at

    def kept(self, key: Hashable, make: Callable[[], _Kept]) -> _Kept:
        """What ``make`` gave lately, else what it gives now.

        Args:
            key: of what is kept.
            make: makes it.
        """
        return self._lately.get(key, make)

    def ends(self, name: str) -> tuple[Any, Any]:
        """Least and greatest value of a column; None where it has none.

        Raises:
            ConfigError: there is no such column.
        """
        return self._statistics(about(name).name)[1:]

    def described(self) -> tuple[Described, ...]:
        """Every column of the table, in its order."""
        return self.kept("described", lambda: tuple(self._describe(column) for column in _TABLE.columns))

    def _describe(self, column: Column) -> Described:
        missing, low, high = self._statistics(column.name)
        coded = None
        if column.type != "number" and not self._has_many(column.name):  # codes of all would need room for little
            coded = _coded(self.series(column.name))
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
        with self._reading:
            self._file.seek(0)
            footer = pq.read_metadata(self._file)
        at = footer.schema.names.index(name)
        groups = [footer.row_group(i).column(at).statistics for i in range(footer.num_row_groups)]
        ends = [end for group in groups if group.has_min_max for end in (group.min, group.max)]
        return sum(g.null_count for g in groups), min(ends, default=None), max(ends, default=None)

    def _has_many(self, name: str) -> bool:
        """Whether the first rows alone have too many values, as ids do: the column need not be read."""
        with self._reading:
            self._file.seek(0)
            first = pl.scan_parquet(self._file).select(name).head(_FIRST).collect()[name]
        return first.drop_nulls().n_unique() > MAX_VALUES

    def _some(self, name: str, rows: Rows) -> pl.Series:
        kind = about(name).type
        coded = None if kind == "number" else self.few(name)
        if coded is not None:
            values = pl.Series(name, [None, *coded.values], dtype=_TABLE.schema[name])
            return values[coded.codes[rows].astype(np.intp)]
        form = "texts" if kind == "text" else "numbers"
        if self.height > _SMALL and name not in SEARCHED and not self._lately.has((form, name)):
            return self.series(name)[rows]  # it would push out what searches need
        if kind == "text":
            return self.texts(name).series(name, rows)
        return pl.Series(name, self.numbers(name)[rows], nan_to_null=True).cast(_TABLE.schema[name])


def open_columns(settings: Settings) -> Columns:
    """The columns of the index as last built.

    Raises:
        MissingTable: there is none yet.
        TableError: it was accepted under another contract.
    """
    return Columns(table_path(settings.output, _TABLE.name))


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
