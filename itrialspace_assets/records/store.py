"""Where outputs lie, and the only way in and out of Parquet: accepted or not written.

Paths are below the output folder; file names and bytes depend on content only. Nothing here knows what a stage does.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from itrialspace_assets.base.errors import MissingTable, TableError
from itrialspace_assets.base.fingerprints import FileHashes, replacing
from itrialspace_assets.records.runs import BLOCK, Batches, SortedRuns
from itrialspace_assets.records.schema import Table, Violation, added, errors, violations
from itrialspace_assets.records.tables import TABLES

Row = TypeVar("Row")
# the pool that pyarrow takes by itself keeps what tables needed while they were read: 50 MiB of a planner's 350
pa.set_memory_pool(pa.system_memory_pool())
_CONTRACT = b"itrialspace.contract"
#: Bytes of a column that are read at once (ours).
_BUFFER = 1 << 16
#: Rows of a row group, which is in memory as a whole while it is written (ours: 10 MiB of the table generations).
GROUP = 1 << 14


def table_path(root: Path, name: str, **partition: str) -> Path:
    """File of one partition of a table.

    Raises:
        KeyError: a partition dimension of the table is not given.
    """
    table = TABLES[name]
    folders = [_folder(partition[dimension]) for dimension in table.partition]
    return root.joinpath("tables", name, *folders, "part.parquet")


def _folder(value: str) -> str:
    return value.replace("/", "~")


def write_table(root: Path, name: str, rows: pl.DataFrame | list[dict[str, Any]], **partition: str) -> Path:
    """Validate against the registry, then write by rename; equal rows give equal bytes.

    Args:
        root: the output folder.
        name: of the table.
        rows: one dictionary a row, where a missing key becomes null; or a frame with every column of the table, whose
            other columns are left out. The file's rows are sorted by the table's key.
        partition: value of each partition column of the table; every row must hold it.

    Raises:
        KeyError: a partition column of the table is not given.
        TableError: a rule is broken; the old file, if any, is untouched.
    """
    with TableWriter(root, name, **partition) as out:
        out.append(rows)
        return out.write()


def write_parts(root: Path, name: str, parts: Iterable[list[dict[str, Any]]], **partition: str) -> tuple[Path, int]:
    """``write_table`` of rows that are not all in memory at once: the same file, and how many rows it has.

    Args:
        root: the output folder.
        name: of the table.
        parts: rows as of ``write_table``, in any order.
        partition: value of each partition column of the table; every row must hold it.

    Raises:
        KeyError: a partition column of the table is not given.
        TableError: a rule is broken; the old file, if any, is untouched.
    """
    table = TABLES[name]
    with (
        TableWriter(root, name, **partition) as out,
        SortedRuns(table_path(root, name, **partition).parent, table.key) as runs,
    ):
        for part in parts:
            frame = out.frame(part)
            if frame[table.key[0]].has_nulls():  # has no place in the order
                out.append(frame)
                out.write()  # tells what is wrong
            runs.add(frame)
        for block in runs.blocks():
            out.append(block)
        return out.write(), out.height


class TableWriter:
    """Writes a partition of a table from blocks that follow each other in the order of its key.

    What was appended lies on disk, in the folder of the table, until ``write`` has made the file of it, one row group
    after the other: the bytes are those of a frame of all rows.

    Attributes:
        height: rows so far.
    """

    def __init__(self, root: Path, name: str, **partition: str) -> None:
        self._table, self._partition = TABLES[name], partition
        self._path = table_path(root, name, **partition)
        self._where = "/".join((name, *(partition[d] for d in self._table.partition)))
        self._found: list[Violation] = []
        self._last: Any = None  # of the key's first column
        self._whole: pa.Table | None = None  # the only block so far
        self._columns: Batches | None = None  # of several blocks: the columns of the first, of the second, ...
        self._blocks: list[int] = []  # of those, how many each row group is made of
        self.height = 0

    def __enter__(self) -> "TableWriter":
        return self

    def __exit__(self, *_: object) -> None:
        if self._columns is not None:
            self._columns.close()

    def frame(self, rows: pl.DataFrame | list[dict[str, Any]]) -> pl.DataFrame:
        """Rows with the table's columns, sorted by its key.

        Raises:
            TableError: a column is missing or unknown, or a value has another type.
        """
        try:
            if isinstance(rows, list):
                return self._table.frame(rows)
            return rows.select(list(self._table.schema)).sort(self._table.key)
        except (ValueError, pl.exceptions.PolarsError) as error:
            raise TableError(f"{self._where}: {error}") from None

    def append(self, rows: pl.DataFrame | list[dict[str, Any]]) -> None:
        """Add a block: all rows of each value of the key's first column, and those values follow the ones before.

        Raises:
            TableError: a column is missing or unknown, or a value has another type.
            ValueError: the block does not follow those before.
        """
        frame = self.frame(rows)
        if frame.height and self.height:
            first = frame[self._table.key[0]][0]
            if self._last is not None and not first > self._last:
                raise ValueError(f"{self._where}: a block begins with {first}, after one that ends with {self._last}")
        self._found = added(self._found, violations(self._table, frame, **self._partition), self.height)
        if frame.height:
            self._last = frame[self._table.key[0]][-1]
        if errors(self._found):
            self.height += frame.height  # nothing will be written
            return
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if not self.height:
            self._whole = arrow
        elif frame.height:
            if self._columns is None:
                self._columns = Batches(self._path.parent)
                self._spill(self._columns, self._whole, 0)
                self._whole = None
            self._spill(self._columns, arrow, self.height)
        self.height += frame.height

    def _spill(self, columns: Batches, block: pa.Table, before: int) -> None:
        """Keep the columns of a block that follows some rows, cut where a row group ends."""
        at = 0
        while at < block.num_rows:
            room = GROUP - (before + at) % GROUP
            if room == GROUP:
                self._blocks.append(0)
            for name in block.schema.names:
                (batch,) = block.slice(at, room).select([name]).combine_chunks().to_batches()
                columns.append(batch)
            self._blocks[-1] += 1
            at += room

    def write(self) -> Path:
        """Make the file of what was appended, by rename; equal rows give equal bytes, however they were cut.

        Raises:
            TableError: a rule is broken; the old file, if any, is untouched.
        """
        found = errors(self._found)
        if found:
            rules = "; ".join(map(str, found[:5]))
            raise TableError(f"{self._where}: not written, {len(found)} rules broken: {rules}")
        _to_parquet(self._table, self._groups(), self._path)
        return self._path

    def _groups(self) -> Iterator[pa.Table]:
        """The rows, one row group after the other; those of a single block at once."""
        if self._columns is None:
            yield _empty(self._table) if self._whole is None else self._whole
            return
        names, first = list(self._table.schema), 0
        for count in self._blocks:
            yield pa.table({name: self._column(first + n, len(names), count) for n, name in enumerate(names)})
            first += count * len(names)

    def _column(self, first: int, width: int, count: int) -> pa.Array:
        """A column of some blocks, in one piece: where pieces end decides where pages of the file end."""
        assert self._columns is not None
        pieces = [self._columns.read(first + block * width).column(0) for block in range(count)]
        return pa.concat_arrays(pieces)


def _empty(table: Table) -> pa.Table:
    return table.empty().to_arrow(compat_level=pl.CompatLevel.oldest())


def _to_parquet(table: Table, groups: Iterable[pa.Table], path: Path) -> None:
    schema = _empty(table).schema.with_metadata({_CONTRACT: table.contract.encode()})
    # numbers rarely repeat: a dictionary of them costs half the time of writing, and space
    texts = [n for n, kind in table.schema.items() if kind == pl.String]
    with replacing(path) as out, pq.ParquetWriter(out, schema, compression="zstd", use_dictionary=texts) as file:
        for rows in groups:
            file.write_table(rows, row_group_size=GROUP)
            del rows  # or it is in memory beside the next one
            pa.default_memory_pool().release_unused()


def read_file(name: str, path: Path, columns: Sequence[str] | None = None) -> pl.DataFrame:
    """One partition file.

    Args:
        name: of the table.
        path: the file.
        columns: the columns that are wanted, in their order; None: all.

    Raises:
        MissingTable: there is no such file.
        TableError: the file is unreadable, or was accepted under another contract.
    """
    try:
        data = path.read_bytes()  # not by its name, in which polars takes some characters for a pattern
    except FileNotFoundError:
        raise MissingTable(name, path.parent.name if TABLES[name].partition else "") from None
    _same_contract(name, path, pa.BufferReader(data))
    try:
        # polars' own reader: half the time and memory of pyarrow's
        return pl.read_parquet(data, columns=None if columns is None else list(columns))
    except (Exception, pl.exceptions.PanicException) as error:  # polars raises many kinds for a damaged file
        raise _damaged(name, path, error) from None


def apart(frame: pl.DataFrame) -> pl.DataFrame:
    """A copy with texts of its own: those that were picked from a frame keep all texts of that frame in memory."""
    copy = pl.from_arrow(frame.to_arrow(compat_level=pl.CompatLevel.oldest()))
    assert isinstance(copy, pl.DataFrame)
    return copy


def read_blocks(name: str, path: Path, columns: Sequence[str] | None = None) -> Iterator[pl.DataFrame]:
    """One partition file, some rows at a time in their order.

    A block holds all rows of a value of the key's first column, which is read too; of a file that is not sorted by it,
    all that follow each other.

    Args:
        name: of the table.
        path: the file.
        columns: the columns that are wanted; None: all.

    Raises:
        MissingTable: there is no such file.
        TableError: the file is unreadable, or was accepted under another contract.
    """
    if not path.exists():
        raise MissingTable(name, path.parent.name if TABLES[name].partition else "")
    _same_contract(name, path, path)
    key = TABLES[name].key[0]
    wanted = None if columns is None else list(dict.fromkeys([key, *columns]))
    rest: pl.DataFrame | None = None
    try:
        with pq.ParquetFile(path, buffer_size=_BUFFER) as source:
            for batch in source.iter_batches(BLOCK, columns=wanted, use_threads=False):
                frame = pl.from_arrow(pa.Table.from_batches([batch]))
                assert isinstance(frame, pl.DataFrame)
                if wanted is not None:
                    frame = frame.select(wanted)
                frame = frame if rest is None else pl.concat([rest, frame])
                runs = frame[key].rle_id()
                last = runs == runs[-1]
                rest = frame.filter(last)
                if rest.height < frame.height:
                    yield frame.filter(~last)
    except (pa.ArrowException, OSError) as error:
        raise _damaged(name, path, error) from None
    if rest is not None:
        yield rest


def file_violations(name: str, path: Path, **partition: str) -> tuple[int, list[Violation]]:
    """Rows of one partition file, and every rule that they break (see ``schema.violations``).

    Args:
        name: of the table.
        path: the file.
        partition: value that each partition column must hold, of those that are fixed.

    Raises:
        MissingTable: there is no such file.
        TableError: the file is unreadable, or was accepted under another contract.
    """
    key, height, last = TABLES[name].key[0], 0, None
    found: list[Violation] = []
    for block in read_blocks(name, path):
        new, first = violations(TABLES[name], block, **partition), block[key][0]
        if None not in (first, last) and not first > last:  # a key may then be in two blocks
            new.append(Violation("expected rows sorted by the key", key, 1, (first,), at=(0,)))
        found, last, height = added(found, new, height), block[key][-1], height + block.height
    return height, found


def _same_contract(name: str, path: Path, source: pa.BufferReader | Path) -> None:
    try:
        metadata = pq.read_metadata(source).metadata or {}
    except Exception as error:  # pyarrow raises many kinds for a damaged file
        raise _damaged(name, path, error) from None
    contract = metadata.get(_CONTRACT, b"").decode(errors="replace")
    if contract != TABLES[name].contract:
        raise TableError(
            f"{name}/{path.parent.name}: written under contract {contract or 'none'}, expected "
            f"{TABLES[name].contract}; run its stage again"
        )


def _damaged(name: str, path: Path, error: BaseException) -> TableError:
    return TableError(f"{name}: {path.name} in {path.parent.name} is damaged: {error}")


def require_contract(name: str, paths: Iterable[Path]) -> None:
    """Refuse files of a table that were accepted under another contract; reads their footers alone.

    Raises:
        TableError: a file is unreadable, or of another contract.
    """
    for path in paths:
        _same_contract(name, path, path)


def read_table(root: Path, name: str, columns: Sequence[str] | None = None, **partition: str) -> pl.DataFrame:
    """One partition of a table; see ``read_file``.

    Args:
        root: the output folder.
        name: of the table.
        columns: the columns that are wanted, in their order; None: all.
        partition: value of each partition column of the table.
    """
    return read_file(name, table_path(root, name, **partition), columns)


def table_files(root: Path, name: str, **partition: str) -> list[Path]:
    """Files of all partitions of a table that agree with ``partition``, in path order."""
    pattern = [_folder(partition[d]) if d in partition else "*" for d in TABLES[name].partition]
    return sorted((root / "tables" / name).glob("/".join((*pattern, "part.parquet"))))


def partition_of(name: str, path: Path) -> dict[str, str]:
    """Partition of a file of ``table_files``: the folder of each dimension, as ``_folder`` writes it."""
    dimensions = TABLES[name].partition
    return dict(zip(dimensions, path.parent.parts[len(path.parent.parts) - len(dimensions) :], strict=True))


def read_all(root: Path, name: str, columns: Sequence[str] | None = None, **partition: str) -> pl.DataFrame:
    """All partitions of a table that agree with ``partition``, sorted by key; empty if none.

    Args:
        root: the output folder.
        name: of the table.
        columns: the columns that are wanted, those of the key among them; None: all.
        partition: value of each partition column that is fixed.
    """
    frames = [read_file(name, path, columns) for path in table_files(root, name, **partition)]
    if not frames:
        empty = TABLES[name].empty()
        return empty if columns is None else empty.select(columns)
    return pl.concat(frames).sort(TABLES[name].key)


def look_up(rows: Mapping[str, Row], key: str, table: str) -> Row:
    """The row of a key.

    Args:
        rows: row by key.
        key: the key that is looked up.
        table: name of the table that the rows are from, for the error.

    Raises:
        TableError: there is none: a stage before was run again since.
    """
    if key not in rows:
        raise TableError(f"{table}: expected a row for {key}, found none; run the stages before again")
    return rows[key]


def file_digests(root: Path, files: Iterable[Path]) -> dict[str, str]:
    """Hash of each file (cached), by its path below ``root`` or else as given; "" where it is missing."""
    with FileHashes(root / "work" / "fingerprints.sqlite") as hashes:
        return {
            str(path.relative_to(root) if path.is_relative_to(root) else path): hashes.get(path) or "" for path in files
        }
