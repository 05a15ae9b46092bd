"""Plans twin trials: native nodules back in their own scan (isolation, complete), or in foreign hosts (cross).

People, nodules and hosts are taken in seeded orders over the whole pool, so asking for more keeps what was planned. A
donor's own person never hosts it in a crossing. A *twin* here is such a trial; the lesion-free twin, which is the host
rendered without a nodule, is only a flag of its cases.
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import draws
from itrialspace_assets.trials.frames import (
    INSERTION_MODE,
    WAYS,
    case_columns,
    case_uids,
    counted,
    positions,
    size_bucket_of,
    table_frame,
    with_asks,
)
from itrialspace_assets.trials.pairing import TwinPlan, pairs_of, seeded
from itrialspace_assets.trials.pool import CandidatePool, PoolCount, donor_pool, host_pool, lobe_index
from itrialspace_assets.trials.resolve import PlannedArm, Resolved


@dataclass(frozen=True)
class TwinArm:
    """A planned arm of a twin trial.

    Attributes:
        cases: frame of ``cases``.
        nodules: frame of ``case_nodules``.
        counts: what was left of the candidate pool after each constraint.
        asked: cases that were asked for.
    """

    cases: pl.DataFrame
    nodules: pl.DataFrame
    counts: list[PoolCount]
    asked: int


@dataclass(frozen=True)
class TwinCount:
    """How many cases an arm of a twin trial comes to, without their frames.

    Attributes:
        counts: what was left of the candidate pool after each constraint.
        cases: cases that are feasible.
        asked: cases that were asked for.
    """

    counts: list[PoolCount]
    cases: int
    asked: int


def plan_twin_arm(resolved: Resolved, arm: PlannedArm, pool: CandidatePool, root: int, anatomy: str) -> TwinArm:
    """Plan an arm of a twin trial.

    Args:
        resolved: the trial.
        arm: one of its arms.
        pool: all donors and hosts.
        root: root of the draws.
        anatomy: real or procedural, for the cases.

    Raises:
        TrialError: no nodule has a scan that is a host, or no host holds a donor; names the datasets.
    """
    design = resolved.trial.twin
    assert design is not None
    plan = TwinPlan(resolved, arm, pool, root, anatomy)
    return _cross(plan) if design.kind == "cross" else _native(plan, complete=design.kind == "complete")


def count_twin_arm(resolved: Resolved, arm: PlannedArm, pool: CandidatePool, root: int) -> TwinCount:
    """What ``plan_twin_arm`` comes to.

    Args:
        resolved: the trial.
        arm: one of its arms.
        pool: all donors and hosts.
        root: root of the draws.

    Raises:
        TrialError: no nodule has a scan that is a host, or no host holds a donor; names the datasets.
    """
    design = resolved.trial.twin
    assert design is not None
    plan = TwinPlan(resolved, arm, pool, root, "")
    if design.kind == "cross":
        pairs = pairs_of(plan)
        return TwinCount(pairs.counts, len(pairs.donor), pairs.asked)
    picked, _, counts = _picked(plan, complete=design.kind == "complete")
    cases = picked["number"].n_unique()
    return TwinCount(counts, cases, cases)


def _native(plan: TwinPlan, *, complete: bool) -> TwinArm:
    picked, hosts, counts = _picked(plan, complete=complete)
    picked = picked.with_columns(case_uid=case_uids(plan.trial, plan.arm.name, picked["number"].to_numpy()))
    nodules = _nodule_columns(picked, plan.resolved.trial.mode, "native", "its own scan: native voxels")
    first = picked.filter(pl.col("nodule_idx") == 0)
    where = first.select("number", "case_uid", "scan_uid").join(hosts, on="scan_uid", how="left", maintain_order="left")
    return _finished(plan, where, "native", nodules, counts)


def _picked(plan: TwinPlan, *, complete: bool) -> tuple[pl.DataFrame, pl.DataFrame, list[PoolCount]]:
    """The nodules of a native arm with their case and place in it, the hosts, and what was left of the pool."""
    cohort, name = plan.arm.cohort, str(plan.arm.host_dataset)
    donors, counts = donor_pool(plan.pool, cohort)
    hosts, host_counts = host_pool(plan.pool, cohort)
    own = donors.filter(pl.col("dataset") == name)
    counts.append(PoolCount("donors", f"of {name}", own.height))
    own = own.join(hosts.select("scan_uid"), on="scan_uid", how="semi", maintain_order="left")
    counts += [*host_counts, PoolCount("donors", "whose scan is a host", own.height)]
    if own.is_empty():
        left = ", ".join(f"{c.constraint}: {c.left}" for c in counts if c.of == "donors")
        raise TrialError(
            f"{plan.trial}: dataset {name}: expected nodules whose scan is a host, found none ({left}); run "
            "the stages profiles and hosts for it"
        )
    people = own["person_uid"].unique().sort().to_list()
    order = seeded(people, plan.root, plan.trial, "person")
    rank = pl.DataFrame({"person_uid": [people[i] for i in order], "_person": np.arange(len(people))})
    picked = (
        own.join(rank, on="person_uid", how="left")
        .sort("scan_uid", "nodule_uid")
        .with_columns(_nodule=pl.int_range(pl.len()).over("scan_uid"))
    )
    if cohort.max_patients:
        picked = picked.filter(pl.col("_person") < cohort.max_patients)
    if cohort.max_nodules_per_scan:
        picked = picked.filter(pl.col("_nodule") < cohort.max_nodules_per_scan)
    return _numbered(picked, complete=complete), hosts, counts


def _numbered(picked: pl.DataFrame, *, complete: bool) -> pl.DataFrame:
    """The nodules with ``number`` of their case and ``nodule_idx``: a case for each scan, or for each nodule."""
    if not complete:  # every first nodule of all people, then every second: a run with fewer a scan begins the same way
        return picked.sort("_nodule", "_person", "scan_uid").with_columns(
            number=pl.int_range(pl.len(), dtype=pl.Int64), nodule_idx=pl.lit(0, pl.Int64)
        )
    scans = (
        picked.unique("scan_uid", keep="first", maintain_order=True)
        .sort("_person", "scan_uid")
        .select("scan_uid")
        .with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64))
    )
    return (
        picked.join(scans, on="scan_uid", how="left")
        .sort("number", "_nodule")
        .with_columns(nodule_idx=pl.int_range(pl.len(), dtype=pl.Int64).over("number"))
    )


def _finished(
    plan: TwinPlan,
    hosts: pl.DataFrame,
    cohort_mode: str,
    nodules: pl.DataFrame,
    counts: list[PoolCount],
    asked: int | None = None,
) -> TwinArm:
    """The arm of cases with their nodules, the nodules that the host keeps of its own, and what placement should meet.

    Args:
        plan: the arm.
        hosts: the host of each case with its ``number`` and ``case_uid``.
        cohort_mode: how host and donor relate.
        nodules: the planned nodules.
        counts: what was left of the candidate pool.
        asked: cases that were asked for; as many as there are if None.
    """
    cases = case_columns(plan.resolved, plan.arm, hosts, cohort_mode, plan.root, plan.anatomy)
    design = plan.resolved.trial.twin
    if design is not None and design.keep_native:
        kept = _kept_nodules(plan, cases, nodules)
        nodules = pl.concat([nodules, kept.select(nodules.columns)])
    nodules = with_asks(nodules, plan.pool, plan.arm.cohort, plan.root, plan.trial, plan.arm.name)
    asked = cases.height if asked is None else asked
    return TwinArm(counted(cases, nodules), table_frame("case_nodules", nodules), counts, asked)


def _kept_nodules(plan: TwinPlan, cases: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """Columns of ``case_nodules`` of the host's other nodules, numbered after those that are planned."""
    planned = nodules.select("case_uid", nodule_uid="donor_nodule_uid")
    last = nodules.group_by("case_uid").agg(_last=pl.col("nodule_idx").max())
    own = (
        cases.select("case_uid", scan_uid="host_scan_uid")
        .join(plan.pool.donors, on="scan_uid", how="inner")
        .join(planned, on=["case_uid", "nodule_uid"], how="anti")
        .join(last, on="case_uid")
        .sort("case_uid", "nodule_uid")
        .with_columns(nodule_idx=pl.col("_last") + 1 + pl.int_range(pl.len(), dtype=pl.Int64).over("case_uid"))
    )
    columns = _nodule_columns(own, plan.resolved.trial.mode, "native", "kept: the host's own nodule")
    return columns.with_columns(kept=pl.lit(True))


