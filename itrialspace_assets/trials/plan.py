"""Plans one arm of a sampled trial: a donor, a host and a size for each case.

The aims say what each case is to be, by quota; then donors and hosts are assigned to all cases at once
(``assignment``). Case k depends on its number and on the cases before it, so a longer run begins with the shorter one.
Makes no table, relaxes nothing, and reads no file: what is infeasible is told by the first case that lacks a candidate.
"""

from dataclasses import dataclass, replace
from functools import cached_property, partial

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import case_seeds, draws, uniform
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.aims import FAR, Aims, Stratum, aims_of
from itrialspace_assets.trials.assignment import (
    Allowed,
    Assignment,
    Bools,
    Floats,
    Ints,
    Preferences,
    SortedGroups,
    assign,
)
from itrialspace_assets.trials.companions import companion_needs
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.pool import (
    CandidatePool,
    PoolCount,
    donor_pool,
    host_pool,
    lobe_index,
    never_stating,
    reach_mm,
)
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.sites import Site, find_site

#: Parts of a donor's preferences: donors of the wanted size as they are, then donors that are scaled into it.
_AS_IT_IS, _SCALED = 0, 1


@dataclass(frozen=True)
class PlannedCases:
    """An arm's n cases: who, where, how large.

    Attributes:
        donor: row of ``donors``, -1 if the case has none, shape (n,).
        host: row of ``hosts``, -1 if the case has none, shape (n,).
        donors: the donors that the arm could draw from.
        hosts: the hosts that the arm could draw from.
        aims: what each case was to be.
        scale: isotropic scale of the donor, shape (n,).
        asked: diameter in mm that was asked for, NaN where the donor keeps its own, shape (n,).
        scaled_from: whether the donor was taken from beyond the wanted sizes, shape (n,).
        n_donors: donors that met the aims of the case, shape (n,).
        n_hosts: hosts that met them, shape (n,).
        counts: what was left of the candidate pool after each constraint.
        failed: number of the first infeasible case, or -1.
        failed_of: what that case lacks: donors or hosts; empty if all are feasible.
    """

    donor: Ints
    host: Ints
    donors: pl.DataFrame
    hosts: pl.DataFrame
    aims: Aims
    scale: Floats
    asked: Floats
    scaled_from: Bools
    n_donors: Ints
    n_hosts: Ints
    counts: list[PoolCount]
    failed: int
    failed_of: str = ""


@dataclass(frozen=True)
class _Candidates:
    """The donors and hosts of an arm, in a fixed order, and the free sphere in each lobe of those hosts.

    ``clearance``: radius in mm, shape (hosts, lobes).
    """

    cohort: Cohort
    donors: pl.DataFrame
    hosts: pl.DataFrame
    clearance: Floats
    counts: list[PoolCount]

    @cached_property
    def diameter(self) -> Floats:
        """Diameter (mm) of each donor, shape (donors,)."""
        return self.donors["diameter_mm"].to_numpy().astype(float)

    @cached_property
    def target(self) -> Ints:
        """Lobe (index into ``LOBES``) that each donor goes to if its case names none, shape (donors,)."""
        return _target(self.donors, self.cohort)

    @cached_property
    def people(self) -> tuple[Ints, Ints]:
        """Number of the person of each donor and of each host; the same person has the same number in both."""
        both = pl.concat([self.donors["person_uid"], self.hosts["person_uid"]]).rank("dense").to_numpy()
        codes = both.astype(np.int64)
        return codes[: self.donors.height], codes[self.donors.height :]

    def reach(self, diameter_mm: Floats) -> Floats:
        """Radius (mm) of the sphere that a lobe must hold for nodules of some diameters (mm)."""
        return reach_mm(diameter_mm, self.cohort.clearance_mm)

    def capacity(self, of: str, cases: int) -> Ints:
        """How many cases each donor, or each host, may serve, shape (candidates,)."""
        frame, limit = (
            (self.donors, self.cohort.donors.max_uses) if of == "donors" else (self.hosts, self.cohort.hosts.max_uses)
        )
        return np.full(frame.height, limit if limit is not None else max(1, cases), np.int64)


@dataclass(frozen=True)
class _Draws:
    """Raw draws of an arm's cases, shape (n,) each: where they begin in their preferences, and their size."""

    donor: npt.NDArray[np.uint64]
    host: npt.NDArray[np.uint64]
    size: npt.NDArray[np.uint64]


