"""Areas under ROC curves and sensitivity at a fixed specificity, of every cell at once.

The area is the share of pairs of a positive and a negative that are ranked rightly, ties half. Without a cluster it is
counted again from the pairs that are left, exactly.
"""

from typing import Literal

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Clusters, Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.jackknife import (
    Estimates,
    Texts,
    Way,
    first_of,
    given,
    of_influence,
    repeated,
    three,
)

#: How a slice without an answer is ranked: worst for its class, level with everything, or not at all.
Unanswered = Literal["worst", "half", "dropped"]


def placements(group: Ints, score: Floats, positive: Flags) -> Floats:
    """Of each row (n,), how many rows of the other class in its group it is ranked rightly against, ties half.

    Args:
        group: group of each row (n,), from 0.
        score: higher for more likely positive (n,), finite.
        positive: class of each row (n,).
    """
    if not len(score):
        return np.zeros(0)
    values, rank = np.unique(score, return_inverse=True)
    key = group * len(values) + rank
    order = np.argsort(key)
    g, s, p = group[order], key[order], positive[order]
    new_group = np.r_[True, g[1:] != g[:-1]]
    new_tie = new_group | np.r_[True, s[1:] != s[:-1]]
    block, part = np.cumsum(new_tie) - 1, np.cumsum(new_group) - 1

    def below(of: Flags) -> tuple[Floats, Floats]:
        """Rows of a class below each row's tie with half of those in it, and all of them in its group."""
        tied = np.bincount(block, weights=of)
        before = np.cumsum(tied) - tied
        start = before[block[np.flatnonzero(new_group)]]
        return (before + tied / 2)[block] - start[part], np.bincount(part, weights=of)[part]

    negatives, _ = below(~p)
    lower, all_positives = below(p)
    out = np.empty(len(order))
    out[order] = np.where(p, negatives, all_positives - lower)
    return out


def area(score: Floats, positive: Flags) -> float:
    """Area under one ROC curve, ties half; NaN where a class is missing.

    Examples:
        >>> area(np.array([0.9, 0.4, 0.4, 0.1]), np.array([True, True, False, False]))
        0.875
    """
    wins = placements(np.zeros(len(score), np.int64), score, positive)[positive].sum()
    pairs = float(positive.sum()) * float((~positive).sum())
    return float(wins / pairs) if pairs else float("nan")


def _area(wins: Floats, counts: Floats, unanswered: Unanswered) -> Floats:
    """Area from pairs ranked rightly and numbers of positives, negatives, and of both that were answered (..., 4)."""
    pairs, known = counts[..., 0] * counts[..., 1], counts[..., 2] * counts[..., 3]
    with np.errstate(invalid="ignore", divide="ignore"):
        if unanswered == "dropped":
            return np.asarray(np.where(known > 0, wins / known, np.nan))
        half = 0.5 * (pairs - known) if unanswered == "half" else 0.0
        return np.asarray(np.where(pairs > 0, (wins + half) / pairs, np.nan))


def auc(
    clusters: Clusters, score: Floats, positive: Flags, answered: Flags, used: Flags, unanswered: Unanswered, why: Texts
) -> Estimates:
    """Area under the ROC curve of each cell.

    Args:
        clusters: cells and ways of all rows (n,).
        score: of each row (n,), higher for more likely positive; NaN without a score.
        positive: class of each row (n,).
        answered: rows (n,) with an answer.
        used: rows (n,) that count.
        unanswered: how a row without an answer is ranked.
        why: why a cell (C,) has no estimate whatever the ranks; None where it has one.
    """
    known = used & answered & np.isfinite(score)
    counts = used if unanswered != "dropped" else known
    masks = (used & positive, used & ~positive, known & positive, known & ~positive)
    rows = np.flatnonzero(known)

    def ranked(group: Ints) -> Floats:
        out = np.zeros(len(score))
        out[rows] = placements(group[rows], score[rows], positive[rows])
        return out

    own = ranked(clusters.cell)
    wins = clusters.total(np.where(positive, own, 0.0))
    total = np.stack([clusters.total(m) for m in masks], axis=-1)
    blocked = given(why)
    value = np.where(blocked, np.nan, _area(wins, total, unanswered))
    ways = []
    for g in clusters.ways:
        inside = g.sums(np.where(positive, ranked(g.of), 0.0))
        left = total[g.cell] - np.stack([g.sums(m) for m in masks], axis=-1)
        without = _area(wins[g.cell] - g.sums(own) + inside, left, unanswered)
        ways.append(Way(g, without, np.stack([g.sums(counts & positive), g.sums(counts & ~positive)])))
    at = np.flatnonzero(counts)
    taken = np.stack([m[at] for m in masks], axis=-1).astype(np.float64)
    cell = clusters.cell[at]
    without = _area(wins[cell] - own[at], total[cell] - taken, unanswered)
    independent = repeated(without, np.ones(len(at)), cell, clusters.cells)
    reason = first_of(len(value), [(blocked, why), (~blocked, _classes(clusters, counts, positive))])
    n = clusters.total(counts)
    return Estimates(value, reason, three(ways), independent, counts, n)


