"""Plans a sampled trial: for each case a donor, a host, a place and a size, and why.

An arm is planned with arrays: quotas say what each case is to be, then donors and hosts are allocated
(``allocate``), all cases at once. Case k depends on its number and on the cases before it, so a longer
run begins with the shorter one. Nothing is relaxed silently: what had to give is in ``relaxations``.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import case_seed, draws, uniform
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.aims import _FAR, Aims, Stratum, aims_of
from itrialspace_assets.trials.allocate import Floats, Given, Ints, Shelf, Wish, allocate
from itrialspace_assets.trials.companions import companion_needs
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.rounds import Rounds
from itrialspace_assets.trials.sites import Site, find_site
from itrialspace_assets.trials.stock import Step, Stock, donor_pool, host_pool, never_stating, reach_mm

Allowed = Callable[[Ints, Ints], npt.NDArray[np.bool_]]


@dataclass(frozen=True)
class PlannedCases:
    """An arm's cases: who, where, how large. ``failed``: number of the first case that could not be had, or -1."""

    donor: Ints  # row of ``donors``
    host: Ints  # row of ``hosts``
    donors: pl.DataFrame
    hosts: pl.DataFrame
    aims: Aims
    scale: Floats
    asked: Floats  # diameter asked for, NaN if the donor's own
    scaled_from: npt.NDArray[np.bool_]  # taken from beyond the wanted sizes
    n_donors: Ints  # donors and hosts that met what the case wanted
    n_hosts: Ints
    steps: list[Step]
    failed: int
    failed_of: str = ""

    @property
    def diameter(self) -> Floats:
        """Planned diameter, mm."""
        return np.asarray(self.donors["diameter_mm"].to_numpy()[self.donor] * self.scale)


def plan_arm(
    resolved: Resolved, arm: PlannedArm, n: int, stock: Stock, sites: dict[str, Site], root: int, rounds: "Rounds | None" = None
) -> PlannedCases:  # fmt: skip
    """Plan ``n`` cases of an arm; ``failed`` tells the first that could not be had.

    Raises:
        TrialError: the pool of hosts cannot fill what is asked at all (a dataset states no age); names it.
    """
    cohort, trial = arm.cohort, resolved.trial
    site = find_site(sites, cohort.site) if cohort.site else None
    share = trial.share

    def key(what: str) -> tuple[str, ...]:
        return (trial.trial, what) if what in share else (trial.trial, arm.name, what)

    aims = aims_of(cohort, site, n, share, draws(root, *key("size"), "mm", n=n))
    donors, steps = donor_pool(stock, cohort)
    hosts, host_steps = host_pool(stock, cohort)
    _refuse_silent(stock, cohort, trial.trial, arm.name)
    if trial.independent_arms:
        donors, hosts = (_own_people(f, trial.trial, root, arm.number, len(resolved.arms)) for f in (donors, hosts))
        steps.append(Step("donors", f"people of this arm (1 of {len(resolved.arms)})", donors.height))
        host_steps.append(Step("hosts", f"people of this arm (1 of {len(resolved.arms)})", hosts.height))
    if cohort.prevalence and cohort.prevalence.unit == "person":
        hosts = hosts.unique("person_uid", keep="first", maintain_order=True)
        host_steps.append(Step("hosts", "one scan a person", hosts.height))
    room = _rows(stock, hosts)
    steps += host_steps
    fits_some = _fits_some(donors, cohort, room)
    donors = donors.filter(pl.Series(fits_some, dtype=pl.Boolean))
    steps.append(Step("donors", "fits in some host's lobe", donors.height))
    if not donors.height or not hosts.height:
        return _failure(aims, donors, hosts, steps, "hosts" if not hosts.height else "donors")
    draw_d, draw_h = draws(root, *key("donor"), n=n), draws(root, *key("host"), n=n)
    draw_s = draws(root, *key("size"), n=n)
    if "host" in share:
        return _hosts_first(aims, cohort, donors, hosts, room, steps, draw_d, draw_h, draw_s, rounds)
    needs = companion_needs(stock, cohort, donors)
    return _donors_first(aims, cohort, donors, hosts, room, steps, draw_d, draw_h, draw_s, needs)


def _refuse_silent(stock: Stock, cohort: Cohort, trial: str, arm: str) -> None:
    for column, wanted in (("age", cohort.hosts.age), ("sex", cohort.hosts.sex), ("smoking", cohort.hosts.smoking)):
        if wanted is None and column not in cohort.calibrate:
            continue
        silent = never_stating(stock, cohort, column)
        named = cohort.hosts.datasets
        pool = set(stock.hosts["dataset"].unique()) if named == "all" else set(named)
        if pool and pool - set(cohort.hosts.exclude) <= set(silent):
            raise TrialError(
                f"{trial}, arm {arm}: hosts of {', '.join(silent)} never state {column}, so they cannot fill it; name datasets that do"
            )


