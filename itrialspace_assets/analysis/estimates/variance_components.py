"""How much of a reader's success varies with host, donor and synthesis seed: crossed random intercepts on the logit.

Fitted by penalised quasi-likelihood, variances by REML (docs/facts/evaluation.md#variance-components), for the answers
and all of their parametric resamples at once. A design that is not crossed has no estimate. Arrays only.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import linalg, sparse, special
from threadpoolctl import threadpool_limits

from itrialspace_assets.analysis.estimates.cells import Floats, Ints
from itrialspace_assets.analysis.estimates.detection import NotedEstimate

#: Least levels of a way, and least share of them that meet two levels of each other way (ours).
LEAST_LEVELS, LEAST_CROSSED = 3, 0.5
#: More levels take matrices that are too large to invert for every resample (ours).
MOST_LEVELS = 400
#: A variance below this is none: one standard deviation moves a chance of a half by 1.2 points (ours).
_ZERO = 0.0025
#: Least and most variance of a fit (ours).
_LEAST, _MOST = _ZERO / 10, 100.0
#: Most rounds of a fit, and the change of the mean and of each standard deviation in a round at which the fit of the
#: answers rests, and that of a resample (ours).
_ROUNDS, _CLOSE, _CLOSE_AGAIN = 200, 1e-6, 1e-3
#: Rounds of whole steps: a fit that does not rest after them goes to and fro, and takes half ones (ours).
_WHOLE = 20
#: Variances from which the fit of the answers starts; most change of a logarithm of a variance in a round; what keeps
#: the information of a way without any effect above zero (ours).
_BEGIN, _STEP, _RIDGE = 0.5, 3.0, 1e-9
#: Numbers of the systems of equations that are held at once; bounds memory (ours).
_CELLS = 2_000_000


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

    variance: Mapping[str, NotedEstimate]
    ratio: NotedEstimate
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
        none = NotedEstimate(None, None, None, reason)
        return VarianceComponents(dict.fromkeys(names, none), none, naive, reason)
    design = _Design.of(levels)
    mean, fitted, rests = (part[0] for part in design.fit(right[None], np.full(len(names), _BEGIN), _CLOSE))
    if not rests:
        none = NotedEstimate(None, None, None, "the fit did not converge")
        return VarianceComponents(dict.fromkeys(names, none), none, naive, none.note)
    drawn = design.draw(float(mean), fitted, replicates, np.random.default_rng(seed))
    mixed = drawn[(drawn.min(axis=1) == 0) & (drawn.max(axis=1) == 1)]
    _, again, resting = design.fit(mixed, fitted, _CLOSE_AGAIN)
    again = again[resting]
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
class _Cells:
    """Places of a matrix that hold anything, and the answers whose weights are summed there.

    Attributes:
        shape: of the matrix.
        at: places, row by row (c,).
        sums: sums weights of answers into places (c, n).
    """

    shape: tuple[int, int]
    at: Ints
    sums: sparse.csr_array

    @classmethod
    def of(cls, row: Ints, column: Ints, shape: tuple[int, int]) -> "_Cells":
        """Cells of answers.

        Args:
            row: of each cell of each answer (cells, n).
            column: the same.
            shape: of the matrix.
        """
        at, place = np.unique(row * shape[1] + column, return_inverse=True)
        return cls(shape, at, _sums(place.reshape(row.shape), len(at)))

    def matrix(self, weight: Floats) -> Floats:
        """The matrix (B, rows, columns) of weights of answers (B, n)."""
        out = np.zeros((len(weight), self.shape[0] * self.shape[1]))
        out[:, self.at] = (self.sums @ weight.T).T
        return out.reshape(-1, *self.shape)


def _sums(rows: Ints, size: int) -> sparse.csr_array:
    """Sums values of answers into rows (size, n), of which each answer has some (k, n)."""
    answer = np.tile(np.arange(rows.shape[1]), len(rows))
    return sparse.csr_array((np.ones(rows.size), (rows.ravel(), answer)), shape=(size, rows.shape[1]))


@dataclass(frozen=True)
class _Design:
    """Answers by column of the equations: 0 the mean, then the levels of each way, one way after the other.

    An answer has one level of each way, so the part of the greatest way is diagonal and is eliminated: what is left to
    invert is half as large where there are two ways of one size.

    Attributes:
        start: first column of each way, and one past the last (ways + 1,).
        way: the greatest way.
        kept: columns that are not of the greatest way (k,).
        level: sums values of answers into columns (q, n).
        within: weights between kept columns (k, k).
        across: weights between kept columns and the levels of the greatest way (k, h).
    """

    start: Ints
    way: int
    kept: Ints
    level: sparse.csr_array
    within: _Cells
    across: _Cells

    @classmethod
    def of(cls, levels: Sequence[Ints]) -> "_Design":
        n = len(levels[0])
        sizes = np.array([int(level.max()) + 1 for level in levels])
        start = np.cumsum([1, *sizes])
        way = int(sizes.argmax())
        column = np.stack(
            [np.zeros(n, np.int64), *(level + first for level, first in zip(levels, start, strict=False))]
        )
        kept = np.delete(np.arange(start[-1]), np.s_[start[way] : start[way + 1]])
        place = np.searchsorted(kept, np.delete(column, way + 1, axis=0))
        row, other = (part.reshape(-1, n) for part in np.broadcast_arrays(place[:, None], place[None]))
        within = _Cells.of(row, other, (len(kept), len(kept)))
        across = _Cells.of(place, np.broadcast_to(levels[way], place.shape), (len(kept), int(sizes[way])))
        return cls(start, way, kept, _sums(column, int(start[-1])), within, across)

    @property
    def sizes(self) -> Ints:
        """Levels of each way (ways,)."""
        return np.diff(self.start)

    @property
    def gone(self) -> slice:
        """Columns of the greatest way."""
        return slice(int(self.start[self.way]), int(self.start[self.way + 1]))

    def effects(self, solution: Floats) -> Floats:
        """Sum of mean and effects of each answer (B, n)."""
        return np.asarray((self.level.T @ solution.T).T)

    def columns(self, value: Floats) -> Floats:
        """Sums (B, q) of a value of each answer (B, n)."""
        return np.asarray((self.level @ value.T).T)

    def by_way(self, value: Floats) -> Floats:
        """Sums over the levels of each way (B, ways) of values of the columns (B, q)."""
        return np.add.reduceat(value, self.start[:-1], axis=1)

    def draw(self, mean: float, variance: Floats, replicates: int, rng: np.random.Generator) -> Floats:
        """Answers of the model, resample by resample (replicates, n).

        Args:
            mean: logit of the chance of a right answer without effects.
            variance: of each way (ways,).
            replicates: how many resamples.
            rng: source of the draws.
        """
        scale: Floats = np.repeat(np.sqrt(variance), self.sizes)
        normal = rng.normal(size=(replicates, len(scale))) * scale
        chance = special.expit(self.effects(np.c_[np.full(replicates, mean), normal]))
        return np.asarray(rng.random(chance.shape) < chance, dtype=np.float64)

    def fit(self, right: Floats, begin: Floats, close: float) -> tuple[Floats, Floats, Floats]:
        """Mean (logit), variances and whether the fit came to rest, of each row of answers.

        Linear algebra takes one thread: matrices of this size are slower with several, and sums in another order would
        change last digits.

        Args:
            right: whether each answer is right, 0 or 1 (B, n).
            begin: variances from which to start (ways,).
            close: change of the mean and of each standard deviation in a round below which a fit rests.
        """
        step = max(1, _CELLS // (len(self.kept) * max(self.across.shape)))
        with threadpool_limits(1, user_api="blas"):
            parts = [self._fit(right[at : at + step], begin, close) for at in range(0, len(right), step)]
        if not parts:
            return np.zeros(0), np.zeros((0, len(self.sizes))), np.zeros(0, bool)
        mean, variance, rests = (np.concatenate(part) for part in zip(*parts, strict=True))
        return mean, variance, rests

    def _fit(self, right: Floats, begin: Floats, close: float) -> tuple[Floats, Floats, Floats]:
        solution = np.zeros((len(right), int(self.start[-1])))
        solution[:, 0] = special.logit(right.mean(axis=1))
        variance = np.tile(np.maximum(begin, _ZERO), (len(right), 1))
        moving = np.ones(len(right), bool)
        for turn in range(_ROUNDS):
            at = np.flatnonzero(moving)
            if not len(at):
                break
            linear = self.effects(solution[at])
            chance = special.expit(linear)
            weight = np.maximum(chance * (1 - chance), 1e-6)
            system = _System.of(self, weight, variance[at])
            found = system.solved(self.columns(weight * linear + right[at] - chance)[:, :, None])[:, :, 0]
            new = np.clip(variance[at] * np.exp(system.step(found) * (1.0 if turn < _WHOLE else 0.5)), _LEAST, _MOST)
            moved = (np.abs(np.sqrt(new) - np.sqrt(variance[at])) > close).any(axis=1)
            moving[at] = moved | (np.abs(found[:, 0] - solution[at, 0]) > close)
            solution[at], variance[at] = found, new
        return solution[:, 0], np.where(variance < _ZERO, 0.0, variance), ~moving


@dataclass(frozen=True)
class _System:
    """The penalised equations of one round, of many resamples at once, with the greatest way eliminated.

    Attributes:
        design: of the answers.
        variance: of each way (B, ways).
        diagonal: part of the greatest way (B, h).
        scaled: weights between kept columns and the greatest way, over its diagonal (B, k, h).
        inverse: part of the kept columns of the inverse of the whole matrix (B, k, k).
    """

    design: _Design
    variance: Floats
    diagonal: Floats
    scaled: Floats
    inverse: Floats

    @classmethod
    def of(cls, design: _Design, weight: Floats, variance: Floats) -> "_System":
        """The equations.

        Args:
            design: of the answers.
            weight: of each answer (B, n).
            variance: of each way (B, ways).
        """
        penalty = np.zeros((len(weight), int(design.start[-1])))
        penalty[:, 1:] = np.repeat(1 / variance, design.sizes, axis=1)
        whole = penalty + design.columns(weight)
        diagonal = whole[:, design.gone]
        across = design.across.matrix(weight)
        scaled = across / diagonal[:, None, :]
        left = design.within.matrix(weight)
        each = np.arange(len(design.kept))
        left[:, each, each] = whole[:, design.kept]
        left -= scaled @ across.transpose(0, 2, 1)
        inverse = linalg.inv(left, overwrite_a=True, check_finite=False, assume_a="pos")
        return cls(design, variance, diagonal, scaled, inverse)

    def solved(self, right: Floats) -> Floats:
        """Solutions of right-hand sides, both (B, q, r)."""
        kept, gone = self.design.kept, self.design.gone
        out = np.empty_like(right)
        out[:, kept] = self.inverse @ (right[:, kept] - self.scaled @ right[:, gone])
        out[:, gone] = right[:, gone] / self.diagonal[:, :, None] - self.scaled.transpose(0, 2, 1) @ out[:, kept]
        return out

    def traces(self) -> Floats:
        """Trace of each way's part of the inverse of the whole matrix (B, ways)."""
        spread = np.empty((len(self.variance), int(self.design.start[-1])))
        spread[:, self.design.kept] = np.diagonal(self.inverse, axis1=1, axis2=2)
        spread[:, self.design.gone] = 1 / self.diagonal + ((self.inverse @ self.scaled) * self.scaled).sum(axis=1)
        return self.design.by_way(spread)

    def step(self, solution: Floats) -> Floats:
        """Change of the logarithm of each variance (B, ways): Newton's with the average information.

        Where it is zero, Schall's update changes nothing either. A variance at its least or most that would go beyond
        stays, and the others take their step with it there.

        Args:
            solution: of this system (B, q).
        """
        sizes, variance = self.design.sizes, self.variance
        own = self.design.by_way(solution**2) / variance
        slope = 0.5 * (own - sizes + self.traces() / variance)
        of_way = np.repeat(np.eye(len(sizes)), sizes, axis=0)
        share = np.zeros((*solution.shape, len(sizes)))
        share[:, 1:] = solution[:, 1:, None] * of_way / variance[:, None, :]
        information = -0.5 * share.transpose(0, 2, 1) @ self.solved(share)
        each = np.arange(len(sizes))
        information[:, each, each] += 0.5 * own + _RIDGE
        held = (variance <= _LEAST) & (slope < 0) | (variance >= _MOST) & (slope > 0)
        information = np.where(held[:, :, None] | held[:, None, :], np.eye(len(sizes)), information)
        change = np.linalg.solve(information, np.where(held, 0.0, slope)[:, :, None])[:, :, 0]
        return np.clip(change, -_STEP, _STEP)


