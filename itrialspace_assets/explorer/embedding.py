"""Builds ``nodule_map``: principal components of standardised nodule features."""

import numpy as np
import polars as pl

from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.records.store import read_table, write_table

VERSION = "1"
#: The nine numbers of the published feature set reinsertion_core (docs/facts/explorer.md#nine-number-feature-set);
#: lobes are added as 0/1.
FEATURES = (
    *(f"reinsertion_lobe_{a}_pct" for a in ("cc", "ml", "ap")),
    *(f"reinsertion_lung_{a}_pct" for a in ("cc", "ml", "ap")),
    "reinsertion_pleural_dist_mm",
    "reinsertion_airway_dist_mm",
    "reinsertion_nodule_diam_mm",
)


STEP = Step(("nodule_map",), "index", (), VERSION)


def project(nodules: pl.DataFrame) -> pl.DataFrame:
    """Add the first two principal components ``x`` and ``y`` (no unit); a missing value counts as the median.

    Args:
        nodules: rows of the table ``nodules``.
    """
    numbers = nodules.select(pl.col(FEATURES).fill_null(pl.col(FEATURES).median()).fill_null(0.0)).to_numpy()
    lobes = np.stack([(nodules["reinsertion_lobe"] == lobe).to_numpy() for lobe in LOBES], axis=1)
    matrix = np.hstack([numbers, lobes]).astype(np.float64)
    spread = matrix.std(axis=0)
    matrix = (matrix - matrix.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    left, size, right = np.linalg.svd(matrix, full_matrices=False)
    sign = np.sign(
        right[np.arange(len(size)), np.abs(right).argmax(axis=1)]
    )  # the sign of a component is arbitrary: fix it
    points = np.zeros((len(matrix), 2))
    keep = min(2, len(size))
    points[:, :keep] = np.round((left * size * sign)[:, :keep], 6)
    return nodules.select("nodule_uid", "dataset").with_columns(x=pl.Series(points[:, 0]), y=pl.Series(points[:, 1]))


def build(settings: Settings, partition: Partition) -> Result:
    """Write ``nodule_map`` for the table ``nodules``."""
    require_data_root(settings)
    frame = project(read_table(settings.output, "nodules"))
    path = write_table(settings.output, "nodule_map", frame)
    return Result({"nodule_map": frame.height}, computed=frame.height, written=(path,))
