"""Rows in the order of a key, of which only some are in memory at once: sorted in parts on disk, merged in blocks.

Knows no table; what the rows must obey is ``schema``'s business, and where files lie ``store``'s.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

#: Rows that are read from disk at once, and about how many a block has (ours: a few MiB of the widest table).
_PIECE, BLOCK = 512, 8192


class SortedRuns:
    """Frames that are given in any order, and read back sorted.

    A block holds all rows of a value of the key's first column, and every block follows those before it. The frames
    lie in a file without a name, which is gone with this process.

    Args:
        folder: on the disk that holds them; made where it is missing.
        key: columns to sort by, none of them null.
    """

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._key = list(key)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by __exit__
        self._writer: pa.RecordBatchFileWriter | None = None
        self._schema: pl.Schema | None = None
        self._bounds: list[tuple[Any, Any]] = []  # first and last value of the key's first column, of each piece

    def __enter__(self) -> "SortedRuns":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Keep a frame; all have one schema. What is added at once is sorted at once, in memory."""
        if frame.is_empty():
            return
        frame = frame.sort(self._key)
        first = frame[self._key[0]]
        arrow = frame.to_arrow(compat_level=pl.CompatLevel.oldest())
        if self._writer is None:
            self._schema = frame.schema
            self._writer = pa.ipc.new_file(pa.PythonFile(self._file, "wb"), arrow.schema)
        for start in range(0, frame.height, _PIECE):
            piece = arrow[start : start + _PIECE].combine_chunks()
            self._writer.write_table(piece)
            self._bounds.append((first[start], first[min(start + _PIECE, frame.height) - 1]))

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All rows in the order of the key; nothing can be added any more."""
        if self._writer is None or self._schema is None:
            return
        self._writer.close()
        self._file.flush()
        source = pa.ipc.open_file(pa.PythonFile(self._file, "rb"))
        ends = sorted(last for _, last in self._bounds)[BLOCK // _PIECE - 1 :: BLOCK // _PIECE]
        begin = None
        for end in [*ends, None]:
            pieces = [
                i
                for i, (first, last) in enumerate(self._bounds)
                if (begin is None or last > begin) and (end is None or first <= end)
            ]
            block = self._between(source, pieces, begin, end)
            if block.height:
                yield block
            begin = end

    def _between(self, source: Any, pieces: list[int], begin: Any, end: Any) -> pl.DataFrame:
        """Rows of some pieces after ``begin`` up to ``end``, sorted."""
        first, parts = pl.col(self._key[0]), [pl.DataFrame(schema=self._schema)]
        within = ([] if begin is None else [first > begin]) + ([] if end is None else [first <= end])
        for number in pieces:
            part = pl.from_arrow(source.get_batch(number))
            assert isinstance(part, pl.DataFrame)
            parts.append(part.filter(*within))
        return pl.concat(parts).sort(self._key)
