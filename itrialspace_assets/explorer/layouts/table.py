"""What the map needs of the table ``nodules``: columns by name, rows in the order of ``nodule_uid``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt
import polars as pl


class NoduleTable(Protocol):
    """Columns of ``nodules``; whoever implements it may read each when it is first asked for."""

    @property
    def height(self) -> int:
        """Number of nodules."""

    def series(self, name: str) -> pl.Series:
        """A whole column."""

    def frame(self, names: Sequence[str], rows: npt.NDArray[Any] | None = None) -> pl.DataFrame:
        """Columns, of some rows (their numbers, shape (m,)) or of all."""

    def row_of(self, uid: str) -> int | None:
        """Row of a ``nodule_uid``; None if there is no such nodule."""

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        """A column of numbers (n,); NaN where the value is missing."""

    def numbers_once(self, name: str) -> npt.NDArray[np.float64]:
        """The same (n,), not kept for the next time."""

    def codes(self, name: str) -> npt.NDArray[Any]:
        """A whole number for each value of a column of texts (n,): equal where the texts are."""

    def values(self, name: str) -> tuple[str, ...]:
        """Texts of a column of few: the code of each is its place, from 1; 0 is a missing one."""


@dataclass(frozen=True, eq=False)
class Held:
    """A table that is in memory already, such as that of an ``Index``."""

    nodules: pl.DataFrame

    @property
    def height(self) -> int:
        return self.nodules.height

    def series(self, name: str) -> pl.Series:
        return self.nodules[name]

    def frame(self, names: Sequence[str], rows: npt.NDArray[Any] | None = None) -> pl.DataFrame:
        chosen = self.nodules.select(names)
        return chosen if rows is None else chosen[rows]

    def row_of(self, uid: str) -> int | None:
        uids = self.nodules["nodule_uid"]
        at = int(uids.search_sorted(uid))
        return at if at < uids.len() and uids[at] == uid else None

    def numbers(self, name: str) -> npt.NDArray[np.float64]:
        return self.nodules[name].cast(pl.Float64).to_numpy()

    def numbers_once(self, name: str) -> npt.NDArray[np.float64]:
        return self.numbers(name)

    def codes(self, name: str) -> npt.NDArray[Any]:
        return self.nodules[name].rank("dense").fill_null(0).to_numpy()

    def values(self, name: str) -> tuple[str, ...]:
        return tuple(self.nodules[name].drop_nulls().unique().sort())


def by_value(nodules: NoduleTable, column: str) -> list[tuple[str, int]]:
    """Each text of a column of few and its code, in the order of the texts."""
    return sorted((value, code) for code, value in enumerate(nodules.values(column), start=1))
