"""In what sense nodules are near each other: three search spaces, and the exact nearest or farthest rows in one.

Memory stays flat: distances are worked out for a block of rows at a time.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial.distance import cdist

from itrialspace_assets.explorer.layouts.features import Features, Floats
from itrialspace_assets.explorer.layouts.table import NoduleTable, by_value
from itrialspace_assets.index.query import DONOR_WEIGHTS

RowNumbers = npt.NDArray[np.int64]

#: Search spaces (published, docs/facts/explorer.md#search-spaces).
SPACES = ("weighted", "feature_l2", "embedding")
#: Columns of ``nodules`` that the weighted space is made of.
WEIGHTED = (
    "reinsertion_lobe",
    *(f"reinsertion_{name}" for name in ("lobe_cc_pct", "pleural_dist_mm", "nodule_diam_mm")),
)
#: Distances that are held at once; ours: 16 MiB.
_HELD = 1 << 21
#: Candidates whose coordinates are held as double precision at once; ours.
_WIDE = 1 << 16
#: Distances of which the least is taken to find a limit that few exceed; ours.
_GROUP = 16


@dataclass(frozen=True)
class Space:
    """Points (n, d) whose distances say how alike nodules are; ``metric`` is cityblock (L1) or euclidean (L2)."""

    name: str
    metric: Literal["cityblock", "euclidean"]
    points: npt.NDArray[Any] | Features


@dataclass(frozen=True)
class NeighbourPairs:
    """Pairs of rows, by query in the order asked, then by rank (from 0); ``distance`` without a unit."""

    source: RowNumbers
    target: RowNumbers
    rank: RowNumbers
    distance: Floats


def weighted(nodules: NoduleTable) -> Space:
    """The space whose L1 distance is the score of a donor for a place (``index.query``), of known values.

    A missing craniocaudal position counts as the median, a missing distance to the pleura as the greatest, a missing
    diameter as 0.

    Args:
        nodules: the table ``nodules``, with the columns of ``WEIGHTED`` at least.
    """
    cc, pleural, diameter = (
        pl.col(f"reinsertion_{name}") for name in ("lobe_cc_pct", "pleural_dist_mm", "nodule_diam_mm")
    )
    most_pleural, most_diameter = (pl.max_horizontal(c.max(), 1.0) for c in (pleural, diameter))
    numbers = (
        DONOR_WEIGHTS["cc"] * cc.fill_null(cc.median()).fill_null(0.0) / 100,
        DONOR_WEIGHTS["pleural"] * pleural.fill_null(most_pleural) / most_pleural,
        DONOR_WEIGHTS["diameter"] * diameter.fill_null(0.0) / most_diameter,
    )
    half = DONOR_WEIGHTS["lobe"] / 2  # two lobes differ in two columns
    lobes, codes = by_value(nodules, "reinsertion_lobe"), nodules.codes("reinsertion_lobe")
    points = np.empty((nodules.height, 3 + len(lobes)))
    for at, (name, number) in enumerate(zip(WEIGHTED[1:], numbers, strict=True)):
        points[:, at] = nodules.frame([name]).select(number).to_series().to_numpy()
    for at, (_, code) in enumerate(lobes, start=3):
        points[:, at] = half * (codes == code)
    return Space("weighted", "cityblock", points)


def weighted_bytes(nodules: NoduleTable) -> int:
    """Bytes that the weighted space takes while it is made: its points, and some columns."""
    return nodules.height * 8 * (3 + len(nodules.values("reinsertion_lobe")) + 5)


def nearest(
    space: Space,
    queries: RowNumbers,
    candidates: RowNumbers,
    k: int,
    *,
    farthest: bool = False,
    apart: Sequence[npt.NDArray[Any]] = (),
    told: Callable[[int], None] = lambda done: None,
) -> NeighbourPairs:
    """For each query the ``k`` nearest candidates but itself, exact; of equal distances the lower row first.

    Args:
        space: where distances are taken.
        queries: rows that are asked for (q,).
        candidates: rows to choose from, rising (c,).
        k: how many for each, at most.
        farthest: the farthest ones instead.
        apart: codes of all rows (n,): a candidate with the query's own code is left out.
        told: is told of each block how many queries are done.
    """
    found: list[tuple[RowNumbers, RowNumbers, RowNumbers, Floats]] = []
    depth = max(1, _HELD // max(1, len(candidates)))
    sign = -1.0 if farthest else 1.0
    for first in range(0, len(queries), depth):
        block = queries[first : first + depth]
        key = _distances(space, block, candidates)
        key *= sign
        place = np.minimum(np.searchsorted(candidates, block), max(0, len(candidates) - 1))
        if len(candidates):
            own = np.flatnonzero(candidates[place] == block)
            key[own, place[own]] = np.inf
        for codes in apart:
            key[codes[block][:, None] == codes[candidates]] = np.inf
        row, column = _first(key, k)
        rank = np.arange(len(row)) - np.searchsorted(row, np.arange(len(block)))[row]
        kept = rank < k
        row, column = row[kept], column[kept]
        found.append((block[row], candidates[column], rank[kept], sign * key[row, column]))
        told(len(block))
    return NeighbourPairs(*(np.concatenate(part) for part in zip(*found, strict=True))) if found else _none()


def _distances(space: Space, block: RowNumbers, candidates: RowNumbers) -> Floats:
    """Distances (q, c); coordinates of some candidates at a time are widened to double precision."""
    out = np.empty((len(block), len(candidates)))
    asked = space.points[block].astype(np.float64)
    for first in range(0, len(candidates), _WIDE):
        some = candidates[first : first + _WIDE]
        whole = int(some[-1] - some[0]) + 1 == len(some)  # rows that lie together are not copied
        others = space.points[some[0] : some[-1] + 1] if whole else space.points[some]
        out[:, first : first + len(some)] = cdist(asked, others, space.metric)
    return out


def _first(key: Floats, k: int) -> tuple[RowNumbers, RowNumbers]:
    """Row and column of the k least finite keys of each row and of some more, by row, then key, then column."""
    k = min(k, key.shape[1])
    if not k:
        return np.zeros(0, np.int64), np.zeros(0, np.int64)
    groups, parts = key.shape[1] // _GROUP, key
    if groups >= k:  # the k-th least of the groups' least ones is no less than the k-th least of all
        parts = key[:, : groups * _GROUP].reshape(len(key), _GROUP, groups).min(axis=1)
    limit = np.partition(parts, k - 1, axis=1)[:, k - 1 : k]
    row, column = np.nonzero(key <= limit)
    finite = np.isfinite(key[row, column])
    row, column = row[finite], column[finite]
    order = np.lexsort((column, key[row, column], row))
    return row[order], column[order]


def _none() -> NeighbourPairs:
    none = np.zeros(0, np.int64)
    return NeighbourPairs(none, none, none, np.zeros(0))
