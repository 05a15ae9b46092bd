"""Moves planned positions to where the whole nodule has room in its host, and plans the distances found there.

A percentage of a lobe's box names a place in every lobe, but not one that holds a nodule in every lobe. Each
nodule goes to that voxel of its host's ``Room`` with the least cost, in mm:

    cost = |voxel - declared| + 0.3 |pleura - declared pleura| + 0.2 |airway - declared airway| + 0.3 max(0, margin wanted - margin)

among those where a ball of its reach lies within the lobes, its centre well inside its own (placement's rules,
made sufficient), and no other nodule of the case is near. What was declared stays in the table beside what is
planned. A host without a room map, or without such a voxel, keeps the declared position; ``fit_mm`` is null then.
Opens no volume and inserts nothing.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.hosts.room import AIRWAY_WEIGHT, CAP_MM, MARGIN_WEIGHT, PLEURA_WEIGHT, Room
from itrialspace_assets.imaging.anatomy import LOBE_LABELS
from itrialspace_assets.imaging.volumes import unpack_bits
from itrialspace_assets.profiles.lobes import from_runs

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]

WAYS = ("cc", "ml", "ap")
#: Share of a nodule's reach that its centre lies at least away from another label: more than half of it, and of
#: what surrounds it, is then in its lobe even where two fissures meet.
DEEP = 0.4
_AT_ONCE = 4_000_000  # distances at once


@dataclass(frozen=True)
class _Lobe:
    """A lobe's voxels in a room, its box and occupied slices."""

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
    nodules: pl.DataFrame, cases: pl.DataFrame, donors: pl.DataFrame, hosts: pl.DataFrame, host_lobes: pl.DataFrame, room_of: Callable[[str], Room]
) -> pl.DataFrame:  # fmt: skip
    """Rows of ``case_nodules`` with the positions and distances that their hosts have room for.

    Nodules of several cases that were declared at one place of one host (arms that differ in the nodule alone)
    are planned at one place, where the largest of them has room.

    Args:
        nodules, cases: what was planned, positions as declared.
        donors, hosts, host_lobes: those tables, for what the plan names.
        room_of: the room of a host by its ``map_sha256``.
    """
    known = hosts.filter(pl.col("room_sha256").is_not_null())
    rows = (
        nodules.with_row_index("_row")
        .join(cases.select("case_uid", "number", "host_scan_uid"), on="case_uid", how="left", maintain_order="left")
        .join(donors.select(donor_nodule_uid="nodule_uid", _reach="reach_mm", _lesion="lesion"), on="donor_nodule_uid", how="left", maintain_order="left")
        .join(known.select("map_sha256", "spacing_x", "spacing_y", "spacing_z", host_scan_uid="scan_uid"), on="host_scan_uid", how="inner", maintain_order="left")
        .with_columns(_reach=pl.col("_reach") * pl.col("scale"))
    )  # fmt: skip
    at: list[Ints] = []
    values: list[Floats] = []
    lobes = host_lobes.filter(pl.col("scan_uid").is_in(rows["host_scan_uid"].unique().to_list()))
    by_host = {str(k): g for (k,), g in lobes.group_by(["scan_uid"])}
    for (scan, sha), own in rows.group_by(["host_scan_uid", "map_sha256"], maintain_order=True):
        if (own["placement"] == "profile").any():
            numbers, fitted = _fit_host(own, _lobes(room_of(str(sha)), by_host[str(scan)]))
            at.append(numbers)
            values.append(fitted)
    names = [*(f"{a}_pct" for a in WAYS), "asked_pleural_mm", "asked_airway_mm", "fit_mm"]
    found = np.concatenate([np.zeros((0, len(names))), *values])
    where = np.concatenate([np.zeros(0, np.int64), *at])
    new = pl.DataFrame({"_row": pl.Series(where, dtype=pl.UInt32), **{f"_{n}": pl.Series(found[:, i], nan_to_null=True) for i, n in enumerate(names)}})  # fmt: skip
    out = nodules.with_row_index("_row").join(new, on="_row", how="left", maintain_order="left")
    kept = pl.col("_fit_mm").is_null()
    return out.with_columns(pl.when(kept).then(n).otherwise(f"_{n}").alias(n) for n in names).select(nodules.columns)


def _lobes(room: Room, rows: pl.DataFrame) -> dict[str, _Lobe]:
    out = {}
    for row in rows.iter_rows(named=True):
        own, box = room.label == LOBE_LABELS[row["lobe"]], row["box"]
        low = np.array([box[0], box[2]], dtype=np.float64)
        span = np.maximum(1, np.array([box[1], box[3]]) - 1 - low)
        occupied = from_runs(row["occupied"])
        inside = own & np.all((room.voxel[:, :2] >= low) & (room.voxel[:, :2] <= low + span), axis=1)
        inside &= (room.voxel[:, 2] >= occupied[0]) & (room.voxel[:, 2] <= occupied[-1])
        out[row["lobe"]] = _Lobe(
            room.voxel[inside], room.free[inside], room.own[inside], room.pleura[inside], room.airway[inside], low, span, occupied
        )  # fmt: skip
    return out