def _own_people(frame: pl.DataFrame, trial: str, root: int, number: int, arms: int) -> pl.DataFrame:
    """The rows of the people that belong to an arm; a person belongs to one arm, whatever the pool."""
    people = frame["person_uid"].unique().sort()
    mine = [p for p in people if case_seed(root, trial, "arm of", p) % arms == number]
    return frame.filter(pl.col("person_uid").is_in(mine))


def _rows(stock: Stock, hosts: pl.DataFrame) -> Floats:
    """Room (mm) of the hosts of a pool, shape (hosts, lobes)."""
    return np.asarray(
        stock.room[stock.hosts["scan_uid"].search_sorted(hosts["scan_uid"]).to_numpy()]
    )  # both sorted by id


def _target(donors: pl.DataFrame, cohort: Cohort) -> Ints:
    """Lobe (index into LOBES) that each donor would go to if the case names none."""
    if cohort.placement.lobe is not None:
        return np.full(donors.height, LOBES.index(cohort.placement.lobe), np.int64)
    return donors["lobe"].replace_strict({x: i for i, x in enumerate(LOBES)}, return_dtype=pl.Int64).to_numpy()


def _fits_some(donors: pl.DataFrame, cohort: Cohort, room: Floats) -> npt.NDArray[np.bool_]:
    """Whether the smallest allowed size of a donor fits some host's lobe."""
    if not donors.height or not len(room):
        return np.zeros(donors.height, bool)
    least = donors["diameter_mm"].to_numpy() / (cohort.max_scale if cohort.sizes or cohort.calibrate else 1.0)
    most = room.max(axis=0)
    where = np.full(donors.height, most.max()) if cohort.lobes else most[_target(donors, cohort)]
    return np.asarray(reach_mm(least, cohort.clearance_mm) <= where)


def _donor_wish(aims: Aims, cohort: Cohort, donors: pl.DataFrame, draw: npt.NDArray[np.uint64]) -> Wish:
    """Each case's order of donors: those of the wanted size as they are, then those that scale into it."""
    by_label, by_lobe = (
        bool((aims.label >= 0).any()),
        bool((aims.lobe >= 0).any()) and cohort.placement.mode == "profile",
    )
    label = donors["label"].fill_null(2).to_numpy() if by_label else np.zeros(donors.height, np.int64)
    lobe = _target(donors, cohort) if by_lobe else np.zeros(donors.height, np.int64)
    shelf = Shelf.of(label * len(LOBES) + lobe, donors["diameter_mm"].to_numpy().astype(float), 3 * len(LOBES))
    group = np.zeros(len(aims.label), np.int64)
    if by_label:
        group += np.maximum(aims.label, 0) * len(LOBES)
    if by_lobe:
        group += np.maximum(aims.lobe, 0)
    exact = aims.low == aims.high
    native = shelf.segments(group, aims.low, np.where(exact, aims.low, aims.high))
    sized = aims.low > -_FAR
    wide = shelf.segments(
        group,
        np.where(sized, aims.low / cohort.max_scale, _FAR),
        np.where(sized, aims.high * cohort.max_scale + 1e-9, _FAR),
    )
    return Wish(shelf.order, np.stack([native[0], wide[0]]), np.stack([native[1], wide[1]]), draw)


def _sizes(
    aims: Aims, cohort: Cohort, diameter: Floats, part: Ints, draw: npt.NDArray[np.uint64]
) -> tuple[Floats, Floats]:
    """(scale, diameter asked for) of each case given its donor's diameter; NaN asked where the donor's own is kept."""
    exact = aims.low == aims.high
    low = np.maximum(aims.low, diameter / cohort.max_scale)
    high = np.minimum(aims.high, diameter * cohort.max_scale)
    asked = np.where(exact, aims.low, low + (0.05 + 0.9 * uniform(draw)) * (high - low))
    keep = (part == 0) & ~exact
    return np.asarray(np.where(keep, 1.0, asked / diameter)), np.asarray(np.where(keep, np.nan, asked))


def _largest(aims: Aims, cohort: Cohort, cases: Ints, diameter: Floats) -> Floats:
    """Largest diameter (mm) that a case's nodule can get from a donor."""
    most = np.minimum(np.maximum(aims.high[cases], aims.low[cases]), diameter * cohort.max_scale)
    return np.asarray(np.where(aims.low[cases] > -_FAR, most, diameter))


