"""The columns of a profile about the scan's other nodules: nearest one, distances, sides.

One self-join over all scans at once. Distances are mm between centres; of equal ones the lower annotation id comes
first.
"""

import polars as pl

#: Columns that ``add_siblings`` writes, in the order of the published table.
SIBLING_COLUMNS = (
    "n_nodules_in_patient",
    "nearest_nodule_id",
    "nearest_nodule_dist_mm",
    "nearest_dx_mm",
    "nearest_dy_mm",
    "nearest_dz_mm",
    "all_nodule_ids",
    "all_nodule_dists_mm",
    "ipsilateral",
    "nearest_same_lobe",
    "bilateral_distribution",
)
_NO_PLACE = ("unknown", "background")


def add_siblings(nodules: pl.DataFrame) -> pl.DataFrame:
    """Add the sibling columns; the order of rows is kept.

    Args:
        nodules: ``scan``, ``id`` (unique in a scan), ``x``, ``y``, ``z`` (mm, RAS, any origin that a scan's
            nodules share; null where unknown), ``lung_side``, ``lobe_name``. A nodule without a centre has
            siblings but no distances.
    """
    base = nodules.with_row_index("_row")
    left = base.select("_row", "scan", "id", "x", "y", "z", "lung_side", "lobe_name")
    pairs = left.join(left.drop("_row"), on="scan", suffix="_other").filter(pl.col("id") != pl.col("id_other"))
    pairs = pairs.with_columns((pl.col(f"{a}_other") - pl.col(a)).alias(f"d{a}") for a in "xyz")
    pairs = pairs.with_columns(distance=(pl.col("dx") ** 2 + pl.col("dy") ** 2 + pl.col("dz") ** 2).sqrt())
    pairs = pairs.sort("_row", "distance", "id_other", nulls_last=True)
    first = pl.all().first()
    nearest = pairs.group_by("_row", maintain_order=True).agg(first)
    known = [
        pl.when(pl.col(c).is_in(_NO_PLACE) | pl.col(f"{c}_other").is_in(_NO_PLACE))
        .then(None)
        .otherwise(pl.col(c) == pl.col(f"{c}_other"))
        for c in ("lung_side", "lobe_name")
    ]
    nearest = nearest.select(
        "_row",
        pl.col("id_other").alias("nearest_nodule_id"),
        pl.col("distance").round(4).alias("nearest_nodule_dist_mm"),
        *(pl.col(f"d{a}").round(4).alias(f"nearest_d{a}_mm") for a in "xyz"),
        known[0].alias("ipsilateral"),
        known[1].alias("nearest_same_lobe"),
    )
    measured = pl.col("distance").is_not_null().all()
    shown = pl.concat_str(pl.col("distance").round(4).cast(pl.String()))
    lists = pairs.group_by("_row", maintain_order=True).agg(
        all_nodule_ids=pl.col("id_other").str.join(","),
        all_nodule_dists_mm=pl.when(measured).then(shown.str.join(",")),
    )
    sides = base.group_by("scan").agg(
        n_nodules_in_patient=pl.len().cast(pl.Int64),
        bilateral_distribution=pl.col("lung_side").is_in(["left"]).any() & pl.col("lung_side").is_in(["right"]).any(),
    )
    wide = (
        base.join(nearest, on="_row", how="left").join(lists, on="_row", how="left").join(sides, on="scan", how="left")
    )
    return wide.sort("_row").drop("_row")
