"""Assigns each case one of many scarce candidates (donors, hosts) by deferred acceptance.

The method is that of D. Gale and L. S. Shapley, College admissions and the stability of marriage, American Mathematical
Monthly 69 (1962) 9-15 (docs/facts/trials.md#host-donor-assignment). Cases propose to candidates in the order of their
own preferences. A candidate keeps the proposals of the lowest case numbers, up to its capacity, and the displaced cases
propose to their next one. What case k gets depends on the cases before it alone, so asking for more cases changes
nothing that was planned. All cases propose at once, as arrays. Knows no donor, host or trial.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

Ints = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Floats = npt.NDArray[np.float64]
#: (cases, candidates), both of shape (k,) -> whether each case may have that candidate, shape (k,).
Allowed = Callable[[Ints, Ints], Bools]
#: Preferences that are looked at together; ours: enough to keep arrays long, few enough to stay in the cache.
_AT_ONCE = 8192


@dataclass(frozen=True)
class SortedGroups:
    """Candidates in groups, sorted by a value within each: "group g, value in [low, high)" is then one segment.

    Attributes:
        order: index of the candidate at each place, shape (m,).
        values: its value there, shape (m,).
        starts: first place of each group, and one more entry for the end.
    """

    order: Ints
    values: Floats
    starts: Ints

    @staticmethod
    def of(groups: Ints, values: Floats, n_groups: int) -> "SortedGroups":
        """Sort candidates into groups.

        Args:
            groups: group of each candidate, 0 … n_groups - 1, shape (m,); candidates are in a fixed order, by id.
            values: what to sort by, shape (m,); of equal values the first candidate comes first.
            n_groups: number of groups, empty ones too.
        """
        order = np.lexsort((np.arange(len(values)), values, groups))
        starts = np.searchsorted(groups[order], np.arange(n_groups + 1))
        return SortedGroups(order.astype(np.int64), values[order], starts.astype(np.int64))

    def segments(self, groups: Ints, low: Floats, high: Floats) -> tuple[Ints, Ints]:
        """First place and number of places of n segments, shape (n,) each.

        Args:
            groups: group of each, shape (n,).
            low: least value, shape (n,).
            high: the value that is no longer in it, shape (n,).
        """
        first, count = np.zeros(len(groups), np.int64), np.zeros(len(groups), np.int64)
        for g in np.unique(groups):
            at = groups == g
            a, b = self.starts[g], self.starts[g + 1]
            lo = a + np.searchsorted(self.values[a:b], low[at], side="left")
            hi = a + np.searchsorted(self.values[a:b], high[at], side="left")
            first[at], count[at] = lo, np.maximum(0, hi - lo)
        return first, count


@dataclass(frozen=True)
class Preferences:
    """The order in which each of n cases proposes: segments one after the other, each begun at a place of its own.

    Attributes:
        order: index of the candidate at each place, as in ``SortedGroups``.
        first: first place of each segment, shape (parts, n).
        count: places of each segment, shape (parts, n).
        start: raw 64-bit draws that say where a case begins in its segments, shape (n,).
    """

    order: Ints
    first: Ints
    count: Ints
    start: npt.NDArray[np.uint64]

    @property
    def length(self) -> Ints:
        """How many candidates each case may propose to, shape (n,)."""
        return np.asarray(self.count.sum(axis=0), dtype=np.int64)

    def at(self, cases: Ints, turn: Ints) -> tuple[Ints, Ints]:
        """(candidate, part) that some cases propose to, shape (k,) each.

        Args:
            cases: numbers of the cases, shape (k,).
            turn: which of their proposals, from 0 and below their ``length``, shape (k,).
        """
        candidate = np.zeros(len(cases), np.int64)
        part = np.zeros(len(cases), np.int64)
        left, open_ = turn.copy(), np.ones(len(cases), bool)
        for p in range(len(self.count)):
            count = self.count[p, cases]
            here = open_ & (left < count)
            if here.any():
                size = count[here]
                begin = (self.start[cases[here]] % size.astype(np.uint64)).astype(np.int64)
                candidate[here] = self.order[self.first[p, cases[here]] + (begin + left[here]) % size]
                part[here] = p
            open_ &= ~here
            left = np.where(open_, left - count, left)
        return candidate, part


@dataclass(frozen=True)
class Assignment:
    """What each of n cases got.

    Attributes:
        candidate: its candidate, -1 if none was left, shape (n,).
        part: the part of its preferences that the candidate is from, shape (n,).
    """

    candidate: Ints
    part: Ints


def assign(
    preferences: Preferences,
    capacity: Ints,
    allowed: Allowed | None = None,
    pair_with: Ints | None = None,
    *,
    whole: bool = False,
) -> Assignment:
    """Assign candidates to cases 0 … n - 1.

    Args:
        preferences: the order in which each case proposes.
        capacity: how many cases each candidate may serve, shape (m,).
        allowed: which candidates a case may have; all if None.
        pair_with: something else that each case already has, shape (n,); no two cases get the same pair.
        whole: end at the first case that gets nothing; no case after it gets anything either.

    Returns:
        What each case got. It depends on the cases before it alone.
    """
    n, length = len(preferences.start), preferences.length
    candidate, part = np.full(n, -1, np.int64), np.zeros(n, np.int64)
    turn = np.zeros(n, np.int64)
    last_holder = np.full(len(capacity), n, np.int64)  # of a full candidate its highest case; n while it is not full
    pending = np.arange(n)
    end = n
    while len(pending):
        proposed, from_part, ready = _propose(preferences, turn, length, pending, capacity, last_holder, allowed)
        # a full candidate only changes to earlier cases, so a case that has proposed in vain gets nothing later either
        if whole and len(ready) < len(pending):
            end = min(end, int(pending[~np.isin(pending, ready, assume_unique=True)][0]))
            candidate[end:] = -1
            proposed, from_part, ready = proposed[ready < end], from_part[ready < end], ready[ready < end]
        pending = ready
        if not len(pending):
            break
        candidate[pending], part[pending] = proposed, from_part
        touched = np.zeros(len(capacity), bool)
        touched[proposed] = True
        rivals = np.flatnonzero((candidate >= 0) & touched[candidate])
        losers = _displaced(rivals, candidate[rivals], capacity, None if pair_with is None else pair_with[rivals])
        holders = rivals[~np.isin(rivals, losers, assume_unique=True)]
        held = np.bincount(candidate[holders], minlength=len(capacity))
        highest = np.zeros(len(capacity), np.int64)
        np.maximum.at(highest, candidate[holders], holders)
        full = touched & (held >= capacity)
        last_holder[full] = highest[full]
        candidate[losers] = -1
        turn[losers] += 1
        pending = np.sort(losers)
    return Assignment(candidate, part)


def _propose(
    preferences: Preferences,
    turn: Ints,
    length: Ints,
    pending: Ints,
    capacity: Ints,
    last_holder: Ints,
    allowed: Allowed | None,
) -> tuple[Ints, Ints, Ints]:
    """(candidate, part, case): the next proposal of each pending case, to one that it may have and that is not full of
    earlier cases. Moves ``turn`` on; a case without such a candidate is left out."""
    ready: list[tuple[Ints, Ints, Ints]] = []
    moving = pending[turn[pending] < length[pending]]
    while len(moving):
        ahead = max(1, _AT_ONCE // len(moving))  # the fewer are still looking, the further each looks
        turns = turn[moving][:, None] + np.arange(ahead)
        there = turns < length[moving][:, None]
        row, step = np.nonzero(there)
        cases = moving[row]
        wanted, from_part = preferences.at(cases, turns[row, step])
        possible = (last_holder[wanted] > cases) & (capacity[wanted] > 0)
        if allowed is not None:
            possible[possible] = allowed(cases[possible], wanted[possible])
        at = np.flatnonzero(possible)
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


def _displaced(cases: Ints, candidates: Ints, capacity: Ints, paired: Ints | None) -> Ints:
    """The cases that must propose again: beyond a candidate's capacity, or with a pair that an earlier case has."""
    order = np.lexsort((cases, candidates))
    in_order = candidates[order]
    new = np.flatnonzero(np.concatenate([[True], in_order[1:] != in_order[:-1]]))
    rank = np.arange(len(order)) - np.repeat(new, np.diff(np.concatenate([new, [len(order)]])))
    out = rank >= capacity[in_order]
    lost = np.zeros(len(cases), bool)
    lost[order[out]] = True
    if paired is not None:
        by_pair = np.lexsort((cases, paired, candidates))
        same = (candidates[by_pair][1:] == candidates[by_pair][:-1]) & (paired[by_pair][1:] == paired[by_pair][:-1])
        lost[by_pair[1:][same]] = True
    return cases[lost]
