"""Gives each case one of many scarce things (donors, hosts): first come, first served, all at once.

Cases propose along their own order of preference; a thing that is asked for too often keeps the cases
with the lowest numbers, and the others ask on. What case k gets therefore depends on cases before it
alone, so asking for more cases changes nothing that was planned. Arrays only; knows no trial.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
#: Wishes that are looked at in one step: enough to keep arrays long, few enough to stay in the cache.
_AT_ONCE = 8192


@dataclass(frozen=True)
class Shelf:
    """Things in groups, sorted by a value within each, so that "group g, value in [low, high)" is a segment."""

    order: Ints  # index of the thing at each place
    values: Floats  # its value there
    starts: Ints  # first place of each group; one more entry at the end

    @staticmethod
    def of(groups: Ints, values: Floats, n_groups: int) -> "Shelf":
        """Sort things (already in a fixed order, by id) into groups 0 … n_groups - 1."""
        order = np.lexsort((np.arange(len(values)), values, groups))
        starts = np.searchsorted(groups[order], np.arange(n_groups + 1))
        return Shelf(order.astype(np.int64), values[order], starts.astype(np.int64))

    def segments(self, groups: Ints, low: Floats, high: Floats) -> tuple[Ints, Ints]:
        """First place and number of places of each query; shapes (n,)."""
        first, count = np.zeros(len(groups), np.int64), np.zeros(len(groups), np.int64)
        for g in np.unique(groups):
            at = groups == g
            a, b = self.starts[g], self.starts[g + 1]
            lo = a + np.searchsorted(self.values[a:b], low[at], side="left")
            hi = a + np.searchsorted(self.values[a:b], high[at], side="left")
            first[at], count[at] = lo, np.maximum(0, hi - lo)
        return first, count


@dataclass(frozen=True)
class Wish:
    """The order in which each case asks: segments of a shelf one after the other, each begun at a place of its own.

    ``first`` and ``count``: shape (parts, n). ``start``: raw 64-bit draws, shape (n,).
    """

    order: Ints
    first: Ints
    count: Ints
    start: npt.NDArray[np.uint64]

    @property
    def length(self) -> Ints:
        return np.asarray(self.count.sum(axis=0), dtype=np.int64)

    def at(self, cases: Ints, turn: Ints) -> tuple[Ints, Ints]:
        """(thing, part) that each of some cases asks for at its turn (below its length)."""
        thing = np.zeros(len(cases), np.int64)
        part = np.zeros(len(cases), np.int64)
        left, open_ = turn.copy(), np.ones(len(cases), bool)
        for p in range(len(self.count)):
            count = self.count[p, cases]
            here = open_ & (left < count)
            if here.any():
                size = count[here]
                begin = (self.start[cases[here]] % size.astype(np.uint64)).astype(np.int64)
                thing[here] = self.order[self.first[p, cases[here]] + (begin + left[here]) % size]
                part[here] = p
            open_ &= ~here
            left = np.where(open_, left - count, left)
        return thing, part


@dataclass(frozen=True)
class Given:
    """What each case got: thing (-1: none was left) and the part of its wish that it came from, shape (n,)."""

    thing: Ints
    part: Ints


def allocate(
    wish: Wish,
    capacity: Ints,
    allowed: Callable[[Ints, Ints], Bools] | None = None,
    pair_with: Ints | None = None,
    *,
    whole: bool = False,
) -> Given:
    """Allocate things to cases 0 … n - 1 by their wishes.

    Args:
        wish: the order in which each case asks.
        capacity: how many cases each thing may serve, shape (m,).
        allowed: (cases, things) -> whether a case may have a thing, shape (k,).
        pair_with: something else that each case already has, shape (n,); no two cases get the same pair.
        whole: end at the first case that gets nothing; none after it gets anything either.

    Returns:
        What each case got. Case k's share depends on cases below k alone.
    """
    n, length = len(wish.start), wish.length
    thing, part = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    turn = np.zeros(n, np.int64)
    last_holder = np.full(len(capacity), n, np.int64)  # of a full thing the highest case; n while there is room
    pending = np.arange(n)
    end = n
    while len(pending):
        asked, from_part, ready = _ask(wish, turn, length, pending, capacity, last_holder, allowed)
        if whole and len(ready) < len(pending):  # full things only change to earlier cases: who got nothing stays so
            end = min(end, int(pending[~np.isin(pending, ready, assume_unique=True)][0]))
            thing[end:] = -1
            asked, from_part, ready = asked[ready < end], from_part[ready < end], ready[ready < end]
        pending = ready
        if not len(pending):
            break
        thing[pending], part[pending] = asked, from_part
        touched = np.zeros(len(capacity), bool)
        touched[asked] = True
        rivals = np.flatnonzero((thing >= 0) & touched[thing])
        losers = _outranked(rivals, thing[rivals], capacity, None if pair_with is None else pair_with[rivals])
        holders = rivals[~np.isin(rivals, losers, assume_unique=True)]
        held = np.bincount(thing[holders], minlength=len(capacity))
        highest = np.zeros(len(capacity), np.int64)
        np.maximum.at(highest, thing[holders], holders)
        full = touched & (held >= capacity)
        last_holder[full] = highest[full]
        thing[losers] = -1
        turn[losers] += 1
        pending = np.sort(losers)
    return Given(thing, part)


def _ask(
    wish: Wish,
    turn: Ints,
    length: Ints,
    pending: Ints,
    capacity: Ints,
    last_holder: Ints,
    allowed: Callable[[Ints, Ints], Bools] | None,
) -> tuple[Ints, Ints, Ints]:
    """Move each pending case on to the next thing that it may have and that is not full of earlier cases."""
    ready: list[tuple[Ints, Ints, Ints]] = []
    moving = pending[turn[pending] < length[pending]]
    while len(moving):
        ahead = max(1, _AT_ONCE // len(moving))  # the fewer are still looking, the further each looks
        turns = turn[moving][:, None] + np.arange(ahead)
        there = turns < length[moving][:, None]
        row, step = np.nonzero(there)
        cases = moving[row]
        wanted, from_part = wish.at(cases, turns[row, step])
        fine = (last_holder[wanted] > cases) & (capacity[wanted] > 0)
        if allowed is not None:
            fine[fine] = allowed(cases[fine], wanted[fine])
        at = np.flatnonzero(fine)
        at = at[np.diff(row[at], prepend=-1) > 0]  # rows come in order: the first of each is the earliest turn
        hit = row[at]
        ready.append((moving[hit], wanted[at], from_part[at]))
        turn[moving[hit]] += step[at]
        left = np.ones(len(moving), bool)
        left[hit] = False
        moving = moving[left]
        turn[moving] += ahead
        moving = moving[turn[moving] < length[moving]]
    if not ready:
        nothing = np.zeros(0, np.int64)
        return nothing, nothing, nothing
    cases = np.concatenate([r[0] for r in ready])
    order = np.argsort(cases)
    return (np.concatenate([r[1] for r in ready])[order], np.concatenate([r[2] for r in ready])[order], cases[order])


def _outranked(cases: Ints, things: Ints, capacity: Ints, paired: Ints | None) -> Ints:
    """The cases that must ask on: beyond a thing's capacity, or with a pair that an earlier case has."""
    order = np.lexsort((cases, things))
    sorted_things = things[order]
    new = np.flatnonzero(np.concatenate([[True], sorted_things[1:] != sorted_things[:-1]]))
    rank = np.arange(len(order)) - np.repeat(new, np.diff(np.concatenate([new, [len(order)]])))
    out = rank >= capacity[sorted_things]
    lost = np.zeros(len(cases), bool)
    lost[order[out]] = True
    if paired is not None:
        by_pair = np.lexsort((cases, paired, things))
        same = (things[by_pair][1:] == things[by_pair][:-1]) & (paired[by_pair][1:] == paired[by_pair][:-1])
        lost[by_pair[1:][same]] = True
    return cases[lost]
