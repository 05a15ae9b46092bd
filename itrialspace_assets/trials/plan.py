"""Plans a sampled trial: for each case a donor, a host, a place and a size, and why.

Case k of an arm is drawn by its identity and by the cases before it, so a longer run begins with
the shorter one. Nothing is relaxed silently: what had to give is in ``relaxations``.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.anatomy import LOBES, SIZE_BUCKETS, SIZE_RANGES, size_bucket
from itrialspace_assets.errors import TrialError
from itrialspace_assets.fingerprints import digest
from itrialspace_assets.trials.model import Arm, Pool, Size, Trial
from itrialspace_assets.trials.quotas import quota_sequence

#: A nodule's farthest voxel lies beyond its equivalent radius by about this factor (lobulated shapes).
REACH = 1.15


@dataclass(frozen=True)
class Stock:
    """What a trial can draw from: donors with their nodule, hosts, and the room in their lobes."""

    donors: pl.DataFrame  # donors joined with their row of ``nodules``
    hosts: pl.DataFrame
    room: dict[str, dict[str, float]]  # scan_uid -> lobe -> largest sphere radius, mm


@dataclass(frozen=True)
class Manifest:
    """Rows of ``arms``, ``cases`` and ``case_nodules``."""

    arms: list[dict[str, Any]]
    cases: list[dict[str, Any]]
    nodules: list[dict[str, Any]]


def make_stock(nodules: pl.DataFrame, donors: pl.DataFrame, hosts: pl.DataFrame, host_lobes: pl.DataFrame) -> Stock:
    """Join the tables once; rows are sorted by id, so that draws do not depend on file order."""
    columns = [
        "nodule_uid",
        "label",
        "annotation_id",
        "reinsertion_lobe",
        *(f"reinsertion_lobe_{a}_pct" for a in ("cc", "ml", "ap")),
    ]
    joined = donors.join(nodules.select(columns), on="nodule_uid", how="inner").sort("nodule_uid")
    room: dict[str, dict[str, float]] = {}
    for row in host_lobes.iter_rows(named=True):
        room.setdefault(row["scan_uid"], {})[row["lobe"]] = row["fit_radius_mm"]
    return Stock(joined, hosts.sort("scan_uid"), room)


def case_seed(root: int, *identity: str | int) -> int:
    """Seed (63 bits) of an identity below the root seed: never of row order or time."""
    return int(digest([root, *identity], 16), 16) >> 1


def seeded_order(seed: int, ids: list[str]) -> npt.NDArray[np.int64]:
    """A seeded order of ids that keeps the relative order of those that stay when others leave."""
    keys = [digest([seed, i], 16) for i in ids]
    return np.argsort(np.array(keys), kind="stable")


def in_pool(frame: pl.DataFrame, pool: Pool) -> pl.DataFrame:
    return frame if pool.datasets == "all" else frame.filter(pl.col("dataset").is_in(pool.datasets))


def plan_sampled(trial: Trial, size: Size, stock: Stock, root_seed: int, anatomy: str) -> Manifest:
    """The manifest of a sampled trial.

    Raises:
        TrialError: an arm cannot get a case; names the arm, the case and how many donors and hosts
            were left after each constraint.
    """
    arms, cases, nodules = [], [], []
    for arm in trial.arms:
        planned = _plan_arm(trial, arm, size, stock, root_seed, anatomy)
        arms.append(planned.arms[0])
        cases += planned.cases
        nodules += planned.nodules
    return Manifest(arms, cases, nodules)


def _levels(trial: Trial, n: int) -> list[tuple[int | None, str | None]]:
    """(label, bucket) of each case: prevalence first, then sizes within each label."""
    cohort = trial.cohort
    if cohort.prevalence:
        p = cohort.prevalence.value
        labels: list[int | None] = [1 - i for i in quota_sequence([p, 1 - p], n)]
    else:
        labels = [cohort.label] * n
    buckets: list[str | None] = [None] * n
    if cohort.size_weights:
        weights = [cohort.size_weights.get(b, 0.0) for b in SIZE_BUCKETS]  # type: ignore[call-overload]
        for label in sorted(set(labels), key=str):
            at = [k for k in range(n) if labels[k] == label]
            for k, level in zip(at, quota_sequence(weights, len(at)), strict=True):
                buckets[k] = SIZE_BUCKETS[level]
    return list(zip(labels, buckets, strict=True))


def _plan_arm(trial: Trial, arm: Arm, size: Size, stock: Stock, root_seed: int, anatomy: str) -> Manifest:
    cohort = trial.cohort
    n = size.n_cases or 0
    donors = in_pool(stock.donors, cohort.donors).filter(
        pl.col("reinsertion_lobe").is_in(list(LOBES)),
        pl.all_horizontal(pl.col(f"reinsertion_lobe_{a}_pct").is_between(0, 100) for a in ("cc", "ml", "ap")),
    )
    hosts = in_pool(stock.hosts, cohort.hosts)
    donor_uses = np.zeros(donors.height, dtype=np.int64)
    host_uses = np.zeros(hosts.height, dtype=np.int64)
    picker = _Picker(donors, hosts, stock.room, cohort.clearance_mm)
    met: dict[int, set[int]] = {}  # hosts that a donor was put into: the same pair again would be the same image
    cases, nodules = [], []
    for k, (label, wanted) in enumerate(_levels(trial, n)):
        bucket = arm.size_bucket or wanted
        uid = f"{trial.trial}/{arm.name}/{k:05d}"
        seed = case_seed(root_seed, uid)
        steps: list[tuple[str, int]] = [("pool", donors.height)]
        eligible = np.ones(donors.height, bool)
        if label is not None:
            eligible &= picker.labels == label
            steps.append((f"label {label}", int(eligible.sum())))
        if size.max_donor_uses:
            eligible &= donor_uses < size.max_donor_uses
            steps.append((f"used < {size.max_donor_uses} times", int(eligible.sum())))
        free_hosts = host_uses < size.max_host_uses if size.max_host_uses else np.ones(hosts.height, bool)
        choice = None
        for scaled in (False, True):
            fits = picker.native(bucket) if not scaled else picker.scalable(bucket, cohort.max_scale)
            candidates = eligible & fits
            steps.append((f"{'scalable into' if scaled else 'of size'} {bucket or 'any'}", int(candidates.sum())))
            choice = picker.pick(candidates, free_hosts, met, seed, bucket if scaled else None, cohort.max_scale)
            if choice is not None:
                break
        if choice is None:
            counts = ", ".join(f"{name}: {count}" for name, count in steps)
            raise TrialError(
                f"{trial.trial}, arm {arm.name}: no donor and host fit case {k + 1} of {n}. Donors left after each "
                f"constraint: {counts}. Hosts: {hosts.height} in the pool, {int(free_hosts.sum())} not used up. Ask for "
                f"fewer cases, allow more uses (max_donor_uses, max_host_uses) or widen the pools."
            )
        d, h, scale, asked = choice
        donor_uses[d] += 1
        host_uses[h] += 1
        met.setdefault(d, set()).add(h)
        donor, host = donors.row(d, named=True), hosts.row(h, named=True)
        cases.append(case_row(trial, arm.name, k, host, 1, "synthetic", seed, anatomy))
        nodules.append(nodule_row(
            trial, uid, 0, donor, "profile", scale, asked,
            relaxations=[] if scale == 1 else [f"scaled {scale:.3f}: no donor of that size left"],
            why=f"donor 1 of {int(candidates.sum())} by seed; host has {picker.room_in(h, donor['reinsertion_lobe']):.0f} mm of room in {donor['reinsertion_lobe']}",
        ))  # fmt: skip
    malignant = sum(1 for row in nodules if row["label"] == 1)
    expected = (
        quota_sequence([cohort.prevalence.value, 1 - cohort.prevalence.value], n).count(0)
        if cohort.prevalence
        else (n * cohort.label if cohort.label is not None else None)
    )
    note = None
    if cohort.prevalence and n and malignant == 0:
        note = f"{n} cases at a prevalence of {cohort.prevalence.value:g} hold no malignant finding"
    return Manifest(
        [arm_row(trial, arm, n, len(cases), expected, malignant, donors.height, hosts.height, note)], cases, nodules
    )


class _Picker:
    """Columns of the pools as arrays, and the search for the first pair that fits."""

    def __init__(
        self, donors: pl.DataFrame, hosts: pl.DataFrame, room: dict[str, dict[str, float]], clearance: float
    ) -> None:
        self.labels = donors["label"].cast(pl.Float64).to_numpy()
        self.diameters = donors["diameter_mm"].to_numpy()
        self._ids, self._persons, self._lobes = (
            donors[c].to_list() for c in ("nodule_uid", "person_uid", "reinsertion_lobe")
        )
        self._buckets = np.array([size_bucket(d) for d in self.diameters], dtype=object)
        self._hosts = hosts["scan_uid"].to_list()
        self._host_persons = np.array(hosts["person_uid"].to_list(), dtype=object)
        self._room = {lobe: np.array([room.get(h, {}).get(lobe, 0.0) for h in self._hosts]) for lobe in LOBES}
        self._clearance = clearance

    def room_in(self, host: int, lobe: str) -> float:
        return float(self._room[lobe][host])

    def native(self, bucket: str | None) -> npt.NDArray[np.bool_]:
        return np.ones(len(self._ids), bool) if bucket is None else np.asarray(self._buckets == bucket, dtype=bool)

    def scalable(self, bucket: str | None, max_scale: float) -> npt.NDArray[np.bool_]:
        if bucket is None:
            return np.zeros(len(self._ids), bool)
        low, high = SIZE_RANGES[bucket]
        return np.asarray(
            (self.diameters * max_scale >= low) & (self.diameters / max_scale < high) & (self._buckets != bucket),
            dtype=bool,
        )

    def pick(
        self,
        candidates: npt.NDArray[np.bool_],
        free: npt.NDArray[np.bool_],
        met: dict[int, set[int]],
        seed: int,
        bucket: str | None,
        max_scale: float,
    ) -> tuple[int, int, float, float | None] | None:
        """(donor, host, scale, asked diameter) of the first pair in seeded order that fits."""
        at = np.flatnonzero(candidates)
        for d in at[seeded_order(seed, [self._ids[i] for i in at])]:
            scale, asked = 1.0, None
            diameter = float(self.diameters[d])
            if bucket is not None:
                low, high = SIZE_RANGES[bucket]
                low, high = max(low, diameter / max_scale), min(high, diameter * max_scale)
                share = np.random.default_rng(seed).uniform(0.05, 0.95)
                asked = float(low + share * (high - low))
                scale = asked / diameter
            reach = diameter * scale / 2 * REACH + self._clearance
            fits = free & (self._host_persons != self._persons[d]) & (self._room[self._lobes[d]] >= reach)
            fits[list(met.get(int(d), ()))] = False
            hosts = np.flatnonzero(fits)
            if len(hosts):
                h = hosts[seeded_order(seed ^ 1, [self._hosts[i] for i in hosts])[0]]
                return int(d), int(h), scale, asked
        return None


def case_row(
    trial: Trial, arm: str, number: int, host: dict[str, Any], nodules: int, cohort_mode: str, seed: int, anatomy: str
) -> dict[str, Any]:
    """A row of ``cases``."""
    return {
        "case_uid": f"{trial.trial}/{arm}/{number:05d}", "mode": trial.mode, "trial": trial.trial, "arm": arm, "number": number,
        "cohort_mode": cohort_mode, "host_dataset": host["dataset"], "host_scan_uid": host["scan_uid"], "host_person_uid": host["person_uid"],
        "host_age": host["age"], "host_sex": host["sex"], "host_smoking": host["smoking"], "n_nodules": nodules,
        "lesion_free_twin": trial.cohort.lesion_free_twins, "seed": seed, "anatomy": anatomy,
    }  # fmt: skip


def nodule_row(
    trial: Trial, case_uid: str, index: int, donor: dict[str, Any], placement: str, scale: float, asked: float | None,
    relaxations: list[str], why: str,
) -> dict[str, Any]:  # fmt: skip
    """A row of ``case_nodules``; the label is always the donor's own."""
    planned = donor["diameter_mm"] * scale
    return {
        "case_uid": case_uid, "mode": trial.mode, "nodule_idx": index, "donor_nodule_uid": donor["nodule_uid"],
        "donor_dataset": donor["dataset"], "donor_person_uid": donor["person_uid"], "label": donor["label"], "placement": placement,
        "lobe": donor["reinsertion_lobe"], **{f"{a}_pct": donor[f"reinsertion_lobe_{a}_pct"] for a in ("cc", "ml", "ap")},
        "asked_diameter_mm": asked, "donor_diameter_mm": donor["diameter_mm"], "planned_diameter_mm": planned, "scale": scale,
        "size_bucket": size_bucket(planned), "relaxations": ";".join(relaxations), "why": why,
    }  # fmt: skip


def arm_row(
    trial: Trial,
    arm: Arm,
    asked: int,
    got: int,
    asked_malignant: int | None,
    malignant: int,
    donors: int,
    hosts: int,
    note: str | None,
) -> dict[str, Any]:
    """A row of ``arms``."""
    return {
        "trial": trial.trial, "mode": trial.mode, "arm": arm.name, "varies": arm.varies, "level": arm.level, "asked_cases": asked,
        "got_cases": got, "asked_malignant": asked_malignant, "got_malignant": malignant, "donor_pool": donors, "host_pool": hosts, "note": note,
    }  # fmt: skip
