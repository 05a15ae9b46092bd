"""Where outputs lie, and the only way in and out of Parquet: accepted or not written.

Paths are below the output folder; file names and bytes depend on content only. Nothing here knows what a stage does.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import polars as pl
import pyarrow as pa
import pyarrow.parquet as pq

from itrialspace_assets.base.errors import MissingTable, TableError
from itrialspace_assets.base.fingerprints import FileHashes, replacing
from itrialspace_assets.records.schema import errors, violations
from itrialspace_assets.records.tables import TABLES

Row = TypeVar("Row")
# the pool that pyarrow takes by itself keeps what tables needed while they were read: 50 MiB of a planner's 350
pa.set_memory_pool(pa.system_memory_pool())
_CONTRACT = b"itrialspace.contract"


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
    table = TABLES[name]
    path = table_path(root, name, **partition)
    where = "/".join((name, *(partition[d] for d in table.partition)))
    try:
        frame = table.frame(rows) if isinstance(rows, list) else rows.select(list(table.schema)).sort(table.key)
    except (ValueError, pl.exceptions.PolarsError) as error:
        raise TableError(f"{where}: {error}") from None
    found = errors(violations(table, frame, **partition))
    if found:
        raise TableError(f"{where}: not written, {len(found)} rules broken: " + "; ".join(map(str, found[:5])))
    arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
    arrow = arrow.replace_schema_metadata({_CONTRACT: table.contract.encode()})
    # numbers rarely repeat: a dictionary of them costs half the time of writing, and space
    texts = [n for n, kind in table.schema.items() if kind == pl.String]
    with replacing(path) as out:
        pq.write_table(arrow, out, compression="zstd", use_dictionary=texts)
    return path


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
