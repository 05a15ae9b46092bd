"""How often the default interval of a share covers the truth, and how wide it is, by simulation.

Baselines of the same run: the interval that takes every case as independent, and one that knows the true variance.
Answers are right where a normal variable lies below a threshold; hosts and donors share parts of it, sized so that two
cases of one host have the intra-class correlation ``icc`` of 0/1 answers, and two of one donor half of it. Each design
has seeds of its own, so a reduced grid gives the same figures. A design that breaks a rule is marked, and the exit code
is then 1. The figures stand in ``docs/coverage.md``.

    python -m bench.coverage [--repetitions 4000] [--sizes 20,50,200] [--out coverage.csv]
"""

import argparse
import itertools
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import polars as pl
from scipy import special

from itrialspace_assets.analysis.estimates.cells import Groups
from itrialspace_assets.analysis.estimates.intervals import FEW_EFFECTIVE, intervals
from itrialspace_assets.analysis.estimates.jackknife import Estimates, Way, three
from itrialspace_assets.analysis.estimates.variance import variance
from itrialspace_assets.base import seeds

REUSES = ("one_to_one", "round_robin", "crossed", "skewed")
SHARES, ICCS, SIZES = (0.1, 0.5, 0.9), (0.0, 0.1, 0.3), (20, 50, 200)
#: What must hold: least coverage, with few effective clusters, greatest coverage where there is enough of everything,
#: and what the independent interval stays below under reuse.
LEAST, LEAST_FEW, GREATEST, INDEPENDENT = 0.93, 0.92, 0.975, 0.93
ALPHA = 0.05
#: Repetitions that are held at once: what fits the caches of a processor.
AT_ONCE = 250


@dataclass(frozen=True)
class Cell:
    """One design and what was found in it."""

    hosts: int
    donors: int
    reuse: str
    p: float
    icc: float
    cases: int
    effective: float
    coverage: float
    independent: float
    width: float
    oracle: float
    no_limits: float
    broken: str


