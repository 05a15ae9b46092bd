"""Tests of weighted sums of cells: a slope over levels, one level less the mean of the others, twin less real.

Each has its two-way leave-cluster-out interval; the tests of one source, task and metric are a family. What cannot be
tested is null with its reason. Which sums a contrast asks for is not known here.
"""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints, codes
from itrialspace_assets.analysis.estimates.comparisons import holm, max_t, tested
from itrialspace_assets.analysis.estimates.jackknife import Estimates, of_mean
from itrialspace_assets.analysis.estimates.variance import Differences, at_edge, combinations, covariance
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.metrics import table_of
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.analysis.scoring.scored import Metric, Scored
from itrialspace_assets.analysis.scoring.strata import Factor

#: Kinds of tests; the metric of their row in ``metrics`` begins with it.
Shape = Literal[
    "trend", "against_others", "omnibus_p", "difference", "spread_ratio", "paired", "interaction", "reweighted"
]
BLOCK = ("source", "reader", "condition")
METHOD = "two-way leave-cluster-out jackknife, t"


@dataclass(frozen=True)
class Compared:
    """What a contrast came to.

    Attributes:
        factor: the levels, in the order in which they are shown.
        levels: estimate of every level, as ``metrics.table_of`` gives it, with ``level`` and ``at_mm`` (mean diameter).
        tests: one row a test: source, reader, condition, task, ``shape``, metric, stratum, what, estimate, low, high,
            p, p_corrected, resolves, flag, and what was counted.
    """

    factor: Factor
    levels: pl.DataFrame
    tests: pl.DataFrame

    def rows(self, analysis: Analysis) -> list[MetricRow]:
        """The tests as rows of ``metrics``."""
        known = self.tests.select(
            *BLOCK,
            "task",
            "stratum",
            "estimate",
            "low",
            "high",
            "flag",
            "method",
            *("n_slices", "n_cases", "n_hosts", "n_donors"),
            metric=pl.concat_str("shape", "metric", separator="_"),
        )
        return [MetricRow(**row, **asdict(analysis)) for row in known.to_dicts()]


@dataclass(frozen=True)
class WeightedSum:
    """A weighted sum of cells.

    Attributes:
        block: which source, reader and condition.
        shape: kind of test.
        stratum: of its row in ``metrics``.
        what: in words, first less second.
        weights: by cell; empty: it cannot be tested, ``note`` says why.
        note: which levels are left out, and why.
    """

    block: int
    shape: Shape
    stratum: str
    what: str
    weights: dict[int, float] = field(default_factory=dict)
    note: str | None = None


def shares_of(scored: Scored, metrics: Sequence[str]) -> list[Metric]:
    """Sensitivity and specificity of presence, as ``tasks`` has them."""
    shown = scored.flags(pl.col("presence") == "present")
    said = scored.answered & scored.flags(pl.col("answer").cast(pl.String) == "present")
    right = np.where(shown, said, ~said & scored.answered)
    of = {"sensitivity": (shown, "no positives"), "specificity": (~shown, "no negatives")}
    return [Metric(m, of_mean(scored.clusters, right, *of[m], share=True)) for m in metrics]


def levels_table(scored: Scored, shares: Sequence[Metric], study: Study, task: str = "presence") -> pl.DataFrame:
    """Estimates of all cells as a report shows them, with the mean diameter (mm) of their nodules.

    Args:
        scored: rows of one task with cells and clusters.
        shares: metrics of all cells.
        study: alpha, clusters, least number of clusters.
        task: name of the task.
    """
    shown = scored.flags(pl.col("presence") == "present")
    diameter = scored.numbers("diameter_mm") if "diameter_mm" in scored.rows.columns else np.zeros(len(shown))
    used = shown & np.isfinite(diameter)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = scored.clusters.total(np.where(used, diameter, 0.0)) / scored.clusters.total(used)
    table = table_of(scored, shares, study, task)
    return table.with_columns(at_mm=pl.Series(np.tile(mean, len(shares))).fill_nan(None).round(2))


def why_out(cell: int, estimates: Estimates, few: Flags, study: Study) -> str | None:
    """Why a cell is left out of comparisons; None: it is not.

    Args:
        cell: number of the cell.
        estimates: of all cells.
        few: cells with too few clusters (C,).
        study: alpha, clusters, least number of clusters.
    """
    if not np.isfinite(estimates.value[cell]):
        return str(estimates.reason[cell])
    return f"fewer than {study.min_clusters} clusters" if few[cell] else None


def _weights(asked: Sequence[WeightedSum], cells: int) -> Floats:
    weights = np.zeros((len(asked), cells))
    for row, one in enumerate(asked):
        weights[row, list(one.weights)] = list(one.weights.values())
    return weights


#: Ends of the scale of means that can lie at one.
_ENDS = {"share": (0.0, 1.0), "signed": (-1.0, 1.0)}