@dataclass(frozen=True)
class _Assigned:
    """Donors and hosts as assigned, and how many candidates met the aims of each case, shape (n,)."""

    donors: Assignment
    hosts: Assignment
    n_donors: Ints
    n_hosts: Ints


def plan_arm(
    resolved: Resolved,
    arm: PlannedArm,
    n: int,
    pool: CandidatePool,
    sites: dict[str, Site],
    root: int,
    rounds: Rounds | None = None,
) -> PlannedCases:
    """Plan ``n`` cases of an arm; ``failed`` of the answer is the first infeasible one.

    Args:
        resolved: the trial.
        arm: one of its arms.
        n: cases.
        pool: all donors and hosts.
        sites: all site profiles.
        root: root of the draws.
        rounds: who takes part, in a trial of screening rounds.

    Raises:
        TrialError: no host can fill what is asked (its datasets state no age, for example); names the datasets.
    """
    cohort, trial = arm.cohort, resolved.trial
    site = find_site(sites, cohort.site) if cohort.site else None
    share = trial.share

    def drawn(what: str, *more: str) -> npt.NDArray[np.uint64]:
        who = (trial.trial,) if what in share else (trial.trial, arm.name)
        return draws(root, *who, what, *more, n=n)

    aims = aims_of(cohort, site, n, share, drawn("size", "mm"))
    _require_statements(pool, cohort, trial.trial, arm.name)
    candidates = _candidates(resolved, arm, pool, root)
    if not candidates.donors.height or not candidates.hosts.height:
        return _without_candidates(candidates, aims)
    made = _Draws(drawn("donor"), drawn("host"), drawn("size"))
    if "host" in share:
        return _hosts_first(candidates, aims, made, rounds)
    return _donors_first(candidates, aims, made, companion_needs(pool, cohort, candidates.donors))


def _require_statements(pool: CandidatePool, cohort: Cohort, trial: str, arm: str) -> None:
    for column, wanted in (("age", cohort.hosts.age), ("sex", cohort.hosts.sex), ("smoking", cohort.hosts.smoking)):
        if wanted is None and column not in cohort.calibrate:
            continue
        silent = never_stating(pool, cohort, column)
        named = cohort.hosts.datasets
        datasets = set(pool.hosts["dataset"].unique()) if named == "all" else set(named)
        if datasets and datasets - set(cohort.hosts.exclude) <= set(silent):
            raise TrialError(
                f"{trial}, arm {arm}: hosts of {', '.join(silent)} never state {column}, so they cannot fill "
                "it; name datasets that do"
            )


def _candidates(resolved: Resolved, arm: PlannedArm, pool: CandidatePool, root: int) -> _Candidates:
    """The donors and hosts of an arm that meet every constraint that does not depend on the case."""
    cohort, trial = arm.cohort, resolved.trial
    donors, counts = donor_pool(pool, cohort)
    hosts, host_counts = host_pool(pool, cohort)
    if trial.independent_arms:
        donors, hosts = (_own_people(f, trial.trial, root, arm.number, len(resolved.arms)) for f in (donors, hosts))
        constraint = f"people of this arm (1 of {len(resolved.arms)})"
        counts.append(PoolCount("donors", constraint, donors.height))
        host_counts.append(PoolCount("hosts", constraint, hosts.height))
    if cohort.prevalence and cohort.prevalence.unit == "person":
        hosts = hosts.unique("person_uid", keep="first", maintain_order=True)
        host_counts.append(PoolCount("hosts", "one scan a person", hosts.height))
    clearance = pool.clearance_of(hosts)
    counts += host_counts
    donors = donors.filter(pl.Series(_fits_some(donors, cohort, clearance), dtype=pl.Boolean))
    counts.append(PoolCount("donors", "fits in some host's lobe", donors.height))
    return _Candidates(cohort, donors, hosts, clearance, counts)


def _own_people(frame: pl.DataFrame, trial: str, root: int, number: int, arms: int) -> pl.DataFrame:
    """The rows of the people that belong to an arm; a person belongs to one arm, whatever the pool."""
    people = frame["person_uid"].unique().sort()
    mine = people.filter(pl.Series(case_seeds(root, trial, "arm of", last=people) % arms == number))
    return frame.filter(pl.col("person_uid").is_in(mine.to_list()))