def design(hosts: int, donors: int, reuse: str) -> tuple[np.ndarray, np.ndarray]:
    """Host and donor of each case.

    1:1: every host and donor once. Round-robin: four rounds, each host with another donor in each. Crossed: every host
    with 20 donors. Skewed: five cases a person, of which the first host has 22 %.
    """
    most = max(hosts, donors)
    if reuse == "one_to_one":
        return np.arange(hosts), np.arange(hosts)
    if reuse == "round_robin":
        at = np.arange(4 * most)
        return at % hosts, (at + at // most) % donors
    if reuse == "crossed":
        host, turn = np.divmod(np.arange(hosts * 20), 20)
        return host, (host + turn * max(donors // 20, 1)) % donors
    at = np.arange(5 * most)
    first = round(0.22 * len(at))
    return np.where(at < first, 0, 1 + at % (hosts - 1)), (7 * at + at // donors) % donors


@lru_cache
def latent(p: float, icc: float) -> float:
    """Correlation of normal variables whose dichotomies at ``p`` have such a correlation."""
    from scipy import optimize, stats

    if icc == 0:
        return 0.0
    cut = stats.norm.ppf(p)

    def off(rho: float) -> float:
        both = stats.multivariate_normal.cdf([cut, cut], cov=[[1, rho], [rho, 1]])
        return (both - p**2) / (p * (1 - p)) - icc

    return float(optimize.brentq(off, 0, 0.999))


def answers(host: np.ndarray, donor: np.ndarray, p: float, icc: float, repetitions: int, rng) -> np.ndarray:
    """Right or not (R, n)."""
    from scipy import stats

    of_host, of_donor = latent(p, icc), latent(p, icc / 2)
    shape = (repetitions, int(host.max()) + 1), (repetitions, int(donor.max()) + 1)
    shared = np.sqrt(of_host) * rng.standard_normal(shape[0], np.float32)[:, host]
    shared += np.sqrt(of_donor) * rng.standard_normal(shape[1], np.float32)[:, donor]
    rest = np.float32(np.sqrt(1 - of_host - of_donor))
    shared += rest * rng.standard_normal(shared.shape, np.float32)
    return shared < np.float32(stats.norm.ppf(p))


def estimates(right: np.ndarray, host: np.ndarray, donor: np.ndarray) -> Estimates:
    """The share of each repetition (R,) without each host, donor and pair, as ``of_mean`` gives it."""
    repetitions, n = right.shape
    total = right.sum(axis=1).astype(float)
    ways = []
    for ids in (host, donor, host * (donor.max() + 1) + donor):
        cluster, of, sizes = np.unique(ids, return_inverse=True, return_counts=True)
        order = np.argsort(of, kind="stable")
        sums = np.add.reduceat(right[:, order], np.cumsum(sizes) - sizes, axis=1, dtype=np.float64)
        without = (total[:, None] - sums) / (n - sizes)
        cell = np.repeat(np.arange(repetitions), len(cluster))
        groups = Groups(np.zeros(0, np.int64), cell, np.tile(np.arange(len(cluster)), repetitions), repetitions)
        ways.append(Way(groups, without.ravel(), np.tile(sizes.astype(float), repetitions)[None]))
    value = total / n
    independent = value * (1 - value) / (n - 1)
    none = np.full(repetitions, None, dtype=object)
    return Estimates(value, none, three(ways), independent, np.zeros(0, bool), np.full(repetitions, float(n)))


def _limits(found: Estimates) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Value, lower and upper limit, effective clusters of each repetition (R,)."""
    limits = intervals(found, "share", ALPHA, 10)
    return found.value, limits.low, limits.high, variance(found).effective


def measured(hosts: int, donors: int, reuse: str, p: float, icc: float, repetitions: int) -> Cell:
    """Coverage and width in one design.

    Args:
        hosts: host persons.
        donors: donor persons.
        reuse: how they meet (see ``design``).
        p: true share.
        icc: correlation of two cases of one host.
        repetitions: how many tables are drawn.
    """
    from scipy import stats

    host, donor = design(hosts, donors, reuse)
    rng = np.random.default_rng(seeds.named(42, "coverage", hosts, donors, reuse, str(p), str(icc)))
    drawn = [
        _limits(estimates(answers(host, donor, p, icc, min(AT_ONCE, repetitions - first), rng), host, donor))
        for first in range(0, repetitions, AT_ONCE)
    ]
    value, low, high, clusters = (np.concatenate(column) for column in zip(*drawn, strict=True))
    covered = (low <= p) & (p <= high)
    z, n = stats.norm.ppf(1 - ALPHA / 2), len(host)
    with np.errstate(divide="ignore", invalid="ignore"):
        centre = special.logit(value)
        half = z / np.sqrt(n * value * (1 - value))
        independent = (special.expit(centre - half) <= p) & (p <= special.expit(centre + half))
    spread = value.std()
    known = z * spread / (p * (1 - p))
    inside = (value > 0) & (value < 1)
    oracle = (special.expit(centre + known) - special.expit(centre - known))[inside].mean()
    effective = float(clusters[0])
    worth = p * (1 - p) * min(n, p * (1 - p) / spread**2)
    enough = min(hosts, donors) >= 50 and worth >= 5
    error = np.sqrt(0.07 * 0.93 / repetitions)
    coverage, least = float(covered.mean()), LEAST_FEW if effective < FEW_EFFECTIVE else LEAST
    broken = [
        "too low" if coverage < least - 2 * error else "",
        "too high" if enough and coverage > GREATEST + 2 * error else "",
        "independent too good" if icc >= 0.1 and reuse != "one_to_one" and independent.mean() >= INDEPENDENT else "",
    ]
    return Cell(
        hosts, donors, reuse, p, icc, n, round(effective, 1), coverage, float(independent.mean()),
        float(np.nanmean(high - low)), float(oracle), float(np.isnan(low).mean()),
        "; ".join(b for b in broken if b),
    )  # fmt: skip


def grid(sizes: tuple[int, ...]) -> Iterator[tuple[int, int, str, float, float]]:
    """All designs over these numbers of hosts and donors."""
    for hosts, donors, reuse, p, icc in itertools.product(sizes, sizes, REUSES, SHARES, ICCS):
        if reuse != "one_to_one" or hosts == donors:
            yield hosts, donors, reuse, p, icc


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--repetitions", type=int, default=4000)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--out", type=Path)
    options = parser.parse_args()
    found = []
    designs = list(grid(tuple(int(s) for s in options.sizes.split(","))))
    for number, one in enumerate(designs, start=1):
        cell = measured(*one, options.repetitions)
        found.append(asdict(cell))
        what = f"{cell.hosts:3d} hosts {cell.donors:3d} donors {cell.reuse:<11} p {cell.p:.1f} icc {cell.icc:.1f}"
        covers = f"covers {cell.coverage:.3f}, as independent {cell.independent:.3f}"
        width = f"width {cell.width:.3f}, oracle {cell.oracle:.3f}"
        print(f"{number}/{len(designs)} {what}  {covers}; {width}  {cell.broken}", flush=True)
    table = pl.DataFrame(found)
    if options.out:
        table.write_csv(options.out)
    for name in REUSES:
        covered = table.filter(pl.col("reuse") == name)["coverage"].to_numpy()
        print(f"{name}: covers {covered.min():.3f} to {covered.max():.3f}")
    broken = table.filter(pl.col("broken") != "").height
    print(f"{broken} of {table.height} designs break a rule")
    sys.exit(broken > 0)


if __name__ == "__main__":
    main()
