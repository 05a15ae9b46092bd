"""Paired comparisons: of readers, of conditions, of sources, on the same clusters.

A difference has the two-way leave-cluster-out variance of the difference itself, so whatever two cells share cancels.
Tests use t with one degree of freedom less than there are effective clusters; where there are too few clusters nothing
is tested. A family is a set of comparisons whose chance of a single false claim is held at alpha together.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Clusters, Flags, Floats, Ints, codes
from itrialspace_assets.analysis.estimates.intervals import critical, joined
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts
from itrialspace_assets.analysis.estimates.variance import Differences, differences
from itrialspace_assets.base import seeds

#: Below this many discordant pairs McNemar's test is exact (published, docs/facts/evaluation.md#comparisons).
EXACT_BELOW = 25
#: Draws of the joint distribution of a family's statistics (ours): a p of 0.05 is then known to 0.001.
DRAWS = 50_000


@dataclass(frozen=True)
class PairedTests:
    """Comparisons (M,): difference, limits, p, and what could have been found.

    ``floor`` is the least difference whose interval leaves out zero in this design. NaN: not tested, see ``flag``.
    """

    difference: Floats
    low: Floats
    high: Floats
    error: Floats
    effective: Floats
    p: Floats
    floor: Floats
    flag: Texts

    @property
    def tied(self) -> Flags:
        """Where the interval includes zero, or there is none (M,)."""
        return ~((self.low > 0) | (self.high < 0))


def cell_pairs(cells: pl.DataFrame, axis: str, against: str | None = None) -> tuple[Ints, Ints]:
    """Cells that differ in one column alone, as first and second (M,).

    Args:
        cells: what each cell is (C rows).
        axis: the column in which they differ: reader, condition or source.
        against: compare all others with this value; None: every two, the one that sorts first being first.
    """
    rows = cells.with_row_index("_cell")
    rest = [c for c in cells.columns if c != axis]
    both = rows.join(rows, on=rest, suffix="_second", nulls_equal=True)
    other = pl.col(f"{axis}_second")
    kept = pl.col(axis) < other if against is None else (other == against) & (pl.col(axis) != against)
    pairs = both.filter(kept).sort("_cell", "_cell_second")
    return pairs["_cell"].to_numpy().astype(np.int64), pairs["_cell_second"].to_numpy().astype(np.int64)


def compare(estimates: Estimates, first: Ints, second: Ints, alpha: float, min_clusters: int) -> PairedTests:
    """Differences of a metric between pairs of cells with limits and tests; fewer clusters are not tested.

    Args:
        estimates: of all cells.
        first: cell of each pair (M,).
        second: the cell that it is compared with (M,).
        alpha: 0.05 gives 95 % limits.
        min_clusters: fewer are flagged and not tested.
    """
    return tested(differences(estimates, first, second), alpha, min_clusters)


def tested(found: Differences, alpha: float, min_clusters: int) -> PairedTests:
    """Limits and tests of differences.

    Args:
        found: the differences and their variance.
        alpha: 0.05 gives 95 % limits.
        min_clusters: fewer are flagged and not tested.
    """
    value, of = found.value, found.variance
    alone = of.one_host & of.one_donor
    few = ~alone & (of.clusters < min_clusters)
    flat = of.value == 0
    missing = ~np.isfinite(value)
    error = np.where(missing | alone | flat, np.nan, np.sqrt(of.value))
    half = critical(of.effective, alpha) * error
    p = np.where(few, np.nan, 2 * special.stdtr(np.maximum(of.effective - 1, 1e-9), -np.abs(value) / error))
    flags = [
        (missing, "not estimated in both"),
        (~missing & alone, "one host and one donor: no interval"),
        (~missing & of.one_donor & ~alone, "conditional on this donor"),
        (~missing & of.one_host & ~alone, "conditional on this host"),
        (~missing & flat, "the same difference in every cluster"),
        (~missing & few, f"fewer than {min_clusters} clusters: not tested"),
    ]
    return PairedTests(value, value - half, value + half, error, of.effective, p, half, joined(flags, len(value)))


def mcnemar(only_first: Ints, only_second: Ints) -> tuple[Floats, Floats]:
    """McNemar's test where every pair is independent: statistic (NaN where exact) and p, of each comparison (M,).

    Exact below 25 discordant pairs, else with continuity correction; without any p is 1.

    Args:
        only_first: pairs that the first alone answered rightly (M,).
        only_second: pairs that the second alone answered rightly (M,).

    Examples:
        >>> statistic, p = mcnemar(np.array([3, 30]), np.array([9, 60]))
        >>> np.round(statistic, 4), np.round(p, 4)
        (array([   nan, 9.3444]), array([0.146 , 0.0022]))
    """
    from scipy import stats

    b, c = np.asarray(only_first), np.asarray(only_second)
    n = b + c
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(n < EXACT_BELOW, np.nan, (np.abs(b - c) - 1.0) ** 2 / n)
    exact = np.where(n == 0, 1.0, np.minimum(1.0, 2 * stats.binom.cdf(np.minimum(b, c), np.maximum(n, 1), 0.5)))
    return statistic, np.where(n < EXACT_BELOW, exact, special.chdtrc(1, statistic))


def clustered_mcnemar(
    clusters: Clusters, first: Flags, second: Flags, used: Flags, min_clusters: int
) -> tuple[Floats, Floats, Floats, Floats]:
    """McNemar's test with two-way clusters: pairs that one alone answered rightly, statistic and p of each cell (C,).

    The squared sum of differences over the two-way sum of squared cluster sums, as F with one and G_eff - 1 degrees of
    freedom; with clusters of one pair it is McNemar's statistic. NaN where nothing is discordant or there are too few
    clusters.

    Args:
        clusters: cells and ways of the paired rows (n,).
        first: whether the first answered rightly (n,).
        second: whether the second did (n,).
        used: pairs that count (n,).
        min_clusters: fewer clusters are not tested.

    Returns:
        Numbers of pairs that the first, and that the second, alone answered rightly; statistic; p.
    """
    apart = np.where(used, first.astype(np.float64) - second, 0.0)
    squares, counts, effective = [], [], []
    for g in clusters.ways:
        size = g.sums(used)
        squares.append(g.per_cell(g.sums(apart) ** 2))
        counts.append(g.per_cell(size > 0))
        with np.errstate(invalid="ignore", divide="ignore"):
            effective.append(g.per_cell(size) ** 2 / g.per_cell(size**2))
    one_host, one_donor = counts[0] <= 1, counts[1] <= 1
    both_ways = np.maximum(squares[0] + squares[1] - squares[2], np.maximum(squares[0], squares[1]))
    spread = np.where(one_host, squares[1], np.where(one_donor, squares[0], both_ways))
    fewest = np.where(one_host, counts[1], np.where(one_donor, counts[0], np.minimum(counts[0], counts[1])))
    worth = np.where(one_host, effective[1], np.where(one_donor, effective[0], np.minimum(*effective[:2])))
    tested = (spread > 0) & (fewest >= max(min_clusters, 2))
    with np.errstate(invalid="ignore", divide="ignore"):
        statistic = np.where(tested, clusters.total(apart) ** 2 / spread, np.nan)
    p = special.fdtrc(1, np.maximum(worth - 1, 1e-9), statistic)
    return clusters.total(apart > 0), clusters.total(apart < 0), statistic, p


def holm(p: Floats, family: Ints) -> Floats:
    """Holm's p within each family (M,); what was not tested is in no family.

    Args:
        p: of each comparison (M,).
        family: family of each (M,).
    """
    frame = pl.DataFrame({"p": p, "family": family}).with_row_index("at").filter(pl.col("p").is_finite())
    rank, size = pl.int_range(pl.len()).over("family"), pl.len().over("family")
    stepped = frame.sort("family", "p").with_columns(((size - rank) * pl.col("p")).cum_max().over("family").alias("q"))
    out = np.full(len(p), np.nan)
    out[stepped["at"].to_numpy()] = np.minimum(stepped["q"].to_numpy(), 1.0)
    return out


def max_t(found: Differences, tests: PairedTests, family: Ints, root: int) -> Floats:
    """P of each comparison (M,) against the largest statistic of its family, whose members are correlated.

    The joint distribution is a multivariate t with the comparisons' own two-way correlation and the least degrees of
    freedom in the family, drawn ``DRAWS`` times.

    Args:
        found: the differences, with each cluster's share in them.
        tests: their tests.
        family: family of each (M,).
        root: root seed.
    """
    out = np.full(len(family), np.nan)
    some = np.isfinite(tests.p)
    for one in np.unique(family[some]):
        at = np.flatnonzero(some & (family == one))
        host, donor, both = (s[at] @ s[at].T for s in found.shares)
        spread = host + donor - both
        scale = np.sqrt(np.maximum(np.diag(spread), np.finfo(float).tiny))
        values, vectors = np.linalg.eigh(spread / scale[:, None] / scale[None, :])
        root_of = vectors * np.sqrt(np.maximum(values, 0.0))  # the two-way estimate need not be a covariance
        root_of /= np.sqrt(np.maximum((root_of**2).sum(axis=1, keepdims=True), np.finfo(float).tiny))
        rng = np.random.default_rng(seeds.named(root, "max_t", int(one)))
        df = max(float(tests.effective[at].min()) - 1, 1.0)
        normal = rng.standard_normal((DRAWS, len(at))) @ root_of.T
        largest = np.sort(np.abs(normal).max(axis=1) / np.sqrt(rng.chisquare(df, DRAWS) / df))
        own = np.abs(tests.difference[at] / tests.error[at])
        above = DRAWS - np.searchsorted(largest, own, "left")
        out[at] = np.maximum((above + 1) / (DRAWS + 1), tests.p[at])
    return out


def equivalence(tests: PairedTests, margin: float) -> Floats:
    """P of two one-sided tests (M,): small where the difference lies within the margin on both sides.

    Args:
        tests: the comparisons.
        margin: largest difference that does not matter, declared beforehand; above 0.
    """
    df = np.maximum(tests.effective - 1, 1e-9)
    above = special.stdtr(df, -(tests.difference + margin) / tests.error)
    below = special.stdtr(df, (tests.difference - margin) / tests.error)
    return np.where(np.isfinite(tests.p), np.maximum(above, below), np.nan)


@dataclass(frozen=True)
class Ties:
    """Which of some compared things cannot be told apart: ``k`` of ``m`` pairwise intervals include zero."""

    k: int
    m: int
    groups: tuple[tuple[str, ...], ...]


def ties(names: Sequence[str], estimates: Floats, first: Ints, second: Ints, tied: Flags) -> Ties:
    """Groups of things of which every two are tied, best first; a thing may be in several.

    Args:
        names: what is compared (N).
        estimates: of each (N,).
        first: place of the first of each comparison (M,).
        second: place of the second (M,).
        tied: whether its interval includes zero (M,).
    """
    order = np.argsort(-np.nan_to_num(estimates, nan=-np.inf), kind="stable")
    together = np.eye(len(names), dtype=bool)
    together[first, second] = together[second, first] = tied
    together = together[np.ix_(order, order)]
    found: list[tuple[int, int]] = []
    for start in range(len(names)):
        end = start + 1
        while end < len(names) and together[start : end + 1, start : end + 1].all():
            end += 1
        if not found or end > found[-1][1]:
            found.append((start, end))
    return Ties(int(tied.sum()), len(tied), tuple(tuple(names[i] for i in order[a:b]) for a, b in found))


def paired(
    observations: pl.DataFrame, axis: str, unit: Sequence[str], against: str | None = None
) -> tuple[pl.DataFrame, Ints, pl.DataFrame]:
    """Rows that differ in one column alone and stand for one unit, side by side.

    Args:
        observations: rows with the columns of ``unit``, ``right``, and what they are compared within.
        axis: the column in which they differ.
        unit: what makes two rows a pair, beside all that is compared within.
        against: compare all others with this value; None: every two.

    Returns:
        The pairs, with ``right`` and ``right_second``; the comparison of each (n,); what each comparison is.
    """
    on = [*unit, *(c for c in ("source", "reader", "condition", "task", "stratum") if c in observations and c != axis)]
    on = list(dict.fromkeys(on))
    both = observations.join(observations.select(*on, axis, "right"), on=on, suffix="_second", nulls_equal=True)
    other = pl.col(f"{axis}_second")
    kept = pl.col(axis) < other if against is None else (other == against) & (pl.col(axis) != against)
    pairs = both.filter(kept)
    of, what = codes(pairs, [*(c for c in on if c not in unit), axis, f"{axis}_second"])
    return pairs, of, what
