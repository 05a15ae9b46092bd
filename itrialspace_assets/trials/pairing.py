"""Pairs the donors and hosts of a crossed arm of a twin trial: which donor, or patient, goes into which host.

Donors and hosts are taken in seeded orders over the whole pool, so asking for more keeps what was paired. Makes no
table.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import case_seeds
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.assignment import Bools, Ints, Preferences, assign
from itrialspace_assets.trials.pool import CandidatePool, PoolCount, donor_pool, host_pool, lobe_index, reach_mm
from itrialspace_assets.trials.resolve import PlannedArm, Resolved


@dataclass(frozen=True)
class CrossedPairs:
    """The pairs of a crossed arm: who goes where, shape (n,) each.

    Attributes:
        donors: the donors, each with its ``_group``: itself, or all of its patient.
        hosts: the hosts.
        donor: the group of each case.
        host: row of ``hosts`` of each case.
        replicate: rendering of each case.
        counts: what was left of the candidate pool after each constraint.
        asked: cases that were asked for.
    """

    donors: pl.DataFrame
    hosts: pl.DataFrame
    donor: Ints
    host: Ints
    replicate: Ints
    counts: list[PoolCount]
    asked: int


@dataclass(frozen=True)
class TwinPlan:
    """An arm of a twin trial, and what it is planned from."""

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
    return _seeded(tuple(ids), root, identity)


@lru_cache(maxsize=16)  # the arms of a crossing are pairs of seven datasets
def _seeded(ids: tuple[str, ...], root: int, identity: tuple[str, ...]) -> Ints:
    order = np.argsort(case_seeds(root, *identity, last=ids), kind="stable").astype(np.int64)
    order.setflags(write=False)
    return order


def pairs_of(plan: TwinPlan) -> CrossedPairs:
    """Who goes where in a crossed arm.

    Raises:
        TrialError: there are no donors or no hosts, or no host holds a donor.
    """
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
    grouped = donors.with_columns(_group=pl.Series(group))
    return CrossedPairs(grouped, hosts, donor[got], host[got], replicate[got], counts, asked)


def _by_nodule(plan: TwinPlan, donors: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
    """Donor nodules in seeded order, each a group of its own; of the first people alone if so many are asked for."""
    order = seeded(donors["nodule_uid"].to_list(), plan.root, plan.trial, "donor")
    if patients := plan.arm.cohort.max_donor_patients:
        people = donors["person_uid"].unique().sort().to_list()
        kept = {people[i] for i in seeded(people, plan.root, plan.trial, "person")[:patients]}
        order = order[np.isin(order, donors["person_uid"].is_in(list(kept)).arg_true().to_numpy())]
    return donors[order], np.arange(len(order))


def _by_patient(plan: TwinPlan, donors: pl.DataFrame) -> tuple[pl.DataFrame, Ints]:
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


def _fits(plan: TwinPlan, donors: pl.DataFrame, group: Ints, hosts: pl.DataFrame) -> Bools:
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
