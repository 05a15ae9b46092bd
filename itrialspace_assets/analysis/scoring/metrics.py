"""Metrics with limits and counts, for all cells of a table of answers at once.

A cell is a source, reader, condition and stratum. What cannot be estimated is null with its reason.
"""

from collections.abc import Mapping, Sequence, Set
from dataclasses import fields, replace
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.jackknife import first_of, given
from itrialspace_assets.analysis.protocol.names import DROPPED
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import COUNTED, Metric, Scored, coded, counts, scored_of
from itrialspace_assets.analysis.scoring.tasks import metrics_of
from itrialspace_assets.records.tables import CONDITIONS, TASK_OPTIONS

CELL = ("source", "reader", "condition", "stratum")
_NUMBERS = ("estimate", "low", "high", "n_effective")
_FOUND = [f.name for f in fields(MetricRow) if f.name not in ("analysis", "split", "anatomy")]


def score_cells(
    observations: pl.DataFrame, strata: Mapping[str, pl.Series], study: Study, analysis: Analysis
) -> list[MetricRow]:
    """Rows of ``metrics`` for every source, reader, task, condition and stratum.

    Args:
        observations: one row per source, reader, slice of the split, condition and task, with the answer or null
            (see ``observations.observe``).
        strata: factor -> stratum of each row, null where it is in none of this factor (see ``observations.strata_of``).
        study: alpha and clusters.
        analysis: what is reported.
    """
    found, rows, kept = [], coded(observations, study), counts(observations, study)
    for order, stratum in enumerate(strata.values()):
        frame = rows.with_columns(stratum=stratum.filter(kept)).filter(pl.col("stratum").is_not_null())
        for task in TASK_OPTIONS:
            here = frame.filter(pl.col("task") == task)
            if here.height:
                scored = scored_of(here, CELL)
                metrics = metrics_of(scored, task)
                found.append(table_of(scored, metrics, study, task).with_columns(_factor=pl.lit(order)))
                dropped = _without_refusals(here, task, study, {m.name for m in metrics})
                found += [] if dropped is None else [dropped.with_columns(_factor=pl.lit(order))]
    return metric_rows(found, analysis)


def _without_refusals(rows: pl.DataFrame, task: str, study: Study, known: Set[str]) -> pl.DataFrame | None:
    """The study's endpoints of a task over the slices that got an answer, if the study declares that analysis.

    Args:
        rows: coded observations of the task.
        task: the task.
        study: its endpoints, and whether it asks for them.
        known: names of metrics that are there already.
    """
    wanted = {f"{metric}{DROPPED}" for metric in study.metrics_of(task)} - known
    answered = rows.filter(pl.col("status") == "ok")
    if "refusals_dropped" not in study.sensitivity or not wanted or answered.is_empty():
        return None
    scored = scored_of(answered, CELL)
    metrics = [replace(m, name=f"{m.name}{DROPPED}") for m in metrics_of(scored, task)]
    table = table_of(scored, [m for m in metrics if m.name in wanted], study, task)
    return table.with_columns(_metric=pl.col("_metric") + len(known))


def metric_rows(tables: list[pl.DataFrame], analysis: Analysis) -> list[MetricRow]:
    """Tables of metrics as rows of ``metrics``: by task, source, reader, condition, stratum and metric.

    Args:
        tables: of ``table_of``, with the order of their factor.
        analysis: what is reported.
    """
    if not tables:
        return []
    by = ["task", "source", "reader", "condition", "_factor", "stratum", "_metric"]
    order = {"task": (*TASK_OPTIONS,), "condition": CONDITIONS}
    keys = [pl.col(c).cast(pl.Enum(order[c])) if c in order else pl.col(c) for c in by]
    rows = pl.concat(tables).sort(keys).select(_FOUND).to_dicts()
    same = vars(analysis)  # ``asdict`` would copy it for each of thousands
    return [MetricRow(**row, **same) for row in rows]


def table_of(scored: Scored, metrics: Sequence[Metric], study: Study, task: str) -> pl.DataFrame:
    """Metrics of all cells with limits and counts, one after another.

    Args:
        scored: rows, cells and clusters.
        metrics: their estimates.
        study: alpha, and from how many clusters on limits are not flagged.
        task: the task.
    """
    found = [_columns(scored, metric, study) for metric in metrics]
    columns = {name: np.concatenate([f[name] for f in found]) for name in found[0]}
    times = len(scored.cells)
    numbers = [pl.Series(n, columns[n]).fill_nan(None).round(10) for n in _NUMBERS]
    texts = [pl.Series(n, columns[n].tolist(), dtype=pl.String) for n in ("method", "flag")]
    counts = [pl.Series(n, columns[n]).cast(pl.Int64) for n in (*COUNTED, "n_slices", "n_negatives", "n_unanswered")]
    return pl.concat([scored.cells] * len(metrics)).with_columns(
        pl.lit(task).alias("task"),
        pl.Series("metric", [m.name for m in metrics for _ in range(times)]),
        pl.Series("_metric", np.repeat(np.arange(len(metrics)), times)),
        *numbers,
        *texts,
        *counts,
        pl.Series("k", columns["k"]).fill_nan(None).cast(pl.Int64),
    )


def _columns(scored: Scored, metric: Metric, study: Study) -> dict[str, npt.NDArray[Any]]:
    """Columns of ``metrics`` (C,) for one metric; numbers that are missing are NaN."""
    of, ways = metric.estimates, scored.clusters
    unread = given(scored.why)
    value = np.where(unread, np.nan, of.value)
    of = replace(of, value=value, reason=first_of(len(value), [(unread, scored.why), (~unread, of.reason)]))
    found = intervals(of, metric.scale, study.alpha, study.min_clusters)
    here = of.used & ~unread[ways.cell]
    return {
        "estimate": value,
        "low": found.low,
        "high": found.high,
        "n_effective": found.n_effective,
        "method": found.method,
        "flag": found.flag,
        "k": np.full(ways.cells, np.nan) if of.k is None else np.where(unread, np.nan, of.k),
        "n_slices": ways.total(here),
        "n_negatives": ways.total(here & scored.absent),
        "n_unanswered": scored.unanswered,
        **{name: g.per_cell(g.sums(here & some) > 0) for name, (g, some) in scored.counted.items()},
    }
