"""Limits: their scale, their edges, and what they say of themselves."""

import numpy as np
import pytest
from scipy import special

from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.intervals import Scale, exact, intervals, joined
from itrialspace_assets.analysis.estimates.jackknife import Estimates, of_mean, of_sums
from itrialspace_assets.analysis.estimates.tallies import weighted_kappa


def mean(values, host, donor=None) -> Estimates:
    """A mean over one cell."""
    values, host = np.asarray(values), np.asarray(host)
    donor = host if donor is None else np.asarray(donor)
    return of_mean(clusters(host * 0, host, donor, 1), values, np.ones(len(host), bool), "none", share=True)


def jackknifed(values, forward, backward, df: float, alpha: float = 0.05) -> list[float]:
    """Limits of a mean of independent values, each left out in turn on a working scale."""
    from scipy import stats

    n = len(values)
    left = forward((np.sum(values) - values) / (n - 1))
    half = stats.t.ppf(1 - alpha / 2, df) * np.sqrt((n - 1) / n * ((left - left.mean()) ** 2).sum())
    return [backward(forward(np.mean(values)) - half), backward(forward(np.mean(values)) + half)]


def test_a_share_of_independent_cases_has_limits_on_the_logit_scale() -> None:
    from scipy import stats

    right = np.arange(100) < 70
    found = intervals(mean(right, np.arange(100)), "share", 0.05, 10)
    np.testing.assert_allclose([found.low[0], found.high[0]], jackknifed(right, special.logit, special.expit, 99))
    half = stats.t.ppf(0.975, 99) * np.sqrt(0.7 * 0.3 / 99) / (0.7 * 0.3)  # the delta method, nearly the same
    plain = special.expit(special.logit(0.7) + np.array([-half, half]))
    np.testing.assert_allclose([found.low[0], found.high[0]], plain, rtol=1e-3)
    assert found.flag[0] is None
    assert found.method[0] == "two-way leave-cluster-out jackknife, logit, t"
    assert found.n_effective[0] == pytest.approx(100)


def test_a_share_that_one_cluster_keeps_from_the_edge_has_limits() -> None:
    from scipy import stats

    found = intervals(mean(np.arange(40) > 0, np.arange(40)), "share", 0.05, 10)
    end = special.logit(1 - 0.5 / 40)  # without the one wrong answer all are right: half an answer is
    left = np.where(np.arange(40) > 0, special.logit(38 / 39), end)
    half = stats.t.ppf(0.975, 39) * np.sqrt(39 / 40 * ((left - left.mean()) ** 2).sum())
    np.testing.assert_allclose(
        [found.low[0], found.high[0]], special.expit(special.logit(39 / 40) + np.array([-half, half]))
    )


def test_equal_clusters_leave_as_many_effective_cases_as_there_are_clusters() -> None:
    found = intervals(mean(np.repeat(np.arange(40) < 30, 5), np.repeat(np.arange(40), 5)), "share", 0.05, 10)
    assert found.n_effective[0] == pytest.approx(39 * 200 / 199), "n V_iid / V, both with their corrections"


def test_a_number_has_plain_limits_and_a_signed_one_those_of_fisher() -> None:
    from scipy import stats

    values, each = np.arange(50.0), np.arange(50)
    found = intervals(mean(values, each), "line", 0.1, 10)
    expected = stats.t.interval(0.9, 49, loc=24.5, scale=stats.sem(values))
    np.testing.assert_allclose([found.low[0], found.high[0]], expected)
    positive = intervals(mean(values, each), "positive", 0.1, 10)
    np.testing.assert_allclose([positive.low[0], positive.high[0]], jackknifed(values, np.log, np.exp, 49, 0.1))
    kind = np.tile([0, 4, 0, 1], 25)
    kappa = of_sums(
        clusters(kind * 0, np.arange(100), np.arange(100), 1), kind >= 0, weighted_kappa(2), "", kind=kind, kinds=6
    )
    found = intervals(kappa, "signed", 0.05, 10)
    z = np.arctanh([found.low[0], kappa.value[0], found.high[0]])
    assert z[1] == pytest.approx((z[0] + z[2]) / 2)
    assert found.method[0].endswith("Fisher z, t")