def _combined(scored: Scored, metric: Metric, asked: Sequence[WeightedSum]) -> Differences:
    extra = at_edge(metric.estimates, *_ENDS[metric.scale]) if metric.scale in _ENDS else None
    return combinations(metric.estimates, _weights(asked, scored.cells.height), extra)


def tested_sums(scored: Scored, metric: Metric, asked: Sequence[WeightedSum], study: Study, root: int) -> pl.DataFrame:
    """Tests of weighted sums, corrected within a source; what cannot be tested says why.

    Args:
        scored: rows of one task with cells and clusters.
        metric: its estimates in all cells.
        asked: the weighted sums.
        study: alpha, clusters, least number of clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    if not asked:
        return pl.DataFrame()
    found = _combined(scored, metric, asked)
    tests = tested(found, study.alpha, study.min_clusters)
    family = codes(_named(scored, asked), ["source"])[0]
    numbers = {
        "estimate": tests.difference,
        "low": tests.low,
        "high": tests.high,
        "p": tests.p,
        "p_corrected": max_t(found, tests, family, root),
        "resolves": tests.floor,
    }
    return _table(scored, metric, asked, numbers, tests.flag.tolist())


def _named(scored: Scored, asked: Sequence[WeightedSum]) -> pl.DataFrame:
    """Source, reader and condition of each test."""
    blocks = codes(scored.cells, BLOCK)[1]
    return blocks[[a.block for a in asked]]


def _table(
    scored: Scored,
    metric: Metric,
    asked: Sequence[WeightedSum],
    numbers: dict[str, Floats],
    flags: Sequence[str | None],
    method: str = METHOD,
) -> pl.DataFrame:
    """Tests as a table; numbers of one that is not possible are null.

    Args:
        scored: cells and what is counted in them.
        metric: what is compared.
        asked: the tests (M).
        numbers: columns (M,).
        flags: of each test.
        method: how limits were made.
    """
    there = np.array([bool(a.weights) for a in asked])
    said = ((flag if possible else None, one.note) for one, flag, possible in zip(asked, flags, there, strict=True))
    notes = ["; ".join(filter(None, parts)) or None for parts in said]
    limits = there & np.isfinite(numbers["low"]) & np.isfinite(numbers["high"])
    return _named(scored, asked).with_columns(
        pl.lit(metric.name).alias("metric"),
        *(pl.Series(c, [getattr(a, c) for a in asked], dtype=pl.String) for c in ("shape", "stratum", "what")),
        *(pl.Series(c, np.where(there, v, np.nan)).fill_nan(None).round(10) for c, v in numbers.items()),
        pl.Series("flag", notes, dtype=pl.String),
        pl.Series("method", np.where(limits, method, "none").tolist(), dtype=pl.String),
        *_counts(scored, metric, asked),
    )


def _counts(scored: Scored, metric: Metric, asked: Sequence[WeightedSum]) -> Iterable[pl.Series]:
    """Slices, cases, hosts and donors that each test rests on."""
    taken = (_weights(asked, scored.cells.height) != 0).astype(np.float64)
    used = metric.estimates.used
    yield pl.Series("n_slices", (taken @ scored.clusters.total(used)).astype(np.int64))
    for name in ("n_cases", "n_hosts", "n_donors"):
        groups, some = scored.counted[name]
        inside = groups.spread((groups.sums(used & some) > 0).astype(np.float64))
        yield pl.Series(name, ((taken @ inside) > 0).sum(axis=1).astype(np.int64))


def at_once(tests: pl.DataFrame, times: int) -> pl.DataFrame:
    """Tests of one of several families of which any may make the claim: corrected p times their number (Bonferroni)."""
    if tests.is_empty():
        return tests
    return tests.with_columns(p_corrected=(pl.col("p_corrected") * times).clip(upper_bound=1.0))


def stacked(tables: Sequence[pl.DataFrame], task: str = "presence") -> pl.DataFrame:
    """Tables of tests, one after another."""
    some = [t for t in tables if t.height]
    return pl.concat(some, how="diagonal").with_columns(task=pl.lit(task)) if some else pl.DataFrame()


def omnibus(
    scored: Scored, metric: Metric, asked: Sequence[WeightedSum], stratum: str, what: str = "any level differs"
) -> pl.DataFrame:
    """Whether any level differs: Hotelling's F of each block, on the covariance of its sums; ``estimate`` is its p.

    Args:
        scored: cells.
        metric: what is compared.
        asked: sums of all blocks, of which the last of each block follows from the others.
        stratum: of the rows.
        what: the question in words.
    """
    from scipy import stats

    found = _combined(scored, metric, asked)
    of = np.array([a.block for a in asked])
    rows: list[WeightedSum] = []
    p: list[float] = []
    flags: list[str | None] = []
    for block in dict.fromkeys(of.tolist()):
        at = np.flatnonzero(of == block)
        first = asked[at[0]]
        rows.append(WeightedSum(block, "omnibus_p", stratum, what, _union(asked, at), first.note))
        p.append(np.nan)
        flags.append(None)
        if not first.weights:
            continue
        kept: Ints = at[:-1] if len(at) > 1 else at
        spread, worth = covariance(found, kept), float(found.variance.effective[kept].min())
        values, vectors = np.linalg.eigh(spread)
        sound = values > max(float(values[-1]), 0.0) * 1e-10
        q, moved = int(sound.sum()), vectors.T @ found.value[kept]
        below = worth - q  # degrees of freedom of the lower part: G - 1 - q + 1
        if q == 0 or bool((np.abs(moved[~sound]) > 1e-9).any()):
            flags[-1] = "no variation between clusters"
        elif below < 1:
            flags[-1] = f"{worth:.0f} effective clusters are too few for {q} differences at once"
        else:
            statistic = float((moved[sound] ** 2 / values[sound]).sum())
            p[-1] = float(stats.f.sf(statistic * below / ((worth - 1) * q), q, below))
    nothing = np.full(len(rows), np.nan)
    numbers = {"estimate": np.array(p), "low": nothing, "high": nothing, "p": np.array(p)}
    return _held(_table(scored, metric, rows, numbers, flags))


def _held(table: pl.DataFrame) -> pl.DataFrame:
    """Tests with Holm's p within a source."""
    family = codes(table, ["source"])[0]
    p = table["p"].fill_null(np.nan).to_numpy()
    return table.with_columns(p_corrected=pl.Series(holm(p, family)).fill_nan(None))


