"""Shares of two sides of cells, one of them standardised to the mix of strata of the other, with their joint variance.

A cell has a studied side and a target side. The studied share is the mean of its strata's shares, weighted by what the
strata are of the target (post-stratification, docs/facts/evaluation.md#transfer); with one stratum it is the plain
share. Strata of the target that the studied side lacks count on neither side. The target's mix is itself a sample, so
its persons move the studied share too. Variances are those of the leave-cluster-out jackknife, from each person's
influence. All cells are about the same slices, so all are worked out at once. Arrays only.
"""

from dataclasses import dataclass

import numpy as np
from scipy import sparse

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints, distinct
from itrialspace_assets.analysis.estimates.jackknife import Texts, first_of
from itrialspace_assets.analysis.estimates.variance import Differences, combined

#: Persons that a stratum of the studied side needs, as hosts and as donors, to have a variance (ours).
LEAST_PERSONS = 2
NO_STUDIED, NO_TARGET = "no synthetic slice", "no real slice"
NO_STRATUM = "no stratum with a real slice has two synthetic hosts and donors"


@dataclass(frozen=True)
class CellAnswers:
    """Slices (n) of both sides with what was answered in each cell.

    Attributes:
        stratum: of each slice (n,), from 0.
        host: host person (n,), from 0.
        donor: donor person (n,), from 0; one without a donor has a number of its own.
        studied: whether the slice is of the studied side (n,); else it is of the target.
        right: 1 where it was answered rightly in a cell, 0 where not, -1 where it does not count (n, C).
    """

    stratum: Ints
    host: Ints
    donor: Ints
    studied: Flags
    right: np.ndarray[tuple[int, int], np.dtype[np.int8]]


@dataclass(frozen=True)
class StandardisedSides:
    """Shares of C cells on both sides.

    Attributes:
        studied: standardised share (C,); NaN: see ``reason``.
        targeted: share of the target (C,) over the same strata.
        apart: studied less target, with its two-way variance (C,).
        covariance: two-way, of the studied shares and then the targets' (2 C, 2 C); it may lack a positive root.
        supported: strata (C, S) that count on both sides.
        target: slices of the target by stratum (C, S).
        alike: cells (C,) in which each stratum has one answer, the same on both sides.
        reason: why a cell has no share (C,).
    """

    studied: Floats
    targeted: Floats
    apart: Differences
    covariance: Floats
    supported: Flags
    target: Floats
    alike: Flags
    reason: Texts

    @property
    def lacking(self) -> Floats:
        """Share of the target's mix (C,) that has no counterpart; NaN without a target."""
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.asarray((self.target * ~self.supported).sum(axis=1) / self.target.sum(axis=1))


def sides(rows: CellAnswers, strata: int) -> StandardisedSides:
    """Both sides of all cells.

    Args:
        rows: what was answered.
        strata: how many strata there are (S).
    """
    there, right = rows.right >= 0, np.maximum(rows.right, 0).astype(np.float64)
    own, other = there & rows.studied[:, None], there & ~rows.studied[:, None]
    to_stratum = _adding(rows.stratum, strata)
    n, of = to_stratum @ own.astype(np.float64), to_stratum @ other.astype(np.float64)  # (S, C)
    persons = np.minimum(*(_persons(rows, own, who, strata) for who in (rows.host, rows.donor)))
    supported = (persons >= LEAST_PERSONS) & (of > 0)
    kept = of * supported
    total = kept.sum(axis=0)
    with np.errstate(invalid="ignore", divide="ignore"):
        mix, weight = kept / total, kept / total / n
        mean, goal = (to_stratum @ (right * own)) / n, (to_stratum @ (right * other)) / of
    nothing = np.asarray(~supported.any(axis=0))
    value, wanted = (np.where(nothing, np.nan, np.where(supported, mix * m, 0.0).sum(axis=0)) for m in (mean, goal))
    used = supported[rows.stratum]
    own, other = own & used, other & used
    # what a slice moves: a studied one its stratum's share; one of the target its share, and the mix as well
    at, hosts = rows.stratum, np.maximum(different(rows.host, own | other), LEAST_PERSONS)
    with np.errstate(invalid="ignore", divide="ignore"):
        few = np.sqrt(persons / (persons - 1) * (hosts - 1) / hosts)  # shares of a few persons vary too little
        moved = np.where(own, (weight * few)[at] * (right - mean[at]), 0.0)
        moved = np.where(other, (mean[at] - value) / total, moved)
        missed = np.where(other, (right - wanted) / total, 0.0)
    influence: Floats = np.concatenate([moved, missed], axis=1)
    stands: Flags = np.concatenate([own | other, other], axis=1)
    worth = np.where(own, np.nan_to_num(weight)[at], 0.0), other.astype(np.float64)
    found = [_way(who, influence, stands, worth) for who in (rows.host, rows.donor, _both(rows))]
    apart = combined([f.variance for f in found], [(f.clusters, f.effective) for f in found])
    covariance = found[0].covariance + found[1].covariance - found[2].covariance
    same = (mean == goal) & ((mean == 0) | (mean == 1))
    lacks = [(n.sum(axis=0) == 0, NO_STUDIED), (of.sum(axis=0) == 0, NO_TARGET), (nothing, NO_STRATUM)]
    return StandardisedSides(
        value,
        wanted,
        Differences(value - wanted, apart, []),
        covariance,
        supported.T,
        of.T,
        ~nothing & (same | ~supported).all(axis=0),
        first_of(len(value), lacks),
    )


