"""Estimates of one cell (reader, condition, stratum) with their influence values.

Every estimator is array code over the cell's slices; what a slice without an answer counts as is
the study's rule: wrong. A slice whose truth is not known is not scored for that task. What cannot be estimated is null
with its reason.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.analysis.intervals import Floats, Interval, codes, logit_interval
from itrialspace_assets.analysis.rows import MetricRow, Scope
from itrialspace_assets.analysis.study import Study
from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES
from itrialspace_assets.records.tables import CONDITIONS


@dataclass(frozen=True)
class Estimate:
    """A value, the influence of each slice on it, and which slices those are."""

    value: float | None
    influence: Floats
    used: np.ndarray[Any, Any]
    flag: str | None = None


def _none(n: int, flag: str) -> Estimate:
    return Estimate(None, np.zeros(0), np.zeros(n, bool), flag)


def share(correct: Floats, used: np.ndarray[Any, Any], flag: str) -> Estimate:
    """Mean of ``correct`` over the used slices.

    Args:
        correct: 0 or 1 a slice (n,).
        used: which slices count (n,).
        flag: why there is no estimate, where none counts.
    """
    n = int(used.sum())
    if not n:
        return _none(len(correct), flag)
    value = float(correct[used].mean())
    return Estimate(value, (correct[used] - value) / n, used)


def auc(score: Floats, positive: np.ndarray[Any, Any], answered: np.ndarray[Any, Any]) -> Estimate:
    """Area under the ROC curve, ties half, with DeLong's structural components as influence.

    A slice without an answer is ranked worst for its class: it counts as wrong, as everywhere.

    Args:
        score: of each slice (n,), higher for more likely present; NaN without a score. An answer without a score cannot
            be ranked: there is no estimate then.
        positive: which slices show a nodule (n,).
        answered: which slices were answered (n,).
    """
    if not answered.any():
        return _none(len(score), "no answers")
    unscored = int((answered & ~np.isfinite(score)).sum())
    if unscored == answered.sum():
        return _none(len(score), "no scores")
    if unscored:
        return _none(len(score), f"no scores for {unscored} of {int(answered.sum())} answers")
    used = np.ones(len(score), bool)
    score = np.where(answered & np.isfinite(score), score, np.where(positive, -np.inf, np.inf))
    pos, neg = score[used & positive], score[used & ~positive]
    if not len(pos) or not len(neg):
        return _none(len(score), "no negatives" if len(pos) else "no positives")
    ordered_neg, ordered_pos = np.sort(neg), np.sort(pos)
    above = (np.searchsorted(ordered_neg, pos, "left") + np.searchsorted(ordered_neg, pos, "right")) / 2 / len(neg)
    below = 1 - (np.searchsorted(ordered_pos, neg, "left") + np.searchsorted(ordered_pos, neg, "right")) / 2 / len(pos)
    value = float(above.mean())
    influence = np.zeros(len(score))
    influence[used & positive] = (above - value) / len(pos)
    influence[used & ~positive] = (below - value) / len(neg)
    return Estimate(value, influence[used], used)


def balanced(sensitivity: Estimate, specificity: Estimate) -> Estimate:
    """Mean of sensitivity and specificity."""
    if sensitivity.value is None or specificity.value is None:
        return _none(len(sensitivity.used), sensitivity.flag or specificity.flag or "not estimable")
    influence = np.zeros(len(sensitivity.used))
    influence[sensitivity.used] += sensitivity.influence / 2
    influence[specificity.used] += specificity.influence / 2
    used = sensitivity.used | specificity.used
    return Estimate((sensitivity.value + specificity.value) / 2, influence[used], used)


def _answers(cell: pl.DataFrame) -> pl.Series:
    """What was answered to each slice; null where the status is not ok."""
    return cell.select(pl.when(pl.col("status") == "ok").then(pl.col("answer").cast(pl.String))).to_series()


def presence(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Presence metrics, with the constant answer's accuracy beside them."""
    answer = _answers(cell)
    positive = (cell["presence"] == "present").to_numpy()
    answered = answer.is_not_null().to_numpy()
    said = (answer == "present").fill_null(False).to_numpy()
    right = np.where(positive, said, ~said & answered).astype(np.float64)
    score = cell["score"].cast(pl.Float64).fill_null(np.nan).to_numpy()
    everyone = np.ones(len(positive), bool)
    sensitivity, specificity = share(right, positive, "no positives"), share(right, ~positive, "no negatives")
    constant = share(positive.astype(np.float64), everyone, "no slices")
    return {
        "auc": auc(score, positive, answered),
        "sensitivity": sensitivity,
        "specificity": specificity,
        "balanced_accuracy": balanced(sensitivity, specificity),
        "accuracy": share(right, everyone, "no slices"),
        "accuracy_always_present": constant,
    }


