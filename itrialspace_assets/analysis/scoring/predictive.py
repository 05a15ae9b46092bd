"""Predictive values at any prevalence, from sensitivity and specificity, and those that arms measured.

PPV and NPV depend on a reader through its two likelihood ratios alone: the log-odds of PPV are those of the prevalence
plus log(sensitivity / (1 - specificity)). Whole persons are left out of that, so the band carries the variance of both
and their covariance, and is shifted along the curve.
"""

from dataclasses import asdict, dataclass
from functools import partial

import numpy as np
import polars as pl
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Flags, Floats
from itrialspace_assets.analysis.estimates.intervals import critical, intervals
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts, first_of, given, of_mean, of_sums
from itrialspace_assets.analysis.estimates.variance import variance
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.cell_tests import BLOCK
from itrialspace_assets.analysis.scoring.metrics import table_of
from itrialspace_assets.analysis.scoring.reweighting import weightings
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import Metric, Scored, coded, scored_of
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Prevalences at which the curve is computed (ours): evenly about the levels that trials declare, and to one half.
PREVALENCES = (0.005, 0.01, 0.02, 0.03, 0.05, 0.07, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5)
#: Tasks of two options with a share of positives.
_TASKS = ("presence", "malignancy")
_LIKELIHOOD = "two-way leave-cluster-out jackknife of the log likelihood ratio, t"
_CORNER = "limits of sensitivity and specificity, each at half of alpha"


@dataclass(frozen=True)
class Predictive:
    """Predictive values.

    Attributes:
        curve: one row for each source, reader, condition, task, value (ppv, npv) and prevalence: estimate, low, high,
            method, flag, and counts.
        measured: the same as arms gave it: ``level`` is the arm (or its weighting), ``prevalence`` that of its slices.
    """

    curve: pl.DataFrame
    measured: pl.DataFrame

    def rows(self, analysis: Analysis) -> list[MetricRow]:
        """The curve as rows of ``metrics``: ``ppv_at_0.05`` and so on."""
        if self.curve.is_empty():
            return []
        known = self.curve.with_columns(metric=pl.format("{}_at_{}", "value", "prevalence"), stratum=pl.lit("all"))
        columns = [c for c in known.columns if c not in ("value", "prevalence")]
        return [MetricRow(**row, **asdict(analysis)) for row in known.select(columns).to_dicts()]


def predictive(observations: pl.DataFrame, study: Study) -> Predictive:
    """Predictive values of the tasks presence and malignancy, where they were asked.

    Args:
        observations: of ``observations.observe``, with columns of weights where the mode has some.
        study: alpha and clusters.
    """
    asked = observations.filter(pl.col("status").ne_missing("unsupported"), pl.col("task").is_in(_TASKS))
    curves, measured = [], []
    for task in _TASKS:
        rows = _classed(coded(asked.filter(pl.col("task") == task), study), task)
        if rows.height:
            curves.append(_curve(scored_of(rows, BLOCK), task, study))
            measured.append(_measured(rows, task, study))
    return Predictive(*(pl.concat(t, how="diagonal") if t else pl.DataFrame() for t in (curves, measured)))


def _classed(rows: pl.DataFrame, task: str) -> pl.DataFrame:
    """Rows whose class is known, with ``_positive`` and ``_said``; a missing answer is neither option."""
    yes, no = TASK_OPTIONS[task]
    shown = pl.col("presence") == "present"
    known = rows if task == "presence" else rows.filter(shown, pl.col("label").is_in([0, 1]))
    answer = pl.when(pl.col("status") == "ok").then(pl.col("answer").cast(pl.String))
    return known.with_columns(
        _positive=shown if task == "presence" else pl.col("label") == 1,
        _yes=(answer == yes).fill_null(False),
        _no=(answer == no).fill_null(False),
    )


