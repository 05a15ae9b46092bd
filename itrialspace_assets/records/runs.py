"""Rows in the order of a key, of which only some are in memory at once: sorted in parts on disk, merged in blocks.

Knows no table; what the rows must obey is ``schema``'s business, and where files lie ``store``'s.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import polars as pl
import pyarrow as pa

#: Rows that are read from disk at once, and about how many a block has (ours: a MiB of the widest table).
_PIECE, BLOCK = 256, 2048


class Batches:
    """Record batches in a file without a name, which is gone with this process; each is read back by its number.

    Arrow's own files are read by threads, whose memory stays with the process.

    Args:
        folder: on the disk that holds them; made where it is missing.
    """

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 - closed by ``close``
        self._places: list[tuple[pa.Schema, int, int]] = []  # schema, first byte, bytes

    def __len__(self) -> int:
        return len(self._places)

    def append(self, batch: pa.RecordBatch) -> None:
        """Write a batch."""
        data = batch.serialize()
        schema = self._places[-1][0] if self._places and self._places[-1][0].equals(batch.schema) else batch.schema
        self._places.append((schema, self._file.seek(0, 2), data.size))
        self._file.write(data)

    def read(self, number: int) -> pa.RecordBatch:
        """The batch that was written as the ``number``-th, from 0."""
        schema, at, size = self._places[number]
        self._file.seek(at)
        return pa.ipc.read_record_batch(pa.py_buffer(self._file.read(size)), schema)

    def close(self) -> None:
        """Give back the disk space."""
        self._file.close()


class Following:
    """Frames that follow each other in the order of a column, taken up to one value after the other.

    Args:
        frames: each holds all rows of each of its values.
        column: rising.
    """

    def __init__(self, frames: Iterator[pl.DataFrame], column: str) -> None:
        self._frames, self._column = frames, column
        self._rest: list[pl.DataFrame] = []

    def until(self, last: Any) -> list[pl.DataFrame]:
        """The rows up to a value that were not taken yet, in frames."""
        while not self._rest or self._rest[-1][self._column][-1] <= last:
            frame = next(self._frames, None)
            if frame is None:
                break
            self._rest.append(frame)
        upto = pl.col(self._column) <= last
        taken = [frame.filter(upto) for frame in self._rest]
        self._rest = [rest for frame in self._rest if (rest := frame.filter(~upto)).height]
        return taken


class SortedRuns:
    """Frames that are given in any order, and read back sorted.

    A block holds all rows of a value of the key's first column, and every block follows those before it.

    Args:
        folder: on the disk that holds the frames; made where it is missing.
        key: columns to sort by; the first of them is never null.
    """

    def __init__(self, folder: Path, key: Sequence[str]) -> None:
        self._key = list(key)
        self._pieces = Batches(folder)
        self._schema: pl.Schema | None = None
        self._bounds: list[tuple[Any, Any]] = []  # first and last value of the key's first column, of each piece

    def __enter__(self) -> "SortedRuns":
        return self

    def __exit__(self, *_: object) -> None:
        self._pieces.close()

    def add(self, frame: pl.DataFrame) -> None:
        """Keep a frame; all have one schema. What is added at once is sorted at once, in memory."""
        if frame.is_empty():
            return
        self._schema = frame.schema
        frame = frame.sort(self._key)
        for start in range(0, frame.height, _PIECE):
            piece = frame[start : start + _PIECE]
            (batch,) = piece.rechunk().to_arrow(compat_level=pl.CompatLevel.oldest()).to_batches()
            self._pieces.append(batch)
            first = piece[self._key[0]]
            self._bounds.append((first[0], first[-1]))

    def blocks(self) -> Iterator[pl.DataFrame]:
        """All rows in the order of the key."""
        each = max(1, BLOCK // _PIECE)
        ends = sorted(last for _, last in self._bounds)[each - 1 :: each]
        begin = None
        for end in [*ends, None]:
            pieces = [
                number
                for number, (first, last) in enumerate(self._bounds)
                if (begin is None or last > begin) and (end is None or first <= end)
            ]
            if pieces and (block := self._between(pieces, begin, end)).height:
                yield block
            begin = end

    def _between(self, pieces: list[int], begin: Any, end: Any) -> pl.DataFrame:
        """Rows of some pieces after ``begin`` up to ``end``, sorted."""
        first, parts = pl.col(self._key[0]), [pl.DataFrame(schema=self._schema)]
        within = ([] if begin is None else [first > begin]) + ([] if end is None else [first <= end])
        for number in pieces:
            part = pl.from_arrow(self._pieces.read(number))
            assert isinstance(part, pl.DataFrame)
            parts.append(part.filter(*within))
        return pl.concat(parts).sort(self._key)
