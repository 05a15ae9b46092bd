"""What a design of so many cases will tell: width of intervals, least differences that are found. By formula.

The model is that of the intervals: two cases of one host are correlated by ``icc_host``, two of one donor by
``icc_donor``, in what they contribute to the number. The variance of the number over N cases is then

    unit / N * (1 + (m_host - 1) icc_host + (m_donor - 1) icc_donor)

where m is the number of cases of the person of an average case. The estimated variance is V_host + V_donor - V_both,
and never below that of either way (``variance``): its mean is greater than the truth where persons are hardly
correlated. That mean, the degrees of freedom of t and the scale of the limits are all in the expected width. Means are
taken by quadrature; nothing is drawn. It is within 10 % of the simulated width (docs/studies.md#power) where 3 cases or
more are expected to be right, and wrong, and persons have about as many cases each. Arrays only, one entry a design.
"""

from dataclasses import dataclass

import numpy as np
from numpy.polynomial import hermite_e
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Floats
from itrialspace_assets.analysis.estimates.intervals import Scale, critical, exact

#: Nodes of the quadratures (ours): more change no width by 0.1 %.
_NODES, _SHARES = 15, 41
#: A unit variance is not taken below this, only not to divide by zero: such a number has no limits.
_LEAST = 1e-12
#: Fewer expected rights or wrongs than this make the expected width rough (ours, by simulation).
ENOUGH = 3
#: Most cases of a person whose sum is taken as beta-binomial; of more it is beta (ours).
_LEFT_OUT = 40


@dataclass(frozen=True)
class Design:
    """How many cases there are (D,), and how many of them are of each host and of each donor person.

    Where persons have different numbers, it is the number of the person of an average case (sum m^2 / sum m).
    """

    cases: Floats
    per_host: Floats
    per_donor: Floats


@dataclass(frozen=True)
class Spread:
    """What is known of a number (D,): its expected value, the variance that one case contributes, and how persons
    correlate it."""

    value: Floats
    unit: Floats
    icc_host: Floats
    icc_donor: Floats


@dataclass(frozen=True)
class ExpectedPrecision:
    """What a design will tell (D,). NaN where it has no limits.

    Attributes:
        design_effect: true variance over that of as many independent cases.
        n_effective: independent cases that it is worth.
        persons: effective persons in the smaller way.
        width: mean width of the interval.
        detectable: least distance from a fixed value that is found with the power asked for.
        margin: least margin within which a number equal to a fixed value is shown to be equivalent, with that power.
    """

    design_effect: Floats
    n_effective: Floats
    persons: Floats
    width: Floats
    detectable: Floats
    margin: Floats


def reuse_of(cases: Floats, asked: float, persons: float | None) -> Floats:
    """Cases of each person (D,): as many as asked, or more where there are too few persons.

    Args:
        cases: of each design (D,).
        asked: cases of each person.
        persons: how many persons there are; None: as many as are needed.
    """
    return np.asarray(np.maximum(np.minimum(asked, cases), 1.0 if persons is None else cases / persons))


def share_unit(value: Floats) -> Floats:
    """Variance that one case contributes to a share."""
    return np.asarray(value * (1 - value))


def auc_unit(value: Floats, negatives: float) -> Floats:
    """Variance that one case contributes to an area under the ROC curve (Hanley and McNeil 1982, large samples).

    Args:
        value: the area (D,).
        negatives: slices without a nodule for each with one.
    """
    q1, q2 = value / (2 - value), 2 * value**2 / (1 + value)
    return np.asarray((q2 - value**2) + (q1 - value**2) / negatives)


