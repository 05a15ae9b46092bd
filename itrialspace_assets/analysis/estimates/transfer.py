"""How far one source's numbers go for another's: rank and linear correlation over the same cells, and the gaps.

A correlation over cells is no equivalence: cells share readers and cases, and ranks do not see a shift.
"""

from dataclasses import dataclass

import numpy as np
from scipy import stats

from itrialspace_assets.analysis.estimates.cells import Flags, Floats


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
    found = (stats.spearmanr(a, b).statistic, stats.pearsonr(a, b).statistic, stats.kendalltau(a, b).statistic)
    rho, r, tau = (float(x) for x in found)
    return Transfer(rho, r, tau, float(gaps.mean()), float(gaps.max()), len(a))