@pytest.mark.parametrize("right", [0.0, 1.0])
def test_edges_are_exact_on_effective_clusters(right: float) -> None:
    from scipy import stats

    found = intervals(mean(np.full(20, right), np.repeat(np.arange(4), 5)), "share", 0.05, 10)
    limits = stats.binomtest(int(4 * right), 4).proportion_ci(method="exact")
    assert (found.low[0], found.high[0]) == (pytest.approx(limits.low), pytest.approx(limits.high))
    assert found.method[0] == "exact on effective clusters"
    assert (found.n_effective[0], found.flag[0]) == (pytest.approx(4), "fewer than 10 clusters")
    skewed = intervals(mean(np.full(100, right), np.r_[np.zeros(22, int), 1 + np.arange(78) % 19]), "share", 0.05, 10)
    assert 11 < skewed.n_effective[0] < 13, "20 hosts, one of which has 22 of 100 cases"
    assert skewed.flag[0] == "fewer than 15 effective clusters"


def test_exact_limits_need_no_whole_number() -> None:
    from scipy import stats

    low, high = exact(np.array([1.0, 0.0]), np.array([12.5, 12.5]), 0.05)
    np.testing.assert_allclose([low[0], high[1]], [stats.beta.ppf(0.025, 12.5, 1), stats.beta.ppf(0.975, 1, 12.5)])
    assert (high[0], low[1]) == (1.0, 0.0)


@pytest.mark.parametrize(
    ("host", "donor", "flag"),
    [
        (np.arange(40) // 2, np.zeros(40, int), "conditional on this donor"),
        (np.zeros(40, int), np.arange(40) // 2, "conditional on this host"),
        (np.arange(40) // 8, np.arange(40), "fewer than 10 clusters"),
        (np.arange(40) // 4, np.arange(40), "fewer than 15 effective clusters"),
        (np.arange(40) // 2, np.arange(40), None),
    ],
)
def test_an_interval_says_what_it_rests_on(host, donor, flag) -> None:
    found = intervals(mean(np.arange(40) % 3 == 0, host, donor), "share", 0.05, 10)
    assert found.flag[0] == flag
    assert 0 < found.low[0] < 14 / 40 < found.high[0] < 1


def test_what_cannot_have_limits_says_why() -> None:
    one = np.zeros(6, int)
    alone = intervals(mean(np.arange(6) < 2, one), "share", 0.05, 10)
    assert (alone.flag[0], alone.method[0]) == ("one host and one donor: no interval", "none")
    level = intervals(mean(np.tile([0, 1], 20), np.repeat(np.arange(20), 2)), "share", 0.05, 10)
    assert level.flag[0] == "no variation between clusters"
    assert np.isnan([alone.low[0], alone.high[0], alone.n_effective[0], level.low[0], level.high[0]]).all()
    nothing = of_mean(clusters(one, one, one, 1), one, one > 0, "no slices")
    assert intervals(nothing, "share", 0.05, 10).flag[0] == "no slices"


def test_an_estimate_that_one_cluster_alone_makes_possible_has_no_limits() -> None:
    kind, each = np.r_[0, np.full(29, 4)], np.arange(30)
    found = of_sums(clusters(each * 0, each, each, 1), each >= 0, weighted_kappa(2), "", kind=kind, kinds=6)
    assert np.isfinite(found.value[0])
    shown = intervals(found, "signed", 0.05, 10)
    assert (shown.flag[0], shown.method[0]) == ("no estimate without one of the clusters", "none")
    assert np.isnan(shown.low[0])


@pytest.mark.parametrize("scale", ["positive", "line", "signed", "share"])
def test_no_limits_where_one_host_holds_nearly_all(scale: Scale) -> None:
    host = np.r_[np.zeros(400, int), 1]  # 1.005 effective clusters: t has next to no degree of freedom
    values = np.r_[np.tile([0.2, 0.4], 200), 0.9]
    found = of_mean(clusters(host * 0, host, np.arange(401), 1), values, host >= 0, "no slices")
    shown = intervals(found, scale, 0.05, 2)
    assert np.isnan([shown.low[0], shown.high[0]]).all() and shown.method[0] == "none"
    assert "fewer than 2 effective clusters: no interval" in shown.flag[0]
    two = of_mean(clusters(host[:4] * 0, np.arange(4), np.arange(4), 1), values[:4], host[:4] >= 0, "no slices")
    assert np.isfinite(intervals(two, scale, 0.05, 2).low[0]), "four clusters of one size are enough"


def test_flags_are_joined() -> None:
    yes, no = np.array([True, True, False]), np.array([False, True, False])
    assert joined([(yes, "a"), (no, "b")], 3).tolist() == ["a", "a; b", None]
