"""Companions: the nodules that go along with a case's primary one, and the sphere that each needs in its lobe.

Says which and how large; plans no position.
"""

import numpy as np
import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.assignment import Floats
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.pool import CandidatePool, lobe_index, reach_mm


def companion_needs(pool: CandidatePool, cohort: Cohort, donors: pl.DataFrame) -> Floats | None:
    """Radius (mm) of the sphere that the companions of each donor need in each lobe; None without companions.

    Args:
        pool: all donors, which companions are taken from.
        cohort: which companions go along, and the free lung wanted around each.
        donors: the donors of primary nodules.

    Returns:
        Shape (donors, lobes), lobes in the order of ``LOBES``; 0 where no companion goes.
    """
    if cohort.companions == "none":
        return None
    primaries = donors.select("nodule_uid", "scan_uid", "lobe").with_row_index("row")
    others = pool.donors.select("nodule_uid", "scan_uid", "lobe", "diameter_mm", "cc_pct")
    pairs = primaries.join(others, on="scan_uid", suffix="_c").filter(
        pl.col("nodule_uid") != pl.col("nodule_uid_c"),
        pl.col("lobe_c").is_in(list(LOBES)) & pl.col("cc_pct").is_not_null(),
        companion_rule(cohort.companions, "lobe", "lobe_c"),
    )
    needs = np.zeros((donors.height, len(LOBES)))
    reach = reach_mm(pairs["diameter_mm"].to_numpy(), cohort.clearance_mm)
    np.maximum.at(needs, (pairs["row"].to_numpy(), lobe_index(pairs["lobe_c"])), reach)
    return needs


def companion_rule(strategy: str, lobe: str, other: str) -> pl.Expr:
    """Which nodules of a scan go along with its primary one.

    Args:
        strategy: ``companions`` of the cohort: same_lobe, ipsilateral, or all_companions.
        lobe: column with the lobe of the primary nodule.
        other: column with the lobe of the other nodule.
    """
    if strategy == "same_lobe":
        return pl.col(lobe) == pl.col(other)
    if strategy == "ipsilateral":
        return pl.col(lobe).str.slice(0, 4) == pl.col(other).str.slice(0, 4)
    return pl.lit(True)
