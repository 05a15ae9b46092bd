"""What the map needs of the table ``nodules``: columns by name, rows in the order of ``nodule_uid``."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

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
        """Columns, of some rows or of all."""


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


def row_of(nodules: NoduleTable, uid: str) -> int | None:
    """Row of a ``nodule_uid``; None if there is no such nodule."""
    uids = nodules.series("nodule_uid")
    at = int(uids.search_sorted(uid))
    return at if at < uids.len() and uids[at] == uid else None
