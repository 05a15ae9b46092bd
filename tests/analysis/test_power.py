"""Expected widths and least differences against simulation through the interval code itself."""

from itertools import product

import numpy as np
import pytest

from bench.coverage import answers, design, estimates, latent
from itrialspace_assets.analysis.estimates.cells import clusters
from itrialspace_assets.analysis.estimates.comparisons import tested as judged
from itrialspace_assets.analysis.estimates.intervals import intervals
from itrialspace_assets.analysis.estimates.jackknife import of_mean
from itrialspace_assets.analysis.estimates.power import (
    ENOUGH,
    Design,
    ExpectedPrecision,
    Spread,
    auc_unit,
    expected,
    reuse_of,
    share_unit,
)
from itrialspace_assets.analysis.estimates.variance import differences


def reuse(ids: np.ndarray) -> np.ndarray:
    """Cases of the person of an average case, as they are in a design."""
    m = np.bincount(ids)
    return np.array([(m**2).sum() / m.sum()])


def spread(p: float, icc: float, unit: float | None = None) -> Spread:
    """Of the answers that ``bench.coverage`` draws: donors correlate half as much as hosts."""
    return Spread(*(np.array([v]) for v in (p, p * (1 - p) if unit is None else unit, icc, icc / 2)))


def predicted(
    host: np.ndarray, donor: np.ndarray, of: Spread, scale: str = "share", power: float = 0.8
) -> ExpectedPrecision:
    whole = Design(np.array([float(len(host))]), reuse(host), reuse(donor))
    return expected(whole, of, scale, 0.05, power)  # type: ignore[arg-type]


def simulated(host: np.ndarray, donor: np.ndarray, p: float, icc: float, repetitions: int) -> float:
    right = answers(host, donor, p, icc, repetitions, np.random.default_rng(7))
    found = intervals(estimates(right, host, donor), "share", 0.05, 10)
    return float(np.nanmean(found.high - found.low))


def test_the_expected_width_is_that_of_the_intervals() -> None:
    designs = [(20, 50, "round_robin", 0.8, 0.2), (50, 50, "one_to_one", 0.9, 0.1), (20, 20, "crossed", 0.5, 0.0)]
    for hosts, donors, how, p, icc in designs:
        host, donor = design(hosts, donors, how)
        width = simulated(host, donor, p, icc, 400)
        assert predicted(host, donor, spread(p, icc)).width[0] == pytest.approx(width, rel=0.05), how


@pytest.mark.slow
@pytest.mark.parametrize("how", ["one_to_one", "round_robin", "crossed"])
def test_the_expected_width_is_within_a_tenth_over_a_grid(how: str) -> None:
    """Reuse, numbers of persons, shares and correlations; the figures of docs/studies.md."""
    sizes = [(20, 20), (30, 30), (20, 50), (50, 20), (50, 50), (50, 200), (200, 50)]
    ratios = {}
    for (hosts, donors), p, icc in product(sizes, (0.1, 0.3, 0.5, 0.9), (0.0, 0.1, 0.3)):
        host, donor = design(hosts, donors, how)
        if (how != "one_to_one" or hosts == donors) and len(host) * min(p, 1 - p) >= ENOUGH:
            found = predicted(host, donor, spread(p, icc)).width[0]
            ratios[hosts, donors, p, icc] = found / simulated(host, donor, p, icc, 600)
    assert len(ratios) >= 27
    assert {k: v for k, v in ratios.items() if not 0.9 <= v <= 1.1} == {}


