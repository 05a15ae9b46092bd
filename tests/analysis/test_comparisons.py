"""Paired tests, families, equivalence and ties, against published numbers and independent computations."""

import numpy as np
import polars as pl
import pytest

from itrialspace_assets.analysis.estimates import comparisons, roc
from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.comparisons import (
    cell_pairs,
    clustered_mcnemar,
    compare,
    equivalence,
    holm,
    max_t,
    mcnemar,
    paired,
    ties,
)
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.estimates.variance import differences
from tests.analysis import oracles

FIRST, SECOND = np.array([0]), np.array([1])


def two_readers(first, second, host, donor=None):
    """Two cells over the same cases."""
    host = np.asarray(host)
    donor = np.arange(len(host)) if donor is None else np.asarray(donor)
    ways = clusters(np.repeat([0, 1], len(host)), np.tile(host, 2), np.tile(donor, 2), 2)
    return of_mean(ways, np.r_[first, second], np.ones(2 * len(host), bool), "none")


def test_mcnemar_is_the_published_one() -> None:
    from statsmodels.stats.contingency_tables import mcnemar as statsmodels_mcnemar

    statistic, p = mcnemar(np.array([0, 3, 30, 12, 13]), np.array([0, 9, 60, 12, 12]))
    assert p[0] == 1.0
    assert p[1] == pytest.approx(0.1460, abs=5e-5)  # docs/facts/evaluation.md#comparisons
    assert (statistic[2], p[2]) == (pytest.approx(9.3444, abs=5e-5), pytest.approx(0.00224, abs=5e-6))
    assert np.isnan(statistic[[0, 1, 3]]).all(), "exact below 25 discordant pairs"
    assert (p[3], statistic[4]) == (1.0, 0.0)
    for at, pair in ((1, (3, 9)), (2, (30, 60))):
        oracle = statsmodels_mcnemar([[0, pair[0]], [pair[1], 0]], exact=at == 1)
        assert p[at] == pytest.approx(oracle.pvalue)


def test_clustered_mcnemar_with_clusters_of_one_is_mcnemars_statistic() -> None:
    from scipy import stats

    first, second = np.arange(200) < 130, (np.arange(200) >= 30) & (np.arange(200) < 190)
    each = np.arange(200)
    b, c, statistic, p = clustered_mcnemar(clusters(each * 0, each, each, 1), first, second, each >= 0, 10)
    assert (b[0], c[0]) == (30, 60)
    assert statistic[0] == pytest.approx((30 - 60) ** 2 / (30 + 60))
    assert p[0] == pytest.approx(stats.f.sf(statistic[0], 1, 199))


def test_clustered_mcnemar_adds_up_within_clusters() -> None:
    from scipy import stats

    host = np.arange(200) // 5
    first, second = np.repeat(np.arange(40) < 25, 5), np.repeat(np.arange(40) % 2 == 0, 5)
    d = first.astype(float) - second
    ways = clusters(host * 0, host, np.arange(200), 1)
    _, _, statistic, p = clustered_mcnemar(ways, first, second, host >= 0, 10)
    sums = np.bincount(host, weights=d)
    assert statistic[0] == pytest.approx(d.sum() ** 2 / (sums**2).sum())
    assert p[0] == pytest.approx(stats.f.sf(statistic[0], 1, 39))
    one_host = clusters(host * 0, host * 0, host, 1)
    assert clustered_mcnemar(one_host, first, second, host >= 0, 10)[2][0] == pytest.approx(statistic[0])
    few = clustered_mcnemar(ways, first, second, host < 9, 10)
    assert np.isnan([few[2][0], few[3][0]]).all(), "nine clusters"
    alike = clustered_mcnemar(ways, first, first, host >= 0, 10)
    assert (alike[0][0], alike[1][0], np.isnan(alike[3][0])) == (0, 0, True)


def test_a_difference_with_clusters_of_one_is_the_paired_t_test() -> None:
    from scipy import stats

    rng = np.random.default_rng(0)
    first, second = rng.random(80) < 0.8, rng.random(80) < 0.6
    found = compare(two_readers(first, second, np.arange(80)), FIRST, SECOND, 0.05, 10)
    oracle = stats.ttest_rel(first.astype(float), second.astype(float))
    assert found.p[0] == pytest.approx(oracle.pvalue)
    interval = oracle.confidence_interval(0.95)
    np.testing.assert_allclose([found.low[0], found.high[0]], [interval.low, interval.high])
    assert found.floor[0] == pytest.approx((interval.high - interval.low) / 2)
    assert found.flag[0] is None
    assert found.tied[0] == (oracle.pvalue > 0.05)


