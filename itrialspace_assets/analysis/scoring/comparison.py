"""Two sides on the same cases: both numbers, their paired difference, and the cases that flipped. Writes nothing."""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.comparisons import clustered_mcnemar, tested
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.variance import differences
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.scored import coded, scored_of
from itrialspace_assets.analysis.scoring.sides import UNIT, PairedSides, Side, as_observations
from itrialspace_assets.analysis.scoring.tasks import metrics_of
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS

#: What flips are counted by; a slice without a nodule is in none.
_FACTORS = ("size_bucket", "lobe", "arm")
#: Levels are shown in this order, others after them as text.
_RANK = {level: place for place, level in enumerate((*SIZE_BUCKETS, *LOBES))}


@dataclass(frozen=True)
class ComparedNumber:
    """An estimate with limits; None where there is none, and ``flag`` says why."""

    estimate: float | None
    low: float | None
    high: float | None
    flag: str | None


@dataclass(frozen=True)
class OfSource:
    """Both sides on the slices of one image source.

    Attributes:
        source: image source.
        n: slices that both have and whose truth is known.
        n_cases: their cases.
        n_hosts: their host persons.
        a: the metric of A.
        b: that of B.
        difference: B less A, paired.
        p: of the difference; None: not tested.
        both_right: slices that both answered rightly.
        both_wrong: slices that neither did.
        improved: slices that A answered wrongly and B rightly.
        regressed: slices that A answered rightly and B wrongly.
        p_flips: of McNemar's test with clusters over those; None: not tested.
        unanswered_a: slices without an answer of A; they count as wrong.
        unanswered_b: those of B.
    """

    source: str
    n: int
    n_cases: int
    n_hosts: int
    a: ComparedNumber
    b: ComparedNumber
    difference: ComparedNumber
    p: float | None
    both_right: int
    both_wrong: int
    improved: int
    regressed: int
    p_flips: float | None
    unanswered_a: int
    unanswered_b: int


@dataclass(frozen=True)
class Comparison:
    """All that two sides differ in.

    Attributes:
        metric: the metric.
        sources: results by image source.
        levels: source, factor, level, n, right answers of A and of B, improved, regressed.
        flips: rows of ``PairedSides`` that flipped with ``flip`` (improved or regressed), the surest first.
    """

    metric: str
    sources: tuple[OfSource, ...]
    levels: pl.DataFrame
    flips: pl.DataFrame


def compared(pairs: PairedSides, a: Side, b: Side, task: str, metric: str, study: Study) -> Comparison:
    """Compare two sides.

    Args:
        pairs: the same slices of both.
        a: the first side.
        b: the second side: the difference is its number less that of the first.
        task: the task.
        metric: one of the task's metrics.
        study: alpha, clusters, and from how many clusters on something is tested.

    Raises:
        ConfigError: no slice is left to compare, or the task has no such metric.
    """
    known = pairs.rows.filter(pl.col("truth").is_not_null())
    if known.is_empty():
        raise ConfigError(
            f"{a.name} and {b.name}: expected slices that both answered and whose truth is known, found none of "
            f"{pairs.rows.height} that both answered; {pairs.only_a.count} slices are in the first alone, "
            f"{pairs.only_b.count} in the second alone"
        )
    rows = coded(as_observations(known, {"a": a.scorer, "b": b.scorer}), study)
    scored = scored_of(rows, ("source", "side"))
    of = {m.name: m for m in metrics_of(scored, task)}
    if metric not in of:
        raise ConfigError(f"--metric {metric!r}: expected one of {', '.join(of)}")
    names = known["source"].unique().sort().to_list()
    first = np.arange(0, 2 * len(names), 2)  # cells are sorted: a source's two sides lie together
    found = of[metric].estimates
    limits = intervals(found, of[metric].scale, study.alpha, study.min_clusters)
    tests = tested(differences(found, first + 1, first), study.alpha, study.min_clusters)
    flips, p_flips = _flips(known, study)
    sources = []
    for i, name in enumerate(names):
        mine = known.filter(pl.col("source") == name)
        sides = [_number(found.value[c], limits.low[c], limits.high[c], limits.flag[c]) for c in (2 * i, 2 * i + 1)]
        apart = _number(tests.difference[i], tests.low[i], tests.high[i], tests.flag[i])
        a_right, b_right = mine["a_right"], mine["b_right"]
        sources.append(
            OfSource(
                source=name,
                n=mine.height,
                n_cases=mine["case_uid"].n_unique(),
                n_hosts=mine["host_person_uid"].n_unique(),
                a=sides[0],
                b=sides[1],
                difference=apart,
                p=_finite(tests.p[i]),
                both_right=int((a_right & b_right).sum()),
                both_wrong=int((~a_right & ~b_right).sum()),
                improved=int((~a_right & b_right).sum()),
                regressed=int((a_right & ~b_right).sum()),
                p_flips=_finite(p_flips[i]),
                unanswered_a=int((mine["a_status"] != "ok").sum()),
                unanswered_b=int((mine["b_status"] != "ok").sum()),
            )
        )
    return Comparison(metric, tuple(sources), _levels(known), flips)


