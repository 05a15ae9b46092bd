"""Metrics of every task, with intervals and counts, for all cells of a table of answers at once.

A cell is a source, reader, condition and stratum. An answer that is missing counts as wrong; a slice whose truth is not
known is not scored for that task. What cannot be estimated is null with its reason.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property, partial
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.analysis import calibration, roc, tallies
from itrialspace_assets.analysis.cells import (
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
from itrialspace_assets.analysis.intervals import Scale, intervals
from itrialspace_assets.analysis.jackknife import Estimates, Texts, first_of, given, of_mean, of_sums
from itrialspace_assets.analysis.reweighting import weightings
from itrialspace_assets.analysis.rows import Analysis, MetricRow
from itrialspace_assets.analysis.study import Study
from itrialspace_assets.imaging.anatomy import ANSWER_EDGES
from itrialspace_assets.readers.health import CONSTANT_BITS, ENOUGH
from itrialspace_assets.records.tables import CONDITIONS, TASK_OPTIONS

CELL = ("source", "reader", "condition", "stratum")
#: Specificity at which sensitivity is reported (ours).
SPECIFICITY = 0.9
#: Column that holds the truth of a task of several classes.
TRUTH = {"size": "size_class", "lobe": "lobe"}
UNREAD = "the reader does not answer this task"
#: What is counted of the slices that count: column of ``metrics`` <- column of observations.
_COUNTED = {"n_pictures": "sha256", "n_cases": "case_uid", "n_hosts": "host_person_uid", "n_donors": "donor_person_uid"}
_NUMBERS = ("estimate", "low", "high", "n_effective")
_FOUND = [f.name for f in fields(MetricRow) if f.name not in ("analysis", "split", "anatomy")]


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
            for name, column in _COUNTED.items()
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
    found, rows = [], coded(observations, study)
    for order, stratum in enumerate(strata.values()):
        frame = rows.with_columns(stratum=stratum).filter(pl.col("stratum").is_not_null())
        for task in TASK_OPTIONS:
            here = frame.filter(pl.col("task") == task)
            if here.height:
                scored = scored_of(here, CELL)
                metrics = _binary(scored, task) if task not in TRUTH else _classes(scored, task)
                table = table_of(scored, [*metrics, _entropy(scored)], study, task)
                found.append(table.with_columns(_factor=pl.lit(order)))
    return metric_rows(found, analysis)


def coded(observations: pl.DataFrame, study: Study) -> pl.DataFrame:
    """Observations with whole numbers for what is clustered and counted."""
    of = {"host_person_uid": codes(observations, ["host_person_uid"])[0], "donor_person_uid": donor_codes(observations)}
    return observations.with_columns(
        _host=pl.Series(of[study.clusters[0]]),
        _donor=pl.Series(of[study.clusters[-1]]),
        **{f"_{column}": pl.Series(codes(observations, [column])[0]) for column in _COUNTED.values()},
    )


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
    return [MetricRow(**row, **asdict(analysis)) for row in rows]


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


def _ranked(scored: Scored, used: Flags) -> tuple[Floats, Texts]:
    """Scores of what was answered (n,), and why a cell (C,) cannot be ranked."""
    score = np.where(scored.answered, scored.numbers("score"), np.nan)
    answered = scored.clusters.total(scored.answered & used)
    unscored = scored.clusters.total(scored.answered & used & ~np.isfinite(score))
    some = [f"no scores for {int(u)} of {int(a)} answers" for u, a in zip(unscored, answered, strict=True)]
    why = first_of(
        len(answered),
        [
            (given(scored.why), scored.why),
            (scored.clusters.total(used) == 0, "no slices"),
            (answered == 0, "no answers"),
            (unscored == answered, "no scores"),
            (unscored > 0, np.array(some, dtype=object)),
        ],
    )
    return score, why


def _binary(scored: Scored, task: str) -> Iterator[Metric]:
    """Metrics of a task of two options, of which the first is the positive one."""
    yes, ways = TASK_OPTIONS[task][0], scored.clusters
    shown = scored.flags(pl.col("presence") == "present")
    positive = shown if task == "presence" else scored.flags(pl.col("label") == 1)
    used = np.ones(len(shown), bool) if task == "presence" else shown & scored.flags(pl.col("label").is_in([0, 1]))
    said = scored.answered & scored.flags(pl.col("answer").cast(pl.String) == yes)
    right = np.where(positive, said, ~said & scored.answered)
    of_class = (used & positive, used & ~positive)
    score, why = _ranked(scored, used)
    for name, how in (("auc", "worst"), ("auc_refused_dropped", "dropped"), ("auc_refused_half", "half")):
        yield Metric(name, roc.auc(ways, score, positive, scored.answered, used, how, why))  # type: ignore[arg-type]
    fixed, _ = roc.sensitivity_at(ways, score, positive, used, SPECIFICITY, why)
    yield Metric(f"sensitivity_at_specificity_{SPECIFICITY:g}", fixed)
    yield Metric("sensitivity", of_mean(ways, right, of_class[0], "no positives", share=True))
    yield Metric("specificity", of_mean(ways, right, of_class[1], "no negatives", share=True))
    kind = np.where(positive, 0, 3) + np.where(scored.answered, np.where(said, 0, 1), 2)
    no_positives, no_negatives = (ways.total(rows) == 0 for rows in of_class)
    lacks = first_of(ways.cells, [(no_positives, "no positives"), (no_negatives, "no negatives")])
    recall = tallies.macro_recall(2, every=True)
    yield Metric("balanced_accuracy", of_sums(ways, used, recall, lacks, kind=kind, kinds=6, classes=of_class))
    yield from _accuracy(scored, right, used, "no slices")
    yield Metric(f"accuracy_always_{yes}", of_mean(ways, positive, used, "no slices", share=True))
    for name, hit, rows, none in (
        ("ppv", positive, used & said, f"never answered {yes}"),
        ("npv", ~positive, used & scored.answered & ~said, f"never answered {TASK_OPTIONS[task][1]}"),
    ):
        yield Metric(name, of_mean(ways, hit, rows, none, share=True))
        for weighting in weightings(scored.rows.columns):
            weight = scored.numbers(weighting)
            some = rows & np.isfinite(weight)
            yield Metric(f"{name}_{weighting}", of_mean(ways, hit, some, f"{none}, or no weights", weight=weight))
    log_odds = scored.flags(pl.col("log_odds"))
    counted = used & scored.answered & np.isfinite(score)
    other = ways.total(counted & ~log_odds) > 0
    unfit = first_of(ways.cells, [(given(why), why), (other, "scores are no log-odds")])
    yield Metric("brier", calibration.brier(ways, score, positive, counted, unfit))
    yield Metric("calibration_error", calibration.calibration_error(ways, score, positive, counted, unfit))
    yield Metric("calibration_slope", calibration.slope(ways, score, positive, counted, unfit), "line")


def _accuracy(scored: Scored, right: Flags, used: Flags, why: str | Texts) -> Iterator[Metric]:
    """Accuracy over all planned slices, and over those that everybody compared answered (the published rule)."""
    yield Metric("accuracy", of_mean(scored.clusters, right, used, why, share=True))
    one_n = used & scored.flags(pl.col("one_n"))
    none = "no slice was answered by every reader under every condition"
    yield Metric("accuracy_one_n", of_mean(scored.clusters, right, one_n, none, share=True))


def _classes(scored: Scored, task: str) -> Iterator[Metric]:
    """Metrics of a task of several classes, over slices with a nodule whose class is known."""
    options, ways = TASK_OPTIONS[task], scored.clusters
    shown = scored.flags(pl.col("presence") == "present")
    truth, answer = (at(scored.rows[c], options) for c in (TRUTH[task], "answer"))
    answer = np.where(scored.answered, answer, -1)
    used, count = shown & (truth >= 0), len(options)
    everywhere = np.ones(ways.cells, bool)
    why = first_of(ways.cells, [(ways.total(shown) == 0, "no positives"), (everywhere, f"{TRUTH[task]} is not known")])
    yield from _accuracy(scored, answer == truth, used, why)
    kind = np.where(used, truth * (count + 1) + np.where(answer < 0, count, answer), 0)
    table = partial(of_sums, ways, kind=kind, kinds=count * (count + 1))
    yield Metric("accuracy_majority", table(used, tallies.majority(count), why))
    yield Metric("macro_recall", table(used, tallies.macro_recall(count), why))
    yield Metric("macro_f1", table(used, tallies.macro_f1(count), why))
    if task == "size":
        known = used & (answer >= 0)
        none = first_of(ways.cells, [(ways.total(used) == 0, why), (everywhere, "no answers")])
        one = "truth and answer are one class"
        varied = first_of(ways.cells, [(ways.total(known) == 0, none), (everywhere, one)])
        yield Metric("weighted_kappa", table(known, tallies.weighted_kappa(count), varied), "signed")
        yield Metric("bin_error", of_mean(ways, np.abs(answer - truth), known, none), "line")
        apart = _outside(scored.numbers("diameter_mm"), answer)
        yield Metric("error_mm", of_mean(ways, apart, known & np.isfinite(apart), none), "line")


def at(values: pl.Series, options: tuple[str, ...]) -> Ints:
    """Place of each value among the options (n,), -1 where it is none of them."""
    places = dict(zip(options, range(len(options)), strict=True))
    return values.cast(pl.String).replace_strict(places, default=-1, return_dtype=pl.Int64).to_numpy()


def _outside(diameter: Floats, answer: Ints) -> Floats:
    """How far (mm) a diameter lies outside the answered class, 0 inside (n,)."""
    edges = np.array([0.0, *ANSWER_EDGES, np.inf])
    low, high = edges[np.maximum(answer, 0)], edges[np.maximum(answer, 0) + 1]
    return np.asarray(np.maximum(np.maximum(low - diameter, diameter - high), 0.0))


def _entropy(scored: Scored) -> Metric:
    """Entropy (bits) of the answers; flagged where they are as good as constant."""
    ways, options = scored.clusters, sorted(scored.rows["answer"].cast(pl.String).drop_nulls().unique())
    said = at(scored.rows["answer"], tuple(options))
    counts = ways.total(scored.answered, np.maximum(said, 0), max(len(options), 1))
    n = counts.sum(axis=1)
    share = counts / np.maximum(n, 1)[:, None]
    bits = -(share * np.log2(np.where(share > 0, share, 1))).sum(axis=1)
    constant = (n >= ENOUGH) & (bits < CONSTANT_BITS)
    reason = first_of(len(n), [(given(scored.why), scored.why), (n == 0, "no answers"), (constant, "constant answers")])
    value = np.where((n > 0) & ~given(scored.why), np.abs(bits), np.nan)
    return Metric("answer_entropy", Estimates(value, reason, None, np.full(len(n), np.nan), scored.answered, n), "line")


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
    texts = [pl.Series(n, columns[n], dtype=pl.String) for n in ("method", "flag")]
    counts = [pl.Series(n, columns[n]).cast(pl.Int64) for n in (*_COUNTED, "n_slices", "n_negatives", "n_unanswered")]
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