def two_readers(p: float, apart: float, same: float, host: np.ndarray, donor: np.ndarray, icc: float, times: int):
    """Two readers' answers (R, n): right by p and p + apart; correlated to ``same`` on a case, and in the same measure
    over hosts and donors, so that their difference has the intra-class correlations of each."""
    from scipy import stats

    rng = np.random.default_rng(3)
    of_host, of_donor = latent(p, icc), latent(p, icc / 2)
    common = latent(p, icc * same), latent(p, icc / 2 * same)
    rest = 1 - of_host - of_donor

    def drawn(whole: float, shared: float, ids: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        shape = times, int(ids.max()) + 1
        both, own = rng.standard_normal(shape), rng.standard_normal((2, *shape))
        return tuple((np.sqrt(shared) * both + np.sqrt(whole - shared) * x)[:, ids] for x in own)  # type: ignore[return-value]

    parts = [
        drawn(of_host, common[0], host),
        drawn(of_donor, common[1], donor),
        drawn(rest, latent(p, same) - sum(common), np.arange(len(host))),
    ]
    first, second = (sum(part[i] for part in parts) for i in (0, 1))
    return first < stats.norm.ppf(p), second < stats.norm.ppf(p + apart)


@pytest.mark.slow
@pytest.mark.parametrize(("hosts", "donors", "how"), [(50, 50, "round_robin"), (30, 60, "crossed")])
def test_the_least_difference_is_found_as_often_as_was_asked_for(hosts: int, donors: int, how: str) -> None:
    host, donor = design(hosts, donors, how)
    p, icc, correlation, times = 0.6, 0.1, 0.4, 300
    unit = 2 * p * (1 - p) * (1 - correlation)
    told = predicted(host, donor, spread(0.0, icc, unit), "line")
    first, second = two_readers(p, told.detectable[0], correlation, host, donor, icc, times)
    n, cell = len(host), np.arange(2 * times)
    ways = clusters(np.repeat(cell, n), np.tile(host, 2 * times), np.tile(donor, 2 * times), 2 * times)
    right = np.stack([first, second], axis=1).ravel()
    pairs = differences(of_mean(ways, right, np.ones(len(right), bool), ""), cell[::2], cell[1::2])
    found = judged(pairs, 0.05, 10)
    assert (found.p < 0.05).mean() == pytest.approx(0.8, abs=0.07)
    assert (found.high - found.low).mean() == pytest.approx(told.width[0], rel=0.1)


def test_reuse_and_correlation_cost_what_they_cost() -> None:
    n = np.array([100.0, 400.0])
    once, often = reuse_of(n, 1, None), reuse_of(n, 4, None)
    flat = Spread(*(np.full(2, v) for v in (0.7, 0.21, 0.0, 0.0)))
    alike = Spread(*(np.full(2, v) for v in (0.7, 0.21, 0.2, 0.1)))

    def width(host: np.ndarray, donor: np.ndarray, of: Spread) -> np.ndarray:
        return expected(Design(n, host, donor), of, "share", 0.05, 0.8).width

    assert width(once, once, flat) == pytest.approx(width(once, once, alike), rel=0.03), "nobody is used twice"
    found = expected(Design(n, often, often), alike, "share", 0.05, 0.8)
    np.testing.assert_allclose(found.design_effect, 1 + 3 * 0.2 + 3 * 0.1)
    np.testing.assert_allclose(found.n_effective, n / 1.9)
    np.testing.assert_allclose(found.persons, n / 4)
    assert (found.width > 1.2 * width(once, once, alike)).all()
    assert (found.width[0] / found.width[1]) == pytest.approx(2, rel=0.15)
    np.testing.assert_allclose(reuse_of(n, 2, 25), [4, 16], err_msg="25 persons are all there are")
    assert (found.margin > 0).all() and (found.detectable > 0).all()


def test_degenerate_designs_have_no_width() -> None:
    n = np.array([1.0, 30.0, 30.0])
    host = np.array([1.0, 30.0, 1.0])
    of = Spread(np.full(3, 0.5), np.array([0.25, 0.25, 0.0]), np.zeros(3), np.zeros(3))
    found = expected(Design(n, host, reuse_of(n, 1, None)), of, "share", 0.05, 0.8)
    assert np.isnan(found.width).tolist() == [True, True, True]
    assert np.isnan(found.detectable).all()


def test_the_unit_of_an_area_is_the_variance_of_its_placements() -> None:
    """Exponential scores, for which Hanley and McNeil's formula is exact; placements as of DeLong's variance."""
    rng, k, rate = np.random.default_rng(5), 2.0, 4.0
    of_positives = 1 - np.exp(-rng.exponential(rate, 200_000))
    of_negatives = np.exp(-rng.exponential(1, 200_000) / rate)
    value = np.array([rate / (1 + rate)])
    assert of_positives.mean() == pytest.approx(value[0], abs=0.002)
    assert auc_unit(value, k)[0] == pytest.approx(of_positives.var() + of_negatives.var() / k, rel=0.02)
    assert share_unit(np.array([0.2]))[0] == pytest.approx(0.16)
