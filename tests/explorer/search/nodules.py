"""A table ``nodules`` of random rows with missing values, as searches open it."""

from pathlib import Path

import numpy as np
import polars as pl
import pyarrow.parquet as pq

from itrialspace_assets.index.query import FEATURES
from itrialspace_assets.records.store import table_path
from itrialspace_assets.records.tables import TABLES

LOBES = ("left_lung_upper_lobe", "left_lung_lower_lobe", "right_lung_upper_lobe")


def frame(n: int = 300, seed: int = 1) -> pl.DataFrame:
    """Rows of the table with what searches read; the rest null."""
    rng = np.random.default_rng(seed)
    lobes = rng.choice(LOBES, n)

    def some(values: np.ndarray) -> list:
        return [None if gone else v for v, gone in zip(values.tolist(), rng.random(n) < 0.1, strict=True)]

    columns = {
        "nodule_uid": [f"D{i % 3}/n{i:04d}" for i in range(n)],
        "annotation_id": [f"n{i:04d}" for i in range(n)],
        "dataset": [f"D{i % 3}" for i in range(n)],
        "scan_uid": [f"D{i % 3}/S{i // 6}" for i in range(n)],
        "person_uid": [f"P{i // 4}" for i in range(n)],
        "label": rng.choice([0, 1, None], n).tolist(),
        "age": some(rng.integers(40, 90, n).astype(float)),
        "reinsertion_lobe": lobes.tolist(),
        "reinsertion_lung_side": [x.split("_")[0] for x in lobes],
        "reinsertion_lung_zone": rng.choice(["upper_zone", "lower_zone"], n).tolist(),
        "size_bucket": rng.choice(["<5mm", "5-10mm", ">30mm", None], n).tolist(),
        "has_ct": rng.choice([True, False], n).tolist(),
        **{f"coord{a}": rng.uniform(-100, 100, n).tolist() for a in "XYZ"},
        **{column: some(rng.uniform(0, 100, n).round(1)) for column, _ in FEATURES.values()},
    }
    schema = TABLES["nodules"].schema
    missing = [pl.lit(None, kind).alias(c) for c, kind in schema.items() if c not in columns]
    made = pl.DataFrame(columns, strict=False).with_columns(missing)
    return made.select(pl.col(c).cast(kind) for c, kind in schema.items()).sort("nodule_uid")


def write(output: Path, nodules: pl.DataFrame) -> Path:
    """Write the table without the rules of its contract, which say what searches need not know."""
    path = table_path(output, "nodules")
    path.parent.mkdir(parents=True, exist_ok=True)
    arrow = nodules.to_arrow(compat_level=pl.CompatLevel.oldest())
    contract = {b"itrialspace.contract": TABLES["nodules"].contract.encode()}
    new = path.with_suffix(".new")
    pq.write_table(arrow.replace_schema_metadata(contract), new)
    return new.replace(path)
