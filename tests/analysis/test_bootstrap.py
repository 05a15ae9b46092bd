"""The two-way bootstrap: its weights, its sums, and where it is as wide as it should be."""

import numpy as np
import pytest

from itrialspace_assets.analysis.estimates.bootstrap import bootstrapped, percentiles, weights
from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.estimates.variance import variance


def share(sums: np.ndarray) -> np.ndarray:
    return sums[..., 1] / sums.sum(axis=-1)


def test_weights_are_poisson_and_belong_to_their_cluster() -> None:
    found = weights([f"p{i}" for i in range(300)], 400, 42, "host")
    assert found.mean() == pytest.approx(1, abs=0.01)
    assert found.var() == pytest.approx(1, abs=0.02)
    assert (found == 0).mean() == pytest.approx(np.exp(-1), abs=0.005)
    assert (weights(["p7", "new"], 100, 42, "host")[0] == found[7, :100]).all()
    assert (weights(["p7"], 400, 42, "donor")[0] != found[7]).any()
    assert (weights(["p7"], 400, 43, "host")[0] != found[7]).any()


def test_a_replicate_is_the_weighted_table() -> None:
    rng = np.random.default_rng(0)
    cell, host, donor, right = (rng.integers(0, k, 200) for k in (3, 8, 11, 2))
    by_host, by_donor = rng.integers(0, 4, (8, 5)).astype(np.uint8), rng.integers(0, 4, (11, 5)).astype(np.uint8)
    used = rng.random(200) < 0.9
    found = bootstrapped(clusters(cell, host, donor, 3), used, share, kind=right, kinds=2, host=by_host, donor=by_donor)
    for replicate in range(5):
        weight = by_host[host, replicate].astype(int) * by_donor[donor, replicate] * used
        expected = [np.average(right[cell == c], weights=weight[cell == c]) for c in range(3)]
        np.testing.assert_allclose(found[replicate], expected)


def test_limits_are_percentiles_and_missing_where_a_replicate_is() -> None:
    drawn = np.stack([np.linspace(0, 1, 101), np.full(101, np.nan)], axis=1)
    low, high = percentiles(drawn, 0.1)
    assert (low[0], high[0]) == (pytest.approx(0.05), pytest.approx(0.95))
    assert np.isnan([low[1], high[1]]).all()


def test_the_bootstrap_is_about_as_wide_as_the_jackknife_in_a_crossed_design() -> None:
    rng = np.random.default_rng(1)
    host, donor = np.repeat(np.arange(40), 30), np.tile(np.arange(30), 40)
    right = (rng.normal(size=40)[host] + rng.normal(size=30)[donor] + rng.normal(size=1200) > 0).astype(int)
    ways, every = clusters(host * 0, host, donor, 1), np.ones(1200, bool)
    by_host = weights([f"h{i}" for i in range(40)], 800, 42, "host")
    by_donor = weights([f"d{i}" for i in range(30)], 800, 42, "donor")
    found = bootstrapped(ways, every, share, kind=right, kinds=2, host=by_host, donor=by_donor)
    exact = variance(of_mean(ways, right, every, "none")).value[0]
    assert found.std() == pytest.approx(np.sqrt(exact), rel=0.12)