def _union(asked: Sequence[WeightedSum], at: Ints) -> dict[int, float]:
    return {cell: 1.0 for i in at for cell in asked[i].weights}


def spread_of(scored: Scored, metric: Metric, asked: Sequence[WeightedSum], study: Study) -> pl.DataFrame:
    """Spread of replicates over what sampling alone would give: ratio of standard deviations, by block.

    The sum of squares about the mean is that of a scaled chi-squared with Satterthwaite's degrees of freedom.

    Args:
        scored: rows of one task with cells and clusters.
        metric: its estimates in all cells.
        asked: the weighted sums.
        study: alpha, clusters, least number of clusters.
    """
    from scipy import stats

    found = _combined(scored, metric, asked)
    of = np.array([a.block for a in asked])
    rows: list[WeightedSum] = []
    flags: list[str | None] = []
    columns: dict[str, list[float]] = {}
    for block in dict.fromkeys(of.tolist()):
        at = np.flatnonzero(of == block)
        first, count = asked[at[0]], len(at)
        what = "standard deviation between replicates over that expected from sampling"
        rows.append(WeightedSum(block, "spread_ratio", "arm", what, _union(asked, at), first.note))
        flags.append(None)
        numbers = dict.fromkeys(("estimate", "low", "high", "p", "observed_sd", "expected_sd"), np.nan)
        if first.weights:
            shrink = (count - 1) / count  # from the distance to the mean of the others to that to the mean of all
            values, spread = found.value[at] * shrink, covariance(found, at) * shrink**2
            expected = float(np.trace(spread))
            if expected > 0:
                df = expected**2 / float((spread**2).sum())
                below = max(float(found.variance.effective[at].min()) - 1, 1.0)
                ratio = float((values**2).sum()) / expected
                least, most = stats.f.ppf([study.alpha / 2, 1 - study.alpha / 2], df, below)
                numbers = {
                    "estimate": ratio**0.5,
                    "low": (ratio / most) ** 0.5,
                    "high": (ratio / least) ** 0.5,
                    "p": float(stats.f.sf(ratio, df, below)),
                    "observed_sd": (float((values**2).sum()) / (count - 1)) ** 0.5,
                    "expected_sd": (expected / (count - 1)) ** 0.5,
                }
            else:
                flags[-1] = "no variation between clusters"
        for name, value in numbers.items():
            columns.setdefault(name, []).append(value)
    method = "ratio of sums of squares, F with Satterthwaite's degrees of freedom"
    table = _table(scored, metric, rows, {c: np.array(v) for c, v in columns.items()}, flags, method)
    return _held(table)


def untestable(rows: pl.DataFrame, shape: Shape, metric: str, why: str) -> pl.DataFrame:
    """A test of every source, reader and condition that cannot be made.

    Args:
        rows: slices of the blocks that are named.
        shape: kind of test.
        metric: name of what would be tested.
        why: why it cannot be made.
    """
    none = dict.fromkeys(("estimate", "low", "high", "p", "p_corrected", "resolves"), pl.lit(None, pl.Float64))
    counts = dict.fromkeys(("n_slices", "n_cases", "n_hosts", "n_donors"), pl.lit(0, pl.Int64))
    said = {"shape": shape, "metric": metric, "stratum": "all", "what": "", "flag": why, "method": "none"}
    return (
        rows.select(*BLOCK, "task")
        .unique()
        .sort(*BLOCK, "task")
        .with_columns(**{c: pl.lit(v) for c, v in said.items()}, **none, **counts)
    )