def expected(design: Design, of: Spread, scale: Scale, alpha: float, power: float) -> ExpectedPrecision:
    """What each design will tell of a number.

    Args:
        design: cases and reuse.
        of: the number.
        scale: on which its limits are made.
        alpha: 0.05 gives 95 % limits.
        power: chance with which the least difference is found.
    """
    n = design.cases
    effect = 1 + (design.per_host - 1) * of.icc_host + (design.per_donor - 1) * of.icc_donor
    persons = np.minimum(n / design.per_host, n / design.per_donor)
    t = critical(persons, alpha)
    shares, means = of.value[:, None], None
    if scale == "share":
        shares, none = _shares(of, n, effect), np.zeros_like(n)
        ways = ((design.per_host, of.icc_host), (design.per_donor, of.icc_donor), (none + 1, none))
        host, donor, both = (_left_out(shares, of, n, effect, m, icc) for m, icc in ways)
        means = (host, donor, both)
    estimated, weights = _estimated(design, of, means)
    plain = _estimated(design, of, None)[0][:, 0]
    straight = np.ones_like(shares)
    spread = np.sqrt(of.unit / n)
    with np.errstate(invalid="ignore", over="ignore", divide="ignore"):
        mean = (np.sqrt(plain) @ weights) * spread
        true = np.sqrt(effect) * spread
        relative = np.sqrt(share_unit(shares) / share_unit(of.value)[:, None]) if scale == "share" else straight
        half = (t * spread)[:, None, None] * np.sqrt(estimated) * relative[:, :, None]
        lower, upper = _limits(shares[:, :, None], half, scale)
        width = (upper - lower) @ weights
        if scale == "share":
            edges = exact(np.where(shares > 0.5, 1.0, 0.0), persons[:, None], alpha)
            at_edge = np.minimum(shares, 1 - shares) * n[:, None] < 0.5
            width = np.where(at_edge, edges[1] - edges[0], width)
        width = width.mean(axis=1)
        detectable = t * mean + special.ndtri(power) * true
        one_sided = special.stdtrit(np.maximum(persons - 1, np.finfo(float).tiny), 1 - alpha)
        margin = one_sided * mean + special.ndtri((1 + power) / 2) * true
    none = ~np.isfinite(width) | (persons <= 1) | (of.unit <= 0)
    kept = [np.where(none, np.nan, x) for x in (width, detectable, margin)]
    return ExpectedPrecision(effect, n / effect, persons, *kept)


def _estimated(design: Design, of: Spread, means: tuple[Floats, Floats, Floats] | None) -> tuple[Floats, Floats]:
    """Estimated variance over that of independent cases at the nodes (D, S, K) of its distribution, and their weights.

    What a way finds beyond the variance within pairs is nearly normal. Its mean is what the way explains, less what the
    other way adds to the mean of all; its variance is that of the sum of products of two cases of one person.

    Args:
        design: cases and reuse.
        of: the number.
        means: of what host, donor and pair give, on the scale of the limits (D, S); None: on that of the number.
    """
    nodes, weights = hermite_e.hermegauss(_NODES)
    weights = weights / weights.sum()
    n = design.cases
    own = [(m - 1) * icc for m, icc in ((design.per_host, of.icc_host), (design.per_donor, of.icc_donor))]
    ways = []
    for m, icc, mine, other in (
        (design.per_host, of.icc_host, own[0], own[1]),
        (design.per_donor, of.icc_donor, own[1], own[0]),
    ):
        persons = n / m
        with np.errstate(invalid="ignore", divide="ignore"):
            mean = 1 + mine - np.where(persons > 1, other / (persons - 1), 0.0)
        products = (m - 1) ** 2 * (1 + (m - 1) * icc) ** 2 + (m - 1) * (1 - icc) ** 2
        spread = np.sqrt(2 * products / (n * m)) / mean
        ways.append((mean, 1 + spread[:, None] * nodes))
    flat = (ways[0][0][:, None], ways[1][0][:, None], np.ones((len(n), 1)))
    by_host, by_donor, pair = (x[:, :, None, None] for x in (flat if means is None else means))
    host = by_host * ways[0][1][:, None, :, None] - pair
    donor = by_donor * ways[1][1][:, None, None, :] - pair
    both = pair + np.maximum(host + donor, np.maximum(host, donor))
    found = np.maximum(both, 1 / n[:, None, None, None])
    return found.reshape(*found.shape[:2], -1), np.outer(weights, weights).ravel()


