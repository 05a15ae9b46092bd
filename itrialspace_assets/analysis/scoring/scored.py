"""The rows of one task, the cells that they belong to, and the clusters inside them.

Text becomes whole numbers once for a whole table of answers; what a metric is, is not known here.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import (
    Clusters,
    Flags,
    Floats,
    Groups,
    Ints,
    clusters,
    codes,
    donor_codes,
    groups,
)
from itrialspace_assets.analysis.estimates.intervals import Scale
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts, first_of
from itrialspace_assets.analysis.protocol.study import Study

UNREAD = "the reader does not answer this task"
#: What is counted of the slices that count: column of ``metrics`` <- column of observations.
COUNTED = {"n_pictures": "sha256", "n_cases": "case_uid", "n_hosts": "host_person_uid", "n_donors": "donor_person_uid"}


@dataclass(frozen=True)
class Metric:
    """A metric's name, its estimates in all cells, and the scale of its limits."""

    name: str
    estimates: Estimates
    scale: Scale = "share"


@dataclass(frozen=True)
class Scored:
    """The rows of one task (n), their cells (C), and who answered; ``why`` (C,) says which cells were not read."""

    rows: pl.DataFrame
    cells: pl.DataFrame
    clusters: Clusters
    answered: Flags
    why: Texts

    @cached_property
    def counted(self) -> dict[str, tuple[Groups, Flags]]:
        """For each column of ``metrics`` that counts, the things in each cell, and the rows (n,) that have one."""
        of, rows = self.clusters, self.rows
        return {
            name: (groups(of.cell, rows[f"_{column}"].to_numpy(), of.cells), rows[column].is_not_null().to_numpy())
            for name, column in COUNTED.items()
        }

    @cached_property
    def absent(self) -> Flags:
        """Negatives (n,)."""
        return self.flags(pl.col("presence") == "absent")

    @cached_property
    def unanswered(self) -> Floats:
        """Slices of each cell (C,) without an answer."""
        return self.clusters.total(self.flags(pl.col("status").ne_missing("ok")))

    def flags(self, expression: pl.Expr) -> Flags:
        """Where an expression holds (n,); not where it is null."""
        return self.rows.select(expression.fill_null(False)).to_series().to_numpy()

    def numbers(self, column: str) -> Floats:
        """A column of numbers (n,), NaN where it is null."""
        return self.rows[column].cast(pl.Float64).fill_null(np.nan).to_numpy()


def counts(observations: pl.DataFrame, study: Study) -> pl.Series:
    """Rows (n,) that count in a study: all but the negatives of kinds that it does not declare."""
    if study.negatives == "all":
        return pl.repeat(True, observations.height, dtype=pl.Boolean, eager=True)
    other = (pl.col("presence") == "absent") & ~pl.col("negative_type").is_in(study.negatives).fill_null(False)
    return observations.select(~other.fill_null(False)).to_series()


def coded(observations: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Observations that count in a study, with whole numbers for what is clustered and counted."""
    observations = observations.filter(counts(observations, study))
    of = {"host_person_uid": codes(observations, ["host_person_uid"])[0], "donor_person_uid": donor_codes(observations)}
    return observations.with_columns(
        _host=pl.Series(of[study.clusters[0]]),
        _donor=pl.Series(of[study.clusters[-1]]),
        **{f"_{column}": pl.Series(codes(observations, [column])[0]) for column in COUNTED.values()},
    )


def scored_of(rows: pl.DataFrame, cell: tuple[str, ...]) -> Scored:
    """Rows of one task with their cells and clusters.

    Args:
        rows: coded observations (n).
        cell: columns that make a cell.
    """
    of, cells = codes(rows, cell)
    ways = clusters(of, rows["_host"].to_numpy(), rows["_donor"].to_numpy(), cells.height)
    status = rows["status"]
    unsupported = (status == "unsupported").fill_null(False)
    unread = (ways.total(unsupported.to_numpy()) > 0) & (
        ways.total((unsupported | status.is_null()).to_numpy()) == ways.total(np.ones(rows.height, bool))
    )
    why = first_of(cells.height, [(unread, UNREAD)])
    return Scored(rows, cells, ways, ((status == "ok") & rows["answer"].is_not_null()).fill_null(False).to_numpy(), why)


def at(values: pl.Series, options: tuple[str, ...]) -> Ints:
    """Place of each value among the options (n,), -1 where it is none of them."""
    places = dict(zip(options, range(len(options)), strict=True))
    return values.cast(pl.String).replace_strict(places, default=-1, return_dtype=pl.Int64).to_numpy()
