"""Fits planned positions: moves each to where its host holds the whole nodule, and plans the distances found there.

A percentage of a lobe's box names a place in every lobe, but that place does not hold a nodule in every lobe. Each
nodule goes to the voxel of its host's ``ClearanceMap`` with the least cost, in mm:

    cost = |voxel - declared| + 0.3 |pleura - declared pleura| + 0.2 |airway - declared airway|
           + 0.3 max(0, margin wanted - margin)

among the voxels where a ball of its reach lies within the lobes, its centre well inside its own (the rules of
placement, made sufficient), and no other nodule of the case is near. The declared position stays in the table beside
the planned one. A host without a clearance map, or without such a voxel, keeps the declared one; ``fit_mm`` is then
null. ``fit`` says which it was. Opens no volume and inserts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.hosts.clearance import AIRWAY_WEIGHT, CAP_MM, MARGIN_WEIGHT, PLEURA_WEIGHT, ClearanceMap
from itrialspace_assets.imaging.anatomy import LOBE_LABELS
from itrialspace_assets.imaging.lesions import unpack_bits
from itrialspace_assets.profiles.lobes import from_runs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

#: A nodule's centre lies at least this share of its reach from another label; ours. More than half of the nodule, and
#: of what surrounds it, is then in its lobe even where two fissures meet.
DEEP = 0.4
#: Distances that are held in memory at once; ours.
_AT_ONCE = 4_000_000
#: Columns that are read of a donor, a host and a host's lobe.
DONOR_COLUMNS = ("nodule_uid", "reach_mm", "lesion")
HOST_COLUMNS = ("scan_uid", "room_sha256", "map_sha256", "spacing_x", "spacing_y", "spacing_z")
LOBE_COLUMNS = ("scan_uid", "lobe", "box", "occupied")
#: Columns of ``case_nodules`` that are planned here.
_FITTED = ("cc_pct", "ml_pct", "ap_pct", "asked_pleural_mm", "asked_airway_mm", "fit_mm")


@dataclass(frozen=True)
class _Lobe:
    """A lobe's voxels in a clearance map, n of them, with its box and its occupied slices.

    Attributes:
        voxel: canonical RAS+ index, shape (n, 3).
        free: mm to the nearest voxel in no lobe, shape (n,); ``own``, ``pleura`` and ``airway`` as in ``ClearanceMap``.
        low: first voxel of the box along x and y, shape (2,).
        span: voxels of the box along x and y, less one, shape (2,).
        occupied: indices of the occupied slices along z.
    """

    voxel: Ints
    free: Floats
    own: Floats
    pleura: Floats
    airway: Floats
    low: Floats
    span: Floats
    occupied: Ints

    def place(self, percent: Floats) -> Floats:
        """Voxels (n, 3) of percentages (n, 3: cc, ml, ap)."""
        rank = percent[:, 0] / 100 * (len(self.occupied) - 1)
        k = np.interp(rank, np.arange(len(self.occupied)), self.occupied)
        return np.stack([*(self.low + percent[:, 1:] / 100 * self.span).T, k], axis=1)

    def percent(self, voxel: Ints) -> Floats:
        """Percentages (n, 3) of voxels (n, 3); inverse of ``place``."""
        rank = np.interp(voxel[:, 2], self.occupied, np.arange(len(self.occupied)))
        cc = rank / max(1, len(self.occupied) - 1)
        return np.asarray(100 * np.column_stack([cc, (voxel[:, :2] - self.low) / self.span]))


def fit_positions(
    nodules: pl.DataFrame,
    cases: pl.DataFrame,
    donors: pl.DataFrame,
    hosts: pl.DataFrame,
    host_lobes: pl.DataFrame,
    clearance_of: Callable[[str], ClearanceMap],
) -> pl.DataFrame:
    """Rows of ``case_nodules`` with positions and distances where their hosts hold them.

    Nodules of several cases that were declared at one place of one host (arms that differ in the nodule alone)
    are planned at one place, which holds the largest of them.

    Args:
        nodules: rows of ``case_nodules``, positions as declared.
        cases: their rows of ``cases``.
        donors: the table, with the donors that the plan names.
        hosts: the table, with the hosts that the plan names.
        host_lobes: their lobes.
        clearance_of: the clearance map of a host by its ``map_sha256``.
    """
    known = hosts.filter(pl.col("room_sha256").is_not_null())
    rows = (
        nodules.with_row_index("_row")
        .join(cases.select("case_uid", "number", "host_scan_uid"), on="case_uid", how="left", maintain_order="left")
        .join(
            donors.select(donor_nodule_uid="nodule_uid", _reach="reach_mm", _lesion="lesion"),
            on="donor_nodule_uid",
            how="left",
            maintain_order="left",
        )
        .join(
            known.select("map_sha256", "spacing_x", "spacing_y", "spacing_z", host_scan_uid="scan_uid"),
            on="host_scan_uid",
            how="inner",
            maintain_order="left",
        )
        .with_columns(_reach=pl.col("_reach") * pl.col("scale"))
    )
    at: list[Ints] = []
    values: list[Floats] = []
    lobes = host_lobes.filter(pl.col("scan_uid").is_in(rows["host_scan_uid"].unique().to_list()))
    by_host = {str(k): g for (k,), g in lobes.group_by(["scan_uid"])}
    for (scan, sha), own in rows.group_by(["host_scan_uid", "map_sha256"], maintain_order=True):
        if (own["placement"] == "profile").any():
            numbers, fitted = _fit_host(own, _lobes(clearance_of(str(sha)), by_host[str(scan)]))
            at.append(numbers)
            values.append(fitted)
    found = np.concatenate([np.zeros((0, len(_FITTED))), *values])
    where = np.concatenate([np.zeros(0, np.int64), *at])
    fitted_columns = {f"_{n}": pl.Series(found[:, i], nan_to_null=True) for i, n in enumerate(_FITTED)}
    new = pl.DataFrame({"_row": pl.Series(where, dtype=pl.UInt32), **fitted_columns})
    out = nodules.with_row_index("_row").join(new, on="_row", how="left", maintain_order="left")
    kept = pl.col("_fit_mm").is_null()
    fits = (pl.col("placement") == "native") | ~kept
    tested = pl.col("_row").is_in(rows["_row"].to_list())
    return out.with_columns(
        *(pl.when(kept).then(n).otherwise(f"_{n}").alias(n) for n in _FITTED),
        fit=pl.when(fits).then(pl.lit("verified")).when(tested).then(pl.lit("nowhere")).otherwise(pl.lit("unverified")),
    ).select(nodules.columns)


def _lobes(clearance: ClearanceMap, rows: pl.DataFrame) -> dict[str, _Lobe]:
    out = {}
    for row in rows.iter_rows(named=True):
        own, box = clearance.label == LOBE_LABELS[row["lobe"]], row["box"]
        low = np.array([box[0], box[2]], dtype=np.float64)
        span = np.maximum(1, np.array([box[1], box[3]]) - 1 - low)
        occupied = from_runs(row["occupied"])
        inside = own & np.all((clearance.voxel[:, :2] >= low) & (clearance.voxel[:, :2] <= low + span), axis=1)
        inside &= (clearance.voxel[:, 2] >= occupied[0]) & (clearance.voxel[:, 2] <= occupied[-1])
        out[row["lobe"]] = _Lobe(
            voxel=clearance.voxel[inside],
            free=clearance.free[inside],
            own=clearance.own[inside],
            pleura=clearance.pleura[inside],
            airway=clearance.airway[inside],
            low=low,
            span=span,
            occupied=occupied,
        )
    return out


@dataclass(frozen=True)
class _Nodules:
    """The n nodules of one host; ``centre`` and ``values`` are filled as they are placed.

    Attributes:
        step: voxel size in mm, shape (3,).
        percent: declared percentages cc, ml, ap, shape (n, 3).
        reach: mm from the centre to the farthest voxel, shape (n,).
        asked: declared distances to pleura and airway and the margin wanted, mm, shape (n, 3).
        case: number of its case, shape (n,).
        centre: where each is placed, mm from voxel 0, NaN where not, shape (n, 3).
        values: what is planned, in the order of ``_FITTED``, NaN where nothing is, shape (n, 6).
    """

    step: Floats
    percent: Floats
    reach: Floats
    asked: Floats
    case: Ints
    centre: Floats
    values: Floats


def _fit_host(rows: pl.DataFrame, lobes: dict[str, _Lobe]) -> tuple[Ints, Floats]:
    """(row numbers, values) of the nodules of one host; values in the order of ``_FITTED``, NaN if none was found."""
    percent = rows.select("cc_pct", "ml_pct", "ap_pct").to_numpy().astype(np.float64)
    native = (rows["placement"] == "native").to_numpy()
    index = rows["nodule_idx"].to_numpy()
    first, together = _declared_together(rows)
    reach = rows["_reach"].to_numpy().astype(np.float64)
    largest = np.zeros(len(first))
    np.maximum.at(largest, together, reach)
    asked = rows.select("asked_pleural_mm", "asked_airway_mm", "margin_mm").to_numpy().astype(np.float64)
    nodules = _Nodules(
        step=np.array(rows.select("spacing_x", "spacing_y", "spacing_z").row(0)),
        percent=percent,
        reach=largest[together],
        asked=asked[first][together],
        case=rows["case_uid"].rank("dense").to_numpy().astype(np.int64),
        centre=np.full((rows.height, 3), np.nan),
        values=np.full((rows.height, len(_FITTED)), np.nan),
    )
    for i in np.flatnonzero(native):
        nodules.centre[i] = unpack_bits(rows["_lesion"][int(i)]).centroid * nodules.step
    for turn in np.unique(index[~native]):
        for name, lobe in lobes.items():
            now = np.flatnonzero(
                (index == turn) & ~native & (rows["lobe"] == name).to_numpy() & np.isfinite(percent).all(axis=1)
            )
            for part in np.array_split(now, max(1, len(now) * len(lobe.voxel) // _AT_ONCE)):
                if len(part) and len(lobe.voxel):
                    _choose(lobe, part, nodules)
    at = np.flatnonzero(~native)
    return rows["_row"].to_numpy().astype(np.int64)[at], nodules.values[at]


def _declared_together(rows: pl.DataFrame) -> tuple[Ints, Ints]:
    """Groups of nodules that were declared at one place: the first of each group, and the group of each nodule."""
    key = pl.concat_str(
        "number",
        "nodule_idx",
        "lobe",
        *(pl.col(f"{a}_pct").fill_null(-1.0) for a in ("cc", "ml", "ap")),
        separator=" ",
    )
    texts = rows.select(key).to_series().to_numpy().astype(str)
    _, first, together = np.unique(texts, return_index=True, return_inverse=True)
    return first, together


def _choose(lobe: _Lobe, part: Ints, nodules: _Nodules) -> None:
    """Fill ``centre`` and ``values`` of the nodules ``part``, all of one lobe."""
    step, reach, centre = nodules.step, nodules.reach, nodules.centre
    half = float(np.linalg.norm(step)) / 2  # from any point to the nearest voxel centre, at most
    wanted = lobe.place(nodules.percent[part]) * step
    at = lobe.voxel * step
    shift = np.linalg.norm(at[None] - wanted[:, None], axis=2)  # (nodules, voxels)
    need = reach[part]
    allowed = (lobe.free[None] > need[:, None]) & (lobe.own[None] > DEEP * need[:, None])
    # companions and nodules that stay: half a voxel for each centre, half for the voxels that each is redrawn on
    for other in np.flatnonzero(np.isfinite(centre[:, 0]) & np.isin(nodules.case, nodules.case[part])):
        same = nodules.case[part] == nodules.case[other]
        far = np.linalg.norm(at - centre[other], axis=1)
        allowed[same] &= far[None] > (reach[part][same] + reach[other] + 4 * half)[:, None]
    pleura, airway, margin = (nodules.asked[part, i, None] for i in range(3))
    cost = shift + MARGIN_WEIGHT * np.maximum(0.0, margin - (lobe.pleura[None] - reach[part, None]))
    cost += PLEURA_WEIGHT * np.nan_to_num(np.abs(np.minimum(lobe.pleura, CAP_MM) - np.minimum(pleura, CAP_MM)), nan=0.0)
    wrong = np.minimum(CAP_MM, np.abs(lobe.airway - airway))
    cost += AIRWAY_WEIGHT * np.where(np.isfinite(wrong), wrong, 0.0)
    cost[~allowed] = np.inf
    best = cost.argmin(axis=1)
    placed = np.flatnonzero(np.isfinite(cost[np.arange(len(part)), best]))
    chosen, into = best[placed], part[placed]
    centre[into] = at[chosen]
    nodules.values[into, :3] = np.round(lobe.percent(lobe.voxel[chosen]), 4)
    nodules.values[into, 3] = lobe.pleura[chosen]
    nodules.values[into, 4] = np.where(np.isfinite(lobe.airway[chosen]), lobe.airway[chosen], np.nan)
    nodules.values[into, 5] = np.round(shift[placed, chosen], 4)