def _target(donors: pl.DataFrame, cohort: Cohort) -> Ints:
    if cohort.placement.lobe is not None:
        return np.full(donors.height, LOBES.index(cohort.placement.lobe), np.int64)
    return lobe_index(donors["lobe"])


def _smallest(donors: pl.DataFrame, cohort: Cohort) -> Floats:
    """Least diameter (mm) that each donor may be scaled to, shape (donors,)."""
    return np.asarray(
        donors["diameter_mm"].to_numpy() / (cohort.max_scale if cohort.sizes or cohort.calibrate else 1.0)
    )


def _fits_some(donors: pl.DataFrame, cohort: Cohort, clearance: Floats) -> Bools:
    """Whether each donor fits some host's lobe at its smallest, shape (donors,)."""
    if not donors.height or not len(clearance):
        return np.zeros(donors.height, bool)
    most = clearance.max(axis=0)
    where = np.full(donors.height, most.max()) if cohort.lobes else most[_target(donors, cohort)]
    return np.asarray(reach_mm(_smallest(donors, cohort), cohort.clearance_mm) <= where)


def _donor_preferences(candidates: _Candidates, aims: Aims, draw: npt.NDArray[np.uint64]) -> Preferences:
    """Each case's order of donors: those of the wanted size as they are, then those that scale into it."""
    cohort, donors = candidates.cohort, candidates.donors
    by_label = bool((aims.label >= 0).any())
    by_lobe = bool((aims.lobe >= 0).any()) and cohort.placement.mode == "profile"
    label = donors["label"].fill_null(2).to_numpy() if by_label else np.zeros(donors.height, np.int64)
    lobe = candidates.target if by_lobe else np.zeros(donors.height, np.int64)
    in_order = SortedGroups.of(label * len(LOBES) + lobe, candidates.diameter, 3 * len(LOBES))
    group = np.zeros(len(aims.label), np.int64)
    if by_label:
        group += np.maximum(aims.label, 0) * len(LOBES)
    if by_lobe:
        group += np.maximum(aims.lobe, 0)
    native = in_order.segments(group, aims.low, aims.high)
    sized = aims.low > -FAR
    wide = in_order.segments(
        group,
        np.where(sized, aims.low / cohort.max_scale, FAR),
        np.where(sized, aims.high * cohort.max_scale + 1e-9, FAR),
    )
    return Preferences(in_order.order, np.stack([native[0], wide[0]]), np.stack([native[1], wide[1]]), draw)


def _scaled(
    candidates: _Candidates, aims: Aims, got: Assignment, draw: npt.NDArray[np.uint64]
) -> tuple[Floats, Floats]:
    """(scale, diameter in mm that is asked for) of each case with its donor; NaN where the donor keeps its own."""
    most = candidates.cohort.max_scale
    diameter = candidates.diameter[np.maximum(got.candidate, 0)]
    low, high = np.maximum(aims.low, diameter / most), np.minimum(aims.high, diameter * most)
    # a little inside what the donor can be scaled to
    asked = np.where(aims.exact, aims.low, low + (0.05 + 0.9 * uniform(draw)) * (high - low))
    keep = (got.part == _AS_IT_IS) & ~aims.exact
    return np.asarray(np.where(keep, 1.0, asked / diameter)), np.asarray(np.where(keep, np.nan, asked))


def _largest_reach(candidates: _Candidates, aims: Aims, cases: Ints, donors: Ints) -> Floats:
    """Radius (mm) of the sphere for the largest nodule that each case can get from a donor, shape (k,)."""
    diameter = candidates.diameter[donors]
    most = np.minimum(np.maximum(aims.high[cases], aims.low[cases]), diameter * candidates.cohort.max_scale)
    return candidates.reach(np.where(aims.low[cases] > -FAR, most, diameter))


def _lobe_of(candidates: _Candidates, aims: Aims, cases: Ints, donors: Ints) -> Ints:
    """Target lobe (index into ``LOBES``) of each case with a donor, shape (k,)."""
    return np.where(aims.lobe[cases] >= 0, aims.lobe[cases], candidates.target[donors])


