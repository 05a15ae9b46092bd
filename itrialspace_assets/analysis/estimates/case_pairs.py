"""Pairs of a diseased and a healthy case of a reader study: areas, and unbiased covariances of them (U-statistics).

The one-shot estimate of Gallas (docs/facts/evaluation.md#reader-studies): the square of an area, minus the mean product
of two pairs that share neither reader nor case. Arrays only.
"""

from dataclasses import dataclass
from functools import reduce
from typing import NamedTuple

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats

#: Pairs of cases, times readers and modalities, that are compared at once; bounds memory (ours).
_AT_ONCE = 2_000_000


class Sums(NamedTuple):
    """Sums over pairs of a diseased and a healthy case, for each modality and reader (K = t x r of them).

    Attributes:
        by_diseased: of the pairs of each diseased case (K, n1).
        by_healthy: of the pairs of each healthy case (K, n0).
        total: of all pairs (K,).
        product: of products of two of the K over the same pair (K, K).
    """

    by_diseased: Floats
    by_healthy: Floats
    total: Floats
    product: Floats

    @classmethod
    def of(cls, pairs: Floats) -> "Sums":
        flat = pairs.reshape(len(pairs), -1)
        return cls(pairs.sum(axis=2), pairs.sum(axis=1), flat.sum(axis=1), flat @ flat.T)

    def and_of(self, more: "Sums") -> "Sums":
        """Sums with those of further diseased cases."""
        return Sums(
            np.concatenate([self.by_diseased, more.by_diseased], axis=1),
            self.by_healthy + more.by_healthy,
            self.total + more.total,
            self.product + more.product,
        )

    def disjoint(self) -> Floats:
        """Sums of products over two pairs that share no case (K, K)."""
        everything = np.outer(self.total, self.total) + self.product
        return everything - self.by_healthy @ self.by_healthy.T - self.by_diseased @ self.by_diseased.T


@dataclass(frozen=True)
class CasePairs:
    """Wins over pairs of a diseased and a healthy case, and how many pairs were read.

    A pair counts 1 where the diseased case has the higher score, 1/2 where both have the same.

    ``shape``: modalities and readers (t, r).
    """

    shape: tuple[int, int]
    won: Sums
    there: Sums

    @classmethod
    def of(cls, score: Floats, truth: Flags) -> "CasePairs":
        t, r, _ = score.shape
        flat = score.reshape(t * r, -1)
        positive, negative = flat[:, truth, None], flat[:, None, ~truth]
        step = max(1, _AT_ONCE // max(1, t * r * negative.shape[2]))
        blocks = (positive[:, at : at + step] for at in range(0, positive.shape[1], step))
        sums = ((Sums.of(_wins(block, negative)), Sums.of(_both(block, negative))) for block in blocks)
        won, there = reduce(lambda a, b: (a[0].and_of(b[0]), a[1].and_of(b[1])), sums)
        return cls((t, r), won, there)

    def areas(self) -> Floats:
        """Area of each modality and reader (t, r); NaN where there is no pair."""
        won, there = self.won.total, self.there.total
        return np.asarray(np.divide(won, there, out=np.full(len(won), np.nan), where=there > 0)).reshape(self.shape)

    def modality(self, i: int) -> float:
        """Area of a modality over all its pairs."""
        mine = slice(i * self.shape[1], (i + 1) * self.shape[1])
        there = float(self.there.total[mine].sum())
        return float(self.won.total[mine].sum()) / there if there else np.nan

    def apart(self, i: int, j: int) -> float:
        """Mean product of two pairs of modalities i and j that share neither reader nor case; NaN if there are none."""
        r = self.shape[1]
        mine, other = slice(i * r, (i + 1) * r), slice(j * r, (j + 1) * r)
        won, there = (sums.disjoint()[mine, other] for sums in (self.won, self.there))
        total, count = (float(block.sum() - np.trace(block)) for block in (won, there))
        return total / count if count > 0 else np.nan

    def covariance(self, i: int, j: int) -> float:
        """Unbiased covariance of the areas of two modalities: their product minus the estimate of its mean squared."""
        return self.modality(i) * self.modality(j) - self.apart(i, j)


def _wins(positive: Floats, negative: Floats) -> Floats:
    return np.asarray((positive > negative) + 0.5 * (positive == negative))


def _both(positive: Floats, negative: Floats) -> Floats:
    return np.asarray(np.isfinite(positive) & np.isfinite(negative), dtype=np.float64)
