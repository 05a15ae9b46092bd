"""Contrasts within pairs: a lesion against the same plane without it, a twin against the real finding."""

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.cell_tests import (
    BLOCK,
    Compared,
    WeightedSum,
    at_once,
    levels_table,
    stacked,
    tested_sums,
    untestable,
)
from itrialspace_assets.analysis.scoring.level_contrasts import blocks
from itrialspace_assets.analysis.scoring.scored import Metric, Scored, coded, scored_of
from itrialspace_assets.analysis.scoring.strata import Factor
from itrialspace_assets.analysis.scoring.tasks import TRUTH

_ALL = Factor("all", ("all",), ("all",))
#: What a pair is compared in.
_PAIR = (*BLOCK, "task", "pair_uid")


def _paired(scored: Scored, metric: Metric, stratum: str, what: str, study: Study, root: int) -> pl.DataFrame:
    """Means of differences within pairs tested against zero, in every source, reader and condition.

    Args:
        scored: pairs, whose cells are source, reader, condition and one level.
        metric: mean difference.
        stratum: of the rows.
        what: first less second, in words.
        study: alpha and clusters.
        root: root seed.
    """
    known = np.isfinite(metric.estimates.value)
    asked = []
    for cell in range(scored.cells.height):
        if scored.why[cell] is None:
            why = None if known[cell] else str(metric.estimates.reason[cell])
            asked.append(WeightedSum(cell, "paired", stratum, what, {cell: 1.0} if known[cell] else {}, why))
    return tested_sums(scored, metric, asked, study, root)


def _means(scored: Scored, **columns: str) -> list[Metric]:
    """Shares (``_with``, ``_without``) and the mean difference (``_apart``) over pairs, under the names given."""
    used = np.ones(scored.rows.height, bool)
    scales = {"_apart": "signed"}
    return [
        Metric(
            name,
            of_mean(scored.clusters, scored.numbers(column), used, "no pairs", share=column not in scales),
            scales.get(column, "share"),  # type: ignore[arg-type]
        )
        for name, column in columns.items()
    ]


def counterfactual(presence: pl.DataFrame, factor: Factor, study: Study, root: int) -> Compared:
    """Answers to a lesion less those to the same plane of the scan without it; and whether that differs by arm.

    Args:
        presence: observations of presence, with strata and weights.
        factor: levels that are compared, in declared order.
        study: alpha, clusters, least number of clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    said = (pl.col("status") == "ok") & (pl.col("answer").cast(pl.String) == "present")
    rows = presence.with_columns(_said=said.fill_null(False).cast(pl.Float64))
    twins = rows.filter(pl.col("guidance_site") == "cleared_lesion").select(*_PAIR, _without="_said")
    lesions = rows.filter(pl.col("presence") == "present").with_columns(_with=pl.col("_said"))
    pairs = lesions.join(twins, on=[*_PAIR]).with_columns(_apart=pl.col("_with") - pl.col("_without"))
    if pairs.is_empty():
        return Compared(factor, pl.DataFrame(), untestable(presence, "paired", "lesion_effect", "no pairs"))
    pairs = coded(pairs, study)
    whole = scored_of(pairs.with_columns(level=pl.lit("all")), (*BLOCK, "level"))
    (effect,) = _means(whole, lesion_effect="_apart")
    tests = [_paired(whole, effect, "all", "with the lesion less without it", study, root)]
    scored = scored_of(pairs.with_columns(level=pl.col(factor.column)), (*BLOCK, "level"))
    shares = _means(scored, present_with_lesion="_with", present_without_lesion="_without", lesion_effect="_apart")
    asked = [b.asked("trend")[0] for b in blocks(scored, shares[-1].estimates, factor, study)]
    tests.append(tested_sums(scored, shares[-1], asked, study, root))
    tests = [at_once(table, len(tests)) for table in tests]
    return Compared(factor, levels_table(scored, shares, study), stacked(tests))


def against_real(observations: pl.DataFrame, real: pl.DataFrame | None, study: Study, root: int) -> Compared:
    """Whether a twin is answered rightly less whether the real finding is, in each task with a truth.

    Args:
        observations: of ``observations.observe``, all tasks.
        real: the same of real slices; None: none were read.
        study: alpha, clusters, least number of clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    shown = observations.filter(pl.col("presence") == "present", pl.col("task").is_in(["presence", *TRUTH]))
    twins = _judged(shown).with_columns(_with=pl.col("_right"))
    pairs = twins.clear()
    if real is not None and real.height:
        found = _judged(real.filter(pl.col("presence") == "present")).select(
            "reader",
            "condition",
            "task",
            donor_nodule_uid=pl.col("case_uid").str.strip_prefix("real/"),
            _without="_right",
        )
        pairs = twins.join(found, on=["reader", "condition", "task", "donor_nodule_uid"])
    if pairs.is_empty():
        why = "no real slice of the same findings was read"
        return Compared(_ALL, pl.DataFrame(), untestable(shown, "paired", "right_less_real", why))
    pairs = coded(pairs.with_columns(_apart=pl.col("_with") - pl.col("_without")), study)
    levels, tests = [], []
    for (task,), of in pairs.with_columns(level=pl.lit("all")).group_by("task", maintain_order=True):
        scored = scored_of(of, (*BLOCK, "level"))
        shares = _means(scored, right_on_twin="_with", right_on_real="_without", right_less_real="_apart")
        levels.append(levels_table(scored, shares, study, str(task)))
        tests.append(stacked([_paired(scored, shares[-1], "all", "twin less real", study, root)], str(task)))
    return Compared(_ALL, pl.concat(levels), pl.concat(tests, how="diagonal"))


def _judged(rows: pl.DataFrame) -> pl.DataFrame:
    """Rows whose truth is known with ``_right``; a missing answer is wrong."""
    truth = pl.coalesce(
        pl.when(pl.col("task") == task).then(pl.col(column).cast(pl.String))
        for task, column in {"presence": "presence", **TRUTH}.items()
    )
    right = (pl.col("status") == "ok") & (pl.col("answer").cast(pl.String) == truth)
    return rows.filter(truth.is_not_null()).with_columns(_right=right.fill_null(False).cast(pl.Float64))
