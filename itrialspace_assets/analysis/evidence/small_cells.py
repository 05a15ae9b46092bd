"""Which counts of real people are too small to be passed on, and how they are hidden.

Applies where the terms of a dataset forbid redistribution: then only aggregates of enough cases leave the machine.
"""

from dataclasses import replace

import polars as pl

from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.records.layout import REAL

#: Least count that is shown: none of 1 to 10 (CMS cell size suppression policy, docs/facts/reporting.md#small-cells).
MINIMUM_CELL = 11
_CELL = ["analysis", "split", "source", "reader", "task", "condition", "metric"]
_HIDDEN = ["estimate", "low", "high", "k", "n_slices", "n_pictures", "n_cases", "n_negatives", "n_hosts", "n_donors"]


def minimum_of(evidence: Evidence) -> int | None:
    """The least count that may be shown of the people of a report; None: any."""
    real = evidence.anatomy == REAL
    return MINIMUM_CELL if real and any(not t.redistributable for t in evidence.terms) else None


def shareable(evidence: Evidence) -> Evidence:
    """The same with small cells hidden where the data's terms ask for it: in numbers and in texts."""
    return hiding(evidence, minimum_of(evidence))


def hiding(evidence: Evidence, minimum: int | None) -> Evidence:
    """The same without numbers that rest on fewer cases or people; None: nothing is hidden."""
    if minimum is None:
        return evidence
    return replace(evidence, minimum=minimum, metrics=hide_small(evidence.metrics, minimum))


def hide_small(metrics: pl.DataFrame, minimum: int) -> pl.DataFrame:
    """Rows of ``metrics`` without the numbers of small cells; the row stays, and its flag says why it is empty.

    A cell is small with fewer cases than ``minimum``. Where a single level of a factor is small, the next smallest is
    hidden too, since the total less the others would tell it.

    Args:
        metrics: rows of ``metrics``.
        minimum: least number of cases.
    """
    n = pl.coalesce("n_cases", "n_slices", "n_hosts").fill_null(0)
    factor = pl.col("stratum").str.split("=").list.first()
    rows = metrics.with_columns(_n=n, _factor=factor, _row=pl.int_range(pl.len()))
    rows = rows.with_columns(_small=pl.col("_n") < minimum)
    group = [*_CELL, "_factor"]
    rows = rows.with_columns(
        _alone=(pl.col("_small").sum().over(group) == 1) & (pl.col("_factor") != "all"),
        _next=pl.when(~pl.col("_small")).then(pl.col("_n")).min().over(group),
    ).with_columns(_second=pl.col("_alone") & ~pl.col("_small") & (pl.col("_n") == pl.col("_next")))
    gone = pl.col("_small") | pl.col("_second")
    why = (
        pl.when("_small")
        .then(pl.lit(f"hidden: fewer than {minimum} cases"))
        .when("_second")
        .then(pl.lit("hidden: it would tell a smaller cell"))
        .otherwise("flag")
    )
    hidden = [pl.when(gone).then(None).otherwise(c).alias(c) for c in [*_HIDDEN, "n_effective", "n_unanswered"]]
    return rows.with_columns(*hidden, flag=why).sort("_row").select(metrics.columns)