def _variance(estimate: float, again: Floats, few: str | None, alpha: float) -> NotedEstimate:
    """An estimate with limits on the scale of standard deviations: reflected, so that the bias of the fit cancels."""
    if few is not None:
        return NotedEstimate(float(estimate), None, None, few)
    low, high = np.quantile(np.sqrt(again), [alpha / 2, 1 - alpha / 2])
    root = float(np.sqrt(estimate))
    upper = max(2 * root - float(low), float(high) if estimate == 0 else 0.0)
    return NotedEstimate(float(estimate), max(2 * root - float(high), 0.0) ** 2, upper**2, None)


def _ratio(fitted: Floats, again: Floats, few: str | None, names: Sequence[str], alpha: float) -> NotedEstimate:
    """The first variance over the second, with percentiles of the resamples; one that may be zero bounds nothing."""
    if fitted[1] == 0:
        return NotedEstimate(None, None, None, f"the variance of {names[1]} is estimated as zero")
    ratio = float(fitted[0] / fitted[1])
    if few is not None:
        return NotedEstimate(ratio, None, None, few)
    first, second = again[:, 0], again[:, 1]
    drawn = np.divide(first, second, out=np.full(len(again), np.inf), where=second > 0)
    low, high = np.quantile(drawn, [alpha / 2, 1 - alpha / 2], method="inverted_cdf")
    if np.isfinite(high):
        return NotedEstimate(ratio, float(low), float(high), None)
    zero = f"no upper limit: the variance of {names[1]} is zero in {int((second == 0).sum())} of {len(again)} resamples"
    return NotedEstimate(ratio, float(low) if np.isfinite(low) else None, None, zero)
