"""Whether scores that are log-odds mean what they say: Brier score, calibration error, calibration slope.

A score of a task with two options is the first option's score less the other's, so it is a log-odds where the options
were scored by log-probability; ``score`` = log(p / (1 - p)). All functions work on every cell at once.
"""

import numpy as np
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Clusters, Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.jackknife import (
    Estimates,
    Texts,
    Way,
    first_of,
    given,
    of_influence,
    of_mean,
    repeated,
    three,
)

#: Bins of equal numbers of slices (ours; fewer where a cell holds fewer slices than ten a bin).
BINS = 15
_PER_BIN = 10
#: Newton steps, and the step below which a fit is done (ours); a fit that still moves has no finite solution.
_STEPS, _DONE = 30, 1e-8


def brier(clusters: Clusters, log_odds: Floats, positive: Flags, used: Flags, why: Texts) -> Estimates:
    """Mean squared distance of probability and truth.

    Args:
        clusters: cells and ways of all rows (n,).
        log_odds: of each row (n,).
        positive: class of each row (n,).
        used: rows (n,) that count; their log-odds are finite.
        why: why a cell (C,) has no estimate.
    """
    used = used & ~given(why)[clusters.cell]
    return of_mean(clusters, (special.expit(np.where(used, log_odds, 0.0)) - positive) ** 2, used, why)


def _bins(clusters: Clusters, log_odds: Floats, used: Flags) -> Ints:
    """Bin of each row (n,): as many rows in each bin of a cell, equal scores together."""
    rows = np.flatnonzero(used)
    order = rows[np.lexsort((log_odds[rows], clusters.cell[rows]))]
    cell = clusters.cell[order]
    count = np.bincount(cell, minlength=clusters.cells)
    rank = np.arange(len(order)) - (np.cumsum(count) - count)[cell]
    new = np.r_[True, (cell[1:] != cell[:-1]) | (log_odds[order][1:] != log_odds[order][:-1])]
    first = rank[np.flatnonzero(new)][np.cumsum(new) - 1] if len(order) else rank
    bins = np.clip(count // _PER_BIN, 1, BINS)
    out = np.zeros(len(log_odds), np.int64)
    out[order] = first * bins[cell] // np.maximum(count[cell], 1)
    return out


def calibration_error(clusters: Clusters, log_odds: Floats, positive: Flags, used: Flags, why: Texts) -> Estimates:
    """Adaptive calibration error: distance of mean probability and share of positives, over bins of equal size.

    The bins are those of all rows and stay as they are where a cluster is left out.

    Args:
        clusters: cells and ways of all rows (n,).
        log_odds: of each row (n,).
        positive: class of each row (n,).
        used: rows (n,) that count; their log-odds are finite.
        why: why a cell (C,) has no estimate.
    """
    bins = _bins(clusters, log_odds, used)
    gap = np.where(used, special.expit(np.where(used, log_odds, 0.0)) - positive, 0.0)
    total, n, cell = clusters.total(gap, bins, BINS), clusters.total(used), clusters.cell
    whole = np.abs(total).sum(axis=-1)
    with np.errstate(invalid="ignore", divide="ignore"):
        value = np.where(given(why), np.nan, whole / n)
        ways = []
        for g in clusters.ways:
            size = g.sums(used)
            left = np.abs(total[g.cell] - g.sums(gap, bins, BINS)).sum(axis=-1)
            ways.append(Way(g, left / (n[g.cell] - size), size[None]))
        own = total[cell, bins]
        without = (whole[cell] - np.abs(own) + np.abs(own - gap)) / (n[cell] - 1)
    independent = repeated(np.where(used, without, 0.0), used.astype(np.int64), cell, clusters.cells)
    reason = first_of(len(n), [(given(why), why), (n == 0, "no answers")])
    return Estimates(value, reason, three(ways), independent, used, n)


def slope(clusters: Clusters, log_odds: Floats, positive: Flags, used: Flags, why: Texts) -> Estimates:
    """Slope of the logistic regression of truth on log-odds: 1 is calibrated, below 1 overconfident.

    Args:
        clusters: cells and ways of all rows (n,).
        log_odds: of each row (n,).
        positive: class of each row (n,).
        used: rows (n,) that count; their log-odds are finite.
        why: why a cell (C,) has no estimate.
    """
    cells, cell = clusters.cells, clusters.cell
    x, y = np.where(used, log_odds, 0.0), positive.astype(np.float64)
    scale = np.sqrt(clusters.total(np.where(used, x**2, 0)) / np.maximum(clusters.total(used), 1))
    scale = np.where(scale > 0, scale, 1.0)
    x = x / scale[cell]
    a, b = np.zeros(cells), np.zeros(cells)
    step = np.full(cells, np.inf)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):
        for _ in range(_STEPS):
            mu = special.expit(a[cell] + b[cell] * x)
            r, w = np.where(used, y - mu, 0.0), np.where(used, mu * (1 - mu), 0.0)
            h00, h01, h11 = clusters.total(w), clusters.total(w * x), clusters.total(w * x * x)
            g0, g1 = clusters.total(r), clusters.total(r * x)
            det = h00 * h11 - h01**2
            da, db = (h11 * g0 - h01 * g1) / det, (h00 * g1 - h01 * g0) / det
            a, b, step = a + da, b + db, np.maximum(np.abs(da), np.abs(db))
            if not np.any(step > _DONE):
                break
        influence = (h00[cell] * r * x - h01[cell] * r) / det[cell] / scale[cell]
    classes = (used & positive, used & ~positive)
    one_class = (clusters.total(classes[0]) == 0) | (clusters.total(classes[1]) == 0)
    found = (step < _DONE) & ~one_class & ~given(why)
    separated = "scores separate the classes or do not vary"
    reason = first_of(cells, [(given(why), why), (one_class, "one class only"), (~found, separated)])
    return of_influence(
        clusters,
        np.where(found, b / scale, np.nan),
        np.nan_to_num(influence),
        used,
        reason,
        classes=(positive, ~positive),
    )
