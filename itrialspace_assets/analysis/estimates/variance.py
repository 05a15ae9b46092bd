"""Two-way variance of estimates and of their differences, from what they become without each cluster.

The variance of a way (host, donor, both) is that of the leave-cluster-out jackknife; the two-way variance is
V_host + V_donor - V_both, not below that of either way
(Cameron, Gelbach and Miller 2011, docs/facts/evaluation.md#intervals). All functions work on every cell at once.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Groups, Ints
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Way

#: Below this a variance is rounding (ours): shares of up to a billion slices lie far above.
ROUNDING = 1e-20


@dataclass(frozen=True)
class Variance:
    """Variance of each cell (C,), its effective and its whole number of clusters in the smaller way, what it lacks.

    ``one_host`` and ``one_donor`` tell that a way has one level only and the variance comes from the other way.
    """

    value: Floats
    effective: Floats
    clusters: Floats
    one_host: Flags
    one_donor: Flags


def _spread(without: Floats, here: Flags, groups: Groups) -> Floats:
    """Jackknife variance (C,) of estimates without each group (P,), over the groups that count."""
    count = groups.per_cell(here)
    kept = np.where(here, without, 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = groups.per_cell(kept) / count
        squares = groups.per_cell(np.where(here, (without - mean[groups.cell]) ** 2, 0.0))
        return np.asarray((count - 1) / count * squares)


def _support(way: Way) -> tuple[Floats, Floats]:
    """Clusters of each cell (C,), and how many equal ones they are worth; both of the class that has fewest."""
    g = way.groups
    with np.errstate(invalid="ignore", divide="ignore"):
        kish = [g.per_cell(m) ** 2 / g.per_cell(m**2) for m in way.sizes]
    return np.stack([g.per_cell(m > 0) for m in way.sizes]).min(axis=0), np.stack(kish).min(axis=0)


def by_way(estimates: Estimates) -> list[Floats]:
    """Variance (C,) by leaving out hosts, donors, and pairs of them."""
    return [_spread(w.without, w.sizes.sum(axis=0) > 0, w.groups) for w in estimates.ways or ()]


def variance(estimates: Estimates) -> Variance:
    """Two-way leave-cluster-out variance of every cell, with the number of clusters that it rests on.

    The effective number of clusters is (sum m)^2 / sum m^2 of the smaller way, and of the smaller class where the
    estimate needs several (m: rows of each cluster that count).
    """
    return combined(by_way(estimates), [_support(w) for w in estimates.ways or ()])


def combined(found: Sequence[Floats], support: Sequence[tuple[Floats, Floats]]) -> Variance:
    """Both ways combined; a way of one level gives way to the other.

    Args:
        found: variance by host, by donor and by both (C,).
        support: clusters and effective clusters of each way (C,).
    """
    host, donor, both = found
    one_host, one_donor = (counts <= 1 for counts, _ in support[:2])
    two = np.maximum(host + donor - np.nan_to_num(both), np.maximum(host, donor))
    value = np.where(one_host, np.where(one_donor, np.nan, donor), np.where(one_donor, host, two))

    def smaller(by_host: Floats, by_donor: Floats) -> Floats:
        least = np.minimum(by_host, by_donor)
        return np.where(one_host & ~one_donor, by_donor, np.where(one_donor & ~one_host, by_host, least))

    return Variance(
        np.where(value < ROUNDING, 0.0, value),
        effective=smaller(support[0][1], support[1][1]),
        clusters=smaller(support[0][0], support[1][0]),
        one_host=one_host,
        one_donor=one_donor,
    )


@dataclass(frozen=True)
class Differences:
    """Differences of pairs of cells (M,), their two-way variance, and the share of each cluster in it by way (M, G)."""

    value: Floats
    variance: Variance
    shares: list[Floats]


def differences(estimates: Estimates, first: Ints, second: Ints) -> Differences:
    """Estimate of some cells less that of others, on the same clusters.

    Args:
        estimates: of all cells.
        first: cell of each pair (M,).
        second: the cell that it is compared with (M,).
    """
    found, shares, support = [], [], []
    for way in estimates.ways or ():
        g, counts = way.groups, way.sizes.sum(axis=0) > 0
        here = g.spread(counts.astype(np.float64))
        there = (here[first] + here[second]) > 0
        delta = g.spread(np.where(counts, way.without - estimates.value[g.cell], 0.0))
        share, count = delta[first] - delta[second], there.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(there, share - (share.sum(axis=1) / count)[:, None], 0.0)
            share *= np.sqrt((count - 1) / count)[:, None]
        found.append((share**2).sum(axis=1))
        shares.append(share)
        whole, effective = _support(way)
        support.append((np.minimum(whole[first], whole[second]), np.minimum(effective[first], effective[second])))
    value = estimates.value[first] - estimates.value[second]
    return Differences(value, combined(found, support), shares)


def at_edge(estimates: Estimates, least: float = 0.0, most: float = 1.0) -> Floats:
    """Variance (C,) that a mean at an end of its range is given in comparisons, 0 for every other one.

    No cluster differs from the rest there, so leaving one out says nothing. It is that of a share with half a success
    and half a failure more, on the effective clusters (ours; Jeffreys' prior, as for a single share).

    Args:
        estimates: of all cells.
        least: least possible value, 0 for a share, -1 for a mean difference of two answers.
        most: largest possible value.
    """
    value, n = (estimates.value - least) / (most - least), variance(estimates).effective
    edge = ((value == 0) | (value == 1)) & (n > 0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = (n * value + 0.5) / (n + 1)
        return np.where(edge, (most - least) ** 2 * share * (1 - share) / n, 0.0)


def combinations(estimates: Estimates, weights: Floats, extra: Floats | None = None) -> Differences:
    """Weighted sums of cells, on the same clusters: a slope over levels, one level less the mean of the others.

    What two cells share in a cluster cancels, as in ``differences``. The effective number of clusters is that of
    Welch and Satterthwaite over the cells, and not more than all clusters together are worth.

    Args:
        estimates: of all cells (C).
        weights: weight of each cell in each sum (M, C).
        extra: variance of each cell beside that between its clusters (C,); None: none.
    """
    taken = weights != 0
    values = np.where(taken, estimates.value, 0.0)
    own, few = variance(estimates), np.finfo(float).tiny
    more = np.zeros(len(estimates.value)) if extra is None else extra
    alone = np.flatnonzero(more > 0)
    spread = np.where(taken, weights**2 * (np.nan_to_num(own.value) + more), 0.0)
    with np.errstate(invalid="ignore", divide="ignore"):
        welch = spread.sum(axis=1) ** 2 / np.maximum(spread**2 / np.maximum(own.effective - 1, few), 0).sum(axis=1) + 1
    found, shares, support = [], [], []
    for way in estimates.ways or ():
        g, size = way.groups, way.sizes.sum(axis=0)
        inside = g.spread((size > 0).astype(np.float64))
        there = (taken.astype(np.float64) @ inside) > 0
        moved = np.where(size > 0, way.without - estimates.value[g.cell], 0.0)
        lost = taken[:, g.per_cell(~np.isfinite(moved)) > 0].any(axis=1)
        share, count = weights @ g.spread(np.nan_to_num(moved)), there.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            share = np.where(there, share - (share.sum(axis=1) / count)[:, None], 0.0)
            share *= np.sqrt((count - 1) / count)[:, None]
            load = np.abs(weights) @ g.spread(size / g.per_cell(size)[g.cell])
            worth = load.sum(axis=1) ** 2 / (load**2).sum(axis=1)
        share = np.hstack([share, weights[:, alone] * np.sqrt(more[alone])])
        found.append(np.where(lost, np.nan, (share**2).sum(axis=1)))
        shares.append(share)
        whole = np.where(taken, _support(way)[0], np.inf).min(axis=1, initial=np.inf)
        support.append((whole, np.where(np.isfinite(welch), np.minimum(welch, worth), worth)))
    value = np.where(taken, weights * values, 0.0).sum(axis=1)
    return Differences(value, combined(found, support), shares)


def covariance(found: Differences, rows: Ints) -> Floats:
    """Two-way covariance of some sums (R, R), never below that of either way, as for a single estimate.

    V_host + V_donor - V_both need not be a covariance, nor above that of one way; then it is that of the way that has
    more, scaled to the same total.

    Args:
        found: of ``combinations`` or ``differences``.
        rows: which of them (R,).
    """
    host, donor, both = (s[rows] @ s[rows].T for s in found.shares)
    two, larger = host + donor - both, max(host, donor, key=np.trace)
    total, least = float(np.trace(two)), float(np.trace(larger))
    if total >= least and np.linalg.eigvalsh(two).min(initial=0.0) > -1e-9 * total:
        return np.asarray(two)
    return np.asarray(larger * (max(total / least, 1.0) if least > 0 else 1.0))
