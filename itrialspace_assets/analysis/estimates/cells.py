"""Cells and clusters as whole numbers, and sums over them.

A cell is what gets one estimate (reader, condition, task, stratum). A group is a cluster inside a cell: the rows
of one host person, of one donor person, or of both. Every estimator of this package works on group sums; nothing
here knows what is summed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
import polars as pl

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]
#: A table of this many entries costs nothing (ours).
_SMALL = 1 << 20


def _sums(of: Ints, values: Floats | Flags, places: int) -> Floats:
    return np.bincount(of, weights=values, minlength=places).astype(np.float64, copy=False)


@dataclass(frozen=True)
class Groups:
    """Clusters inside cells.

    ``of`` is the group of each row (n,), ``cell`` and ``cluster`` the cell and the cluster of each group (P,).
    """

    of: Ints
    cell: Ints
    cluster: Ints
    cells: int

    def sums(self, values: Floats | Flags, kind: Ints | None = None, kinds: int = 1) -> Floats:
        """Sum of each group (P,), or of each kind of row in it (P, kinds).

        Args:
            values: what is summed (n,).
            kind: kind of each row (n,), from 0; None: all of one kind.
            kinds: how many kinds there are.
        """
        groups = len(self.cell)
        if kind is None:
            return _sums(self.of, values, groups)
        return _sums(self.of * kinds + kind, values, groups * kinds).reshape(groups, kinds)

    def per_cell(self, values: Floats | Flags) -> Floats:
        """Values of groups (P,), summed over each cell (C,)."""
        return _sums(self.cell, values, self.cells)

    def spread(self, values: Floats) -> Floats:
        """Values of groups (P,) as a table of cells and clusters (C, G), 0 where a cluster is not in a cell."""
        table = np.zeros((self.cells, int(self.cluster.max(initial=-1)) + 1))
        table[self.cell, self.cluster] = values
        return table


@dataclass(frozen=True)
class Clusters:
    """The ways in which rows belong together: host person, donor person, both at once.

    ``cell`` is the cell of each row (n,) of ``cells``.
    """

    cell: Ints
    cells: int
    host: Groups
    donor: Groups

    @cached_property
    def both(self) -> Groups:
        """Rows of one host and one donor."""
        hosts, donors = self.host.cluster[self.host.of], self.donor.cluster[self.donor.of]
        pair = distinct(hosts * (int(donors.max(initial=-1)) + 1) + donors)[1]
        return groups(self.cell, pair, self.cells)

    @property
    def ways(self) -> tuple[Groups, Groups, Groups]:
        """Host, donor, both, in this order."""
        return self.host, self.donor, self.both

    def total(self, values: Floats | Flags, kind: Ints | None = None, kinds: int = 1) -> Floats:
        """Sum over each cell (C,), or of each kind of row in it (C, kinds).

        Args:
            values: what is summed (n,).
            kind: kind of each row (n,), from 0; None: all of one kind.
            kinds: how many kinds there are.
        """
        return Groups(self.cell, np.arange(self.cells), self.cell, self.cells).sums(values, kind, kinds)


def groups(cell: Ints, cluster: Ints, cells: int) -> Groups:
    """Groups of rows that share cell and cluster.

    Args:
        cell: cell of each row (n,), from 0.
        cluster: cluster of each row (n,), from 0.
        cells: how many cells there are.
    """
    width = int(cluster.max(initial=-1)) + 1
    keys, of = distinct(cell * width + cluster)
    return Groups(of, keys // max(width, 1), keys % max(width, 1), cells)


def distinct(keys: Ints) -> tuple[Ints, Ints]:
    """Different keys (not negative) in rising order, and the place of each row's among them (n,)."""
    span = int(keys.max(initial=-1)) + 1
    if span > 4 * len(keys) + _SMALL:
        found, of = np.unique(keys, return_inverse=True)
        return found, of.astype(np.int64)
    there = np.zeros(span, bool)  # a table of all possible keys is faster than sorting, where it is small
    there[keys] = True
    return np.flatnonzero(there), (np.cumsum(there) - 1)[keys]


def clusters(cell: Ints, host: Ints, donor: Ints, cells: int) -> Clusters:
    """Both ways of clustering rows.

    Args:
        cell: cell of each row (n,), from 0.
        host: host person of each row (n,), from 0.
        donor: donor person of each row (n,), from 0; a row without a donor has a number of its own.
        cells: how many cells there are.
    """
    return Clusters(cell, cells, groups(cell, host, cells), groups(cell, donor, cells))


def codes(frame: pl.DataFrame, columns: Sequence[str]) -> tuple[Ints, pl.DataFrame]:
    """Equal rows of some columns as equal whole numbers, in the order of their values; and what each stands for.

    Args:
        frame: the rows.
        columns: which of its columns tell rows apart; null equals null.
    """
    known = frame.select(columns).unique().sort(columns, nulls_last=True).with_row_index("_code")
    found = frame.select(columns).join(known, on=columns, how="left", nulls_equal=True, maintain_order="left")
    return found["_code"].to_numpy().astype(np.int64), known.drop("_code")


def donor_codes(frame: pl.DataFrame, unit: Sequence[str] = ("slice_uid",)) -> Ints:
    """Donor person of each row as a whole number; a row without a donor is a cluster of its own, by its unit.

    Args:
        frame: rows with ``donor_person_uid`` and the columns of ``unit``.
        unit: what tells rows without a donor apart.
    """
    alone = pl.col("donor_person_uid").is_null()
    apart = [pl.when(alone).then(pl.col(c)).alias(f"_{c}") for c in unit]
    return codes(frame.select("donor_person_uid", *apart), ["donor_person_uid", *(f"_{c}" for c in unit)])[0]
