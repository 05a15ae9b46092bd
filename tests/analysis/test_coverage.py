"""A reduced part of ``bench/coverage.py``: the default interval covers where the independent one does not."""

import numpy as np
import pytest

from bench.coverage import answers, design, estimates, latent, measured
from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.estimates.variance import variance

REPETITIONS = 1000


@pytest.mark.parametrize(
    ("hosts", "donors", "reuse", "p", "icc"),
    [
        (20, 20, "skewed", 0.5, 0.3),
        (20, 50, "skewed", 0.1, 0.1),
        (20, 20, "crossed", 0.9, 0.3),
        (50, 20, "round_robin", 0.5, 0.1),
        (50, 50, "one_to_one", 0.5, 0.0),
        (50, 50, "crossed", 0.5, 0.1),
    ],
)
def test_the_default_interval_covers(hosts: int, donors: int, reuse: str, p: float, icc: float) -> None:
    found = measured(hosts, donors, reuse, p, icc, REPETITIONS)
    assert found.broken == ""
    assert 0.9 <= found.width / found.oracle <= 1.35
    assert found.no_limits < 0.01


def test_the_simulated_estimates_are_those_of_the_engine() -> None:
    host, donor = design(20, 30, "skewed")
    assert np.bincount(host)[0] == round(0.22 * len(host))
    right = answers(host, donor, 0.5, 0.3, 3, np.random.default_rng(0))
    n = len(host)
    ways = clusters(np.repeat(np.arange(3), n), np.tile(host, 3), np.tile(donor, 3), 3)
    engine, simulated = of_mean(ways, right.ravel(), np.ones(3 * n, bool), ""), estimates(right, host, donor)
    np.testing.assert_allclose(simulated.value, engine.value)
    np.testing.assert_allclose(simulated.independent, engine.independent)
    np.testing.assert_allclose(variance(simulated).value, variance(engine).value)
    np.testing.assert_allclose(variance(simulated).effective, variance(engine).effective)


def test_simulated_answers_have_the_correlation_that_is_asked_for() -> None:
    host, donor = np.repeat(np.arange(2), 2), np.array([0, 1, 0, 2])
    right = answers(host, donor, 0.1, 0.3, 200_000, np.random.default_rng(1))
    assert right.mean() == pytest.approx(0.1, abs=0.005)
    got = np.corrcoef(right.T)
    assert got[0, 1] == pytest.approx(0.3, abs=0.02), "same host"
    assert got[0, 2] == pytest.approx(0.15, abs=0.02), "same donor"
    assert got[0, 3] == pytest.approx(0.0, abs=0.01)
    assert latent(0.5, 0.3) == pytest.approx(np.sin(np.pi / 2 * 0.3), abs=1e-4), "in closed form at a half"
