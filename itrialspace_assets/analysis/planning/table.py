"""What a study would tell and cost, as a table: one row for each number of cases."""

from collections.abc import Sequence

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.intervals import FEW_EFFECTIVE, joined
from itrialspace_assets.analysis.estimates.power import ENOUGH, Design, Spread, expected, reuse_of
from itrialspace_assets.analysis.planning.cost import Cost
from itrialspace_assets.analysis.planning.known import Known, Varies
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.base.errors import ConfigError

#: Cases of a row at most (ours).
MOST_CASES = 10**9


def power_table(
    study: Study,
    known: Known,
    cases: Sequence[int],
    *,
    power: float,
    hosts: int | None,
    donors: int | None,
    cost: Cost,
) -> pl.DataFrame:
    """Expected width, least differences and cost for numbers of cases.

    Args:
        study: alpha, fewest clusters, and the margin.
        known: of the primary number.
        cases: of each row.
        power: chance with which a least difference is found.
        hosts: host persons that there are; None: as many as are needed.
        donors: donor persons that there are; None: as many as are needed.
        cost: of a case.

    Raises:
        ConfigError: a number of cases is below 2 or above ``MOST_CASES``, or the power is no chance above a half.
    """
    if wrong := [n for n in cases if not 2 <= n <= MOST_CASES]:
        raise ConfigError(f"--cases {str(wrong[0])[:20]}: expected numbers from 2 to {MOST_CASES}")
    if not 0.5 <= power < 1:
        raise ConfigError(f"--power {power:g}: expected a chance from 0.5 to below 1")
    n = np.array(sorted(set(cases)), np.float64)
    design = Design(n, reuse_of(n, known.cases_per_host, hosts), reuse_of(n, known.cases_per_donor, donors))
    one = expected(design, _spread(known.number, len(n)), known.scale, study.alpha, power)
    two = expected(design, _spread(known.difference, len(n)), "line", study.alpha, power)
    numbers = {
        "design_effect": one.design_effect,
        "effective_cases": one.n_effective,
        "width": one.width,
        "from_a_value": one.detectable,
        "between_readers": two.detectable,
        "equivalent_within": two.margin,
    }
    untested = one.persons < study.min_clusters
    for name in ("from_a_value", "between_readers", "equivalent_within"):
        beyond = numbers[name] >= 1 if known.scale == "share" else np.zeros(len(n), bool)
        numbers[name] = np.where(untested | beyond, np.nan, numbers[name])
    value = known.number.value
    rarer = n * min(value, 1 - value) if known.scale == "share" else np.full(len(n), np.inf)
    few = one.persons < FEW_EFFECTIVE
    flags = [
        (np.isnan(one.width), "too few persons for limits"),
        (untested, f"fewer than {study.min_clusters} persons: not tested"),
        (few & ~untested, f"fewer than {FEW_EFFECTIVE} effective persons: flagged in reports"),
        (rarer < ENOUGH, f"fewer than {ENOUGH} right or wrong are expected: rough"),
    ]
    if study.margin is not None:
        flags.append(
            (numbers["equivalent_within"] <= study.margin.value, "shows equivalence within the study's margin")
        )
    return pl.DataFrame(
        {
            "cases": n.astype(np.int64),
            "hosts": np.ceil(n / design.per_host).astype(np.int64),
            "donors": np.ceil(n / design.per_donor).astype(np.int64),
            **{name: pl.Series(values).fill_nan(None).round(4) for name, values in numbers.items()},
            "gpu_hours": pl.Series([cost.hours(int(k), gpu=True) for k in n], dtype=pl.Float64).round(3),
            "cpu_hours": pl.Series([cost.hours(int(k), gpu=False) for k in n], dtype=pl.Float64).round(3),
            "note": pl.Series(joined(flags, len(n)).tolist(), dtype=pl.String),
        }
    )


def _spread(of: Varies, designs: int) -> Spread:
    return Spread(*(np.full(designs, v) for v in (of.value, of.unit, of.icc_host, of.icc_donor)))
