"""Plans twin trials: native nodules back in their own scan (isolation, complete), or in foreign hosts (cross).

People, nodules and hosts are taken in seeded orders over the whole pool, so asking for more keeps what was planned. A
donor's own person never hosts it in a crossing. A *twin* here is such a trial; the lesion-free twin, which is the host
rendered without a nodule, is only a flag of its cases.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import case_seeds, draws
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.assignment import Bools, Ints, Preferences, assign
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
from itrialspace_assets.trials.pool import CandidatePool, PoolCount, donor_pool, host_pool, lobe_index, reach_mm
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
class _Plan:
    """What every step of planning an arm needs."""

    resolved: Resolved
    arm: PlannedArm
    pool: CandidatePool
    root: int
    anatomy: str

    @property
    def trial(self) -> str:
        return self.resolved.trial.trial


def seeded(ids: Sequence[str], root: int, *identity: str) -> Ints:
    """Places of ids in a seeded order, shape (n,); those that stay keep their relative order when others leave.

    Args:
        ids: what is put into order.
        root: root of the draws.
        identity: what the order is for.
    """
    return np.argsort(case_seeds(root, *identity, last=ids), kind="stable").astype(np.int64)


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
    plan = _Plan(resolved, arm, pool, root, anatomy)
    return _cross(plan) if design.kind == "cross" else _native(plan, complete=design.kind == "complete")


def _native(plan: _Plan, *, complete: bool) -> TwinArm:
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
    picked = _numbered(picked, complete=complete)
    picked = picked.with_columns(case_uid=case_uids(plan.trial, plan.arm.name, picked["number"].to_numpy()))
    nodules = _nodule_columns(picked, plan.resolved.trial.mode, "native", "its own scan: native voxels")
    first = picked.filter(pl.col("nodule_idx") == 0)
    where = first.select("number", "case_uid", "scan_uid").join(hosts, on="scan_uid", how="left", maintain_order="left")
    return _finished(plan, where, "native", nodules, counts)


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
    plan: _Plan,
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


def _kept_nodules(plan: _Plan, cases: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
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


def _cross(plan: _Plan) -> TwinArm:
    arm, cohort, design = plan.arm, plan.arm.cohort, plan.resolved.trial.twin
    assert design is not None
    all_donors, counts = donor_pool(plan.pool, cohort)
    all_hosts, host_counts = host_pool(plan.pool, cohort)
    donors = all_donors.filter(pl.col("dataset") == arm.donor_dataset)
    hosts = all_hosts.filter(pl.col("dataset") == arm.host_dataset)
    counts += [
        PoolCount("donors", f"of {arm.donor_dataset}", donors.height),
        *host_counts,
        PoolCount("hosts", f"of {arm.host_dataset}", hosts.height),
    ]
    if donors.is_empty() or hosts.is_empty():
        raise TrialError(
            f"{plan.trial}, {arm.level}: expected donors and hosts, got {donors.height} nodules and "
            f"{hosts.height} scans; run the stages profiles and hosts for both"
        )
    hosts = hosts[seeded(hosts["scan_uid"].to_list(), plan.root, plan.trial, "host")[: cohort.max_hosts]]
    by_patient = design.pairing == "donor_patient_complete"
    donors, group = _by_patient(plan, donors) if by_patient else _by_nodule(plan, donors)
    fits = _fits(plan, donors, group, hosts)
    most = fits.shape[1] if by_patient else min(cohort.max_donor_nodules or fits.shape[1], fits.shape[1])
    donor, host, replicate, asked = _pair(design.pairing, fits, most, design.n_hosts_per_donor, design.render_seeds)
    got = (donor >= 0) & (host >= 0)
    if not got.any():
        raise TrialError(
            f"{plan.trial}, {arm.level}: expected a host lobe that holds a donor, found none: {donors.height} nodules "
            f"of {float(donors['diameter_mm'].to_numpy().min()):.1f} mm and more, {len(hosts)} hosts"
        )
    donor, host, replicate = donor[got], host[got], replicate[got]
    numbers = np.arange(len(donor))
    uid = case_uids(plan.trial, arm.name, numbers)
    where = hosts[host].with_columns(number=pl.Series(numbers), case_uid=uid, render_replicate=pl.Series(replicate))
    members = donors.with_columns(_group=pl.Series(group)).sort("nodule_uid")
    rows = (
        pl.DataFrame({"number": numbers, "case_uid": uid, "_group": donor})
        .join(members, on="_group", how="inner")
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
    return _finished(plan, where, "cross", nodules, counts, asked)


def _by_nodule(plan: _Plan, donors: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """Donor nodules in seeded order, each a group of its own; of the first people alone if so many are asked for."""
    order = seeded(donors["nodule_uid"].to_list(), plan.root, plan.trial, "donor")
    if patients := plan.arm.cohort.max_donor_patients:
        people = donors["person_uid"].unique().sort().to_list()
        kept = {people[i] for i in seeded(people, plan.root, plan.trial, "person")[:patients]}
        order = order[np.isin(order, donors["person_uid"].is_in(list(kept)).arg_true().to_numpy())]
    return donors[order], np.arange(len(order))


def _by_patient(plan: _Plan, donors: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """Donors with the number of their patient in seeded order; cut by whole patients, never through one."""
    cohort = plan.arm.cohort
    people = donors["person_uid"].unique().sort().to_list()
    order = seeded(people, plan.root, plan.trial, "person")[: cohort.max_donor_patients]
    rank = pl.DataFrame({"person_uid": [people[i] for i in order], "_p": np.arange(len(order))})
    kept = donors.join(rank, on="person_uid", how="inner").sort("_p", "nodule_uid")
    if cohort.max_donor_nodules is not None:
        total = kept.group_by("_p").len().sort("_p")["len"].cum_sum().to_numpy()
        kept = kept.filter(pl.col("_p") < max(1, int((total <= cohort.max_donor_nodules).sum())))
    return kept.drop("_p"), kept["_p"].to_numpy().astype(np.int64)


def _fits(plan: _Plan, donors: pl.DataFrame, group: Ints, hosts: pl.DataFrame) -> Bools:
    """Whether each host holds every nodule of a group and is another person, shape (hosts, groups).

    ``group``: that of each donor, shape (donors,); the nodules of a group are of one person.
    """
    cohort = plan.arm.cohort
    clearance = plan.pool.clearance_of(hosts)
    need = np.zeros((int(group.max()) + 1, len(LOBES)))
    reach = reach_mm(donors["diameter_mm"].to_numpy(), cohort.clearance_mm)
    np.maximum.at(need, (group, lobe_index(donors["lobe"])), reach)
    holds = (clearance[:, None, :] >= need[None]).all(axis=2)
    people = donors.with_columns(_g=pl.Series(group)).unique("_g", keep="first").sort("_g")["person_uid"]
    both = pl.concat([people, hosts["person_uid"]]).rank("dense").to_numpy()
    return np.asarray(holds & ((both[None, : len(people)] != both[len(people) :, None]) | cohort.same_person))


def _pair(pairing: str, fits: Bools, wanted: int, per_donor: int, renderings: int) -> tuple[Ints, Ints, Ints, int]:
    """(donor or patient, host, rendering) of each case, shape (n,) each, -1 for none; and the cases asked for.

    Args:
        pairing: as the trial says.
        fits: whether a host holds a donor, shape (hosts, donors), both in their seeded order.
        wanted: donors, or patients, that are asked for.
        per_donor: hosts of each donor (one_to_many_hosts).
        renderings: renderings of each pair (crossed).
    """
    n_hosts, n_donors = fits.shape
    none = np.zeros(0, np.int64)
    if pairing == "crossed":
        alike = np.flatnonzero(fits.all(axis=0))[:wanted]
        host, donor, again = (
            x.ravel()
            for x in np.meshgrid(np.arange(n_hosts), np.arange(len(alike)), np.arange(renderings), indexing="ij")
        )
        shell = np.lexsort((again, donor, host, np.maximum(host, donor)))  # a smaller block begins a larger one
        return alike[donor][shell] if len(alike) else none, host[shell], again[shell], n_hosts * wanted * renderings
    if pairing == "one_to_many_hosts":
        each = min(per_donor, n_hosts)
        able = np.flatnonzero(fits.sum(axis=0) >= each)[:wanted]
        donor = np.repeat(able, each)
        hosts = assign(
            _in_turn(n_hosts, len(donor)),
            np.full(n_hosts, max(1, len(donor)), np.int64),
            lambda c, h: fits[h, donor[c]],
            donor,
        )
        return donor, hosts.candidate, np.zeros(len(donor), np.int64), wanted * each
    # case i goes to host i, round and round, and takes the next donor that fits there
    host = np.arange(wanted) % n_hosts
    donors = assign(_in_turn(n_donors, wanted), np.ones(n_donors, np.int64), lambda c, d: fits[host[c], d])
    return donors.candidate, host, np.zeros(wanted, np.int64), wanted


def _in_turn(candidates: int, cases: int) -> Preferences:
    """Preferences of cases that each begin one candidate after the case before."""
    whole = np.zeros((1, cases), np.int64)
    return Preferences(np.arange(candidates), whole, whole + candidates, np.arange(cases).astype(np.uint64))