def _left_out(shares: Floats, of: Spread, n: Floats, effect: Floats, each: Floats, icc: Floats) -> Floats:
    """Mean variance by leaving out persons on the logit scale, over that of independent cases on its slope (D, S).

    A person's sum is beta-binomial (of many cases: beta) with the true share, given what is estimated: whatever the
    person did not get, the others did, whose mean is beta.

    Args:
        shares: what is estimated (D, S).
        of: the number.
        n: cases (D,).
        effect: design effect (D,).
        each: cases of a person (D,).
        icc: correlation of two cases of a person (D,).
    """
    m, k = each[:, None, None], np.arange(_LEFT_OUT + 1.0)
    p, total = of.value[:, None, None], n[:, None, None]
    rho = np.clip(icc, 1e-6, 0.999)[:, None, None]
    whole = np.maximum(np.rint(np.minimum(m, _LEFT_OUT)), 1)
    a, b, rest = p * (1 / rho - 1), (1 - p) * (1 / rho - 1), np.maximum(whole - k, 0)
    log = special.gammaln(whole + 1) - special.gammaln(k + 1) - special.gammaln(rest + 1)
    log = log + special.betaln(k + a, rest + b) - special.betaln(a, b)
    chance = np.where(k <= whole, np.exp(log), 0.0)
    own = np.maximum(m / (1 + (m - 1) * icc[:, None, None]) - 1, 1e-6)
    at = (k + 0.5) / (_LEFT_OUT + 1)
    many = m > _LEFT_OUT
    sums = np.where(many, m * special.betaincinv(p * own, (1 - p) * own, at), k)
    size = np.where(many, m, whole)
    others = np.maximum(total - size, 1e-9)
    left = (total * shares[:, :, None] - sums) / others
    inside = (left >= -0.5 / others) & (left <= 1 + 0.5 / others)
    left = np.clip(left, 0.5 / total, 1 - 0.5 / total)
    unit = (effect * np.maximum(of.unit, _LEAST))[:, None, None]
    worth = np.maximum(others * p * (1 - p) / unit - 1, 1e-6)
    log = (p * worth - 1) * np.log(left) + ((1 - p) * worth - 1) * np.log1p(-left)
    log = np.where(inside, log, -np.inf)
    log = log - np.maximum(log.max(axis=-1, keepdims=True), -1e300)
    chance = np.where(many, 1.0, chance) * np.exp(log)
    with np.errstate(invalid="ignore", divide="ignore"):
        chance = chance / chance.sum(axis=-1, keepdims=True)
    persons = np.maximum(n / each, 1.0)[:, None]
    return np.asarray((persons - 1) * _variance(special.logit(left), chance) * n[:, None] * share_unit(shares))


def _variance(values: Floats, chance: Floats) -> Floats:
    """Variance over the last axis."""
    mean = (values * chance).sum(axis=-1, keepdims=True)
    return np.asarray(((values - mean) ** 2 * chance).sum(axis=-1))


def _limits(value: Floats, half: Floats, scale: Scale) -> tuple[Floats, Floats]:
    """Limits of a value whose standard error times t is ``half`` on its own scale."""
    if scale == "share":
        at, step = special.logit(value), half / (value * (1 - value))
        return special.expit(at - step), special.expit(at + step)
    if scale == "signed":
        at, step = np.arctanh(value), half / (1 - value**2)
        return np.tanh(at - step), np.tanh(at + step)
    if scale == "positive":
        return value * np.exp(-half / value), value * np.exp(half / value)
    return value - half, value + half


def _shares(of: Spread, n: Floats, effect: Floats) -> Floats:
    """Shares that may be estimated (D, S), equally likely: quantiles of a beta with the true variance."""
    worth = np.maximum(n / effect * share_unit(of.value) / np.maximum(of.unit, _LEAST) - 1, 1e-6)[:, None]
    at, value = (np.arange(_SHARES) + 0.5) / _SHARES, of.value[:, None]
    found = special.betaincinv(value * worth, (1 - value) * worth, at[None, :])
    whole = np.rint(found * n[:, None]) / n[:, None]  # successes are whole
    return np.asarray(np.clip(whole, 1e-9, 1 - 1e-9))
