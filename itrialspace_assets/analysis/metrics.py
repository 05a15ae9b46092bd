"""Estimates of one cell (reader, condition, stratum) with their influence values.

Every estimator is array code over the cell's slices; what a slice without an answer counts as is
the study's rule: wrong.
"""

from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.analysis.intervals import Floats, Interval, codes, logit_interval
from itrialspace_assets.analysis.rows import MetricRow, Scope
from itrialspace_assets.analysis.study import Study
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
        score: of each slice (n,), higher for more likely present; NaN without a score.
        positive: which slices show a nodule (n,).
        answered: which slices were answered (n,).
    """
    if not answered.any():
        return _none(len(score), "no answers")
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


def presence(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Presence metrics, with the constant answer's accuracy beside them."""
    positive = (cell["presence"] == "present").to_numpy()
    answered = (cell["status"] == "ok").fill_null(False).to_numpy()
    said = (cell["answer"] == "present").fill_null(False).to_numpy()
    right = np.where(positive, said, ~said & answered).astype(np.float64)
    score = cell["score"].fill_null(np.nan).to_numpy()
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


def size(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Accuracy over four size classes on slices with a nodule; the commonest class's accuracy beside it."""
    positive = (cell["presence"] == "present").to_numpy()
    right = (cell["answer"] == cell["size_class"]).fill_null(False).to_numpy().astype(np.float64)
    truth = cell["size_class"].filter(pl.Series(positive))
    commonest = truth.mode().sort()[0] if len(truth) else None
    majority = (cell["size_class"] == commonest).fill_null(False).to_numpy().astype(np.float64)
    return {
        "accuracy": share(right, positive, "no positives"),
        "accuracy_majority": share(majority, positive, "no positives"),
    }


def lobe(cell: pl.DataFrame) -> dict[str, Estimate]:
    """Accuracy over five lobes on slices with a nodule."""
    positive = (cell["presence"] == "present").to_numpy()
    right = (cell["answer"] == cell["lobe"]).fill_null(False).to_numpy().astype(np.float64)
    return {"accuracy": share(right, positive, "no positives")}


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
        n_cases=chosen.height,
        n_negatives=int((chosen["presence"] == "absent").sum()),
        n_persons=chosen["host_person_uid"].n_unique(),
        n_effective=_rounded(interval.n_effective),
        n_unanswered=int((cell["status"] != "ok").fill_null(True).sum()),
        flag=interval.flag,
    )


def _rounded(value: float | None) -> float | None:
    """Ten decimals: below any use, above the last bits that differ between processors."""
    return None if value is None else round(float(value), 10)
