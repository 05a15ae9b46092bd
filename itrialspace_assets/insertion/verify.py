"""Checks inserted nodules: rules over their table, masks against their deltas. Audits are checked elsewhere."""

from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.anatomy import side_of_lobe
from itrialspace_assets.imaging.geometry import read_labels
from itrialspace_assets.imaging.lesions import shared_voxels, stamp, unpack_bits

#: Realised size within this of the planned one: the larger of 2 % and half a voxel
#: (docs/facts/insertion.md#tolerances).
DIAMETER_SHARE = 0.02


def broken_insertions(rows: pl.DataFrame, hosts: pl.DataFrame) -> dict[str, pl.DataFrame]:
    """Rows that break a rule, by rule; an empty frame where a rule holds.

    Of ``compat`` rows only laterality is checked: the original's rules allow the rest. A native nodule keeps its
    voxels wherever they lie; voxels outside the lobes must be among its relaxations.

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
    diagonal = pl.sum_horizontal(pl.col(f"spacing_{a}") ** 2 for a in "xyz").sqrt()
    seen = rows.join(
        hosts.select("scan_uid", midline=midline, voxel=voxel, diagonal=diagonal),
        left_on="host_scan_uid",
        right_on="scan_uid",
        how="left",
    )
    side = seen["lobe"].map_elements(side_of_lobe, return_dtype=pl.String)
    allowed = pl.max_horizontal(pl.col("planned_diameter_mm") * DIAMETER_SHARE, pl.col("voxel") / 2)
    strict = pl.col("rules") == "strict"
    placed = strict & (pl.col("placement") == "profile")
    return {
        "laterality: left lobes lie left of the lungs' midline": seen.filter(
            (side == "left") != (seen["world_x"] < seen["midline"])
        ),
        "containment: every voxel in a lobe": seen.filter(placed & (pl.col("outside_lung") > 0)),
        "containment: native voxels outside the lobes are recorded": seen.filter(
            strict & (pl.col("outside_lung") > 0) & ~pl.col("relaxations").str.contains("outside the lobes")
        ),
        "lobe: the lobe asked for": seen.filter(placed & (pl.col("lobe") != pl.col("asked_lobe"))),
        "position: a move of more than a voxel is recorded": seen.filter(
            placed & (pl.col("shift_mm") > pl.col("diagonal")) & ~pl.col("relaxations").str.contains("moved")
        ),
        "size: diameter as planned": seen.filter(
            strict & ((pl.col("diameter_mm") - pl.col("planned_diameter_mm")).abs() > allowed)
        ),
        "collisions: placed nodules of a case share no voxel": seen.filter(placed & (pl.col("overlap") > 0)),
        "empty site: every primary nodule has one, or says why not": seen.filter(
            (pl.col("nodule_idx") == 0) & pl.col("empty").is_null() & pl.col("empty_note").is_null()
        ),
    }


def colliding(rows: pl.DataFrame) -> list[str]:
    """Cases in which two nodules share a voxel, unless both are native; from their voxels, not from ``overlap``."""
    several = rows.filter("present", pl.col("rules") == "strict", pl.len().over("case_uid") > 1)
    found = []
    for (uid,), group in several.group_by(["case_uid"], maintain_order=True):
        lesions = [(unpack_bits(b), p == "native") for b, p in group.select("lesion", "placement").iter_rows()]
        pairs = ((a, b) for i, a in enumerate(lesions) for b in lesions[:i] if not (a[1] and b[1]))
        if any(shared_voxels(a[0], b[0]) for a, b in pairs):
            found.append(str(uid))
    return found


def changed_elsewhere(output: Path, rows: pl.DataFrame, at_most: int) -> tuple[list[str], int]:
    """Masks that are not their host with its nodules, and how many masks were read.

    Args:
        output: output folder.
        rows: a partition of ``insertions``.
        at_most: whole masks are slow to read: only the first ones by id are. A missing mask counts as one that
            differs.
    """
    kept = rows.filter(pl.col("mask_path").is_not_null()).sort("mask_uid", "case_uid")
    uids = kept["mask_uid"].unique(maintain_order=True).head(at_most)
    wrong = []
    for uid in uids:
        group = kept.filter(pl.col("mask_uid") == uid)
        first = group.row(0, named=True)
        same = group.filter("present", pl.col("case_uid") == first["case_uid"])
        try:
            host, mask = load_host_map(output, first["host_map_sha256"]), read_labels(output / first["mask_path"])
            whole = stamp(host, [unpack_bits(b) for b in same["lesion"]])
            if not (mask.same_grid(host) and np.array_equal(mask.array, whole.array)):
                wrong.append(f"{first['case_uid']}: {first['mask_path']} is not its host with its nodules")
        except CaseRejected as error:
            wrong.append(f"{first['case_uid']}: {error.detail}")
    return wrong, len(uids)