def test_a_difference_of_areas_counts_what_two_readers_share() -> None:
    rng = np.random.default_rng(1)
    positive, host, donor = np.arange(120) < 60, rng.integers(0, 15, 120), rng.integers(0, 18, 120)
    shared = rng.normal(positive, 1, 120)
    scores = [shared + rng.normal(0, 0.3, 120) for _ in range(2)]
    ways = clusters(np.repeat([0, 1], 120), np.tile(host, 2), np.tile(donor, 2), 2)
    every, none = np.ones(240, bool), np.full(2, None, dtype=object)
    found = roc.auc(ways, np.concatenate(scores), np.tile(positive, 2), every, every, "worst", none)
    got = differences(found, FIRST, SECOND)

    def brute(kept: np.ndarray) -> float:
        areas = [oracles.area(s[kept], positive[kept]) for s in scores]
        return areas[0] - areas[1]

    assert got.value[0] == pytest.approx(brute(np.ones(120, bool)))
    assert got.variance.value[0] == pytest.approx(oracles.two_way(brute, host, donor))


def test_too_few_clusters_are_not_tested() -> None:
    rng = np.random.default_rng(2)
    host = np.arange(90) // 10
    found = compare(two_readers(rng.random(90) < 0.8, rng.random(90) < 0.5, host), FIRST, SECOND, 0.05, 10)
    assert np.isnan(found.p[0]) and np.isfinite(found.low[0])
    assert found.flag[0] == "fewer than 10 clusters: not tested"
    assert np.isnan(equivalence(found, 0.5)[0])


def test_comparisons_that_cannot_be_made_say_why() -> None:
    each = np.arange(40)
    same = compare(two_readers(each % 2, each % 2, each), FIRST, SECOND, 0.05, 10)
    assert (same.difference[0], same.flag[0], same.tied[0]) == (0, "the same difference in every cluster", True)
    one = compare(two_readers(each % 2, each % 3 == 0, each * 0, each * 0), FIRST, SECOND, 0.05, 10)
    assert one.flag[0] == "one host and one donor: no interval"
    by_host = compare(two_readers(each % 2, each % 3 == 0, each, each * 0), FIRST, SECOND, 0.05, 10)
    by_donor = compare(two_readers(each % 2, each % 3 == 0, each * 0, each), FIRST, SECOND, 0.05, 10)
    assert (by_host.flag[0], by_donor.flag[0]) == ("conditional on this donor", "conditional on this host")
    none = of_mean(clusters(each % 2, each, each, 2), each, each % 2 == 0, "none")
    assert compare(none, FIRST, SECOND, 0.05, 10).flag[0] == "not estimated in both"
    assert np.isnan([same.p[0], one.p[0], same.low[0], one.low[0]]).all()


def test_pairs_of_cells_differ_in_one_column() -> None:
    cells = pl.DataFrame(
        [(r, c) for r in ("a", "b", "c") for c in ("bbox", "plain")], schema=["reader", "condition"], orient="row"
    )
    first, second = cell_pairs(cells, "reader")
    assert sorted(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 2), (0, 4), (1, 3), (1, 5), (2, 4), (3, 5)]
    first, second = cell_pairs(cells, "condition", "plain")
    assert list(zip(first.tolist(), second.tolist(), strict=True)) == [(0, 1), (2, 3), (4, 5)]


def test_rows_are_paired_by_their_unit() -> None:
    rows = pl.DataFrame(
        {
            "reader": ["a", "a", "b", "b", "c"], "slice_uid": ["1", "2", "2", "1", "1"],
            "task": ["presence"] * 5, "right": [True, False, True, True, False],
        }
    )  # fmt: skip
    pairs, of, what = paired(rows, "reader", ["slice_uid"])
    assert what.select("reader", "reader_second").rows() == [("a", "b"), ("a", "c"), ("b", "c")]
    got = (
        pairs.with_columns(of=pl.Series(of)).sort("of", "slice_uid").select("of", "slice_uid", "right", "right_second")
    )
    assert got.rows() == [(0, "1", True, True), (0, "2", False, True), (1, "1", True, False), (2, "1", True, False)]
    assert paired(rows, "reader", ["slice_uid"], "a")[2].select("reader", "reader_second").rows() == [
        ("b", "a"),
        ("c", "a"),
    ]


def test_holm_is_that_of_statsmodels_within_each_family() -> None:
    from statsmodels.stats.multitest import multipletests

    rng = np.random.default_rng(3)
    p, family = rng.random(30) ** 3, rng.integers(0, 4, 30)
    p[[4, 9]] = np.nan
    got = holm(p, family)
    assert np.isnan(got[[4, 9]]).all()
    for one in range(4):
        here = (family == one) & np.isfinite(p)
        np.testing.assert_allclose(got[here], multipletests(p[here], method="holm")[1])


