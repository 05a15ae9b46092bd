"""Rows of a frame by the value of a column, made into dictionaries when they are asked for: a dictionary of all rows
would take many times the memory of the frame. Reads no file.
"""

from collections.abc import Iterator, Mapping
from typing import Any

import polars as pl


class ByKey(Mapping[str, list[dict[str, Any]]]):
    """Rows by the text of a column, those of one value in their order.

    Args:
        frame: the rows, in any order.
        key: the column; not null.
    """

    def __init__(self, frame: pl.DataFrame, key: str) -> None:
        self._frame = frame.sort(key, maintain_order=True)
        runs = self._frame[key].rle()
        lengths, values = runs.struct.field("len"), runs.struct.field("value")
        starts = lengths.cum_sum() - lengths
        self._at = {value: (at, n) for value, at, n in zip(values, starts, lengths, strict=True)}

    def __getitem__(self, value: str) -> list[dict[str, Any]]:
        at, length = self._at[value]
        return self._frame[at : at + length].to_dicts()

    def __iter__(self) -> Iterator[str]:
        return iter(self._at)

    def __len__(self) -> int:
        return len(self._at)
