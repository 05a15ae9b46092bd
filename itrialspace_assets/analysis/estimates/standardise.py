"""Shares of two sides of cells, one of them standardised to the mix of strata of the other, with their joint variance.

A cell has a studied side and a target side. The studied share is the mean of its strata's shares, weighted by what the
strata are of the target (post-stratification, docs/facts/evaluation.md#transfer); with one stratum it is the plain
share. Strata of the target that the studied side lacks count on neither side. The target's mix is itself a sample, so
its persons move the studied share too. Arrays only.
"""

from dataclasses import dataclass, replace

import numpy as np

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Groups, Ints, clusters, groups
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Texts, Way, first_of, of_influence, three
from itrialspace_assets.analysis.estimates.variance import Differences, differences

#: Persons that a stratum of the studied side needs, as hosts and as donors, to have a variance (ours).
LEAST_PERSONS = 2
NO_STUDIED, NO_TARGET = "no synthetic slice", "no real slice"
NO_STRATUM = "no stratum of the real mix has two synthetic hosts and donors"


@dataclass(frozen=True)
class Sides:
    """Shares of C cells on both sides, as 2 C estimates: place 2 c is the studied side of cell c, 2 c + 1 its target.

    Attributes:
        estimates: of both sides.
        supported: strata (C, S) that count on both sides.
        target: rows of the target by stratum (C, S).
        alike: cells (C,) in which each stratum has one answer, the same on both sides.
    """

    estimates: Estimates
    supported: Flags
    target: Floats
    alike: Flags

    @property
    def studied(self) -> Floats:
        """Standardised share of each cell (C,)."""
        return self.estimates.value[0::2]

    @property
    def targeted(self) -> Floats:
        """Share of each cell (C,) on the target side, over the same strata."""
        return self.estimates.value[1::2]

    @property
    def lacking(self) -> Floats:
        """Share of the target's mix (C,) that has no counterpart; NaN without a target."""
        total = self.target.sum(axis=1)
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.target * ~self.supported).sum(axis=1) / total)

    @property
    def apart(self) -> Differences:
        """Studied less target in each cell, with the two-way variance of the difference."""
        cell = np.arange(len(self.alike))
        return differences(self.estimates, 2 * cell, 2 * cell + 1)


@dataclass(frozen=True)
class Answers:
    """Rows (n,) of both sides: cell, stratum, host and donor person (from 0), whether studied, whether right."""

    cell: Ints
    stratum: Ints
    host: Ints
    donor: Ints
    studied: Flags
    right: Flags


def sides(rows: Answers, cells: int, strata: int) -> Sides:
    """Both sides of all cells.

    Args:
        rows: what was answered.
        cells: how many cells there are (C).
        strata: how many strata there are (S).
    """
    place = rows.cell * strata + rows.stratum

    def table(where: Flags, weight: Floats | None = None) -> Floats:
        count = np.bincount(place[where], None if weight is None else weight[where], cells * strata)
        return count.reshape(cells, strata).astype(np.float64)

    studied, target, right = rows.studied, ~rows.studied, rows.right.astype(np.float64)
    n, of = table(studied), table(target)
    persons = np.minimum(*(_persons(place[studied], who[studied], n) for who in (rows.host, rows.donor)))
    supported = (persons >= LEAST_PERSONS) & (of > 0)
    kept = of * supported
    with np.errstate(invalid="ignore", divide="ignore"):
        mix = kept / kept.sum(axis=1, keepdims=True)
        mean, goal = table(studied, right) / n, table(target, right) / of
    value, wanted = (np.where(supported, mix * m, 0.0).sum(axis=1) for m in (mean, goal))
    nothing = np.asarray(~supported.any(axis=1))
    both: Floats = np.stack([np.where(nothing, np.nan, value), np.where(nothing, np.nan, wanted)], axis=1).ravel()
    # rows of the target stand on both sides: their mix is what the studied side is standardised to
    used = supported[rows.cell, rows.stratum]
    at, again = np.flatnonzero(used), np.flatnonzero(used & target)
    row = np.concatenate([at, again])
    side = np.concatenate([np.zeros(len(at), np.int64), np.ones(len(again), np.int64)])
    ways = clusters(2 * rows.cell[row] + side, rows.host[row], rows.donor[row], 2 * cells)
    cell, stratum, own, hit = rows.cell[row], rows.stratum[row], studied[row], right[row]
    with np.errstate(invalid="ignore", divide="ignore"):
        weight = mix[cell, stratum] / n[cell, stratum]
        share = weight * (hit - mean[cell, stratum]) * _few(persons, ways.host, cells)[cell, stratum]
        total = kept.sum(axis=1)[cell]
        moved = (mean[cell, stratum] - value[cell]) / total
        missed = (hit - wanted[cell]) / total
    influence = np.where(side == 1, missed, np.where(own, share, moved))
    why = _reasons(n, of, nothing)
    every = np.ones(len(row), bool)
    found = of_influence(ways, both, influence, every, why)
    # how many clusters there are worth: by weight on the studied side, and by rows on the target side
    worth: Floats = np.where((side == 0) & own, weight, np.where(side == 1, 1.0, 0.0))
    found = replace(found, ways=three(_weighed(w, worth, ~own) for w in found.ways or ()))
    same = (mean == goal) & ((mean == 0) | (mean == 1))
    alike = ~nothing & (same | ~supported).all(axis=1)
    return Sides(found, supported, of, alike)


def _persons(place: Ints, who: Ints, like: Floats) -> Floats:
    """Different persons in each cell and stratum, in the shape of another table of them."""
    of = groups(place, who, like.size)
    return of.per_cell(np.ones(len(of.cell), bool)).reshape(like.shape)


def _few(persons: Floats, hosts: Groups, cells: int) -> Floats:
    """Factor (C, S) by which shares of a stratum of few persons are too small; 1 with a single stratum."""
    count = hosts.per_cell(np.ones(len(hosts.cell), bool))[0::2][:, None]
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(np.sqrt(persons / (persons - 1) * (count - 1) / count))


def _weighed(way: Way, studied: Floats, target: Flags) -> Way:
    return replace(way, sizes=np.stack([way.groups.sums(studied), way.groups.sums(target)]))


def _reasons(n: Floats, of: Floats, nothing: Flags) -> Texts:
    cells = len(nothing)
    lacks = [(n.sum(axis=1) == 0, NO_STUDIED), (of.sum(axis=1) == 0, NO_TARGET), (nothing, NO_STRATUM)]
    why = first_of(cells, lacks)
    return np.repeat(why, 2)


def joint_covariance(estimates: Estimates) -> Floats:
    """Two-way covariance (K, K) of estimates that share clusters; what has no estimate has none.

    It may lack a positive root, as every two-way estimate may.
    """
    host, donor, both = (_crossed(way, estimates.value) for way in estimates.ways or ())
    return np.asarray(host + donor - both)


def _crossed(way: Way, value: Floats) -> Floats:
    g, counts = way.groups, way.sizes.sum(axis=0) > 0
    count = g.per_cell(counts)[:, None]
    here = g.spread(counts.astype(np.float64)) > 0
    moved = g.spread(np.where(counts, way.without - value[g.cell], 0.0))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = np.where(here, moved - moved.sum(axis=1, keepdims=True) / count, 0.0) * np.sqrt((count - 1) / count)
    share = np.nan_to_num(share)
    return np.asarray(share @ share.T)
