"""How far one source's numbers go for another's: rank and linear correlation over the same cells, and the gaps.

A correlation over cells is no equivalence: cells share readers and cases, and ranks do not see a shift. So its limits
are those of all cells together, from what they share, and it is shown without each reader and each task. What a user
decides by, which of two readers is better, is counted by itself.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints

#: Draws of all cells together (ours): a limit of rho is then known to about 0.005 in the published design.
DRAWS = 2000


@dataclass(frozen=True)
class Transfer:
    """Spearman's rho, Pearson's r, Kendall's tau-b over cells, mean and largest distance; None where none varies."""

    rho: float | None
    r: float | None
    tau: float | None
    mean_gap: float
    largest_gap: float
    cells: int


def transfer(first: Floats, second: Floats, used: Flags | None = None) -> Transfer | None:
    """Two sources over the cells that both have; None with fewer than three.

    Args:
        first: an estimate of each cell (C,), NaN where there is none.
        second: the same of the other source (C,).
        used: cells to be compared (C,); None: all. Cells of readers that always answer alike are better left out.

    Examples:
        >>> transfer(np.array([0.1, 0.5, 0.9]), np.array([0.2, 0.4, 0.8])).largest_gap
        0.1
    """
    known = np.isfinite(first) & np.isfinite(second) & (True if used is None else used)
    a, b = first[known], second[known]
    if len(a) < 3:
        return None
    gaps = np.round(np.abs(a - b), 12)
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return Transfer(None, None, None, float(gaps.mean()), float(gaps.max()), len(a))
    from scipy import stats

    found = (stats.spearmanr(a, b).statistic, stats.pearsonr(a, b).statistic, stats.kendalltau(a, b).statistic)
    rho, r, tau = (float(x) for x in found)
    return Transfer(rho, r, tau, float(gaps.mean()), float(gaps.max()), len(a))


def drawn(value: Floats, covariance: Floats, seed: np.random.SeedSequence) -> Floats:
    """Shares of all cells together (``DRAWS``, K), as resampling the clusters that they share would give them.

    Args:
        value: share of each cell (K,).
        covariance: two-way, of all cells (K, K).
        seed: of the draws.
    """
    values, vectors = np.linalg.eigh(covariance)
    root = vectors * np.sqrt(np.maximum(values, 0.0))  # the two-way estimate need not be a covariance
    # signs of eigenvectors differ between processors, those of their products do not
    symmetric = root @ vectors.T
    normal = np.random.default_rng(seed).standard_normal((DRAWS, len(value)))
    moved = np.where(np.diag(covariance) > 0, normal @ symmetric, 0.0)
    return np.asarray(np.clip(value + moved, 0.0, 1.0))


def rank_correlations(first: Floats, second: Floats) -> Floats:
    """Spearman's rho of each row (B,) of two tables (B, K); NaN where one does not vary."""
    from scipy import stats

    a, b = (stats.rankdata(x, axis=1) for x in (first, second))
    a, b = (x - x.mean(axis=1, keepdims=True) for x in (a, b))
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray((a * b).sum(axis=1) / np.sqrt((a**2).sum(axis=1) * (b**2).sum(axis=1)))


@dataclass(frozen=True)
class Winners:
    """In how many of how many choices both sources choose alike.

    Attributes:
        pairs: pairs of readers of one block whose better one is the same.
        of_pairs: pairs that have a better one in both sources.
        tied: pairs that are equal in at least one source.
        orders: blocks in which all readers have the same order.
        of_orders: blocks of two readers or more.
        lost: most that choosing by the first source costs in the second: best share there less that of the chosen one.
    """

    pairs: int
    of_pairs: int
    tied: int
    orders: int
    of_orders: int
    lost: float


def winners(first: Floats, second: Floats, block: Ints) -> Winners:
    """Compare which reader is better in each block (task and condition) by two sources.

    Args:
        first: share of each cell (C,) by the source that is chosen with; NaN where there is none.
        second: the same by the other one.
        block: block of each cell (C,).
    """
    known = np.flatnonzero(np.isfinite(first) & np.isfinite(second))
    i, j = (known[x] for x in np.triu_indices(len(known), 1))
    i, j = i[block[i] == block[j]], j[block[i] == block[j]]
    a, b = (np.sign(np.round(x[i] - x[j], 12)) for x in (first, second))
    tied = (a == 0) | (b == 0)
    places, of = np.unique(block[i], return_inverse=True)
    wrong = np.bincount(of, weights=a != b, minlength=len(places))
    lost = 0.0
    for at in places:
        here = known[block[known] == at]
        chosen = here[np.argmax(first[here])]
        lost = max(lost, float(second[here].max() - second[chosen]))
    agree = int((~tied & (a == b)).sum())
    return Winners(agree, int((~tied).sum()), int(tied.sum()), int((wrong == 0).sum()), len(places), round(lost, 12))


def without_each(first: Floats, second: Floats, of: Sequence[str]) -> dict[str, float | None]:
    """Spearman's rho without the cells of each name in turn; None where it has none then.

    Args:
        first: share of each cell (C,).
        second: the same of the other source.
        of: name of each cell (C,): its reader, or its task.
    """
    names = np.asarray(of, dtype=object)
    rests = {name: transfer(first, second, names != name) for name in dict.fromkeys(of)}
    return {name: rest.rho if rest else None for name, rest in rests.items()}
