"""House-monotone quotas: which level the k-th case of an arm gets, whatever the total asked for.

Asking for more cases keeps those already made, and every prefix is close to its share.
"""

from collections.abc import Sequence
from fractions import Fraction


def quota_sequence(weights: Sequence[float], n: int) -> list[int]:
    """Level of each of ``n`` cases; the first m of them are the answer for m cases.

    R. Tijdeman's solution of the chairman assignment problem (Discrete Mathematics 32, 1980): with
    L levels every prefix holds each level within 1 - 1/(2(L-1)) of its share, so within half a case
    for two levels. Exact arithmetic, so the answer does not depend on rounding.

    Raises:
        ValueError: a weight is negative or all are zero.
    """
    shares = [Fraction(w).limit_denominator(10**6) for w in weights]
    total = sum(shares)
    if min(shares) < 0 or total == 0:
        raise ValueError(f"expected weights >= 0 with a positive sum, got {list(weights)}")
    shares = [s / total for s in shares]
    live = [i for i, s in enumerate(shares) if s > 0]
    if len(live) == 1:
        return [live[0]] * n
    slack = 1 - Fraction(1, 2 * (len(live) - 1))
    given = dict.fromkeys(live, 0)
    sequence = []
    for k in range(1, n + 1):
        due = [i for i in live if shares[i] * k - given[i] >= 1 - slack]
        level = min(due, key=lambda i: ((slack - (shares[i] * (k - 1) - given[i])) / shares[i], i))
        given[level] += 1
        sequence.append(level)
    return sequence
