"""FROC by array code: one sort, then counts at every threshold, for all resamples of the scans at once.

Sensitivity over nodules against false marks a scan, the mean sensitivity at seven rates (CPM), AFROC and wAFROC areas,
false marks on lesion-free scans at the same thresholds. Knows arrays only; ``matching`` says which marks hit.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.matching import MatchedMarks

#: False marks a scan at which sensitivity is read; their mean is the CPM (docs/facts/evaluation.md#froc).
RATES = (0.125, 0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
#: Cells of a table (resamples x marks) that are held at once; bounds memory (ours).
_CELLS = 4_000_000


@dataclass(frozen=True)
class Curve:
    """Counts at every threshold, from the highest score down; a mark counts from its own score on.

    Attributes:
        threshold: distinct scores, falling (k,).
        false_per_scan: false marks over scans (k,).
        sensitivity: share of nodules that are hit (k,); empty where there are none.
        false_per_free_scan: false marks on lesion-free scans over lesion-free scans (k,); empty where there are none.
    """

    threshold: Floats
    false_per_scan: Floats
    sensitivity: Floats
    false_per_free_scan: Floats

    def corners(self) -> list[tuple[float, float]]:
        """Points (false marks a scan, sensitivity) at which the curve bends, and its last one."""
        if not len(self.sensitivity):
            return []
        x, y = np.r_[0.0, self.false_per_scan], np.r_[0.0, self.sensitivity]
        rise, run = np.diff(y) > 0, np.diff(x) > 0
        both = rise & run
        bends = (rise[:-1] != rise[1:]) | (run[:-1] != run[1:]) | both[:-1] | both[1:]
        return [(float(a), float(b)) for a, b in zip(x[1:][np.r_[bends, True]], y[1:][np.r_[bends, True]], strict=True)]


@dataclass(frozen=True)
class Resampled:
    """What a curve says, for each of B resamples; NaN where a resample has no nodule or no lesion-free scan.

    Attributes:
        sensitivity: at each rate (B, R).
        false_per_free_scan: at the same thresholds, on lesion-free scans (B, R).
        cpm: mean sensitivity over the rates (B,).
        afroc: chance that a nodule is marked higher than the highest false mark of a lesion-free scan (B,).
        wafroc: the same where the nodules of one scan share the weight of one (B,).
        by_group: sensitivity of each group of nodules at the threshold that allows ``free_rate`` false marks a
            lesion-free scan (B, G).
    """

    sensitivity: Floats
    false_per_free_scan: Floats
    cpm: Floats
    afroc: Floats
    wafroc: Floats
    by_group: Floats


def curve(matched: MatchedMarks) -> Curve:
    """The FROC curve."""
    levels = _Levels.of(matched)
    n_free, n_nodules = int(matched.is_free.sum()), len(matched.nodule_scan)
    return Curve(
        threshold=levels.threshold,
        false_per_scan=levels.false_upto[1:] / max(matched.n_scans, 1),
        sensitivity=levels.hit_upto[1:] / n_nodules if n_nodules else np.zeros(0),
        false_per_free_scan=levels.free_upto[1:] / n_free if n_free else np.zeros(0),
    )


def threshold_on_free(matched: MatchedMarks, rate: float) -> float | None:
    """Lowest score at which lesion-free scans have no more than ``rate`` false marks each; None without such scans.

    It is minus infinity where all marks may count, and infinity where not even the highest may.
    """
    n_free = int(matched.is_free.sum())
    if not n_free:
        return None
    levels = _Levels.of(matched)
    last = int(np.searchsorted(levels.free_upto, int(np.floor(rate * n_free)), side="right")) - 1
    if last == len(levels.threshold):
        return -np.inf
    return float(levels.threshold[last - 1]) if last else np.inf


def draw_clusters(cluster: Ints, replicates: int, seed: np.random.SeedSequence) -> npt.NDArray[np.int32]:
    """How often each element is drawn where whole clusters are drawn with replacement.

    Args:
        cluster: of each element, from 0 without a gap (n,).
        replicates: how many resamples.
        seed: of the draws.

    Returns:
        Counts (replicates, n).
    """
    groups = int(cluster.max()) + 1 if len(cluster) else 0
    drawn = np.random.default_rng(seed).integers(0, max(groups, 1), (replicates, groups))
    cell = drawn + np.arange(replicates)[:, None] * groups
    counts = np.bincount(cell.ravel(), minlength=replicates * groups).reshape(replicates, groups)
    return counts.astype(np.int32)[:, cluster]


def resample(
    matched: MatchedMarks,
    scan_weight: npt.NDArray[np.int32],
    *,
    nodule_weight: npt.NDArray[np.int32] | None = None,
    straight: bool,
    rates: tuple[float, ...] = RATES,
    groups: Flags | None = None,
    free_rate: float = 1.0,
) -> Resampled:
    """What the curve says where scans and nodules count several times or not at all.

    Args:
        matched: marks and nodules.
        scan_weight: how often each scan counts (B, n_scans), whole numbers; ones for the estimate itself.
        nodule_weight: the same for nodules (B, k); None: as their scans.
        straight: read sensitivity between two thresholds off the straight line; else of the last threshold that has
            no more false marks than the rate.
        rates: false marks a scan.
        groups: which nodules each group holds (G, k); they may overlap. None: no groups.
        free_rate: false marks a lesion-free scan at the threshold of the groups.
    """
    levels = _Levels.of(matched)
    held = groups if groups is not None else np.zeros((0, len(matched.nodule_scan)), bool)
    parts = []
    for rows in _chunks(len(scan_weight), max(len(matched.false_scan), len(matched.nodule_scan), matched.n_scans)):
        scans = scan_weight[rows]
        nodules = scans[:, matched.nodule_scan] if nodule_weight is None else nodule_weight[rows]
        parts.append(_read(matched, levels, scans, nodules, straight, np.asarray(rates), held, free_rate))
    columns = [np.concatenate(column) for column in zip(*parts, strict=True)]
    return Resampled(*columns)


@dataclass(frozen=True)
class _Levels:
    """False marks and hit nodules from the highest score down, and how many of them each threshold lets through.

    ``*_upto``: counts at no threshold at all, then at each distinct score (k + 1,).
    """

    threshold: Floats
    false: Ints
    free: Flags
    hit: Ints
    false_upto: Ints
    free_upto: Ints
    hit_upto: Ints

    @classmethod
    def of(cls, matched: MatchedMarks) -> "_Levels":
        found = np.flatnonzero(np.isfinite(matched.nodule_score))
        hit = found[np.argsort(-matched.nodule_score[found], kind="stable")]
        order = np.argsort(-matched.false_score, kind="stable")
        false = matched.false_scan[order]
        free = matched.is_free[false]
        threshold = -np.unique(-np.r_[matched.nodule_score[hit], matched.false_score])
        false_upto = np.searchsorted(-matched.false_score[order], -threshold, side="right")
        hit_upto = np.searchsorted(-matched.nodule_score[hit], -threshold, side="right")
        free_before = np.r_[0, np.cumsum(free)]
        return cls(
            threshold=threshold,
            false=false,
            free=free,
            hit=hit,
            false_upto=np.r_[0, false_upto],
            free_upto=np.r_[0, free_before[false_upto]],
            hit_upto=np.r_[0, hit_upto],
        )


def _chunks(rows: int, width: int) -> Iterator[slice]:
    """Slices of so many resamples that about ``_CELLS`` cells are held."""
    step = max(1, _CELLS // max(width, 1))
    yield from (slice(start, start + step) for start in range(0, rows, step))


def _read(
    matched: MatchedMarks,
    levels: _Levels,
    scans: npt.NDArray[np.int32],
    nodules: npt.NDArray[np.int32],
    straight: bool,
    rates: Floats,
    groups: Flags,
    free_rate: float,
) -> tuple[Floats, ...]:
    """The fields of ``Resampled`` for some resamples."""
    n_scans, n_free = scans.sum(axis=1), scans[:, matched.is_free].sum(axis=1)
    n_nodules = nodules.sum(axis=1)
    wanted, allowed = rates * n_scans[:, None], free_rate * n_free[:, None]
    false, on_free = _false_marks(levels, scans, wanted, allowed)
    hits = _running(nodules[:, levels.hit])
    last = _last_level(false, wanted, levels.false_upto)
    left = (wanted - _at(false, levels.false_upto[last])) if straight else np.zeros_like(wanted)
    after = np.minimum(last + 1, len(levels.threshold))
    gap = _at(false, levels.false_upto[after]) - _at(false, levels.false_upto[last])
    part = np.divide(left, gap, out=np.zeros_like(wanted), where=(gap > 0) & (left > 0))

    def between(counts: npt.NDArray[np.int64], upto: Ints) -> Floats:
        low = _at(counts, upto[last])
        return np.asarray(low + part * (_at(counts, upto[after]) - low), dtype=np.float64)

    sensitivity = _over(between(hits, levels.hit_upto), n_nodules[:, None])
    false_on_free = _over(between(on_free, levels.false_upto), n_free[:, None])
    set_at = _last_level(on_free, allowed, levels.false_upto)[:, 0]
    return (
        sensitivity,
        false_on_free,
        sensitivity.mean(axis=1),
        *_areas(matched, scans, nodules),
        _by_group(levels, nodules, set_at, groups, n_free),
    )


def _false_marks(
    levels: _Levels, scans: npt.NDArray[np.int32], wanted: Floats, allowed: Floats
) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.int64]]:
    """Running counts of false marks, on all scans and on lesion-free ones, as far down as the limits are exceeded.

    Most marks of a detector lie below every rate: whole levels are added until each resample is above its limits.

    Args:
        levels: the false marks in order.
        scans: how often each scan counts (B, n_scans).
        wanted: limits on all scans (B, R).
        allowed: limits on lesion-free scans (B, 1).
    """
    guess = int(1.25 * wanted.max(initial=0)) + 1  # ours: resampled counts spread by less
    while True:
        level = min(int(np.searchsorted(levels.false_upto, guess)), len(levels.threshold))
        reach = int(levels.false_upto[level])
        drawn = scans[:, levels.false[:reach]]
        false, on_free = _running(drawn), _running(drawn * levels.free[:reach])
        exceeded = (false[:, -1:] > wanted).all() and (on_free[:, -1:] > allowed).all()
        if exceeded or reach == len(levels.false):
            return false, on_free
        guess *= 2


def _running(weights: npt.NDArray[np.int32]) -> npt.NDArray[np.int64]:
    """Sums of the first 0, 1, ... n columns (B, n + 1)."""
    sums = np.zeros((weights.shape[0], weights.shape[1] + 1), np.int64)
    np.cumsum(weights, axis=1, out=sums[:, 1:])
    return sums


def _at(counts: npt.NDArray[np.int64], column: Ints) -> npt.NDArray[np.int64]:
    """Of each row the given columns (B, R)."""
    return np.take_along_axis(counts, column, axis=1)


def _last_level(counts: npt.NDArray[np.int64], most: Floats, upto: Ints) -> Ints:
    """The last level at which a count is not above a limit.

    Args:
        counts: sums over the first 0 ... n marks (B, n + 1).
        most: limits (B, R).
        upto: marks that each level lets through (levels,).
    """
    above = int(counts.max(initial=0)) + 1
    row = np.arange(len(counts))[:, None]
    limit = np.clip(np.floor(most), -1, above - 1).astype(np.int64)
    place = np.searchsorted((counts + row * above).ravel(), limit + row * above, side="right")
    marks = place - row * counts.shape[1] - 1
    return np.asarray(np.searchsorted(upto, marks, side="right") - 1, dtype=np.int64)


def _over(part: Floats, whole: npt.NDArray[np.int64]) -> Floats:
    """Shares; NaN of nothing."""
    return np.asarray(np.divide(part, whole, out=np.full(part.shape, np.nan), where=whole > 0))


def _areas(
    matched: MatchedMarks, scans: npt.NDArray[np.int32], nodules: npt.NDArray[np.int32]
) -> tuple[Floats, Floats]:
    """AFROC and wAFROC areas (B,): a nodule against the highest false mark of a lesion-free scan, ties half."""
    highest = np.full(matched.n_scans, -np.inf)
    np.maximum.at(highest, matched.false_scan, matched.false_score)
    free = np.flatnonzero(matched.is_free)
    free = free[np.argsort(highest[free], kind="stable")]
    ranked = _running(scans[:, free])
    below = np.searchsorted(highest[free], matched.nodule_score, side="left")
    not_above = np.searchsorted(highest[free], matched.nodule_score, side="right")
    won = _over((ranked[:, below] + ranked[:, not_above]) / 2, ranked[:, -1:])
    in_scan = np.bincount(matched.nodule_scan, minlength=matched.n_scans)[matched.nodule_scan]
    areas = []
    for share in (np.ones(len(in_scan)), 1 / in_scan):
        weight = nodules * share
        total = weight.sum(axis=1)
        areas.append(np.divide((weight * won).sum(axis=1), total, out=np.full(len(total), np.nan), where=total > 0))
    return areas[0], areas[1]


def _by_group(
    levels: _Levels, nodules: npt.NDArray[np.int32], level: Ints, groups: Flags, n_free: npt.NDArray[np.int64]
) -> Floats:
    """Sensitivity of each group at a level of each resample (B, G); NaN without lesion-free scans."""
    found = [np.zeros((len(nodules), 0))]
    for here in groups:
        hits = _at(_running(nodules[:, levels.hit] * here[levels.hit]), levels.hit_upto[level][:, None])
        whole = np.where(n_free > 0, nodules[:, here].sum(axis=1), 0)
        found.append(_over(hits.astype(np.float64), whole[:, None]))
    return np.concatenate(found, axis=1)