def _fit_host(rows: pl.DataFrame, lobes: dict[str, _Lobe]) -> tuple[Ints, Floats]:
    """(row numbers, values) of the nodules of one host; values as ``fit_positions`` names them, NaN if none was found."""
    spacing = rows.select("spacing_x", "spacing_y", "spacing_z").row(0)
    step = np.array(spacing)
    n = rows.height
    percent = rows.select(f"{a}_pct" for a in WAYS).to_numpy().astype(np.float64)
    reach = rows["_reach"].to_numpy().astype(np.float64)
    native = (rows["placement"] == "native").to_numpy()
    index = rows["nodule_idx"].to_numpy()
    case = rows["case_uid"].rank("dense").to_numpy().astype(np.int64)
    # what was declared at one place goes to one place: the largest decides, and the first asks
    key = pl.concat_str(
        "number", "nodule_idx", "lobe", *(pl.col(f"{a}_pct").fill_null(-1.0) for a in WAYS), separator=" "
    )
    _, first, together = np.unique(rows.select(key).to_series().to_numpy().astype(str), return_index=True, return_inverse=True)  # fmt: skip
    largest = np.zeros(len(first))
    np.maximum.at(largest, together, reach)
    reach = largest[together]
    asked = rows.select("asked_pleural_mm", "asked_airway_mm", "margin_mm").to_numpy().astype(np.float64)[first][together]  # fmt: skip
    values = np.full((n, 6), np.nan)
    centre = np.full((n, 3), np.nan)  # mm, of what is placed
    for i in np.flatnonzero(native):
        centre[i] = unpack_bits(rows["_lesion"][int(i)]).centroid * step
    for turn in np.unique(index[~native]):
        for name, lobe in lobes.items():
            now = np.flatnonzero((index == turn) & ~native & (rows["lobe"] == name).to_numpy() & np.isfinite(percent).all(axis=1))  # fmt: skip
            for part in np.array_split(now, max(1, len(now) * len(lobe.voxel) // _AT_ONCE)):
                if len(part) and len(lobe.voxel):
                    _choose(lobe, part, step, percent, reach, asked, case, centre, values)
    at = np.flatnonzero(~native)
    return rows["_row"].to_numpy().astype(np.int64)[at], values[at]


def _choose(
    lobe: _Lobe, part: Ints, step: Floats, percent: Floats, reach: Floats, asked: Floats, case: Ints, centre: Floats, values: Floats
) -> None:  # fmt: skip
    """Fill ``centre`` and ``values`` of the nodules ``part``, all of one lobe."""
    half = float(np.linalg.norm(step)) / 2  # from any point to the nearest voxel centre, at most
    wanted = lobe.place(percent[part]) * step
    at = lobe.voxel * step
    shift = np.linalg.norm(at[None] - wanted[:, None], axis=2)  # (nodules, voxels)
    # half a voxel for the centre of the lesion, half for the voxels it is redrawn on
    need = reach[part]
    allowed = (lobe.free[None] > need[:, None]) & (lobe.own[None] > DEEP * need[:, None])
    for other in np.flatnonzero(
        np.isfinite(centre[:, 0]) & np.isin(case, case[part])
    ):  # companions and nodules that stay
        same = case[part] == case[other]
        far = np.linalg.norm(at - centre[other], axis=1)
        allowed[same] &= far[None] > (reach[part][same] + reach[other] + 4 * half)[:, None]
    pleura, airway, margin = (asked[part, i, None] for i in range(3))
    cost = shift + MARGIN_WEIGHT * np.maximum(0.0, margin - (lobe.pleura[None] - reach[part, None]))
    cost += PLEURA_WEIGHT * np.nan_to_num(np.abs(np.minimum(lobe.pleura, CAP_MM) - np.minimum(pleura, CAP_MM)), nan=0.0)
    wrong = np.minimum(CAP_MM, np.abs(lobe.airway - airway))
    cost += AIRWAY_WEIGHT * np.where(np.isfinite(wrong), wrong, 0.0)
    cost[~allowed] = np.inf
    best = cost.argmin(axis=1)
    had = np.flatnonzero(np.isfinite(cost[np.arange(len(part)), best]))
    chosen, into = best[had], part[had]
    centre[into] = at[chosen]
    values[into, :3] = np.round(lobe.percent(lobe.voxel[chosen]), 4)
    values[into, 3], values[into, 4] = (
        lobe.pleura[chosen],
        np.where(np.isfinite(lobe.airway[chosen]), lobe.airway[chosen], np.nan),
    )
    values[into, 5] = np.round(shift[had, chosen], 4)
