"""The numbers of a FROC analysis with their intervals: sensitivities, CPM, areas, false marks on lesion-free scans.

Intervals are percentiles over resamples of whole clusters (scans, or persons): a sensitivity at a rate of false marks
depends on a quantile of scores, for which a jackknife does not hold. Arrays only.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints
from itrialspace_assets.analysis.estimates.froc import RATES, Resampled, draw_clusters, resample, threshold_on_free
from itrialspace_assets.analysis.estimates.matching import MatchedMarks, Rules

#: Resamples of an interval (ours; the evaluation of LUNA16 draws as many).
REPLICATES = 1000
#: Share of resamples that may lack a nodule, or a lesion-free scan, before there is no interval (ours).
_MAY_LACK = 0.05


@dataclass(frozen=True)
class NotedEstimate:
    """An estimate with its limits; ``note`` says why one of them is null or should not be tested."""

    estimate: float | None
    low: float | None
    high: float | None
    note: str | None


@dataclass(frozen=True)
class AtRate:
    """Sensitivity where ``false_per_scan`` marks of a scan are false, and what lesion-free scans get there."""

    false_per_scan: float
    sensitivity: NotedEstimate
    false_per_lesion_free_scan: NotedEstimate


@dataclass(frozen=True)
class Detection:
    """What a reader that marks scans does.

    Attributes:
        rates: at each of ``froc.RATES``.
        cpm: mean sensitivity over them.
        afroc: chance that a nodule is marked higher than the highest false mark of a lesion-free scan.
        wafroc: the same where the nodules of one scan share the weight of one.
        free_rate: false marks a lesion-free scan that the threshold of the groups allows.
        free_threshold: that threshold; null without lesion-free scans, or where every mark counts, or none.
        groups: sensitivity of each group of nodules there.
        method: how the intervals were made.
    """

    rates: tuple[AtRate, ...]
    cpm: NotedEstimate
    afroc: NotedEstimate
    wafroc: NotedEstimate
    free_rate: float
    free_threshold: float | None
    groups: tuple[NotedEstimate, ...]
    method: str


@dataclass(frozen=True)
class Paired:
    """A difference, and the two-sided p of no difference by the resamples."""

    difference: NotedEstimate
    p: float | None


@dataclass(frozen=True)
class DetectionDifference:
    """One reader minus another in CPM and wAFROC."""

    cpm: Paired
    wafroc: Paired


@dataclass(frozen=True)
class Resampling:
    """What resamples draw: which scans go together, and which nodules go together besides.

    Attributes:
        name: of what is drawn, for example scans or host persons.
        scan: cluster of each scan, from 0 without a gap (n_scans,).
        nodule: further cluster of each nodule (k,), from 0 without a gap; None: nodules go with their scans alone.
        fewest: fewer clusters are noted as too few to test.
    """

    name: str
    scan: Ints
    nodule: Ints | None = None
    fewest: int = 10

    def of_nodules(self, matched: MatchedMarks, nodules: Flags) -> int:
        """Clusters that hold some nodules (k,); of the way that has fewer."""
        hosts = len(np.unique(self.scan[matched.nodule_scan[nodules]]))
        return hosts if self.nodule is None else min(hosts, len(np.unique(self.nodule[nodules])))

    def few(self, held: int) -> str | None:
        """What to note where an estimate comes from so many clusters."""
        return f"fewer than {self.fewest} {self.name}" if held < self.fewest else None

    def of_free(self, matched: MatchedMarks) -> int:
        """Clusters that hold a lesion-free scan."""
        return len(np.unique(self.scan[matched.is_free]))


def detect(
    matched: MatchedMarks,
    rules: Rules,
    clusters: Resampling,
    *,
    groups: Flags | None = None,
    free_rate: float = 1.0,
    replicates: int = REPLICATES,
    alpha: float = 0.05,
    seed: np.random.SeedSequence,
) -> Detection:
    """Estimates and intervals.

    Args:
        matched: marks and nodules, matched under ``rules``.
        rules: say how sensitivity is read between two thresholds.
        clusters: what resamples draw.
        groups: which nodules each group holds (G, k); they may overlap.
        free_rate: false marks a lesion-free scan at the threshold of the groups.
        replicates: resamples of the intervals.
        alpha: 0.05 gives 95 % intervals.
        seed: of the resamples.
    """
    drawn, nodules = _drawn(matched, clusters, replicates, seed)
    found = resample(matched, drawn, nodule_weight=nodules, straight=rules.straight, groups=groups, free_rate=free_rate)
    return _summary(matched, found, clusters, groups, free_rate, replicates, alpha)


def difference(
    first: MatchedMarks,
    second: MatchedMarks,
    rules: Rules,
    clusters: Resampling,
    *,
    replicates: int = REPLICATES,
    alpha: float = 0.05,
    seed: np.random.SeedSequence,
) -> DetectionDifference:
    """One reader minus another on the same scans and nodules; both are resampled together.

    Args:
        first: marks and nodules of the first reader, matched under ``rules``.
        second: those of the other.
        rules: say how sensitivity is read between two thresholds.
        clusters: what resamples draw.
        replicates: resamples of the intervals.
        alpha: 0.05 gives 95 % intervals.
        seed: of the resamples.

    Raises:
        ValueError: the scans or the nodules are not the same.
    """
    if first.n_scans != second.n_scans or not np.array_equal(first.nodule_scan, second.nodule_scan):
        raise ValueError("expected the same scans and nodules of both readers")
    drawn, nodules = _drawn(first, clusters, replicates, seed)
    a, b = (resample(m, drawn, nodule_weight=nodules, straight=rules.straight) for m in (first, second))
    no_nodules = None if len(first.nodule_scan) else "no nodules"
    no_free = None if first.is_free.any() else "no lesion-free scans"
    held = clusters.of_nodules(first, np.ones(len(first.nodule_scan), bool))
    return DetectionDifference(
        _paired(a.cpm - b.cpm, held, clusters, no_nodules, alpha),
        _paired(a.wafroc - b.wafroc, min(held, clusters.of_free(first)), clusters, no_nodules or no_free, alpha),
    )


def _paired(values: Floats, held: int, clusters: Resampling, reason: str | None, alpha: float) -> Paired:
    """A difference (first value) with the percentiles of the others, and how often those lie on either side of none."""
    if reason is not None:
        return Paired(NotedEstimate(None, None, None, reason), None)
    number = _number(values, held, clusters.few(held), False, alpha)
    if number.low is None:
        return Paired(number, None)
    usable = values[1:][np.isfinite(values[1:])]
    side = min((usable <= 0).sum(), (usable >= 0).sum()) + 1
    return Paired(number, min(1.0, 2 * float(side) / (len(usable) + 1)))


def _drawn(
    matched: MatchedMarks, clusters: Resampling, replicates: int, seed: np.random.SeedSequence
) -> tuple[npt.NDArray[np.int32], npt.NDArray[np.int32] | None]:
    """How often scans, and nodules apart from their scans, count: once in the first row, then as drawn."""
    host, donor = seed.spawn(2)
    once = np.ones((1, matched.n_scans), np.int32)
    drawn = np.concatenate([once, draw_clusters(clusters.scan, replicates, host)])
    if clusters.nodule is not None:
        further = draw_clusters(clusters.nodule, replicates, donor)
        further = np.concatenate([np.ones((1, further.shape[1]), np.int32), further])
        return drawn, drawn[:, matched.nodule_scan] * further
    return drawn, None


def _summary(
    matched: MatchedMarks,
    found: Resampled,
    clusters: Resampling,
    groups: Flags | None,
    free_rate: float,
    replicates: int,
    alpha: float,
) -> Detection:
    no_nodules = None if len(matched.nodule_scan) else "no nodules"
    no_free = None if matched.is_free.any() else "no lesion-free scans"
    threshold = threshold_on_free(matched, free_rate)
    with_nodules = clusters.of_nodules(matched, np.ones(len(matched.nodule_scan), bool))
    with_free = clusters.of_free(matched)
    both = min(with_nodules, with_free)

    def number(values: Floats, held: int, reason: str | None, *, share: bool = True) -> NotedEstimate:
        return (
            NotedEstimate(None, None, None, reason)
            if reason
            else _number(values, held, clusters.few(held), share, alpha)
        )

    def of_group(values: Floats, mine: Flags) -> NotedEstimate:
        reason = no_free or (None if mine.any() else "no nodules")
        return number(values, clusters.of_nodules(matched, mine), reason)

    return Detection(
        rates=tuple(
            AtRate(
                rate,
                number(found.sensitivity[:, i], with_nodules, no_nodules),
                number(found.false_per_free_scan[:, i], with_free, no_free, share=False),
            )
            for i, rate in enumerate(RATES)
        ),
        cpm=number(found.cpm, with_nodules, no_nodules),
        afroc=number(found.afroc, both, no_nodules or no_free),
        wafroc=number(found.wafroc, both, no_nodules or no_free),
        free_rate=free_rate,
        free_threshold=threshold if threshold is not None and np.isfinite(threshold) else None,
        groups=tuple(of_group(found.by_group[:, i], mine) for i, mine in enumerate(() if groups is None else groups)),
        method=f"percentiles of {replicates} resamples of {clusters.name}",
    )


def _number(values: Floats, held: int, few: str | None, share: bool, alpha: float) -> NotedEstimate:
    """The estimate (first value) with the percentiles of the others.

    Args:
        values: the estimate, then one of each resample (1 + B,).
        held: clusters that it is estimated from.
        few: what to note where these are few.
        share: it lies from 0 to 1: at the ends, where no resample differs, limits are exact on the clusters.
        alpha: 0.05 gives 95 % intervals.
    """
    estimate, drawn = round(float(values[0]), 12), values[1:]  # a mean of ones stays 1
    if held < 2 or not len(drawn):
        return NotedEstimate(estimate, None, None, few if held < 2 else "no resamples")
    usable = drawn[np.isfinite(drawn)]
    if len(usable) < (1 - _MAY_LACK) * len(drawn):
        lacking = len(drawn) - len(usable)
        return NotedEstimate(
            estimate, None, None, f"{lacking} of {len(drawn)} resamples hold nothing to estimate it from"
        )
    if np.ptp(usable) < 1e-12:  # below rounding
        if not share or estimate not in (0.0, 1.0):
            return NotedEstimate(estimate, None, None, "no variation between resamples")
        low = 0.0 if estimate == 0 else float(special.betaincinv(held, 1, alpha / 2))
        high = 1.0 if estimate == 1 else float(special.betaincinv(1, held, 1 - alpha / 2))
        return NotedEstimate(estimate, low, high, few)
    low, high = (float(v) for v in np.quantile(usable, [alpha / 2, 1 - alpha / 2]))
    return NotedEstimate(estimate, low, high, few)
