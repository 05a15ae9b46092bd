"""Every column of the nodules that were found, as CSV, JSON or Parquet, in pieces; nothing stays on the disk."""

import tempfile
from collections.abc import Iterator
from typing import IO, Annotated, Any, Literal

import polars as pl
import pyarrow.parquet as pq
from pydantic import Field

from itrialspace_assets.explorer.search.columns import Columns, Mask
from itrialspace_assets.explorer.search.filters import MAX_UIDS, Chosen, rows_of
from itrialspace_assets.explorer.search.find import NoduleQuery

Format = Literal["csv", "json", "parquet"]
#: Bytes of a Parquet file that are sent at once, and rows of JSON: 2 KiB each; ours.
_BYTES, _ROWS = 2**18, 2**12


class Export(NoduleQuery):
    """Which nodules: those of ``uids`` where such are given, that meet every filter and hold the text."""

    uids: tuple[Annotated[str, Field(max_length=300)], ...] | None = Field(None, max_length=MAX_UIDS)
    format: Format = "csv"


def wanted(columns: Columns, asked: Export) -> Mask:
    """Rows of an export.

    Raises:
        ConfigError: a filter names no column, or asks for a value of another type.
    """
    chosen = (Chosen(uids=asked.uids),) if asked.uids is not None else ()
    return rows_of(columns, (*asked.filters, *chosen), asked.text)


def pieces(columns: Columns, mask: Mask, format: Format) -> Iterator[bytes]:
    """The bytes of a file of these rows, in the order of the index.

    Args:
        columns: of the index.
        mask: rows that are wanted.
        format: csv, json (one list of objects) or parquet.
    """
    frames = columns.batches(mask)
    if format == "parquet":
        with tempfile.TemporaryFile() as file:
            _write_parquet(frames, file)
            file.seek(0)
            yield from iter(lambda: file.read(_BYTES), b"")
        return
    if format == "csv":
        for i, frame in enumerate(frames):
            yield frame.write_csv(include_header=i == 0).encode()
        return
    before = "["
    for part in (part for frame in frames for part in frame.iter_slices(_ROWS)):
        if part.height:
            yield (before + part.write_json()[1:-1]).encode()
            before = ","
    yield b"]" if before == "," else b"[]"


def _write_parquet(frames: Iterator[pl.DataFrame], file: IO[Any]) -> None:
    writer = None
    for frame in frames:
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        writer = writer or pq.ParquetWriter(file, arrow.schema, compression="zstd")
        writer.write_table(arrow)
    assert writer is not None
    writer.close()