def test_max_t_lies_between_single_tests_and_bonferroni_and_sees_correlation() -> None:
    rng = np.random.default_rng(4)
    n, readers = 200, 4
    skill = rng.random((n, 1)) * 0.9 + rng.random((n, readers)) * 0.1  # readers err on the same cases
    right = (skill < [0.75, 0.7, 0.72, 0.6]).T.ravel()
    host = np.tile(np.arange(n) // 2, readers)
    ways = clusters(np.repeat(np.arange(readers), n), host, np.tile(np.arange(n), readers), readers)
    estimates = of_mean(ways, right, np.ones(n * readers, bool), "none")
    first, second = np.array([0, 0, 0]), np.array([1, 2, 3])
    found = differences(estimates, first, second)
    tests = comparisons.tested(found, 0.05, 10)
    got = max_t(found, tests, np.zeros(3, int), 42)
    assert (got >= tests.p).all()
    assert (got <= np.minimum(1, 3 * tests.p) + 0.01).all()
    assert (got == max_t(found, tests, np.zeros(3, int), 42)).all()
    alone = max_t(found, tests, np.arange(3), 42)
    np.testing.assert_allclose(alone, tests.p, atol=0.01)
    some = np.ones(n * readers, bool) & (np.tile(np.arange(n), readers) < 60)
    doubled = differences(of_mean(ways, right, some, "none"), np.array([0, 0]), np.array([1, 1]))
    twice = comparisons.tested(doubled, 0.05, 10)
    assert 0.1 < twice.p[0] < 0.9, "so that taking one comparison for two would show"
    np.testing.assert_allclose(max_t(doubled, twice, np.zeros(2, int), 42), twice.p, atol=0.01)


def test_equivalence_needs_both_sides() -> None:
    from scipy import stats

    rng = np.random.default_rng(5)
    first = rng.random(400) < 0.7
    second = np.where(rng.random(400) < 0.05, ~first, first)
    found = compare(two_readers(first, second, np.arange(400)), FIRST, SECOND, 0.05, 10)
    d, error = found.difference[0], found.error[0]
    oracle = max(stats.t.sf((d + 0.05) / error, 399), stats.t.cdf((d - 0.05) / error, 399))
    assert equivalence(found, 0.05)[0] == pytest.approx(oracle)
    assert equivalence(found, abs(d) + 0.1)[0] < 0.001
    assert equivalence(found, abs(d) / 2)[0] > 0.5


def test_ties_are_groups_of_which_every_two_are_tied() -> None:
    names, estimates = ("a", "b", "c", "d"), np.array([0.5, 0.9, 0.7, 0.6])
    first, second = np.array([0, 0, 0, 1, 1, 2]), np.array([1, 2, 3, 2, 3, 3])
    tied = np.array([False, False, True, True, False, True])
    found = ties(names, estimates, first, second, tied)
    assert (found.k, found.m) == (3, 6)
    assert found.groups == (("b", "c"), ("c", "d"), ("d", "a"))
    assert ties(names, estimates, first, second, np.ones(6, bool)).groups == (("b", "c", "d", "a"),)
    assert ties(names, estimates, first, second, np.zeros(6, bool)).groups == (("b",), ("c",), ("d",), ("a",))


@pytest.mark.parametrize(("own", "donors_known", "least"), [(0.0, True, 0.01), (0.8, True, 0.01), (0.8, False, 0.035)])
def test_a_true_null_is_rejected_at_most_as_often_as_said(own: float, donors_known: bool, least: float) -> None:
    """1,500 pairs of readers who are right equally often, on 30 hosts; ``own``: each finds other hosts easy.

    With two ways the variance is never below that of either, which makes tests careful.
    """
    rng = np.random.default_rng(6)
    repeats, n = 1500, 160
    host, donor = np.arange(n) % 30, rng.integers(0, 40, n) if donors_known else np.arange(n)
    ease = 0.8 * rng.normal(size=(repeats, 30))[:, host] + 0.8 * rng.normal(size=(repeats, n))[:, donor]
    noise = [own * rng.normal(size=(repeats, 30))[:, host] + rng.normal(size=(repeats, n)) for _ in range(2)]
    first, second = ((ease + one > -0.5).ravel() for one in noise)
    hosts, donors = np.tile(host, repeats), np.tile(donor, repeats)
    cell = np.repeat(np.arange(repeats), n)
    every = np.ones(repeats * n, bool)
    _, _, _, p = clustered_mcnemar(clusters(cell, hosts, donors, repeats), first, second, every, 10)
    assert least <= (p < 0.05).mean() <= 0.065
    both = clusters(np.r_[cell, cell + repeats], np.tile(hosts, 2), np.tile(donors, 2), 2 * repeats)
    estimates = of_mean(both, np.r_[first, second], np.tile(every, 2), "none")
    pairs = np.arange(repeats)
    assert least <= (compare(estimates, pairs, pairs + repeats, 0.05, 10).p < 0.05).mean() <= 0.065