def _log_ratio(sums: Floats, top: int, bottom: int) -> Floats:
    """Log of one share over another from counts (..., 4): positives said yes, or not; negatives said no, or not.

    Args:
        sums: counts by kind.
        top: kind whose share of its class is above the line.
        bottom: kind whose share of its class is below it.
    """
    classes = [sums[..., 0] + sums[..., 1], sums[..., 2] + sums[..., 3]]
    with np.errstate(invalid="ignore", divide="ignore"):
        found = np.log(sums[..., top] / classes[top // 2]) - np.log(sums[..., bottom] / classes[bottom // 2])
    return np.asarray(np.where(np.isfinite(found), found, np.nan))


@dataclass(frozen=True)
class _Rates:
    """Sensitivity and specificity of cells (C,), with limits at half of alpha, and what weakens either."""

    both: tuple[Estimates, Estimates]
    low: tuple[Floats, Floats]
    high: tuple[Floats, Floats]
    flag: Texts

    @classmethod
    def of(cls, scored: Scored, positive: Flags, right: Flags, study: Study) -> "_Rates":
        """Both rates of all cells with limits of half the alpha each.

        Args:
            scored: rows of one task with cells and clusters.
            positive: slices that show what is asked for (n,).
            right: right answers (n,).
            study: alpha, clusters, least number of clusters.
        """
        ways = scored.clusters
        both = (
            of_mean(ways, right, positive, "no positives", share=True),
            of_mean(ways, right, ~positive, "no negatives", share=True),
        )
        half = [intervals(r, "share", study.alpha / 2, study.min_clusters) for r in both]
        flags = [list(dict.fromkeys(f for f in (a.flag[c] for a in half) if f)) for c in range(ways.cells)]
        told: Texts = np.array(["; ".join(f) or None for f in flags], dtype=object)
        return cls(both, (half[0].low, half[1].low), (half[0].high, half[1].high), told)


def _value(name: str, sensitivity: Floats, specificity: Floats, prevalence: float) -> Floats:
    """PPV or NPV (C,) at a prevalence; NaN where nobody gets that answer."""
    found, missed = sensitivity * prevalence, (1 - sensitivity) * prevalence
    clean, alarmed = specificity * (1 - prevalence), (1 - specificity) * (1 - prevalence)
    right, wrong = (found, alarmed) if name == "ppv" else (clean, missed)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(right / (right + wrong))


def _curve(scored: Scored, task: str, study: Study) -> pl.DataFrame:
    """Both values at every prevalence in all cells."""
    positive, yes, no = (scored.flags(pl.col(c)) for c in ("_positive", "_yes", "_no"))
    right = np.where(positive, yes, no)
    rates = _Rates.of(scored, positive, right, study)
    kind = np.where(positive, 0, 2) + ~right
    used, tables = np.ones(len(positive), bool), []
    for name, top, bottom in (("ppv", 0, 3), ("npv", 2, 1)):
        log = partial(_log_ratio, top=top, bottom=bottom)
        ratio = of_sums(scored.clusters, used, log, "", kind=kind, kinds=4, classes=(positive, ~positive))
        for prevalence in PREVALENCES:
            tables.append(_at(scored, name, prevalence, ratio, rates, task, study))
    return pl.concat(tables)


def _at(
    scored: Scored, name: str, prevalence: float, ratio: Estimates, rates: _Rates, task: str, study: Study
) -> pl.DataFrame:
    """One value at one prevalence in all cells; limits from the ratio, or from both rates where one is 0 or 1.

    Args:
        scored: rows and cells.
        name: ppv or npv.
        prevalence: share of positives.
        ratio: log likelihood ratio of the cells.
        rates: sensitivity and specificity.
        task: whose options are named.
        study: alpha and clusters.
    """
    value = _value(name, rates.both[0].value, rates.both[1].value, prevalence)
    spread = variance(ratio)
    with np.errstate(invalid="ignore"):
        half = critical(spread.effective, study.alpha) * np.sqrt(spread.value)
        centre = ratio.value + special.logit(prevalence if name == "ppv" else 1 - prevalence)
        ends = special.expit(centre - half), special.expit(centre + half)
    sure = np.isfinite(half) & np.isfinite(centre) & (spread.value > 0)
    corners = [_value(name, *limits, prevalence) for limits in (rates.low, rates.high)]
    low, high = (np.where(sure, e, c) for e, c in zip(ends, corners, strict=True))
    bounded = np.isfinite(value) & np.isfinite(low) & np.isfinite(high)
    option = TASK_OPTIONS[task][0 if name == "ppv" else 1]
    lacks = [(given(r.reason), r.reason) for r in rates.both]
    why = first_of(
        len(value), [*lacks, (~np.isfinite(value), f"never answered {option}"), (given(rates.flag), rates.flag)]
    )
    counted = {c: g.per_cell(g.sums(some) > 0) for c, (g, some) in scored.counted.items()}
    every = np.ones(scored.rows.height, bool)
    counts = counted | {"n_slices": scored.clusters.total(every), "n_negatives": scored.clusters.total(scored.absent)}
    method = np.where(~bounded, "none", np.where(sure, _LIKELIHOOD, _CORNER))
    return scored.cells.with_columns(
        pl.lit(task).alias("task"),
        pl.lit(name).alias("value"),
        pl.lit(prevalence).alias("prevalence"),
        *(
            pl.Series(c, np.where(bounded | (c == "estimate"), v, np.nan)).fill_nan(None).round(10)
            for c, v in (("estimate", value), ("low", low), ("high", high))
        ),
        pl.Series("method", method.tolist(), dtype=pl.String),
        pl.Series("flag", why.tolist(), dtype=pl.String),
        *(pl.Series(c, v).cast(pl.Int64) for c, v in counts.items()),
    )


def _measured(rows: pl.DataFrame, task: str, study: Study) -> pl.DataFrame:
    """Predictive values as each arm was drawn, and as weights over its cases make it."""
    scored = scored_of(rows.with_columns(level=pl.col("arm").fill_null("all")), (*BLOCK, "level"))
    ways = scored.clusters
    positive, yes, no = (scored.flags(pl.col(c)) for c in ("_positive", "_yes", "_no"))
    weights: dict[str, Floats | None] = {"": None}
    if task == "malignancy":  # weights move the share of malignant findings, not that of slices with a nodule
        weights |= {w: scored.numbers(w) for w in weightings(rows.columns)}
    tables = []
    for name, weight in weights.items():
        there = np.ones(len(positive), bool) if weight is None else np.isfinite(weight)
        worth = there.astype(np.float64) if weight is None else np.where(there, weight, 0.0)
        with np.errstate(invalid="ignore", divide="ignore"):
            prevalence = ways.total(worth * positive) / ways.total(worth)
        metrics = [
            Metric(v, of_mean(ways, hit, there & said, f"never answered {option}", weight=weight, share=weight is None))
            for v, hit, said, option in (
                ("ppv", positive, yes, TASK_OPTIONS[task][0]),
                ("npv", ~positive, no, TASK_OPTIONS[task][1]),
            )
        ]
        table = table_of(scored, metrics, study, task).with_columns(
            prevalence=pl.Series(np.tile(prevalence, 2)).fill_nan(None),
            level=pl.col("level") if not name else pl.format("{}, {}", "level", pl.lit(name)),
        )
        tables.append(table.rename({"metric": "value"}))
    return pl.concat(tables)
