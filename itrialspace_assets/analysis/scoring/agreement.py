"""Agreement between two readers on what both answered: share of equal answers, and Cohen's kappa."""

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates import tallies
from itrialspace_assets.analysis.estimates.jackknife import first_of, of_mean, of_sums
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.metrics import metric_rows, table_of
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import Metric, at, coded, scored_of
from itrialspace_assets.records.tables import TASK_OPTIONS


def score_agreement(observations: pl.DataFrame, study: Study, analysis: Analysis) -> list[MetricRow]:
    """Rows of ``metrics`` for every two readers, by source, task and condition over all slices.

    The reader whose name comes first is the row's reader; the other is named by the metric. Both may have seen a
    target in profiles of their own.

    Args:
        observations: of ``observations.observe``, for all readers.
        study: alpha and clusters.
        analysis: what is reported.
    """
    rows = coded(observations, study).with_columns(stratum=pl.lit("all"))
    on = ["source", "case_uid", "target_uid", "condition", "task"]
    other = rows.select(*on, other="reader", _said="answer", _status="status")
    both = rows.join(other, on=on).filter(pl.col("reader") < pl.col("other"))
    found = []
    for task, options in TASK_OPTIONS.items():
        pairs = both.filter(pl.col("task") == task)
        if pairs.is_empty():
            continue
        scored = scored_of(pairs, ("source", "reader", "condition", "stratum", "other"))
        first, second = at(pairs["answer"], options), at(pairs["_said"], options)
        used = scored.answered & scored.flags(pl.col("_status") == "ok") & (second >= 0)
        why, count = "no slice was answered by both", len(options)
        kind = np.where(used, first * count + second, 0)
        none = scored.clusters.total(used) == 0
        constant = first_of(len(none), [(none, why), (~none, "all answers are equal and one class")])
        kappa = of_sums(scored.clusters, used, tallies.kappa(count), constant, kind=kind, kinds=count**2)
        metrics = (
            Metric("agreement", of_mean(scored.clusters, first == second, used, why, share=True)),
            Metric("kappa", kappa, "signed"),
        )
        table = table_of(scored, metrics, study, task).with_columns(_factor=pl.lit(0))
        found.append(table.with_columns(metric=pl.format("{}_with_{}", "metric", "other")).drop("other"))
    return metric_rows(found, analysis)
