"""The scoring of cells as the platform had it before its engine, one cell after another: baseline of ``bench.scoring``.

Kept as it was, but for the rows that it gave: counts and limits come as a tuple.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import stats

from itrialspace_assets.imaging.anatomy import ANSWER_SIZES, LOBES
from itrialspace_assets.records.tables import CONDITIONS

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Interval:
    """Limits of an estimate, how they were made, and what they should not be used for."""

    low: float | None
    high: float | None
    method: str
    n_effective: float | None
    flag: str | None


def codes(values: npt.ArrayLike) -> npt.NDArray[np.int64]:
    """Whole numbers from 0 that tell equal values together."""
    return np.unique(np.asarray(values, dtype=str), return_inverse=True)[1].astype(np.int64)


def one_way(influence: Floats, cluster: npt.NDArray[np.int64]) -> float:
    """Cluster-robust variance with the G/(G-1) correction."""
    sums = np.bincount(cluster, weights=influence)
    groups = len(sums)
    return float(np.sum(sums**2) * groups / max(1, groups - 1))


def two_way(influence: Floats, host: npt.NDArray[np.int64], donor: npt.NDArray[np.int64]) -> float:
    """V_host + V_donor - V_cell, not below either one-way variance (Cameron, Gelbach, Miller 2011).

    Args:
        influence: each slice's share in the estimate's error (n,).
        host: cluster of each slice by host person (n,), from 0.
        donor: cluster of each slice by donor person (n,), from 0.
    """
    cell = codes([f"{a}|{b}" for a, b in zip(host, donor, strict=True)]) if len(host) else host
    v_host, v_donor = one_way(influence, host), one_way(influence, donor)
    return max(v_host + v_donor - one_way(influence, cell), v_host, v_donor)


def logit_interval(
    estimate: float,
    influence: Floats,
    host: npt.NDArray[np.int64],
    donor: npt.NDArray[np.int64],
    alpha: float,
    min_clusters: int,
) -> Interval:
    """Interval of a share (0-1) on the logit scale with t and min(G) - 1 degrees of freedom.

    At 0 and 1 the exact (Clopper-Pearson) limits on the number of clusters; with fewer than
    ``min_clusters`` in a way the interval is flagged; with one cluster there is none.

    Args:
        estimate: the share, 0 to 1.
        influence: each slice's share in the estimate's error (n,).
        host: cluster of each slice by host person (n,), from 0.
        donor: cluster of each slice by donor person (n,), from 0.
        alpha: 0.05 gives a 95 % interval.
        min_clusters: fewer are flagged.
    """
    groups = min(int(host.max()) + 1, int(donor.max()) + 1) if len(host) else 0
    flag = f"fewer than {min_clusters} clusters" if groups < min_clusters else None
    if groups < 2:
        return Interval(None, None, "none", float(groups), "fewer than 2 clusters")
    if estimate in (0.0, 1.0):
        low = 0.0 if estimate == 0 else float(stats.beta.ppf(alpha / 2, groups, 1))
        high = 1.0 if estimate == 1 else float(stats.beta.ppf(1 - alpha / 2, 1, groups))
        return Interval(low, high, "exact on clusters", float(groups), flag)
    variance = two_way(influence, host, donor)
    if variance < 1e-12:  # below rounding: every cluster agrees with the mean
        return Interval(None, None, "none", None, "no variation between clusters")
    spread = estimate * (1 - estimate)
    half = float(stats.t.ppf(1 - alpha / 2, groups - 1)) * np.sqrt(variance) / spread
    centre = np.log(estimate / (1 - estimate))
    low, high = 1 / (1 + np.exp(-(centre - half))), 1 / (1 + np.exp(-(centre + half)))
    effective = min(float(len(influence)), spread / variance)
    return Interval(float(low), float(high), "two-way cluster-robust, logit, t", effective, flag)


@dataclass(frozen=True)
class Estimate:
    """A value, the influence of each slice on it, and which slices those are."""

    value: float | None
    influence: Floats
    used: np.ndarray
    flag: str | None = None


def _none(n: int, flag: str) -> Estimate:
    return Estimate(None, np.zeros(0), np.zeros(n, bool), flag)


def share(correct: Floats, used: np.ndarray, flag: str) -> Estimate:
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


def auc(score: Floats, positive: np.ndarray, answered: np.ndarray) -> Estimate:
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


def score_cells(observations, strata, alpha: float, min_clusters: int) -> list:
    """Every task, condition and stratum of one reader on one source."""
    rows = []
    for task, estimators in _TASKS.items():
        for condition in CONDITIONS:
            here = (observations["task"] == task) & (observations["condition"] == condition)
            for stratum, mask in strata.items():
                cell = observations.filter(here & mask)
                if cell.is_empty():
                    continue
                for metric, estimate in estimators(cell).items():
                    rows.append((task, condition, stratum, metric, *_row(estimate, cell, alpha, min_clusters)))
    return rows


def _row(estimate, cell: pl.DataFrame, alpha: float, min_clusters: int) -> tuple:
    used = estimate.used
    if estimate.value is None:
        return (None, None, None)
    host, donor = (codes(codes(cell[c].to_list())[used]) for c in ("host_person_uid", "donor_person_uid"))
    interval = logit_interval(estimate.value, estimate.influence, host, donor, alpha, min_clusters)
    chosen = cell.filter(pl.Series(used))
    negatives = int((chosen["presence"] == "absent").sum())
    persons = chosen["host_person_uid"].n_unique()
    return (estimate.value, interval.low, interval.high, chosen.height, negatives, persons)