def _adding(place: Ints, places: int) -> sparse.csr_array:
    """Adds rows (n,) up by place (places, n)."""
    return sparse.csr_array((np.ones(len(place)), (place, np.arange(len(place)))), shape=(places, len(place)))


def _persons(rows: CellAnswers, own: Flags, who: Ints, strata: int) -> Floats:
    """Different persons in each stratum and cell (S, C)."""
    width = int(who.max(initial=-1)) + 1
    keys, of = distinct(rows.stratum * width + who)
    there = (_adding(of, len(keys)) @ own.astype(np.float64)) > 0
    return np.asarray(_adding(keys // max(width, 1), strata) @ there.astype(np.float64))


def different(who: Ints, used: Flags) -> Floats:
    """Different persons of each cell (C,).

    Args:
        who: person of each slice (n,), from 0.
        used: where a slice counts (n, C).
    """
    return np.asarray(((_adding(who, int(who.max(initial=-1)) + 1) @ used.astype(np.float64)) > 0).sum(axis=0))


def _both(rows: CellAnswers) -> Ints:
    return distinct(rows.host * (int(rows.donor.max(initial=-1)) + 1) + rows.donor)[1]


@dataclass(frozen=True)
class _Way:
    """What one way of clustering says: variance of the differences (C,), covariance (2 C, 2 C), clusters (C,)."""

    variance: Floats
    covariance: Floats
    clusters: Floats
    effective: Floats


def _way(who: Ints, influence: Floats, stands: Flags, worth: tuple[Floats, Floats]) -> _Way:
    """Jackknife over the persons of one way.

    Args:
        who: person of each slice (n,).
        influence: what each slice moves on either side of each cell (n, 2 C).
        stands: where it counts (n, 2 C).
        worth: how much a slice weighs on the studied side, and on the target side (n, C).
    """
    add = _adding(who, int(who.max(initial=-1)) + 1)
    moved, there = add @ influence, (add @ stands.astype(np.float64)) > 0
    cells = influence.shape[1] // 2

    def factor(count: Floats | Ints) -> Floats:
        with np.errstate(invalid="ignore", divide="ignore"):
            return np.where(count > 1, np.sqrt(count / (count - 1)), 0.0)

    apart = (moved[:, :cells] - moved[:, cells:]) * factor((there[:, :cells] | there[:, cells:]).sum(axis=0))
    shares = moved * factor(there.sum(axis=0))
    sums = [add @ w for w in worth]
    with np.errstate(invalid="ignore", divide="ignore"):
        kish = [s.sum(axis=0) ** 2 / (s**2).sum(axis=0) for s in sums]
    clusters = np.minimum(*((s > 0).sum(axis=0) for s in sums)).astype(np.float64)
    return _Way((apart**2).sum(axis=0), shares.T @ shares, clusters, np.minimum(*kish))