def _hosts_in_order(candidates: _Candidates, aims: Aims) -> SortedGroups:
    """Hosts by stratum and lobe, sorted by clearance; a candidate of it is lobe · hosts + host."""
    hosts = candidates.hosts
    stratum = np.full(hosts.height, 0, np.int64)
    if len(aims.strata) > 1 or aims.strata[0] != Stratum():
        stratum[:] = len(aims.strata)
        for i, s in enumerate(aims.strata):
            within = np.ones(hosts.height, bool)
            if s.sex is not None:
                within &= (hosts["sex"] == s.sex).fill_null(False).to_numpy()
            if s.age is not None:
                within &= ((hosts["age"] >= s.age[0]) & (hosts["age"] < s.age[1])).fill_null(False).to_numpy()
            stratum[within] = i
    groups = (stratum[None, :] * len(LOBES) + np.arange(len(LOBES))[:, None]).ravel()
    return SortedGroups.of(groups, candidates.clearance.T.ravel(), (len(aims.strata) + 1) * len(LOBES))


def _host_preferences(
    candidates: _Candidates, aims: Aims, lobe: Ints, reach: Floats, draw: npt.NDArray[np.uint64]
) -> Preferences:
    """Each case's order of hosts: those of its stratum whose lobe holds a sphere of its reach (mm)."""
    in_order = _hosts_in_order(candidates, aims)
    first, count = in_order.segments(aims.stratum * len(LOBES) + lobe, reach, np.full(len(reach), FAR))
    return Preferences(in_order.order % candidates.hosts.height, first[None], count[None], draw)


def _donors_first(candidates: _Candidates, aims: Aims, drawn: _Draws, needs: Floats | None) -> PlannedCases:
    """Assign donors, then hosts that hold them.

    ``needs``: radius (mm) that the companions of each donor need in each lobe, shape (donors, lobes).
    """
    cases = np.arange(len(aims.label))
    preferences = _donor_preferences(candidates, aims, drawn.donor)
    most = candidates.clearance.max(axis=0)

    def fits(cases: Ints, donors: Ints) -> Bools:
        lobe = _lobe_of(candidates, aims, cases, donors)
        return np.asarray(_largest_reach(candidates, aims, cases, donors) <= most[lobe])

    uses = np.minimum(candidates.capacity("donors", len(cases)), _hosts_of(candidates))
    donors = assign(preferences, uses, fits, whole=True)
    ok = donors.candidate >= 0
    donor = np.where(ok, donors.candidate, 0)
    scale, asked = _scaled(candidates, aims, donors, drawn.size)
    reach = candidates.reach(candidates.diameter[donor] * scale)
    lobe = _lobe_of(candidates, aims, cases, donor)
    wanted = _host_preferences(candidates, aims, lobe, reach, drawn.host)
    hosts = assign(
        Preferences(wanted.order, wanted.first, np.where(ok, wanted.count, 0), wanted.start),
        candidates.capacity("hosts", len(cases)),
        _may_host(candidates, donor, needs),
        np.where(ok, donor, -1 - cases),
        whole=True,
    )
    found = _Assigned(donors, hosts, preferences.count.max(axis=0), wanted.count[0])
    return _planned(candidates, aims, found, scale, asked)


def _hosts_of(candidates: _Candidates) -> Ints:
    """How many hosts hold each donor at its smallest, shape (donors,): it is put into each at most once."""
    cohort, clearance = candidates.cohort, candidates.clearance
    reach = candidates.reach(_smallest(candidates.donors, cohort))
    ordered = np.sort(clearance, axis=0)
    widest = np.sort(clearance.max(axis=1))  # where a case may name any lobe
    count = np.zeros(candidates.donors.height, np.int64)
    for lobe in range(len(LOBES)):
        at = candidates.target == lobe
        count[at] = len(clearance) - np.searchsorted(widest if cohort.lobes else ordered[:, lobe], reach[at])
    if not cohort.same_person:
        own = dict(candidates.hosts["person_uid"].value_counts().iter_rows())
        count -= candidates.donors["person_uid"].replace_strict(own, default=0, return_dtype=pl.Int64).to_numpy()
    return np.maximum(count, 0)


