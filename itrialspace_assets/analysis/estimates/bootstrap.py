"""Two-way bootstrap of tables: an offer beside the default interval, and labelled so.

A cluster's weight in a replicate is Poisson with mean 1, drawn from the cluster's own name, so that adding a cell or a
person changes no other interval; a row weighs the product of its host's and its donor's weight. Where hosts and donors
are hardly reused this is too wide (docs/decisions/0015-leave-cluster-out-intervals.md).
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Clusters, Flags, Floats, Ints, distinct
from itrialspace_assets.analysis.estimates.jackknife import Statistic
from itrialspace_assets.base.seeds import draws

METHOD = "two-way bootstrap, percentile: too wide where hosts and donors are hardly reused"
#: Weights that are held at once (ours): 64 MiB of float32.
_AT_ONCE = 1 << 24
#: Whole numbers below this are exact in float32.
_EXACT = 1 << 24
#: P(X <= k) of a Poisson variable with mean 1, as thresholds of raw 64-bit draws.
_POISSON = (special.pdtr(np.arange(12), 1.0) * 2.0**64).astype(np.uint64)


def weights(names: Sequence[str], replicates: int, root: int, way: str) -> npt.NDArray[np.uint8]:
    """Weight of each cluster in each replicate (G, B), Poisson with mean 1; the first are the same however many.

    Args:
        names: of the clusters (G).
        replicates: how many (B).
        root: root seed.
        way: host or donor.
    """
    out = np.empty((len(names), replicates), np.uint8)
    for at, name in enumerate(names):
        out[at] = np.searchsorted(_POISSON, draws(root, "bootstrap", way, name, n=replicates), "right")
    return out


def bootstrapped(
    clusters: Clusters,
    used: Flags,
    statistic: Statistic,
    *,
    kind: Ints,
    kinds: int,
    host: npt.NDArray[np.uint8],
    donor: npt.NDArray[np.uint8],
) -> Floats:
    """A statistic of counts by kind of row, in each replicate and cell (B, C).

    Args:
        clusters: cells and ways of all rows (n,).
        used: which rows count (n,).
        statistic: sums by kind (..., kinds) -> estimate (...).
        kind: kind of each row (n,).
        kinds: how many kinds there are.
        host: weight of each host in each replicate (hosts, B).
        donor: weight of each donor in each replicate (donors, B); ones for a slice without a donor.
    """
    of_host, of_donor = clusters.host.cluster[clusters.host.of], clusters.donor.cluster[clusters.donor.of]
    keys, pair = distinct(of_host * len(donor) + of_donor)
    columns, replicates = clusters.cells * kinds, host.shape[1]
    place = (pair * clusters.cells + clusters.cell) * kinds + kind
    counts = np.bincount(place, weights=used, minlength=len(keys) * columns).reshape(len(keys), columns)
    bound = float(counts.sum(axis=0).max(initial=0)) * float(host.max(initial=0)) * float(donor.max(initial=0))
    counts = counts.astype(np.float32 if bound < _EXACT else np.float64)
    by_host, by_donor = np.ascontiguousarray(host.T), np.ascontiguousarray(donor.T)
    at_host, at_donor = keys // max(len(donor), 1), keys % max(len(donor), 1)
    out = np.empty((replicates, clusters.cells))
    step = max(1, _AT_ONCE // max(len(keys), 1))
    for first in range(0, replicates, step):
        some = slice(first, first + step)
        weight = by_host[some].take(at_host, axis=1) * by_donor[some].take(at_donor, axis=1)
        sums = weight.astype(counts.dtype) @ counts
        out[some] = statistic(sums.astype(np.float64).reshape(-1, clusters.cells, kinds))
    return out


def percentiles(replicates: Floats, alpha: float) -> tuple[Floats, Floats]:
    """Limits (C,) from replicates (B, C); NaN in a cell where a replicate has no estimate.

    Args:
        replicates: of ``bootstrapped``.
        alpha: 0.05 gives 95 % limits.
    """
    low, high = np.quantile(replicates, [alpha / 2, 1 - alpha / 2], axis=0)
    return low, high
