"""Two-way cluster-robust intervals from influence values.

An estimate is a sum over cases of something; the influence value of a case is its share in the
estimate's error. Cases that share a host person, or a donor person, are not independent, so
influences are summed within clusters before they are squared.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import stats

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
