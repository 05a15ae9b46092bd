"""Nodules as the table ``nodules`` accepts them, with every column of the feature sets and some values missing."""

import numpy as np
import polars as pl

from itrialspace_assets.explorer.layouts.presets import FEATURE_SETS
from itrialspace_assets.records.tables import TABLES
from tests.index.test_query import made

#: Datasets of the nodules, in order.
DATASETS = ("DLCS24", "LUNA16", "LUNA25")
_GIVEN = {"label_source": "radiology", "population_type": "screening", "mask_source": "procedural"}


def known(n: int = 60) -> pl.DataFrame:
    """Rows sorted by nodule_uid; every seventh lacks its distance to the airway."""
    rng = np.random.default_rng(5)
    nodules = made(n).nodules
    for given, name in zip(("D0", "D1", "D2"), DATASETS, strict=True):
        nodules = nodules.with_columns(pl.col("nodule_uid", "scan_uid", "dataset").str.replace(f"^{given}", name))
    numbers = FEATURE_SETS["core_53"].numbers
    drawn = (pl.Series(c, 1 + rng.gamma(2.0, 9.0, n)).cast(nodules.schema[c]) for c in numbers)
    nodules = nodules.with_columns(drawn).with_columns(
        pl.when(pl.int_range(pl.len()) % 7 == 3).then(None).otherwise(pl.col("reinsertion_airway_dist_mm")).name.keep(),
        lobe_name=pl.col("reinsertion_lobe"),
        lung_side=pl.col("reinsertion_lung_side"),
        lung_zone=pl.col("reinsertion_lung_zone"),
        central_peripheral=pl.lit("central"),
        anatomy=pl.lit("procedural"),
        ct_path=pl.concat_str("scan_uid", pl.lit(".nii.gz")),
        patient_id=pl.col("person_uid"),
        **{column: pl.lit(value) for column, value in _GIVEN.items()},
    )
    table = TABLES["nodules"]
    required = {c.name: c.type for c in table.columns if not c.nullable}
    empty = {"text": pl.lit("none"), "flag": pl.lit(False), "integer": pl.lit(1), "number": pl.lit(0.0)}
    return nodules.with_columns(
        pl.col(name).fill_null(empty[kind]) for name, kind in required.items() if nodules[name].null_count()
    )
