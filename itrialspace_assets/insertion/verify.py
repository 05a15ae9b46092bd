"""What must hold of inserted nodules, from their table alone."""

import polars as pl

from itrialspace_assets.anatomy import side_of_lobe

#: Realised size within this of the planned one: the larger of 2 % and half a voxel (spec 02, part F).
DIAMETER_SHARE = 0.02


def broken_insertions(rows: pl.DataFrame, hosts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows that break a rule, by rule; empty frames where it holds.

    Args:
        rows: a partition of ``insertions``.
        hosts: the ``hosts`` of its dataset, for midlines and voxel sizes.
    """
    if rows.is_empty():
        return {}
    midline = (
        pl.col("origin_x")
        + pl.col("spacing_x") * (pl.col("lung_box").list.get(0) + pl.col("lung_box").list.get(1) - 1) / 2
    )
    voxel = pl.min_horizontal("spacing_x", "spacing_y", "spacing_z")
    seen = rows.join(
        hosts.select("scan_uid", midline=midline, voxel=voxel), left_on="host_scan_uid", right_on="scan_uid", how="left"
    )
    side = seen["lobe"].map_elements(side_of_lobe, return_dtype=pl.String)
    allowed = pl.max_horizontal(pl.col("planned_diameter_mm") * DIAMETER_SHARE, pl.col("voxel") / 2)
    return {
        "laterality: left lobes lie left of the lungs' midline": seen.filter(
            (side == "left") != (seen["world_x"] < seen["midline"])
        ),
        "lobe: at least half of the nodule lies in the lobe asked for": seen.filter(
            (pl.col("lobe") != pl.col("asked_lobe")) & (pl.col("lobe_share") > 0.5) & (pl.col("shift_mm") > 0)
        ),
        "size: diameter as planned": seen.filter(
            (pl.col("diameter_mm") - pl.col("planned_diameter_mm")).abs() > allowed
        ),
    }
