"""Which metrics each task has.

An answer that is missing counts as wrong; a slice whose truth is not known is not scored for that task.
"""

from collections.abc import Iterator
from functools import partial

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates import calibration, roc, tallies
from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts, first_of, given, of_mean, of_sums
from itrialspace_assets.analysis.scoring.reweighting import weightings
from itrialspace_assets.analysis.scoring.scored import Metric, Scored, at
from itrialspace_assets.imaging.anatomy import ANSWER_EDGES
from itrialspace_assets.readers.health import CONSTANT_BITS, ENOUGH
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Specificity at which sensitivity is reported (ours).
SPECIFICITY = 0.9
#: Column that holds the truth of a task of several classes.
TRUTH = {"size": "size_class", "lobe": "lobe"}


def metrics_of(scored: Scored, task: str) -> list[Metric]:
    """All metrics of a task."""
    of_task = _classes(scored, task) if task in TRUTH else _binary(scored, task)
    return [*of_task, _entropy(scored)]


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
    commonest = ways.total(used, np.maximum(truth, 0), count).argmax(axis=1)
    yield Metric("accuracy_majority", of_mean(ways, truth == commonest[ways.cell], used, why, share=True))
    yield Metric("macro_recall", table(used, tallies.macro_recall(count), why))
    yield Metric("macro_f1", table(used, tallies.macro_f1(count), why))
    if task == "size":
        known = used & (answer >= 0)
        none = first_of(ways.cells, [(ways.total(used) == 0, why), (everywhere, "no answers")])
        one = "truth and answer are one class"
        varied = first_of(ways.cells, [(ways.total(known) == 0, none), (everywhere, one)])
        yield Metric("weighted_kappa", table(known, tallies.weighted_kappa(count), varied), "signed")
        yield Metric("bin_error", of_mean(ways, np.abs(answer - truth), known, none), "positive")
        apart = _outside(scored.numbers("diameter_mm"), answer)
        yield Metric("error_mm", of_mean(ways, apart, known & np.isfinite(apart), none), "positive")


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
