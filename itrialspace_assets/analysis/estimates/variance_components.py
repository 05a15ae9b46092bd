"""How much of a reader's success varies with host, donor and synthesis seed: crossed random intercepts on the logit.

Fitted by penalised quasi-likelihood with Schall's REML updates (docs/facts/evaluation.md#variance-components), for the
answers and all of their parametric resamples at once. A design that is not crossed has no estimate. Arrays only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import sparse, special

from itrialspace_assets.analysis.estimates.cells import Floats, Ints
from itrialspace_assets.analysis.estimates.detection import Number

#: Least levels of a way, and least share of them that meet two levels of each other way (ours).
LEAST_LEVELS, LEAST_CROSSED = 3, 0.5
#: More levels take matrices that are too large to invert for every resample (ours).
MOST_LEVELS = 400
#: A variance below this is none: one standard deviation moves a chance of a half by 1.2 points (ours).
_ZERO = 0.0025
#: Most rounds of a fit, and the change of each standard deviation at which it rests (ours).
_ROUNDS, _CLOSE = 200, 1e-3
#: Numbers of the systems of equations that are held at once; bounds memory (ours).
_CELLS = 8_000_000


@dataclass(frozen=True)
class VarianceComponents:
    """Variances on the logit scale, or why there are none.

    Attributes:
        variance: of each way.
        ratio: variance of the first way over that of the second.
        naive_ratio: variance of the means of the first way over that of the second, as published: biased where levels
            hold different numbers of answers, for parity only; null where the second does not vary.
        note: why nothing was estimated.
    """

    variance: Mapping[str, Number]
    ratio: Number
    naive_ratio: float | None
    note: str | None


def variance_components(
    right: Floats,
    ways: Mapping[str, Ints],
    *,
    replicates: int = 200,
    alpha: float = 0.05,
    seed: np.random.SeedSequence,
) -> VarianceComponents:
    """Variance of each way, with intervals by parametric bootstrap.

    Args:
        right: whether each answer is right, 0 or 1 (n,).
        ways: level of each answer (n,), from 0 without a gap, by way; at least two, host and donor first.
        replicates: resamples drawn from the fitted model.
        alpha: 0.05 gives 95 % intervals.
        seed: of the resamples.

    Raises:
        ValueError: fewer than two ways.
    """
    if len(ways) < 2:
        raise ValueError(f"expected two ways or more, got {len(ways)}")
    names, levels = list(ways), list(ways.values())
    naive = naive_ratio(right, levels[0], levels[1])
    reason = why_not(right, ways)
    if reason is not None:
        none = Number(None, None, None, reason)
        return VarianceComponents(dict.fromkeys(names, none), none, naive, reason)
    design = _Design.of(levels)
    mean, fitted, close = (part[0] for part in design.fit(right[None]))
    if not close:
        none = Number(None, None, None, "the fit did not converge")
        return VarianceComponents(dict.fromkeys(names, none), none, naive, none.note)
    drawn = design.draw(float(mean), fitted, replicates, np.random.default_rng(seed))
    mixed = drawn[(drawn.min(axis=1) == 0) & (drawn.max(axis=1) == 1)]
    _, again, near = design.fit(mixed)
    again = again[near]
    few = (
        None if len(again) >= 0.95 * replicates else f"{replicates - len(again)} of {replicates} resamples did not fit"
    )
    found = {name: _variance(fitted[i], again[:, i], few, alpha) for i, name in enumerate(names)}
    return VarianceComponents(found, _ratio(fitted, again, few, names, alpha), naive, None)


def why_not(right: Floats, ways: Mapping[str, Ints]) -> str | None:
    """Why variances cannot be estimated; None: they can."""
    if not len(right):
        return "no answers"
    if right.min() == right.max():
        return f"all answers are {'right' if right[0] else 'wrong'}"
    names = list(ways)
    total = sum(int(level.max()) + 1 for level in ways.values())
    if total > MOST_LEVELS:
        return f"{total} levels: expected at most {MOST_LEVELS}"
    for name, level in ways.items():
        count = int(level.max()) + 1
        if count < LEAST_LEVELS:
            return f"{count} {name} levels: expected {LEAST_LEVELS} or more"
        for other in (o for o in names if o != name):
            pairs = np.unique(np.c_[level, ways[other]], axis=0)
            alone = int((np.bincount(pairs[:, 0], minlength=count) < 2).sum())
            if alone > (1 - LEAST_CROSSED) * count:
                return f"not crossed: {alone} of {count} {name} levels meet one {other} level"
    return None


def naive_ratio(right: Floats, first: Ints, second: Ints) -> float | None:
    """Variance of the level means of one way over that of another; None where one has a single level or no variance.

    Args:
        right: whether each answer is right (n,).
        first: level of each answer (n,), from 0 without a gap.
        second: the same of the other way.
    """
    means = [np.bincount(way, weights=right) / np.bincount(way) for way in (first, second) if len(way)]
    if len(means) < 2 or min(map(len, means)) < 2:
        return None
    below = float(means[1].var(ddof=1))
    return float(means[0].var(ddof=1)) / below if below > 0 else None


@dataclass(frozen=True)
class _Design:
    """Answers by column of the equations: 0 the mean, then the levels of each way, one way after the other.

    Attributes:
        column: of each answer and way (ways, n).
        start: first column of each way, and one past the last (ways + 1,).
        pair: sums weights of answers into the cells of the equations (q * q, n).
        level: sums values of answers into columns (q, n).
    """

    column: Ints
    start: Ints
    pair: sparse.csr_array
    level: sparse.csr_array

    @classmethod
    def of(cls, levels: Sequence[Ints]) -> "_Design":
        n = len(levels[0])
        start = np.cumsum([1, *(int(level.max()) + 1 for level in levels)])
        column = np.stack([level + first for level, first in zip(levels, start, strict=False)])
        q = int(start[-1])
        every = np.concatenate([np.zeros((1, n), np.int64), column])
        cell = (every[:, None] * q + every[None]).reshape(-1, n)
        answer = np.arange(n)

        def sums(rows: Ints, size: int) -> sparse.csr_array:
            place = (rows.ravel(), np.tile(answer, len(rows)))
            return sparse.csr_array((np.ones(rows.size), place), shape=(size, n))  # equal places are added

        return cls(column, start, sums(cell, q * q), sums(every, q))

    def effects(self, solution: Floats) -> Floats:
        """Sum of mean and effects of each answer (B, n)."""
        return np.asarray((self.level.T @ solution.T).T)

    def draw(self, mean: float, variance: Floats, replicates: int, rng: np.random.Generator) -> Floats:
        """Answers of the model, resample by resample (replicates, n).

        Args:
            mean: logit of the chance of a right answer without effects.
            variance: of each way (ways,).
            replicates: how many resamples.
            rng: source of the draws.
        """
        sizes = np.diff(self.start)
        scale: Floats = np.repeat(np.sqrt(variance), sizes)
        normal = rng.normal(size=(replicates, len(scale))) * scale
        chance = special.expit(self.effects(np.c_[np.full(replicates, mean), normal]))
        return np.asarray(rng.random(chance.shape) < chance, dtype=np.float64)

    def fit(self, right: Floats) -> tuple[Floats, Floats, Floats]:
        """Mean (logit), variances and whether the fit came to rest, of each row of answers (B, n)."""
        step = max(1, _CELLS // int(self.start[-1]) ** 2)
        parts = [self._fit(right[at : at + step]) for at in range(0, len(right), step)]
        if not parts:
            return np.zeros(0), np.zeros((0, len(self.column))), np.zeros(0, bool)
        mean, variance, close = (np.concatenate(part) for part in zip(*parts, strict=True))
        return mean, variance, close

    def solved(self, system: Floats, right: Floats) -> tuple[Floats, Floats]:
        """Solutions (B, q) of systems of equations, and the trace of each way's part of their inverses (B, ways).

        An answer has one level of each way, so the part of the greatest way is diagonal and is eliminated first: what
        is left to invert is half as large where there are two ways of one size.

        Args:
            system: symmetric, positive definite (B, q, q).
            right: right-hand sides (B, q).
        """
        sizes = np.diff(self.start)
        way = int(sizes.argmax())
        out = np.zeros(system.shape[1], bool)
        out[self.start[way] : self.start[way + 1]] = True
        diagonal = np.diagonal(system, axis1=1, axis2=2)[:, out]
        across = np.ascontiguousarray(system[:, ~out][:, :, out])
        scaled = across / diagonal[:, None, :]
        kept = np.linalg.inv(system[:, ~out][:, :, ~out] - scaled @ across.transpose(0, 2, 1))
        solution = np.empty_like(right)
        solution[:, ~out] = (kept @ (right[:, ~out, None] - scaled @ right[:, out, None]))[:, :, 0]
        solution[:, out] = right[:, out] / diagonal - (solution[:, None, ~out] @ scaled)[:, 0]
        spread = np.zeros(right.shape)
        spread[:, ~out] = np.diagonal(kept, axis1=1, axis2=2)
        traces = np.add.reduceat(spread, self.start[:-1], axis=1)
        traces[:, way] = (1 / diagonal).sum(axis=1) + (kept * (scaled @ scaled.transpose(0, 2, 1))).sum(axis=(1, 2))
        return solution, traces

    def _fit(self, right: Floats) -> tuple[Floats, Floats, Floats]:
        q, ways = int(self.start[-1]), len(self.column)
        sizes = np.diff(self.start)
        solution = np.zeros((len(right), q))
        solution[:, 0] = special.logit(right.mean(axis=1))
        variance = np.full((len(right), ways), 0.5)
        diagonal = np.arange(1, q)
        moving = np.ones(len(right), bool)
        for _ in range(_ROUNDS):
            at = np.flatnonzero(moving)
            if not len(at):
                break
            linear = self.effects(solution[at])
            chance = special.expit(linear)
            weight = np.maximum(chance * (1 - chance), 1e-6)
            working = weight * linear + right[at] - chance
            system = np.ascontiguousarray((self.pair @ weight.T).T).reshape(-1, q, q)
            system[:, diagonal, diagonal] += np.repeat(1 / variance[at], sizes, axis=1)
            solution[at], spread = self.solved(system, np.asarray((self.level @ working.T).T))
            new = np.empty((len(at), ways))
            for way, (first, last) in enumerate(zip(self.start, self.start[1:], strict=False)):
                free = (last - first) - spread[:, way] / variance[at, way]
                new[:, way] = (solution[at, first:last] ** 2).sum(axis=1) / np.maximum(free, 1e-9)
            new = np.clip(new, _ZERO / 10, 100.0)
            moved = (np.abs(np.sqrt(new) - np.sqrt(variance[at])) > _CLOSE).any(axis=1)
            variance[at] = new
            moving[at] = moved
        return solution[:, 0], np.where(variance < _ZERO, 0.0, variance), ~moving


def _variance(estimate: float, again: Floats, few: str | None, alpha: float) -> Number:
    """An estimate with limits on the scale of standard deviations: reflected, so that the bias of the fit cancels."""
    if few is not None:
        return Number(float(estimate), None, None, few)
    low, high = np.quantile(np.sqrt(again), [alpha / 2, 1 - alpha / 2])
    root = float(np.sqrt(estimate))
    upper = max(2 * root - float(low), float(high) if estimate == 0 else 0.0)
    return Number(float(estimate), max(2 * root - float(high), 0.0) ** 2, upper**2, None)


def _ratio(fitted: Floats, again: Floats, few: str | None, names: Sequence[str], alpha: float) -> Number:
    """The first variance over the second, with percentiles of the resamples; one that may be zero bounds nothing."""
    if fitted[1] == 0:
        return Number(None, None, None, f"the variance of {names[1]} is estimated as zero")
    ratio = float(fitted[0] / fitted[1])
    if few is not None:
        return Number(ratio, None, None, few)
    first, second = again[:, 0], again[:, 1]
    drawn = np.divide(first, second, out=np.full(len(again), np.inf), where=second > 0)
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    if np.isfinite(high):
        return Number(ratio, float(low), float(high), None)
    zero = f"no upper limit: the variance of {names[1]} is zero in {int((second == 0).sum())} of {len(again)} resamples"
    return Number(ratio, float(low) if np.isfinite(low) else None, None, zero)
