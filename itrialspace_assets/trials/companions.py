"""Nodules that go along with a case's primary one: which, and the clearance that they need."""

import numpy as np
import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.allocate import Floats
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.stock import Stock, reach_mm


def companion_needs(stock: Stock, cohort: Cohort, donors: pl.DataFrame) -> Floats | None:
    """Radius (mm) that the companions of each donor need in each lobe, shape (donors, lobes); None without companions."""
    if cohort.companions == "none":
        return None
    left = donors.select("nodule_uid", "scan_uid", "lobe").with_row_index("row")
    pairs = left.join(stock.donors.select("nodule_uid", "scan_uid", "lobe", "diameter_mm"), on="scan_uid", suffix="_c")
    pairs = pairs.filter(
        pl.col("nodule_uid") != pl.col("nodule_uid_c"),
        pl.col("lobe_c").is_in(list(LOBES)),
        companion_rule(cohort.companions, "lobe", "lobe_c"),
    )
    needs = np.zeros((donors.height, len(LOBES)))
    lobe = pairs["lobe_c"].replace_strict({x: i for i, x in enumerate(LOBES)}, return_dtype=pl.Int64).to_numpy()
    np.maximum.at(
        needs, (pairs["row"].to_numpy(), lobe), reach_mm(pairs["diameter_mm"].to_numpy(), cohort.clearance_mm)
    )
    return needs


def companion_rule(strategy: str, lobe: str, other: str) -> pl.Expr:
    """Which nodules of a scan go along with its primary one."""
    if strategy == "same_lobe":
        return pl.col(lobe) == pl.col(other)
    if strategy == "ipsilateral":
        return pl.col(lobe).str.slice(0, 4) == pl.col(other).str.slice(0, 4)
    return pl.lit(True)
