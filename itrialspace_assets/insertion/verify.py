"""Checks inserted nodules: rules over their table, masks against their deltas, audits against their masks."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.anatomy import NODULE, side_of_lobe
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.volumes import shared_voxels, stamp, unpack_bits

#: Realised size within this of the planned one: the larger of 2 % and half a voxel
#: (docs/facts/insertion.md#tolerances).
DIAMETER_SHARE = 0.02
#: A nodule's volume agrees with its donor's if it differs by no more than this share, or one voxel; ours.
VOLUME_SHARE = 0.02
#: Its axes agree if each differs by no more than this share, or one voxel: resampling costs less; ours.
SHAPE_SHARE = 0.2
_Voxels = npt.NDArray[np.int64]


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


@dataclass(frozen=True)
class AuditCheck:
    """What reading an audit again gave.

    Attributes:
        wrong: masks that are missing, or whose nodules are not as the audit and the donors say.
        records: records of the audit.
        inserted: those of them that are successes.
        compared: inserted nodules whose size and shape were compared with their donor's.
    """

    wrong: list[str]
    records: int
    inserted: int
    compared: int


def check_audit(path: Path, output: Path, base: Path) -> AuditCheck:
    """Compare an ``audit.json`` with its masks, and the nodules in them with their donors.

    A nodule is compared with its donor where it was inserted by strict rules, the donor's mask is there, and its voxels
    can be told from those of the others.

    Args:
        path: the audit.
        output: output folder, in which the masks lie.
        base: folder that relative paths of donors start from.

    Raises:
        ConfigError: no audit; says what was got.
    """
    try:
        records: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["records"]
        good = [r for r in records if r["status"] == "success"]
        groups = [(t, [(r, int(r["resampled_mask_voxels"])) for r in group]) for t, group in _by(good)]
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path}: expected an audit with records, got {type(error).__name__}: {error}") from None
    wrong, compared = [], 0
    for target, group in groups:
        if not target:
            continue  # only its delta was kept
        wanted = sum(n for _, n in group)
        disjoint = not any(r.get("overlap_fraction") for r, _ in group)
        try:
            mask = read_labels(output / target)
        except CaseRejected as error:
            wrong.append(error.detail)
            continue
        got = int((mask.array == NODULE).sum())
        if (got != wanted) if disjoint else (got > wanted):
            wrong.append(f"{target}: expected {wanted} voxels of label {NODULE}, got {got}")
            continue
        for record, voxels in _told_apart(mask, [r for r, _ in group]):
            donor = base / str(record["donor_nodule_mask_path"])
            if record.get("rules") == "strict" and donor.is_file():
                compared += 1
                scale = float(record["scale_factor"] or 1)
                if why := _unlike(voxels, mask.spacing, *_donor_sizes(str(donor), donor.stat().st_mtime_ns), scale):
                    wrong.append(f"{target}: nodule {record['nodule_idx']}: {why}")
    return AuditCheck(wrong, len(records), len(good), compared)


def _told_apart(mask: Volume, records: list[dict[str, Any]]) -> Iterable[tuple[dict[str, Any], _Voxels]]:
    """Each record with the voxels (n, 3) of its nodule, where the pieces of label 23 nearest to it are as many voxels
    as it says."""
    if len(records) == 1:
        return [(records[0], np.argwhere(mask.array == NODULE))]
    targets = np.array([r["target_ijk"] for r in records], float) * mask.spacing
    pieces, count = cc3d.connected_components(mask.array == NODULE, connectivity=26, return_N=True)
    of: list[list[_Voxels]] = [[] for _ in records]
    for piece in range(1, count + 1):
        voxels = np.argwhere(pieces == piece)
        of[int(np.argmin(np.linalg.norm(targets - voxels.mean(axis=0) * mask.spacing, axis=1)))].append(voxels)
    both = ((r, np.concatenate(v)) for r, v in zip(records, of, strict=True) if v)
    return [(r, v) for r, v in both if len(v) == int(r["resampled_mask_voxels"])]


@lru_cache(maxsize=512)
def _donor_sizes(path: str, _mtime: int) -> tuple[float, tuple[float, ...]]:
    """Volume (mm³) and sizes along the principal axes (mm) of a donor's mask.

    Raises:
        CaseRejected: the mask cannot be read.
    """
    donor = read_volume(Path(path))
    voxels = np.argwhere(np.nan_to_num(donor.array) > 0)
    return len(voxels) * float(np.prod(donor.spacing)), tuple(_principal_sizes(voxels, donor.spacing))


def _principal_sizes(voxels: _Voxels, spacing: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Axes (mm, rising) of the ellipsoid with the second moments of some voxels (n, 3); no turn changes them."""
    step = np.asarray(spacing, float)
    spread = np.cov((voxels * step).T, bias=True) if len(voxels) > 1 else np.zeros((3, 3))
    return np.asarray(2 * np.sqrt(5 * np.linalg.eigvalsh(spread + np.diag(step**2 / 12))), float)


def _unlike(
    voxels: _Voxels, spacing: npt.NDArray[np.float64], volume: float, axes: tuple[float, ...], scale: float
) -> str:
    """How a nodule differs from its donor at its scale in volume or shape; empty if it does not."""
    voxel = float(np.prod(spacing))
    wanted, got = volume * scale**3, len(voxels) * voxel
    if abs(got - wanted) > max(voxel, VOLUME_SHARE * wanted):
        return f"expected its donor's volume at scale {scale:g}, {wanted:.1f} mm³, got {got:.1f} mm³"
    expected, found = np.array(axes) * scale, _principal_sizes(voxels, spacing)
    if np.any(np.abs(found - expected) > np.maximum(SHAPE_SHARE * expected, max(spacing))):
        return (
            f"expected its donor's shape at scale {scale:g}, axes of {' x '.join(f'{v:.1f}' for v in expected)} mm, "
            f"got {' x '.join(f'{v:.1f}' for v in found)} mm"
        )
    return ""


def _by(records: Iterable[dict[str, Any]]) -> Iterable[tuple[str, list[dict[str, Any]]]]:
    """Records by the mask that holds them."""
    found: dict[str, list[dict[str, Any]]] = {}
    for r in records:
        found.setdefault(str(r["output_combined_path"]), []).append(r)
    return found.items()