def _classes(clusters: Clusters, used: Flags, positive: Flags) -> Texts:
    """Why a cell (C,) of one class has no estimate; None where it has both."""
    no_positives, no_negatives = (clusters.total(used & of) == 0 for of in (positive, ~positive))
    return first_of(clusters.cells, [(no_positives, "no positives"), (no_negatives, "no negatives")])


def sensitivity_at(
    clusters: Clusters, score: Floats, positive: Flags, used: Flags, specificity: float, why: Texts
) -> tuple[Estimates, Floats]:
    """Sensitivity at the lowest threshold that keeps a specificity, and that threshold (C,).

    A row is positive strictly above the threshold; rows without a score lie below it if positive and above it if not.
    The error of the threshold enters through the slope of the ROC curve there.

    Args:
        clusters: cells and ways of all rows (n,).
        score: of each row (n,); NaN without a score.
        positive: class of each row (n,).
        used: rows (n,) that count.
        specificity: least share of negatives at or below the threshold.
        why: why a cell (C,) has no estimate; None where it has one.
    """
    ranked = np.where(np.isfinite(score), score, np.where(positive, -np.inf, np.inf))
    negatives = clusters.total(used & ~positive)
    sorted_at = _Sorted(clusters, ranked, used & ~positive)
    threshold = sorted_at.quantile(specificity)
    above = used & (ranked > threshold[clusters.cell])
    positives = clusters.total(used & positive)
    few = _classes(clusters, used, positive)
    none = ~np.isfinite(threshold)
    reason = first_of(len(few), [(given(why), why), (given(few), few), (none, "no threshold keeps this specificity")])
    with np.errstate(invalid="ignore", divide="ignore"):
        value = clusters.total(above & positive) / positives
        value = np.where(given(reason), np.nan, value)
        kept = 1 - clusters.total(above & ~positive) / negatives
        step = np.clip(negatives ** (-1 / 3), 0.02, 0.2)
        ends = [np.clip(kept + sign * step, 0, 1 - 1 / np.maximum(negatives, 1)) for sign in (-1, 1)]
        cuts = [sorted_at.quantile(end) for end in ends]
        shares = [clusters.total(used & positive & (ranked > c[clusters.cell])) / positives for c in cuts]
        slope = np.where(ends[1] > ends[0], (shares[0] - shares[1]) / (ends[1] - ends[0]), 0.0)
        of_positive = (above - value[clusters.cell]) / positives[clusters.cell]
        of_negative = -slope[clusters.cell] * (above - (1 - kept)[clusters.cell]) / negatives[clusters.cell]
    influence = np.where(positive, of_positive, of_negative)
    found = of_influence(clusters, value, influence, used, reason, classes=(positive, ~positive))
    return found, threshold


class _Sorted:
    """Scores of the rows of a class in order, by cell."""

    def __init__(self, clusters: Clusters, score: Floats, rows: Flags) -> None:
        at = np.flatnonzero(rows)
        order = at[np.lexsort((score[at], clusters.cell[at]))]
        self._score = score[order]
        self._count = np.bincount(clusters.cell[order], minlength=clusters.cells)
        self._start = np.cumsum(self._count) - self._count

    def quantile(self, share: float | Floats) -> Floats:
        """Least score (C,) at or below which lies such a share of a cell's rows; NaN in a cell without rows."""
        rank = np.clip(
            np.ceil(np.round(share * self._count, 9)).astype(np.int64) - 1, 0, np.maximum(self._count - 1, 0)
        )
        found = np.full(len(self._count), np.nan)
        some = self._count > 0
        found[some] = self._score[(self._start + rank)[some]]
        return found
