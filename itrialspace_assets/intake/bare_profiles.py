"""Profiles and scan list of a dataset from its annotation table alone: anatomical columns are null with the reason."""

from typing import Any

import polars as pl

from itrialspace_assets.intake.annotation_sources import AnnotationSource
from itrialspace_assets.intake.annotations import Annotated
from itrialspace_assets.profiles.load import UNKNOWN_COLUMNS
from itrialspace_assets.profiles.registry import Dataset
from itrialspace_assets.profiles.siblings import SIBLING_COLUMNS, add_siblings
from itrialspace_assets.records.tables import PROFILE_COLUMNS


def bare_profiles(annotated: Annotated, source: AnnotationSource, dataset: Dataset) -> pl.DataFrame:
    """Profiles from a table alone: the 53 columns, anatomical ones null or unknown with the reason.

    Distances between nodules of a scan are known if the table gives positions in mm, even without the image's origin.

    Args:
        annotated: the table as it was read.
        source: how it was read.
        dataset: its registry entry.
    """
    n = annotated.nodules
    siblings = add_siblings(
        n.select(
            "scan",
            "id",
            x=pl.col("rx"),
            y=pl.col("ry"),
            z=pl.col("rz"),
            lung_side=pl.lit("unknown"),
            lobe_name=pl.lit("unknown"),
        )
    )
    missing = pl.concat_str(
        pl.col("reason"),
        pl.lit("no organ map: lobe, side, zone, percentages and distances are unknown"),
        separator="; ",
        ignore_nulls=True,
    )
    known: dict[str, Any] = {
        "ct_path": pl.concat_str(pl.lit(f"{dataset.name}/"), pl.col("ct_id"), pl.lit(".nii.gz")),
        "coordX": pl.col("x").round(4),
        "coordY": pl.col("y").round(4),
        "coordZ": pl.col("z").round(4),
        "w": pl.col("w").round(4),
        "h": pl.col("h").round(4),
        "d": pl.col("d").round(4),
        "nodule_mean_diam_mm": pl.col("diameter").round(4),
        "reinsertion_nodule_diam_mm": pl.col("diameter").round(4),
        "nodule_vol_mm3": pl.col("volume").round(4),
    }
    columns = []
    for column in PROFILE_COLUMNS:
        if column.name in known:
            columns.append(known[column.name].alias(column.name))
        elif column.name in SIBLING_COLUMNS:
            columns.append(pl.lit(siblings[column.name]).alias(column.name))
        else:
            columns.append(pl.lit("unknown" if column.name in UNKNOWN_COLUMNS else None).alias(column.name))
    native = [pl.col(c).alias(c.removeprefix("native:")) for c in n.columns if c.startswith("native:")]
    own_id = [pl.col("id").alias(dataset.annotation)] if dataset.annotation else []
    native = [e for e in native if not (dataset.annotation and e.meta.output_name() == dataset.annotation)]
    unit = f"px_py_pz_{source.centre.unit}"
    raw_place = [] if source.centre.unit == "mm" else [pl.concat_str(["px", "py", "pz"], separator=" ").alias(unit)]
    more = [c for c in ("readings", "volume_is_stand_in") if c in n.columns]
    return n.select(
        *columns,
        *native,
        *own_id,
        *raw_place,
        *more,
        diam_definition=pl.lit(source.diam_definition),
        missing_because=missing,
    )


def scan_list(annotated: Annotated) -> pl.DataFrame:
    """The dataset's scan list: ``ct_id``, ``patient``, ``series``."""
    return annotated.scans.select("ct_id", "patient", "series").sort("ct_id")
