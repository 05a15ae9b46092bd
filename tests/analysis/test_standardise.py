"""Standardised shares and their verdicts, against statsmodels, scipy and leaving out one person after the other."""

from dataclasses import replace

import numpy as np
import pytest

from itrialspace_assets.analysis.estimates.equivalence import verdicts
from itrialspace_assets.analysis.estimates.standardise import (
    NO_STRATUM,
    NO_STUDIED,
    NO_TARGET,
    CellAnswers,
    StandardisedSides,
    sides,
)
from itrialspace_assets.analysis.estimates.transfer import drawn, rank_correlations
from tests.analysis import oracles

LEVEL = {"alpha": 0.05, "min_clusters": 10}


def one_cell(
    stratum: np.ndarray, host: np.ndarray, donor: np.ndarray, studied: np.ndarray, right: np.ndarray
) -> CellAnswers:
    return CellAnswers(stratum, host, donor, studied, right.astype(np.int8)[:, None])


def design(seed: int, n: int = 400, of: int = 300, persons: int | None = None) -> CellAnswers:
    """One cell of three strata in another mix on each side, that differ in how easy they are."""
    rng = np.random.default_rng(seed)
    studied = np.r_[np.ones(n, bool), np.zeros(of, bool)]
    stratum = np.r_[rng.choice(3, n, p=[0.6, 0.3, 0.1]), rng.choice(3, of, p=[0.2, 0.3, 0.5])]
    right = rng.random(n + of) < np.array([0.9, 0.6, 0.3])[stratum]
    each = np.arange(n + of)
    if persons is None:
        return one_cell(stratum, each, each, studied, right)
    host = np.r_[rng.integers(0, persons, n), persons + each[:of] // 2]
    donor = np.r_[rng.integers(0, persons, n), persons + each[:of] // 2]
    return one_cell(stratum, host, donor, studied, right)


def pairs(first: np.ndarray, second: np.ndarray, person: np.ndarray | None = None) -> StandardisedSides:
    n = len(first)
    who = np.tile(np.arange(n) if person is None else person, 2)
    nought = np.zeros(2 * n, np.int64)
    return sides(one_cell(nought, who, who, np.repeat([True, False], n), np.r_[first, second]), 1)


def test_a_standardised_share_is_what_a_saturated_regression_predicts_for_the_real_mix() -> None:
    """g-computation with statsmodels; HC2 is the exact variance of stratum means of independent rows."""
    import statsmodels.api as sm

    rows = design(1)
    found = sides(rows, 3)
    y, own = rows.right[:, 0].astype(float), rows.studied
    fit = sm.OLS(y[own], np.eye(3)[rows.stratum[own]]).fit(cov_type="HC2")
    mix = np.bincount(rows.stratum[~own]) / (~own).sum()
    assert found.studied[0] == pytest.approx(mix @ fit.params)
    assert found.targeted[0] == pytest.approx(y[~own].mean())
    moved = fit.params[rows.stratum[~own]] - y[~own]  # of the difference each real slice moves mix and share
    variance = mix @ fit.cov_params() @ mix + moved.var(ddof=1) / (~own).sum()
    assert found.apart.variance.value[0] == pytest.approx(variance, rel=0.01)


def test_its_variance_is_that_of_leaving_out_each_host_and_each_donor() -> None:
    rows = design(2, persons=40)

    def apart(kept: np.ndarray) -> float:
        own, other = kept & rows.studied, kept & ~rows.studied
        mix = np.bincount(rows.stratum[other], minlength=3) / other.sum()
        share = [rows.right[own & (rows.stratum == s), 0].mean() for s in range(3)]
        return float(mix @ share - rows.right[other, 0].mean())

    found = sides(rows, 3).apart
    assert found.value[0] == pytest.approx(apart(np.ones(len(rows.host), bool)))
    assert found.variance.value[0] == pytest.approx(oracles.two_way(apart, rows.host, rows.donor), rel=0.08)


def test_strata_without_a_counterpart_count_on_neither_side() -> None:
    """By hand: stratum 1 has one synthetic host, stratum 2 none; a quarter of the real slices remain."""
    studied = np.array([1, 1, 1, 1, 0, 0, 0, 0], bool)
    stratum = np.array([0, 0, 1, 1, 0, 1, 1, 2])
    right = np.array([1, 0, 1, 1, 1, 0, 0, 0], bool)
    who = np.array([0, 1, 2, 2, 3, 4, 5, 6])
    found = sides(one_cell(stratum, who, who, studied, right), 3)
    assert (found.studied[0], found.targeted[0], found.lacking[0]) == (0.5, 1.0, 0.75)
    assert found.supported.tolist() == [[True, False, False]]
    apart = np.where(studied == [[True], [False]], right, -1).T.astype(np.int8)  # a cell of each side alone
    alone = sides(CellAnswers(stratum, who, who, studied, apart), 3)
    assert alone.reason.tolist() == [NO_TARGET, NO_STUDIED]
    lonely = sides(one_cell(stratum, who * 0, who, studied, right), 3)
    assert lonely.reason[0] == NO_STRATUM and np.isnan(lonely.studied[0])


def test_equivalence_of_independent_pairs_is_that_of_statsmodels() -> None:
    from scipy import stats
    from statsmodels.stats.weightstats import ttost_paired

    rng = np.random.default_rng(5)
    first, second = rng.random(200) < 0.8, rng.random(200) < 0.76
    found = verdicts(pairs(first, second).apart, np.zeros(1, bool), margin=0.1, **LEVEL)
    p, _, _ = ttost_paired(first.astype(float), second.astype(float), -0.1, 0.1)
    assert found.p[0] == pytest.approx(p)
    assert found.tests.p[0] == pytest.approx(stats.ttest_rel(first.astype(float), second.astype(float)).pvalue)


def test_a_person_counts_once_however_many_findings() -> None:
    rng = np.random.default_rng(6)
    first, second = rng.random(40) < 0.8, rng.random(40) < 0.6
    once = pairs(first, second).apart
    often = pairs(np.repeat(first, 5), np.repeat(second, 5), np.repeat(np.arange(40), 5)).apart
    assert often.value[0] == pytest.approx(once.value[0])
    assert often.variance.value[0] == pytest.approx(once.variance.value[0])
    assert often.variance.effective[0] == pytest.approx(40)
    sizes = np.r_[20, np.ones(39, int)]
    uneven = pairs(np.repeat(first, sizes), np.repeat(second, sizes), np.repeat(np.arange(40), sizes)).apart
    assert uneven.variance.effective[0] == pytest.approx(sizes.sum() ** 2 / (sizes**2).sum()), "hardly nine persons"


def test_verdicts_where_nothing_varies_are_exact() -> None:
    """(1 - 0.1)^29 = 0.047 is below 0.05 and (1 - 0.1)^28 = 0.052 is not."""
    for n, said in ((28, "not shown"), (29, "equivalent")):
        right = np.ones(n, bool)
        found = verdicts(pairs(right, right).apart, np.ones(1, bool), margin=0.1, **LEVEL)
        assert (found.verdict[0], found.p[0]) == (said, pytest.approx(0.9**n))
    assert verdicts(pairs(right, ~right).apart, np.zeros(1, bool), margin=0.1, **LEVEL).verdict[0] == "different"
    few = verdicts(pairs(right[:9], ~right[:9]).apart, np.zeros(1, bool), margin=0.1, **LEVEL)
    assert few.verdict[0] == "not shown" and "fewer than 10 clusters" in few.flag[0]
    with pytest.raises(ValueError, match="between 0 and 1, got 5"):
        verdicts(pairs(right, right).apart, np.ones(1, bool), margin=5, **LEVEL)


@pytest.mark.parametrize(
    ("n", "shift", "said"), [(20, 0.0, "not shown"), (6000, 0.0, "equivalent"), (6000, 0.2, "different")]
)
def test_equivalence_needs_slices_and_a_shift_is_found(n: int, shift: float, said: str) -> None:
    rows = design(7, n, n)
    rng = np.random.default_rng(8)
    worse = rows.studied & (rng.random(2 * n) < shift / 0.54)
    rows = replace(rows, right=rows.right * ~worse[:, None])
    found = verdicts(sides(rows, 3).apart, np.zeros(1, bool), margin=0.05, **LEVEL)
    assert found.verdict[0] == said
    if n > 20:
        assert found.tests.low[0] < -shift * 0.8 < found.tests.high[0] or shift == 0


def test_limits_of_a_rank_correlation_are_those_of_resampled_persons() -> None:
    """Against a plain bootstrap of persons, each of which is in all cells of both sides."""
    from scipy import stats

    rng = np.random.default_rng(9)
    persons, cells = 150, 8
    able = np.linspace(0.2, 0.9, cells)
    right = rng.random((2, cells, persons)) < (able + rng.normal(0, 0.08, (2, cells)))[..., None]
    who, table = np.tile(np.arange(persons), 2), right.transpose(0, 2, 1).reshape(2 * persons, cells).astype(np.int8)
    found = sides(CellAnswers(who * 0, who, who, np.repeat([True, False], persons), table), 1)
    values = drawn(np.r_[found.studied, found.targeted], found.covariance, np.random.SeedSequence(1))
    low, high = np.quantile(rank_correlations(values[:, :cells], values[:, cells:]), [0.025, 0.975])
    plain = []
    for _ in range(400):
        mean = right[:, :, rng.integers(0, persons, persons)].mean(axis=2)
        plain.append(stats.spearmanr(*mean).statistic)
    assert (low, high) == tuple(pytest.approx(x, abs=0.05) for x in np.quantile(plain, [0.025, 0.975]))


@pytest.mark.slow
@pytest.mark.parametrize("persons", [30, 200])
def test_no_equivalence_is_claimed_at_the_margin_too_often(persons: int) -> None:
    """2,000 simulated studies whose true difference is the margin, with hosts and donors reused."""
    rng = np.random.default_rng(10)
    studies, each, margin = 2000, 4, 0.1
    n = persons * each
    host = np.repeat(np.arange(persons), each)
    claimed = 0
    for _ in range(studies):
        donor = rng.permutation(host)
        effect = rng.normal(0, 0.1, persons)[host] + rng.normal(0, 0.1, persons)[donor]
        u = rng.random(n)
        first, second = u < 0.6 + effect - margin, rng.random(n) < 0.6 + effect
        nought = np.zeros(2 * n, np.int64)
        rows = one_cell(nought, np.tile(host, 2), np.tile(donor, 2), np.repeat([True, False], n), np.r_[first, second])
        found = verdicts(sides(rows, 1).apart, np.zeros(1, bool), margin=margin, **LEVEL)
        claimed += found.verdict[0] == "equivalent"
    assert claimed / studies <= 0.05 + 2 * np.sqrt(0.05 * 0.95 / studies)