def _finite(value: float) -> float | None:
    return round(float(value), 10) if np.isfinite(value) else None


def _number(value: float, low: float, high: float, flag: str | None) -> ComparedNumber:
    """Limits and a flag as one number; a number that is not finite is none.

    Args:
        value: the estimate.
        low: lower limit.
        high: upper limit.
        flag: why it is missing or should not be tested.
    """
    return ComparedNumber(_finite(value), _finite(low), _finite(high), flag)


def _flips(known: pl.DataFrame, study: Study) -> tuple[pl.DataFrame, list[float]]:
    """Slices that flipped, and McNemar's p of each source in the order of their names."""
    plain = known.with_columns(sha256="a_sha256", status="a_status", answer="a_answer")
    scored = scored_of(coded(plain, study), ("source",))
    a_right, b_right = (scored.flags(pl.col(f"{side}_right")) for side in "ab")
    every = np.ones(known.height, bool)
    _, _, _, p = clustered_mcnemar(scored.clusters, a_right, b_right, every, study.min_clusters)
    flip = pl.when(pl.col("b_right")).then(pl.lit("improved")).otherwise(pl.lit("regressed"))
    changed = known.filter(pl.col("a_right") != pl.col("b_right")).with_columns(flip=flip)
    return changed.sort("flip", *UNIT), p.tolist()


def _levels(known: pl.DataFrame) -> pl.DataFrame:
    """What improved and what regressed by level of each factor, over slices with a nodule."""
    a, b = pl.col("a_right"), pl.col("b_right")
    counts = [
        pl.len().alias("n"),
        a.sum().alias("a_right"),
        b.sum().alias("b_right"),
        (~a & b).sum().alias("improved"),
        (a & ~b).sum().alias("regressed"),
    ]
    shown = known.filter(pl.col("presence") == "present")
    without = known.filter(pl.col("presence") == "absent").with_columns(_level=pl.lit("none"))
    tables = [
        shown.drop_nulls(factor)
        .group_by("source", _level=pl.col(factor))
        .agg(counts)
        .with_columns(factor=pl.lit(factor))
        for factor in _FACTORS
    ]
    tables.append(without.group_by("source", "_level").agg(counts).with_columns(factor=pl.lit("nodule")))
    columns = ["source", "factor", "level", "n", "a_right", "b_right", "improved", "regressed"]
    rank = pl.col("_level").replace_strict(_RANK, default=len(_RANK), return_dtype=pl.Int64)
    found = pl.concat(tables, how="diagonal").sort("source", "factor", rank, "_level")
    return found.rename({"_level": "level"}).select(columns)