def _host_shelf(aims: Aims, hosts: pl.DataFrame, room: Floats) -> tuple[Shelf, int]:
    """Hosts by stratum and lobe, sorted by room; a place of the shelf holds lobe · hosts + host."""
    h = hosts.height
    stratum = np.full(h, 0, np.int64)
    if len(aims.strata) > 1 or aims.strata[0] != Stratum():
        stratum[:] = len(aims.strata)
        for i, s in enumerate(aims.strata):
            fits = np.ones(h, bool)
            if s.sex is not None:
                fits &= (hosts["sex"] == s.sex).fill_null(False).to_numpy()
            if s.age is not None:
                fits &= ((hosts["age"] >= s.age[0]) & (hosts["age"] < s.age[1])).fill_null(False).to_numpy()
            stratum[fits] = i
    groups = (stratum[None, :] * len(LOBES) + np.arange(len(LOBES))[:, None]).ravel()
    return Shelf.of(groups, room.T.ravel(), (len(aims.strata) + 1) * len(LOBES)), h


def _donors_first(
    aims: Aims, cohort: Cohort, donors: pl.DataFrame, hosts: pl.DataFrame, room: Floats, steps: list[Step],
    draw_d: npt.NDArray[np.uint64], draw_h: npt.NDArray[np.uint64], draw_s: npt.NDArray[np.uint64], needs: Floats | None,
) -> PlannedCases:  # fmt: skip
    wish = _donor_wish(aims, cohort, donors, draw_d)
    diameter, target = donors["diameter_mm"].to_numpy().astype(float), _target(donors, cohort)
    most = room.max(axis=0)

    def fits(cases: Ints, things: Ints) -> npt.NDArray[np.bool_]:
        lobe = np.where(aims.lobe[cases] >= 0, aims.lobe[cases], target[things])
        return np.asarray(reach_mm(_largest(aims, cohort, cases, diameter[things]), cohort.clearance_mm) <= most[lobe])

    uses = np.minimum(
        _capacity(donors.height, cohort.donors.max_uses, aims), _hosts_of(donors, hosts, cohort, room, target)
    )
    got = allocate(wish, uses, fits, whole=True)
    ok = got.thing >= 0
    d = np.where(ok, got.thing, 0)
    scale, asked = _sizes(aims, cohort, diameter[d], got.part, draw_s)
    lobe = np.where(aims.lobe >= 0, aims.lobe, target[d])
    reach = reach_mm(diameter[d] * scale, cohort.clearance_mm)
    shelf, h = _host_shelf(aims, hosts, room)
    first, count = shelf.segments(aims.stratum * len(LOBES) + lobe, reach, np.full(len(lobe), _FAR))
    given = allocate(
        Wish(shelf.order % h, first[None], np.where(ok, count, 0)[None], draw_h), _capacity(h, cohort.hosts.max_uses, aims),
        _may_host(cohort, donors, hosts, room, d, needs), np.where(ok, d, -1 - np.arange(len(d))), whole=True,
    )  # fmt: skip
    return _result(aims, donors, hosts, steps, got, given, scale, asked, wish.count.max(axis=0), count)


def _hosts_of(donors: pl.DataFrame, hosts: pl.DataFrame, cohort: Cohort, room: Floats, target: Ints) -> Ints:
    """How many hosts could take each donor at its smallest: it is put into each at most once."""
    smallest = donors["diameter_mm"].to_numpy() / (cohort.max_scale if cohort.sizes or cohort.calibrate else 1.0)
    reach = reach_mm(smallest, cohort.clearance_mm)
    ordered = np.sort(room, axis=0)
    wide = np.sort(room.max(axis=1))  # where a case may name any lobe
    count = np.zeros(donors.height, np.int64)
    for lobe in range(len(LOBES)):
        at = target == lobe
        count[at] = len(room) - np.searchsorted(wide if cohort.lobes else ordered[:, lobe], reach[at])
    if not cohort.same_person:
        own = dict(hosts["person_uid"].value_counts().iter_rows())
        count -= donors["person_uid"].replace_strict(own, default=0, return_dtype=pl.Int64).to_numpy()
    return np.maximum(count, 0)