def _may_host(candidates: _Candidates, donor: Ints, needs: Floats | None) -> Allowed:
    """Hosts that are not the donor's own person and hold its companions; ``donor`` of each case, shape (n,)."""
    of_donor, of_host = candidates.people

    def allowed(cases: Ints, hosts: Ints) -> Bools:
        may = (of_host[hosts] != of_donor[donor[cases]]) | candidates.cohort.same_person
        if needs is not None:
            may = may & (candidates.clearance[hosts] >= needs[donor[cases]]).all(axis=1)
        return np.asarray(may)

    return allowed


def _hosts_first(candidates: _Candidates, aims: Aims, drawn: _Draws, rounds: Rounds | None) -> PlannedCases:
    """Assign hosts, which the arms share, then donors that they hold."""
    n, cohort = len(aims.label), candidates.cohort
    known = (aims.lobe >= 0) & aims.exact
    reach = np.where(known, candidates.reach(np.where(known, aims.low, 0.0)), -FAR)
    wanted = _host_preferences(candidates, aims, np.where(known, aims.lobe, 0), reach, drawn.host)
    hosts = _enrol(wanted, candidates.capacity("hosts", n), candidates.hosts, rounds)
    host = np.where(hosts.candidate >= 0, hosts.candidate, 0)
    preferences = _donor_preferences(candidates, aims, drawn.donor)
    of_donor, of_host = candidates.people

    def fits(cases: Ints, donors: Ints) -> Bools:
        lobe = _lobe_of(candidates, aims, cases, donors)
        enough = _largest_reach(candidates, aims, cases, donors) <= candidates.clearance[host[cases], lobe]
        return np.asarray(enough & (cohort.same_person | (of_donor[donors] != of_host[host[cases]])))

    donors = assign(preferences, candidates.capacity("donors", n), fits, host, whole=True)
    scale, asked = _scaled(candidates, aims, donors, drawn.size)
    found = _Assigned(donors, hosts, preferences.count.max(axis=0), wanted.count[0])
    return _planned(candidates, aims, found, scale, asked)


def _enters(group: Ints, number: int, cases: Ints, hosts: Ints) -> Bools:
    """Whether hosts (k,) may enter in a round (from 0), whatever the case; ``group`` (hosts,) is the round of each."""
    return np.asarray(group[hosts] == number)


def _enrol(preferences: Preferences, capacity: Ints, hosts: pl.DataFrame, rounds: Rounds | None) -> Assignment:
    """Hosts of cases that keep theirs over all arms; in screening rounds each enters with its own round's people."""
    if rounds is None:
        return assign(preferences, capacity, whole=True)
    group = rounds.group(hosts)
    host = np.full(len(preferences.start), -1, np.int64)
    for number, members in enumerate(rounds.ever):
        if members.any():
            count = np.where(members, preferences.count, 0)
            part = Preferences(preferences.order, preferences.first, count, preferences.start)
            found = assign(part, capacity, partial(_enters, group, number))
            host = np.where(rounds.entry == number, found.candidate, host)
    return Assignment(host, np.zeros(len(host), np.int64))


def _without_candidates(candidates: _Candidates, aims: Aims) -> PlannedCases:
    """A plan of which not even the first case is feasible."""
    n = len(aims.label)
    nothing, zero = Assignment(np.full(n, -1, np.int64), np.zeros(n, np.int64)), np.zeros(n, np.int64)
    plan = _planned(candidates, aims, _Assigned(nothing, nothing, zero, zero), np.ones(n), np.zeros(n))
    return replace(plan, failed_of="donors" if candidates.hosts.height else "hosts")


def _planned(candidates: _Candidates, aims: Aims, found: _Assigned, scale: Floats, asked: Floats) -> PlannedCases:
    donor, host = found.donors.candidate, found.hosts.candidate
    bad = np.flatnonzero((donor < 0) | (host < 0))
    failed = int(bad[0]) if len(bad) else -1
    return PlannedCases(
        donor=donor,
        host=host,
        donors=candidates.donors,
        hosts=candidates.hosts,
        aims=aims,
        scale=scale,
        asked=asked,
        scaled_from=(found.donors.part == _SCALED) & ~aims.exact,
        n_donors=found.n_donors,
        n_hosts=found.n_hosts,
        counts=candidates.counts,
        failed=failed,
        failed_of="" if failed < 0 else "donors" if donor[failed] < 0 else "hosts",
    )
