"""Metrics that are functions of a table of truth against answer.

Each takes counts (..., C (C + 1)) of C classes, the last answer being none, and gives an estimate (...), NaN where a
denominator is empty. No answer is wrong. Two readers' answers are a table without the last column (..., C C).
"""

from collections.abc import Callable

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Floats

Statistic = Callable[[Floats], Floats]


def _ratio(above: Floats, below: Floats) -> Floats:
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.where(below > 0, above / below, np.nan))


def _table(counts: Floats, classes: int) -> Floats:
    return np.asarray(counts.reshape(*counts.shape[:-1], classes, classes + 1))


def _square(counts: Floats, classes: int) -> Floats:
    return counts.reshape(*counts.shape[:-1], classes, classes)


def _steps(classes: int) -> Floats:
    at = np.arange(classes)
    return np.asarray(np.abs(at[:, None] - at[None, :]), np.float64)


def macro_recall(classes: int, every: bool = False) -> Statistic:
    """Mean over the classes that occur of the share answered rightly; ``every``: none where a class does not occur."""

    def statistic(counts: Floats) -> Floats:
        table = _table(counts, classes)
        of = table.sum(axis=-1)
        recall = np.where(of > 0, np.diagonal(table, axis1=-2, axis2=-1) / np.where(of > 0, of, 1), 0)
        occurring = (of > 0).sum(axis=-1)
        mean = _ratio(recall.sum(axis=-1), occurring)
        return np.asarray(np.where(occurring == classes, mean, np.nan)) if every else mean

    return statistic


def macro_f1(classes: int) -> Statistic:
    """Mean F1 over the classes that occur or are answered: 2 TP / (2 TP + FP + FN)."""

    def statistic(counts: Floats) -> Floats:
        table = _table(counts, classes)
        right = np.diagonal(table, axis1=-2, axis2=-1)
        both = table.sum(axis=-1) + table[..., :classes].sum(axis=-2)
        f1 = np.where(both > 0, 2 * right / np.where(both > 0, both, 1), 0)
        return _ratio(f1.sum(axis=-1), (both > 0).sum(axis=-1))

    return statistic


def weighted_kappa(classes: int) -> Statistic:
    """Cohen's kappa with quadratic weights over what was answered; NaN where chance alone would agree wholly."""

    def statistic(counts: Floats) -> Floats:
        return _kappa(_table(counts, classes)[..., :classes], _steps(classes) ** 2)

    return statistic


def kappa(classes: int) -> Statistic:
    """Cohen's kappa of two readers' answers."""

    def statistic(counts: Floats) -> Floats:
        return _kappa(_square(counts, classes), 1 - np.eye(classes))

    return statistic


def _kappa(table: Floats, weights: Floats) -> Floats:
    n = table.sum(axis=(-2, -1))
    chance = table.sum(axis=-1)[..., :, None] * table.sum(axis=-2)[..., None, :]
    apart = (table * weights).sum(axis=(-2, -1))
    return np.asarray(1 - _ratio(apart * n, (chance * weights).sum(axis=(-2, -1))))
