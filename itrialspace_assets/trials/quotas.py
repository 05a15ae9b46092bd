"""House-monotone quotas: which level the k-th case of an arm gets, whatever the total asked for.

Asking for more cases keeps those already made, and every prefix is close to its share. A sequence
repeats after the common denominator of its shares, so only one period is computed.
"""

from collections.abc import Sequence
from fractions import Fraction
from math import lcm

import numpy as np
import numpy.typing as npt

#: Index of a level for each case.
LevelOf = npt.NDArray[np.int64]
#: Shares are kept as fractions of at most this denominator (0.01 of a percent); ours.
DENOMINATOR = 10_000


def _shares(weights: Sequence[float]) -> list[Fraction]:
    shares = [Fraction(float(w)).limit_denominator(DENOMINATOR) for w in weights]
    total = sum(shares)
    if not shares or min(shares) < 0 or total == 0:
        raise ValueError(f"expected weights >= 0 with a positive sum, got {list(weights)}")
    return [s / total for s in shares]


def quota_sequence(weights: Sequence[float], n: int) -> LevelOf:
    """Level of each of ``n`` cases, shape (n,); the first m of them are the answer for m cases.

    R. Tijdeman's solution of the chairman assignment problem (Discrete Mathematics 32, 1980;
    docs/facts/trials.md#host-donor-assignment): with L levels every prefix holds each level within
    1 - 1/(2(L-1)) of its share, so within half a case for two levels. Exact integer arithmetic.

    Args:
        weights: share of each level; they need not sum to 1.
        n: cases.

    Raises:
        ValueError: a weight is negative or all are zero.
    """
    shares = _shares(weights)
    live = [i for i, s in enumerate(shares) if s > 0]
    if len(live) == 1:
        return np.full(n, live[0], dtype=np.int64)
    unit = 2 * (len(live) - 1)  # slack is (unit - 1) / unit
    period = lcm(*(s.denominator for s in shares))
    parts = {i: int(shares[i] * period) * unit for i in live}  # all amounts in 1 / (period * unit)
    one, slack = period * unit, period * (unit - 1)
    due = dict.fromkeys(live, 0)  # shares[i] * k - given[i]
    sequence = np.empty(min(n, period), dtype=np.int64)
    for k in range(len(sequence)):
        for i in live:
            due[i] += parts[i]
        # among the levels that are due, the one whose deadline comes first (cross-multiplied to stay in integers)
        best = -1
        for i in live:
            if due[i] >= one - slack and (best < 0 or (slack - due[i]) * parts[best] < (slack - due[best]) * parts[i]):
                best = i
        due[best] -= one
        sequence[k] = best
    return np.resize(sequence, n) if n else sequence


def period_of(weights: Sequence[float]) -> int:
    """After how many cases ``quota_sequence`` repeats itself."""
    return lcm(*(s.denominator for s in _shares(weights)))


def balanced_sequence(weights: Sequence[float], context: npt.ArrayLike, n: int, context_period: int) -> LevelOf:
    """Levels of a further factor, spread evenly over each value of ``context`` (an earlier factor), shape (n,).

    Each prefix keeps every level's overall count within half a case of its share for two levels, one case for
    three, one and a half for more; among the levels that this allows, the one that the case's own context lacks
    most is taken. Without it, two quotas of related periods would always meet in the same pairs.

    Args:
        weights: share of each level.
        context: level of the earlier factor of each case, shape (n,) or longer.
        n: cases.
        context_period: after how many cases ``context`` repeats itself.

    Raises:
        ValueError: a weight is negative or all are zero.
    """
    shares = np.array([float(s) for s in _shares(weights)])
    cells = np.asarray(context, dtype=np.int64)[:n]
    live = np.flatnonzero(shares)
    if len(live) == 1 or not n:
        return np.full(n, live[0], dtype=np.int64)
    limit = 0.5 if len(live) == 2 else 1.0
    steps = min(n, period_of(weights) * context_period)  # then every cell is whole again
    share = shares[live]
    overall = np.zeros(len(live))  # what is due, less what was given
    own = np.zeros((int(cells.max()) + 1, len(live)))
    sequence = np.empty(steps, dtype=np.int64)
    eps = 1e-9
    for k in range(steps):
        overall += share
        cell = own[cells[k]]
        cell += share
        must = overall + share > limit + eps  # would fall too far behind with the next case
        if must.sum() > 1:
            choice = int(np.argmax(overall))
        else:
            eligible = must if must.any() else overall - 1 >= -limit - eps  # else any that is not too far ahead
            lack = np.where(eligible, cell + 1e-6 * overall, -np.inf) if eligible.any() else overall
            choice = int(np.argmax(lack))
        overall[choice] -= 1
        cell[choice] -= 1
        sequence[k] = live[choice]
    return np.resize(sequence, n)