def _hosts_first(
    aims: Aims, cohort: Cohort, donors: pl.DataFrame, hosts: pl.DataFrame, room: Floats, steps: list[Step],
    draw_d: npt.NDArray[np.uint64], draw_h: npt.NDArray[np.uint64], draw_s: npt.NDArray[np.uint64], rounds: Rounds | None,
) -> PlannedCases:  # fmt: skip
    known = (aims.lobe >= 0) & (aims.low == aims.high)
    shelf, h = _host_shelf(aims, hosts, room)
    reach = np.where(known, reach_mm(np.where(known, aims.low, 0.0), cohort.clearance_mm), -_FAR)
    first, count = shelf.segments(
        aims.stratum * len(LOBES) + np.where(known, aims.lobe, 0), reach, np.full(len(reach), _FAR)
    )
    given = _enrol(
        Wish(shelf.order % h, first[None], count[None], draw_h),
        _capacity(h, cohort.hosts.max_uses, aims),
        hosts,
        rounds,
    )
    host = np.where(given.thing >= 0, given.thing, 0)
    wish = _donor_wish(aims, cohort, donors, draw_d)
    diameter, target = donors["diameter_mm"].to_numpy().astype(float), _target(donors, cohort)
    people = _codes(donors, hosts)

    def fits(cases: Ints, things: Ints) -> npt.NDArray[np.bool_]:
        lobe = np.where(aims.lobe[cases] >= 0, aims.lobe[cases], target[things])
        enough = (
            reach_mm(_largest(aims, cohort, cases, diameter[things]), cohort.clearance_mm) <= room[host[cases], lobe]
        )
        return np.asarray(enough & (cohort.same_person | (people[0][things] != people[1][host[cases]])))

    got = allocate(wish, _capacity(donors.height, cohort.donors.max_uses, aims), fits, host, whole=True)
    scale, asked = _sizes(aims, cohort, diameter[np.maximum(got.thing, 0)], got.part, draw_s)
    return _result(aims, donors, hosts, steps, got, given, scale, asked, wish.count.max(axis=0), count)


def _enrol(wish: Wish, capacity: Ints, hosts: pl.DataFrame, rounds: Rounds | None) -> Given:
    """Hosts of cases that keep theirs over all arms; in screening rounds each enters with its own round's people."""
    if rounds is None:
        return allocate(wish, capacity, whole=True)
    group = rounds.group(hosts)
    thing = np.full(len(wish.start), -1, np.int64)
    for number, members in enumerate(rounds.ever):
        if members.any():
            part = Wish(wish.order, wish.first, np.where(members, wish.count, 0), wish.start)
            found = allocate(part, capacity, lambda cases, things, number=number: group[things] == number)  # type: ignore[misc]
            thing = np.where(rounds.entry == number, found.thing, thing)
    return Given(thing, np.zeros(len(thing), np.int64))


def _capacity(n: int, limit: int | None, aims: Aims) -> Ints:
    return np.full(n, limit if limit is not None else max(1, len(aims.label)), np.int64)


def _codes(donors: pl.DataFrame, hosts: pl.DataFrame) -> tuple[Ints, Ints]:
    """The same person has the same number among donors and hosts."""
    both = pl.concat([donors["person_uid"], hosts["person_uid"]]).rank("dense").to_numpy().astype(np.int64)
    return both[: donors.height], both[donors.height :]


def _may_host(
    cohort: Cohort, donors: pl.DataFrame, hosts: pl.DataFrame, room: Floats, donor: Ints, needs: Floats | None
) -> Allowed:
    """Hosts that are not the donor's own person and have room for its companions."""
    of_donor, of_host = _codes(donors, hosts)

    def allowed(cases: Ints, things: Ints) -> npt.NDArray[np.bool_]:
        fine = (of_host[things] != of_donor[donor[cases]]) | cohort.same_person
        if needs is not None:
            fine = fine & (room[things] >= needs[donor[cases]]).all(axis=1)
        return np.asarray(fine)

    return allowed


def _failure(aims: Aims, donors: pl.DataFrame, hosts: pl.DataFrame, steps: list[Step], of: str) -> PlannedCases:
    n = len(aims.label)
    zero, none = np.zeros(n, np.int64), np.zeros(n)
    return PlannedCases(
        zero - 1, zero - 1, donors, hosts, aims, none + 1, none, none > 0, zero, zero, steps, 0 if n else -1, of
    )


def _result(
    aims: Aims, donors: pl.DataFrame, hosts: pl.DataFrame, steps: list[Step], got: Given, given: Given, scale: Floats, asked: Floats,
    n_donors: Ints, n_hosts: Ints,
) -> PlannedCases:  # fmt: skip
    bad = np.flatnonzero((got.thing < 0) | (given.thing < 0))
    failed = int(bad[0]) if len(bad) else -1
    of = "" if failed < 0 else "donors" if got.thing[failed] < 0 else "hosts"
    exact = aims.low == aims.high
    return PlannedCases(
        got.thing,
        given.thing,
        donors,
        hosts,
        aims,
        scale,
        asked,
        (got.part == 1) & ~exact,
        n_donors,
        n_hosts,
        steps,
        failed,
        of,
    )
