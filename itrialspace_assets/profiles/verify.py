"""Compares a published profile table with a new measurement of its masks, column by column."""

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.case import KnownNodule, MeasureCase
from itrialspace_assets.profiles.load import load_profiles
from itrialspace_assets.profiles.registry import Dataset
from itrialspace_assets.records.tables import PROFILE_COLUMNS

#: Numbers within this of each other agree: mm for lengths, percentage points for positions (about a voxel).
TOLERANCE = {"mm": 1.0, "%": 1.0, "mm3": 1.0}
#: Columns that describe the table, not the nodule.
_SKIP = ("ct_path", "nearby_organs_10mm", "nearest_nodule_id", "all_nodule_ids", "all_nodule_dists_mm")


def scans_of(settings: Settings, entry: Dataset) -> tuple[pl.DataFrame, list[MeasureCase]]:
    """The profile table of a dataset and, of each scan with a label map, what to measure.

    Raises:
        TableError: the table is refused.
    """
    profiles = load_profiles(entry.profile_csv(settings.data), entry, settings.anatomy).profiles
    scans = []
    for (scan,), rows in profiles.group_by(["scan_uid"], maintain_order=True):
        ct_id = str(scan).split("/", 1)[1]
        organ = entry.organ_map(settings.data, ct_id)
        if not organ.exists():
            continue
        known = tuple(
            KnownNodule(
                id=r["annotation_id"],
                mask=entry.nodule_mask(settings.data, ct_id, r["annotation_id"]),
                centre=None if None in (xyz := (r["coordX"], r["coordY"], r["coordZ"])) else xyz,
            )
            for r in rows.iter_rows(named=True)
        )
        scans.append(MeasureCase(ct_id=ct_id, organ=organ, known=known))
    return profiles, scans


def compare(profiles: pl.DataFrame, measured: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Compare published with measured values.

    Args:
        profiles: rows of the table ``profiles``.
        measured: rows of ``measure_case``.

    Returns:
        A summary with one row a column (how many were compared, how many agree, an example that does not), and the
        comparison itself with one row a nodule and column.
    """
    schema = {
        "id": pl.String,
        "column": pl.String,
        "published": pl.String,
        "measured": pl.String,
        "difference": pl.Float64,
        "agree": pl.Boolean,
    }
    parts = []
    if measured.height:
        both = profiles.join(measured, left_on="annotation_id", right_on="id", how="inner", suffix="_m")
        for column in PROFILE_COLUMNS:
            if column.name in _SKIP:
                continue
            a, b = pl.col(column.name), pl.col(f"{column.name}_m")
            if column.type in ("number", "integer"):
                difference = b.cast(pl.Float64) - a.cast(pl.Float64)
                limit = (
                    pl.lit(TOLERANCE.get(column.unit, 0.0))
                    if column.unit != "mm3"
                    else pl.max_horizontal(1.0, a * 0.01)
                )
                agree = (difference.abs() <= limit) | (a.is_null() & b.is_null())
            else:
                difference, agree = pl.lit(None, pl.Float64), a.eq_missing(b.cast(profiles.schema[column.name]))
            parts.append(
                both.select(
                    id=pl.col("annotation_id"),
                    column=pl.lit(column.name),
                    published=a.cast(pl.String),
                    measured=b.cast(pl.String),
                    difference=difference,
                    agree=agree.fill_null(False),
                )
            )
    each = pl.concat(parts) if parts else pl.DataFrame(schema=schema)
    summary = each.group_by("column", maintain_order=True).agg(
        compared=pl.len(),
        agree=pl.col("agree").sum(),
        share=pl.col("agree").mean().round(4),
        median_difference=pl.col("difference").median().round(4),
        largest=pl.col("difference").abs().max().round(4),
        example=pl.concat_str(
            "id",
            pl.lit(": "),
            pl.col("published").fill_null("none"),
            pl.lit(" → "),
            pl.col("measured").fill_null("none"),
        )
        .filter(~pl.col("agree"))
        .first(),
    )
    return summary, each
