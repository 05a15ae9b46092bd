"""Estimates without each cluster and their variance, against leaving clusters out one by one."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.analysis.estimates import calibration, roc, tallies
from itrialspace_assets.analysis.estimates.cells import Clusters, clusters
from itrialspace_assets.analysis.estimates.jackknife import Estimates, first_of, of_influence, of_mean, of_sums
from itrialspace_assets.analysis.estimates.variance import differences, variance
from tests.analysis import oracles

N, CELLS = 260, 2
NONE = np.full(CELLS, None, dtype=object)


class Drawn:
    """Rows of two cells with crossed hosts and donors, some unanswered, scores with ties."""

    def __init__(self, seed: int) -> None:
        rng = np.random.default_rng(seed)
        self.cell, self.host, self.donor = rng.integers(0, CELLS, N), rng.integers(0, 9, N), rng.integers(0, 14, N)
        self.positive = rng.random(N) < 0.6
        self.score = np.round(rng.normal(self.positive, 1 + self.host / 9), 1)
        self.answered = rng.random(N) < 0.9
        self.truth, self.answer = rng.integers(0, 3, N), rng.integers(0, 3, N)
        self.answer = np.where(rng.random(N) < 0.4, self.truth, self.answer)
        self.weight = rng.choice([0.5, 2.0, 0.0], N)
        self.ways: Clusters = clusters(self.cell, self.host, self.donor, CELLS)
        self.all = np.ones(N, bool)

    def check(self, found: Estimates, statistic) -> None:
        """Value, two-way variance and independent variance of each cell equal those of the literal computation."""
        got = variance(found)
        for c in range(CELLS):
            here = np.flatnonzero(self.cell == c)
            cell = lambda kept, here=here: statistic(here[kept])  # noqa: E731
            assert found.value[c] == pytest.approx(cell(np.ones(len(here), bool)))
            assert got.value[c] == pytest.approx(oracles.two_way(cell, self.host[here], self.donor[here]))
            used = here[found.used[here]]
            left = np.array([statistic(used[used != i]) for i in used])
            n = len(left)
            assert found.independent[c] == pytest.approx((n - 1) / n * ((left - left.mean()) ** 2).sum())


@pytest.fixture(scope="module", params=[0, 1])
def drawn(request) -> Drawn:
    return Drawn(request.param)


def test_a_mean_without_each_cluster(drawn: Drawn) -> None:
    d = drawn
    found = of_mean(d.ways, d.positive, d.answered, "none", share=True)
    d.check(found, lambda at: d.positive[at][d.answered[at]].mean())
    assert found.k is not None
    assert found.k.tolist() == [(d.positive & d.answered)[d.cell == c].sum() for c in range(CELLS)]
    assert found.n.tolist() == [d.answered[d.cell == c].sum() for c in range(CELLS)]


def test_a_weighted_mean_without_each_cluster(drawn: Drawn) -> None:
    d = drawn
    found = of_mean(d.ways, d.score, d.all, "none", weight=d.weight)
    d.check(found, lambda at: np.average(d.score[at], weights=d.weight[at]))
    assert found.k is None


@pytest.mark.parametrize("name", ["macro_recall", "macro_f1", "weighted_kappa"])
def test_a_table_without_each_cluster(drawn: Drawn, name: str) -> None:
    d = drawn
    kind = d.truth * 4 + np.where(d.answered, d.answer, 3)
    statistic = getattr(tallies, name)(3)
    found = of_sums(d.ways, d.all, statistic, "none", kind=kind, kinds=12)
    d.check(found, lambda at: statistic(np.bincount(kind[at], minlength=12).astype(float)))


@pytest.mark.parametrize(("how", "worst"), [("worst", np.inf), ("dropped", np.nan)])
def test_an_area_without_each_cluster(drawn: Drawn, how: str, worst: float) -> None:
    d = drawn
    ranked = np.where(d.answered, d.score, np.where(d.positive, -worst, worst))
    found = roc.auc(d.ways, d.score, d.positive, d.answered, d.all, how, NONE)

    def brute(at: np.ndarray) -> float:
        at = at[~np.isnan(ranked[at])]
        return oracles.area(ranked[at], d.positive[at])

    d.check(found, brute)


def test_an_area_with_unanswered_slices_level_with_all(drawn: Drawn) -> None:
    d = drawn

    def brute(at: np.ndarray) -> float:
        p, q = at[d.positive[at]], at[~d.positive[at]]
        won = (d.score[p][:, None] > d.score[q]) + (d.score[p][:, None] == d.score[q]) / 2
        return float(np.where(d.answered[p][:, None] & d.answered[q], won, 0.5).mean())

    d.check(roc.auc(d.ways, d.score, d.positive, d.answered, d.all, "half", NONE), brute)


def test_a_brier_score_without_each_cluster(drawn: Drawn) -> None:
    d = drawn
    found = calibration.brier(d.ways, d.score, d.positive, d.all, NONE)
    d.check(found, lambda at: ((1 / (1 + np.exp(-d.score[at])) - d.positive[at]) ** 2).mean())


def test_a_difference_of_two_cells_without_each_cluster(drawn: Drawn) -> None:
    d = drawn
    found = differences(of_mean(d.ways, d.positive, d.all, "none"), np.array([0]), np.array([1]))

    def brute(kept: np.ndarray) -> float:
        return d.positive[kept & (d.cell == 0)].mean() - d.positive[kept & (d.cell == 1)].mean()

    assert found.value[0] == pytest.approx(brute(d.all))
    assert found.variance.value[0] == pytest.approx(oracles.two_way(brute, d.host, d.donor))
    for share, ids in zip(found.shares, (d.host, d.donor), strict=False):
        assert share.shape == (1, len(np.unique(ids)))


def test_the_influence_of_a_mean_gives_about_its_jackknife(drawn: Drawn) -> None:
    d = drawn
    exact = of_mean(d.ways, d.positive, d.all, "none")
    influence = (d.positive - exact.value[d.cell]) / exact.n[d.cell]
    found = of_influence(d.ways, exact.value, influence, d.all, "none")
    np.testing.assert_allclose(variance(found).value, variance(exact).value, rtol=0.05)
    np.testing.assert_allclose(found.independent, exact.independent, rtol=1e-9)


def test_two_way_variance_equals_that_of_statsmodels() -> None:
    from statsmodels.regression.linear_model import OLS
    from statsmodels.stats.sandwich_covariance import cov_cluster_2groups

    rng = np.random.default_rng(2)
    host, donor = np.repeat(np.arange(14), 22), np.tile(np.arange(22), 14)  # crossed and balanced: equal sizes
    y = (rng.normal(size=14)[host] + rng.normal(size=22)[donor] + rng.normal(size=308) > 0).astype(float)
    _, by_host, by_donor = cov_cluster_2groups(OLS(y, np.ones(308)).fit(), host, donor, use_correction=False)
    v_host, v_donor = by_host[0, 0] * 14 / 13, by_donor[0, 0] * 22 / 21
    v_both = ((y - y.mean()) ** 2).sum() / 308**2 * 308 / 307
    found = of_mean(clusters(np.zeros(308, int), host, donor, 1), y, np.ones(308, bool), "none")
    assert variance(found).value[0] == pytest.approx(max(v_host + v_donor - v_both, v_host, v_donor))


def test_the_number_of_clusters_is_of_the_smaller_way_and_the_smaller_class() -> None:
    host = np.r_[np.zeros(22, int), 1 + np.arange(78) % 19]  # one host has 22 of 100 cases
    donor = np.arange(100)
    found = variance(of_mean(clusters(np.zeros(100, int), host, donor, 1), donor % 2, np.ones(100, bool), "none"))
    sizes = np.bincount(host)
    assert found.effective[0] == pytest.approx(100**2 / (sizes**2).sum())
    assert (found.clusters[0], found.effective[0] < 15) == (20, True)
    positive = host < 3
    ways = clusters(np.zeros(100, int), host, donor, 1)
    area = roc.auc(ways, donor * 1.0, positive, positive | True, positive | True, "worst", np.array([None]))
    assert variance(area).clusters[0] == 3


def test_a_way_of_one_level_gives_way_to_the_other() -> None:
    y, each, one = np.arange(40) % 3 == 0, np.arange(40) // 2, np.zeros(40, int)
    used = np.ones(40, bool)
    by_host = variance(of_mean(clusters(one, each, one, 1), y, used, "none"))
    by_donor = variance(of_mean(clusters(one, one, each, 1), y, used, "none"))
    assert (by_host.one_donor[0], by_host.one_host[0], by_host.clusters[0]) == (True, False, 20)
    assert (by_donor.one_host[0], by_donor.one_donor[0], by_donor.clusters[0]) == (True, False, 20)
    assert by_host.value[0] == by_donor.value[0] > 0
    nothing = variance(of_mean(clusters(one, one, one, 1), y, used, "none"))
    assert np.isnan(nothing.value[0]) and nothing.one_host[0] and nothing.one_donor[0]


@given(st.lists(st.booleans(), min_size=3, max_size=40))
@settings(max_examples=30, deadline=None)
def test_clusters_of_one_give_the_binomial_variance(answers: list[bool]) -> None:
    y, each = np.array(answers), np.arange(len(answers))
    found = of_mean(clusters(each * 0, each, each, 1), y, np.ones(len(y), bool), "none")
    p = y.mean()
    assert variance(found).value[0] == pytest.approx(p * (1 - p) / (len(y) - 1), abs=1e-12)
    assert found.independent[0] == pytest.approx(p * (1 - p) / (len(y) - 1), abs=1e-12)


def test_the_first_text_that_holds_is_given() -> None:
    yes, no = np.array([True, False, True]), np.array([True, True, False])
    assert first_of(3, [(yes, "a"), (no, np.array(["x", "y", "z"], object))]).tolist() == ["a", "y", "a"]
    assert first_of(2, [(np.zeros(2, bool), "a")]).tolist() == [None, None]


def test_a_difference_rests_on_the_cell_with_fewer_effective_clusters() -> None:
    host = np.r_[np.arange(60) % 20, np.where(np.arange(60) < 30, 0, np.arange(60) % 20)]
    ways = clusters(np.repeat([0, 1], 60), host, np.arange(120), 2)
    estimates = of_mean(ways, np.arange(120) % 3 == 0, np.ones(120, bool), "none")
    alone = variance(estimates).effective
    assert alone[1] < 5 < alone[0]
    for first, second in (([0], [1]), ([1], [0])):
        found = differences(estimates, np.array(first), np.array(second)).variance
        assert found.effective[0] == pytest.approx(alone[1])
        assert found.clusters[0] == 20