def _classes(cell: pl.DataFrame, truth: str, known: tuple[str, ...]) -> tuple[pl.Series, pl.Series, str]:
    """Truth of each slice with a nodule (null elsewhere and where it is not known), the answers, why none is scored."""
    of = pl.col(truth).cast(pl.String)
    is_scored = (pl.col("presence") == "present") & of.is_in(list(known))
    positives = bool((cell["presence"] == "present").any())
    flag = f"{truth} is not known" if positives else "no positives"
    return cell.select(pl.when(is_scored).then(of)).to_series(), _answers(cell), flag


def _right(truth: pl.Series, answer: pl.Series, flag: str) -> Estimate:
    right = (answer == truth).fill_null(False).to_numpy().astype(np.float64)
    return share(right, truth.is_not_null().to_numpy(), flag)


def size(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Accuracy over four size classes on slices with a nodule; the commonest class's accuracy beside it."""
    truth, answer, flag = _classes(cell, "size_class", ANSWER_SIZES)
    commonest = truth.drop_nulls().mode().sort().first()
    majority = pl.repeat(commonest, cell.height, dtype=pl.String, eager=True)
    return {"accuracy": _right(truth, answer, flag), "accuracy_majority": _right(truth, majority, flag)}


def lobe(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Accuracy over five lobes on slices with a nodule."""
    return {"accuracy": _right(*_classes(cell, "lobe", LOBES))}


_TASKS = {"presence": presence, "size": size, "lobe": lobe}


def score_cells(
    observations: pl.DataFrame, strata: dict[str, pl.Series], study: Study, scope: Scope
) -> list[MetricRow]:
    """Rows of ``metrics`` for every task, condition and stratum.

    Args:
        observations: one row per slice of the split, condition and task, left-joined to answers.
        strata: name -> mask over ``observations``.
        study: alpha and clusters.
        scope: what the observations are of.
    """
    rows = []
    for task, estimators in _TASKS.items():
        for condition in CONDITIONS:
            here = (observations["task"] == task) & (observations["condition"] == condition)
            for stratum, mask in strata.items():
                cell = observations.filter(here & mask)
                if cell.is_empty():
                    continue
                unsupported = (cell["status"] == "unsupported").fill_null(False)
                unread = bool(unsupported.any()) and bool((unsupported | cell["status"].is_null()).all())
                for metric, estimate in estimators(cell).items():
                    if unread:
                        estimate = _none(cell.height, "the reader does not answer this task")
                    rows.append(_row(scope, task, condition, stratum, metric, estimate, cell, study))
    return rows


def _row(
    scope: Scope,
    task: str,
    condition: str,
    stratum: str,
    metric: str,
    estimate: Estimate,
    cell: pl.DataFrame,
    study: Study,
) -> MetricRow:
    used = estimate.used
    if estimate.value is None:
        interval = Interval(None, None, "none", None, estimate.flag)
    else:
        host, donor = (codes(codes(cell[c].to_list())[used]) for c in (study.clusters[0], study.clusters[-1]))
        interval = logit_interval(estimate.value, estimate.influence, host, donor, study.alpha, study.min_clusters)
    chosen = cell.filter(pl.Series(used))
    return MetricRow(
        **asdict(scope),
        task=task,
        condition=condition,
        stratum=stratum,
        metric=metric,
        estimate=_rounded(estimate.value),
        low=_rounded(interval.low),
        high=_rounded(interval.high),
        method=interval.method,
        n_slices=chosen.height,
        n_pictures=chosen["sha256"].n_unique(),
        n_cases=chosen["case_uid"].n_unique(),
        n_negatives=int((chosen["presence"] == "absent").sum()),
        n_hosts=chosen["host_person_uid"].n_unique(),
        n_donors=chosen["donor_person_uid"].drop_nulls().n_unique(),
        n_effective=_rounded(interval.n_effective),
        n_unanswered=int((cell["status"] != "ok").fill_null(True).sum()),
        flag=interval.flag,
    )


def _rounded(value: float | None) -> float | None:
    """Ten decimals: below any use, above the last bits that differ between processors."""
    return None if value is None else round(float(value), 10)
