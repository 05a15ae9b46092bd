"""Which marks of a scan hit which nodules, under stated rules.

``LUNA16`` are the published rules, ``OURS`` those of reports; what differs is in ``Rules``. Arrays only: reads no file,
draws no curve.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints

#: Diameter of a finding whose diameter is not stated (-1 in the tables of LUNA16), mm; docs/facts/evaluation.md#froc
UNSTATED_DIAMETER_MM = 10.0
#: Pairs of a mark and a nodule that are looked at together; bounds memory (ours).
_PAIRS = 2_000_000


@dataclass(frozen=True)
class Rules:
    """How marks are counted.

    Attributes:
        name: of the rules.
        rim_hits: a mark exactly on the rim of a nodule hits it.
        least_diameter_mm: a smaller nodule is hit as one of this diameter is, mm.
        one_nodule_a_mark: a mark within several nodules hits the one in which it lies deepest; else it hits all.
        most_marks: marks of a scan that count; of more only those above the first one that is too many.
        straight: sensitivity between two thresholds lies on the straight line; else it is that of the last threshold
            with no more false marks.
    """

    name: str
    rim_hits: bool
    least_diameter_mm: float
    one_nodule_a_mark: bool
    most_marks: int | None
    straight: bool


LUNA16 = Rules("luna16", rim_hits=False, least_diameter_mm=0.0, one_nodule_a_mark=False, most_marks=100, straight=True)
OURS = Rules("ours", rim_hits=True, least_diameter_mm=5.0, one_nodule_a_mark=True, most_marks=None, straight=False)
RULES = {rules.name: rules for rules in (OURS, LUNA16)}


@dataclass(frozen=True)
class MarkArrays:
    """Marks: number of the scan (n,), place in mm (n, 3), finite score (n,)."""

    scan: Ints
    place: Floats
    score: Floats


@dataclass(frozen=True)
class NoduleArrays:
    """Findings: number of the scan (m,), place in mm (m, 3), diameter in mm (m,), whether it is excluded (m,)."""

    scan: Ints
    place: Floats
    diameter_mm: Floats
    excluded: Flags


@dataclass(frozen=True)
class MatchedMarks:
    """What marks did to the nodules that count, in the order of the nodules, and the false marks.

    Attributes:
        n_scans: scans that were read.
        nodule_scan: scan of each nodule (k,).
        nodule_score: highest score of a mark that hits it (k,); minus infinity: missed.
        false_scan: scan of each false mark (f,).
        false_score: its score (f,).
        repeated: further hits of a nodule that was hit already; neither right nor false.
        on_excluded: marks on excluded findings alone; neither right nor false.
        beyond_limit: marks left out because a scan has too many.
    """

    n_scans: int
    nodule_scan: Ints
    nodule_score: Floats
    false_scan: Ints
    false_score: Floats
    repeated: int
    on_excluded: int
    beyond_limit: int

    @property
    def is_free(self) -> Flags:
        """Which scans hold no nodule that counts (n_scans,)."""
        return np.asarray(np.bincount(self.nodule_scan, minlength=self.n_scans) == 0)


def match(marks: MarkArrays, nodules: NoduleArrays, n_scans: int, rules: Rules) -> MatchedMarks:
    """Marks against nodules.

    Args:
        marks: of all scans, in any order.
        nodules: of all scans, excluded findings among them.
        n_scans: scans there are; numbers of scans run from 0 below it.
        rules: what hits and what counts.
    """
    within = _within_limit(marks, rules.most_marks, n_scans)
    kept = MarkArrays(marks.scan[within], marks.place[within], marks.score[within])
    mark, nodule, depth = _hits(kept, nodules, n_scans, rules)
    excluded = nodules.excluded[nodule]
    on_nodule, on_excluded = np.zeros((2, len(kept.scan)), bool)
    on_nodule[mark[~excluded]] = True
    on_excluded[mark[excluded]] = True
    mark, nodule, depth = mark[~excluded], nodule[~excluded], depth[~excluded]
    if rules.one_nodule_a_mark:
        order = np.lexsort((nodule, depth, mark))
        mark, nodule = mark[order], nodule[order]
        first = np.r_[True, mark[1:] != mark[:-1]][: len(mark)]
        mark, nodule = mark[first], nodule[first]
    best = np.full(len(nodules.scan), -np.inf)
    np.maximum.at(best, nodule, kept.score[mark])
    counted = ~nodules.excluded
    false = ~on_nodule & ~on_excluded
    return MatchedMarks(
        n_scans=n_scans,
        nodule_scan=nodules.scan[counted],
        nodule_score=best[counted],
        false_scan=kept.scan[false],
        false_score=kept.score[false],
        repeated=len(nodule) - len(np.unique(nodule)),
        on_excluded=int((on_excluded & ~on_nodule).sum()),
        beyond_limit=int((~within).sum()),
    )


def _within_limit(marks: MarkArrays, most: int | None, n_scans: int) -> Flags:
    """Which marks count: of a scan with more than ``most`` those strictly above the first that is too many."""
    if most is None:
        return np.ones(len(marks.scan), bool)
    order = np.lexsort((-marks.score, marks.scan))
    counts = np.bincount(marks.scan, minlength=n_scans)
    too_many = np.flatnonzero(counts > most)
    limit = np.full(n_scans, -np.inf)
    limit[too_many] = marks.score[order][(np.cumsum(counts) - counts)[too_many] + most]
    return np.asarray(marks.score > limit[marks.scan])


def _hits(marks: MarkArrays, nodules: NoduleArrays, n_scans: int, rules: Rules) -> tuple[Ints, Ints, Floats]:
    """Every pair of a mark within a nodule: its mark, its nodule, and squared distance over squared radius."""
    order = np.argsort(marks.scan, kind="stable")
    counts = np.bincount(marks.scan, minlength=n_scans)
    starts = np.cumsum(counts) - counts
    squared = (np.maximum(nodules.diameter_mm, rules.least_diameter_mm) / 2) ** 2
    found: list[tuple[Ints, Ints, Floats]] = []
    for block in _blocks(counts[nodules.scan]):
        scan = nodules.scan[block]
        sizes = counts[scan]
        nodule = np.repeat(block, sizes)
        nth = np.arange(len(nodule)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
        mark = order[np.repeat(starts[scan], sizes) + nth]
        distance = ((marks.place[mark] - nodules.place[nodule]) ** 2).sum(axis=1)
        hit = distance <= squared[nodule] if rules.rim_hits else distance < squared[nodule]
        found.append((mark[hit], nodule[hit], distance[hit] / squared[nodule[hit]]))
    if not found:
        return np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0)
    mark, nodule, depth = (np.concatenate(parts) for parts in zip(*found, strict=True))
    return mark, nodule, depth


def _blocks(sizes: Ints) -> Iterator[Ints]:
    """Consecutive nodules whose numbers of marks (m,) come to about ``_PAIRS``."""
    block = np.cumsum(sizes) // _PAIRS
    yield from np.split(np.arange(len(sizes)), np.flatnonzero(np.diff(block)) + 1) if len(sizes) else ()
