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
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from itrialspace_assets.base.errors import ConfigError, MissingTable, NotFound, TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.lately import Budget, Lately
from itrialspace_assets.explorer.search.texts import DistinctTexts, texts_of
from itrialspace_assets.records.schema import Column
from itrialspace_assets.records.store import require_contract, table_path
from itrialspace_assets.records.tables import TABLES

#: More distinct values than this are no facet; ours.
MAX_VALUES = 200
#: Rows of an export that are in memory at once; ours.
_BATCH = 20_000
#: Rows of a column that are in memory at once where it is not kept whole; ours.
_STEP = 1 << 16
#: Bytes of a column of the file that are in memory at once; ours.
_BUFFER = 1 << 18
#: Bytes of columns, masks, codes, orders and of what a map is made of that are kept; ours, so that the server stays
#: under 600 MiB.
_KEPT = 160 * 2**20
#: Bytes that texts take while each is looked up, and while they are answered, for each byte of them; ours, measured.
_LOOKED_UP, _ANSWERED = 5, 4

#: Columns of a table of at most so many rows are kept though only some rows were asked for; ours.
_SMALL = 100_000
#: Columns that the free text is looked for in: a dataset's name and every id are part of one of them.
SEARCHED = ("nodule_uid", "scan_uid", "person_uid")

Value = str | int | float | bool | None
RowNumbers = npt.NDArray[np.intp]
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


