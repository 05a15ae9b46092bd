"""What an estimate becomes without each host person, each donor person, and each pair of them.

Exact, from sums by cell and cluster, for means and for statistics of tables; from each row's share in the error for the
rest. All functions work on every cell at once. Nothing here knows what the metrics are.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.analysis.estimates.cells import Clusters, Flags, Floats, Groups, Ints

Texts = npt.NDArray[np.object_]
#: Sums of a cell or of what is left of it (..., K) -> estimate (...); NaN where there is none.
Statistic = Callable[[Floats], Floats]


@dataclass(frozen=True)
class Way:
    """One way of clustering.

    ``without`` is the estimate without each group (P,), ``sizes`` how many rows count in each group, by class (S, P).
    """

    groups: Groups
    without: Floats
    sizes: Floats


@dataclass(frozen=True)
class Estimates:
    """One metric of all cells.

    ``value`` (C,) is NaN where there is no estimate, ``reason`` (C,) says why there. ``independent`` (C,) is the
    variance if every row were a cluster of its own. ``n`` (C,) and ``k`` (C,) are rows that count and successes
    among them; ``k`` is None where the metric is no share, ``ways`` where it has no limits.
    """

    value: Floats
    reason: Texts
    ways: tuple[Way, Way, Way] | None
    independent: Floats
    used: Flags
    n: Floats
    k: Floats | None = None


def given(texts: Texts) -> Flags:
    """Where there is a text (C,)."""
    return np.asarray([t is not None for t in texts], dtype=np.bool_)


def first_of(n: int, choices: Sequence[tuple[Flags, str | Texts]]) -> Texts:
    """For each cell (n,) the first text whose condition holds there; None where none does.

    Args:
        n: how many cells there are.
        choices: where a text holds (n,), and the text, or one a cell.
    """
    found: Texts = np.full(n, None, dtype=object)
    for where, text in reversed(choices):
        found[where] = text[where] if isinstance(text, np.ndarray) else text
    return found


def three(ways: Iterable[Way]) -> tuple[Way, Way, Way]:
    """Host, donor, both, as a tuple."""
    host, donor, both = ways
    return host, donor, both


def _reasons(value: Floats, why: str | Texts) -> Texts:
    return first_of(len(value), [(~np.isfinite(value), why)])


def of_sums(
    clusters: Clusters,
    used: Flags,
    statistic: Statistic,
    why: str | Texts,
    *,
    kind: Ints,
    kinds: int,
    classes: Sequence[Flags] = (),
) -> Estimates:
    """A statistic of counts by kind of row, with itself without each cluster.

    Args:
        clusters: cells and ways of all rows (n,).
        used: which rows count (n,).
        statistic: sums by kind (..., kinds) -> estimate (...).
        why: why there is no estimate where the statistic has none.
        kind: kind of each row (n,).
        kinds: how many kinds there are.
        classes: rows (n,) of each class that the statistic needs by itself; none: all rows are of one class.
    """
    total = clusters.total(used, kind, kinds)
    value = statistic(total)
    ways = three(
        Way(g, statistic(total[g.cell] - g.sums(used, kind, kinds)), _sizes(g, used, classes)) for g in clusters.ways
    )
    n = clusters.total(used)
    cell, which = np.nonzero(total)  # rows alike in cell and kind are left out once for all
    left = total[cell]
    left[np.arange(len(cell)), which] -= 1
    independent = repeated(statistic(left), total[cell, which], cell, clusters.cells)
    return Estimates(value, _reasons(value, why), ways, independent, used, n)


def _left(total: Floats, taken: Floats) -> Floats:
    """What is left of sums; weights that add up to nothing leave exactly nothing."""
    left = total - taken
    left[np.abs(left) < 1e-9 * np.maximum(total, 1.0)] = 0.0
    return left


def _sizes(groups: Groups, used: Flags, classes: Sequence[Flags]) -> Floats:
    return np.stack([groups.sums(used & c) for c in classes] or [groups.sums(used)])


def repeated(without: Floats, times: Floats | Ints, cell: Ints, cells: int) -> Floats:
    """Jackknife variance (C,) over rows, of which each stands for some alike.

    Args:
        without: estimate without one such row (R,).
        times: how many rows each stands for (R,).
        cell: cell of each (R,).
        cells: how many cells there are.
    """
    count = np.bincount(cell, weights=times, minlength=cells)
    with np.errstate(invalid="ignore", divide="ignore"):
        mean = np.bincount(cell, weights=times * without, minlength=cells) / count
        squares = np.bincount(cell, weights=times * (without - mean[cell]) ** 2, minlength=cells)
        return np.asarray((count - 1) / count * squares)


def of_mean(
    clusters: Clusters,
    values: Floats | Flags,
    used: Flags,
    why: str | Texts,
    *,
    weight: Floats | None = None,
    share: bool = False,
) -> Estimates:
    """The (weighted) mean of a value over the rows that count, with itself without each cluster.

    Args:
        clusters: cells and ways of all rows (n,).
        values: of each row (n,); what does not count may be anything.
        used: which rows count (n,).
        why: why there is no estimate where no row counts.
        weight: how much each row counts (n,); None: one.
        share: whether the values are 0 or 1, so that successes can be counted.
    """
    weights = used.astype(np.float64) if weight is None else np.where(used, weight, 0.0)
    kept = np.where(used, values, 0.0) * weights
    sums = np.stack([kept, weights])
    total = np.stack([clusters.total(s) for s in sums], axis=-1)
    n, cell = clusters.total(used), clusters.cell

    def mean(left: Floats) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray(np.where(left[..., 1] > 0, left[..., 0] / left[..., 1], np.nan))

    value = mean(total)
    ways = three(
        Way(g, mean(_left(total[g.cell], np.stack([g.sums(s) for s in sums], axis=-1))), _sizes(g, used, ()))
        for g in clusters.ways
    )
    rows = np.flatnonzero(used)
    without = mean(_left(total[cell[rows]], sums[:, rows].T))
    independent = repeated(without, np.ones(len(rows)), cell[rows], clusters.cells)
    k = np.rint(value * n) if share and weight is None else None
    return Estimates(value, _reasons(value, why), ways, independent, used, n, k)


def of_influence(
    clusters: Clusters,
    value: Floats,
    influence: Floats,
    used: Flags,
    why: str | Texts,
    classes: Sequence[Flags] = (),
) -> Estimates:
    """An estimate with the share of each row in its error (the infinitesimal jackknife), where none can be recomputed.

    Args:
        clusters: cells and ways of all rows (n,).
        value: estimate of each cell (C,).
        influence: share of each row in the estimate's error (n,); sums to 0 over a cell.
        used: which rows count (n,).
        why: why there is no estimate where the value is NaN.
        classes: rows (n,) of each class that the statistic needs by itself.
    """
    kept = np.where(used, influence, 0.0)
    ways = []
    with np.errstate(invalid="ignore", divide="ignore"):
        for g in clusters.ways:
            sizes = _sizes(g, used, classes)
            count = g.per_cell(sizes.sum(axis=0) > 0)
            left = value[g.cell] - g.sums(kept) * (count / (count - 1))[g.cell]
            ways.append(Way(g, np.where(count[g.cell] > 1, left, np.nan), sizes))
        n = clusters.total(used)
        independent = clusters.total(kept**2) * n / (n - 1)
    return Estimates(value, _reasons(value, why), three(ways), independent, used, n)