def _nodule_columns(picked: pl.DataFrame, mode: str, placement: str, why: str) -> pl.DataFrame:
    """The columns of ``case_nodules`` of nodules with their case, without what ``with_asks`` adds."""
    return picked.select(
        "case_uid",
        "nodule_idx",
        "label",
        "lobe",
        *(f"{a}_pct" for a in WAYS),
        mode=pl.lit(mode),
        present=pl.lit(True),
        donor_nodule_uid="nodule_uid",
        donor_dataset="dataset",
        donor_person_uid="person_uid",
        placement=pl.lit(placement),
        insertion_mode=pl.lit(INSERTION_MODE["profile"]),
        asked_diameter_mm=pl.lit(None, pl.Float64),
        donor_diameter_mm="diameter_mm",
        planned_diameter_mm="diameter_mm",
        scale=pl.lit(1.0),
        size_bucket=size_bucket_of("diameter_mm"),
        relaxations=pl.lit(""),
        kept=pl.lit(False),
        why=pl.lit(why),
    )


def _cross(plan: TwinPlan) -> TwinArm:
    arm, cohort, design, found = plan.arm, plan.arm.cohort, plan.resolved.trial.twin, pairs_of(plan)
    assert design is not None
    numbers = np.arange(len(found.donor))
    uid = case_uids(plan.trial, arm.name, numbers)
    where = found.hosts[found.host].with_columns(
        number=pl.Series(numbers), case_uid=uid, render_replicate=pl.Series(found.replicate)
    )
    rows = (
        pl.DataFrame({"number": numbers, "case_uid": uid, "_group": found.donor})
        .join(found.donors.sort("nodule_uid"), on="_group", how="inner")
        .sort("number", "nodule_uid")
        .with_columns(nodule_idx=pl.int_range(pl.len(), dtype=pl.Int64).over("number"))
    )
    why = f"{design.pairing.replace('_', ' ')}: {arm.donor_dataset} nodule in a scan of {arm.host_dataset}"
    nodules = _nodule_columns(rows, plan.resolved.trial.mode, "profile", why)
    if design.placement == "host_constrained_transfer":
        raw = [draws(plan.root, plan.trial, arm.name, "place", a, n=rows.height) for a in WAYS]
        prescribed = cohort.model_copy(update={"placement": cohort.placement.model_copy(update={"mode": "prescribed"})})
        places = positions(prescribed, plan.pool, rows, lobe_index(rows["lobe"]), raw)
        nodules = nodules.with_columns(insertion_mode=pl.lit("prescribed"), **places)
    return _finished(plan, where, "cross", nodules, found.counts, found.asked)