class ColumnDescription(StrictModel):
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
        self._source = pa.OSFile(str(path))  # the same, for reading by several threads
        self._require_same()
        self._footer = pq.read_metadata(self._source)
        self.budget = Budget(_KEPT)
        self._lately = Lately(self.budget)
        self.height = int(self._footer.num_rows)

    def series(self, name: str) -> pl.Series:
        """A column as it is in the table, read again each time.

        Raises:
            ConfigError: there is no such column.
        """
        about(name)
        with self._reading:
            self._file.seek(0)
            return pl.read_parquet(self._file, columns=[name])[name].rechunk()

    def frame(self, names: Sequence[str], rows: RowNumbers | None = None) -> pl.DataFrame:
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

    def together(self, names: Sequence[str], rows: RowNumbers) -> pl.DataFrame:
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
        self._require_same()
        for batch in self._read(None, _BATCH):
            chosen, at = mask[at : at + batch.num_rows], at + batch.num_rows
            if chosen.any() or at == self.height:
                yield pl.DataFrame(batch).filter(chosen)

    def _read(
        self, names: Sequence[str] | None, rows: int = _STEP, coded: Sequence[str] = ()
    ) -> Iterator[pa.RecordBatch]:
        """Some rows after others of some columns (None: all), read piece by piece; threads may do so side by side.

        Args:
            names: of the columns.
            rows: how many at once.
            coded: which of them come as codes with a dictionary, texts alone.
        """
        file = pq.ParquetFile(
            self._source, metadata=self._footer, read_dictionary=list(coded), buffer_size=_BUFFER, pre_buffer=False
        )
        found: Iterator[pa.RecordBatch] = file.iter_batches(rows, columns=names, use_threads=False)
        return found

    def _require_same(self) -> None:
        if os.fstat(self._file.fileno()).st_ino != self._path.stat().st_ino:
            raise TableError("nodules: made again just now; ask again")

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers or whole numbers, shape (n,); NaN where the value is missing.

        Raises:
            ConfigError: there is no such column, or it holds none.
        """
        if about(name).type not in ("number", "integer"):
            raise ConfigError(f"column {name}: expected a column of numbers, got one of type {about(name).type}")
        return self.kept(("numbers", name), lambda: self._numbers(name))

    def numbers_once(self, name: str) -> npt.NDArray[np.float64]:
        """The same (n,), not kept for the next time: others stay.

        Raises:
            ConfigError: there is no such column, or it holds none.
        """
        return self.numbers(name) if self._lately.has(("numbers", name)) else self._numbers(name)

    def _numbers(self, name: str) -> npt.NDArray[np.float64]:
        values, at = np.empty(self.height), 0
        for batch in self._read([name]):
            some = batch.column(0).cast(pa.float64()).to_numpy(zero_copy_only=False)
            values[at : at + len(some)] = some
            at += len(some)
        return values

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
        return self.kept(("coded", name), lambda: self._few(name))

    def _few(self, name: str) -> Coded | None:
        """Codes piece by piece; it ends where there are too many values, which the first rows of ids have."""
        codes, at, known = np.zeros(self.height, np.uint8), 0, dict[str | int | float | bool, int]()
        for batch in self._read([name], coded=[name] if about(name).type == "text" else ()):
            column = batch.column(0)
            some = column if isinstance(column, pa.DictionaryArray) else column.dictionary_encode()
            places = some.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            there = np.flatnonzero(np.bincount(places + 1, minlength=1)[1:])
            if len(there) > MAX_VALUES:
                return None
            code = np.zeros(len(some.dictionary) + 1, np.uint8)  # the last is that of a missing one
            for place, value in zip(there, some.dictionary.take(pa.array(there)).to_pylist(), strict=True):
                code[place] = known.setdefault(value, min(len(known) + 1, MAX_VALUES))
            if len(known) > MAX_VALUES:
                return None
            codes[at : at + len(some)] = code[places]
            at += len(some)
        order = [v for v in ABOUT[name].allowed if v in known]
        values = order if len(order) == len(known) else sorted(known)
        final = np.zeros(len(known) + 1, np.uint8)
        final[[known[value] for value in values]] = np.arange(1, len(values) + 1)
        return Coded(tuple(values), final[codes])

    def rows_with(self, name: str, text: str) -> RowNumbers:
        """Rows whose text in a column is one, rising; nothing of the column is kept.

        Args:
            name: of a column of texts.
            text: that is looked for.
        """
        found, at = [np.zeros(0, np.intp)], 0
        for batch in self._read([name]):
            same = pc.equal(batch.column(0), text).fill_null(False).to_numpy(zero_copy_only=False)
            found.append(np.flatnonzero(same) + at)
            at += batch.num_rows
        return np.concatenate(found)

    def texts(self, name: str) -> DistinctTexts:
        """A column of texts, for searches in them.

        Raises:
            ConfigError: there is no such column, or it holds none.
        """
        if about(name).type != "text":
            raise ConfigError(f"column {name}: expected a column of text, got one of {about(name).type}s")

        def make() -> DistinctTexts:
            pieces = [batch.column(0) for batch in self._read([name])]
            return texts_of(pa.chunked_array(pieces) if pieces else pa.chunked_array([], pa.string()))

        sorted_ids = name == "nodule_uid"  # nothing need be looked up
        return self._lately.get(("texts", name), make, (2 if sorted_ids else _LOOKED_UP) * self._bytes(name))

    def codes(self, name: str) -> npt.NDArray[Any]:
        """A whole number for each text of a column (n,), equal where the texts are: that of ``values`` if few."""
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
            self.budget.clear(_ANSWERED * self._bytes(name))
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

    def described(self) -> tuple[ColumnDescription, ...]:
        """Every column of the table, in its order."""
        return self.kept("described", lambda: tuple(self._describe(column) for column in _TABLE.columns))

    def _describe(self, column: Column) -> ColumnDescription:
        missing, low, high = self._statistics(column.name)
        coded = None if column.type == "number" else self._few(column.name)  # codes of all would need room for little
        return ColumnDescription(
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
        footer = self._footer
        at = footer.schema.names.index(name)
        groups = [footer.row_group(i).column(at).statistics for i in range(footer.num_row_groups)]
        ends = [end for group in groups if group.has_min_max for end in (group.min, group.max)]
        return sum(g.null_count for g in groups), min(ends, default=None), max(ends, default=None)

    def _bytes(self, name: str) -> int:
        """Bytes of a column in the file, before they were compressed."""
        at = self._footer.schema.names.index(name)
        groups = range(self._footer.num_row_groups)
        return sum(self._footer.row_group(i).column(at).total_uncompressed_size for i in groups)

    def _some(self, name: str, rows: RowNumbers) -> pl.Series:
        kind = about(name).type
        coded = None if kind == "number" else self.few(name)
        if coded is not None:
            values = pl.Series(name, [None, *coded.values], dtype=_TABLE.schema[name])
            return values[coded.codes[rows].astype(np.intp)]
        form = "texts" if kind == "text" else "numbers"
        if self.height > _SMALL and name not in SEARCHED and not self._lately.has((form, name)):
            return self._picked(name, rows)  # it would push out what searches need
        if kind == "text":
            return self.texts(name).series(name, rows)
        return pl.Series(name, self.numbers(name)[rows], nan_to_null=True).cast(_TABLE.schema[name])

    def _picked(self, name: str, rows: RowNumbers) -> pl.Series:
        """Values of rows, picked from one piece of the column after another."""
        order, at, found = np.argsort(rows, kind="stable"), 0, [pl.Series(name, [], dtype=_TABLE.schema[name])]
        wanted = rows[order]
        for batch in self._read([name]):
            first, last = np.searchsorted(wanted, (at, at + batch.num_rows))
            if last > first:
                some = batch.column(0).take(pa.array(wanted[first:last] - at))
                found.append(pl.Series(name, some, dtype=_TABLE.schema[name]))
            at += batch.num_rows
        back = np.empty(len(rows), np.intp)
        back[order] = np.arange(len(rows))
        return pl.concat(found)[back]


def open_columns(settings: Settings) -> Columns:
    """The columns of the index as last built.

    Raises:
        MissingTable: there is none yet.
        TableError: it was accepted under another contract.
    """
    return Columns(table_path(settings.output, _TABLE.name))
