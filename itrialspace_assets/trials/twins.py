"""Plans twin trials: native nodules back in their own scan (isolation, complete), or in foreign hosts (cross).

People, nodules and hosts are taken in seeded orders over the whole pool, so asking for more keeps what
was planned. A donor's own person never hosts it in a crossing.
"""

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import case_seed, draws
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.trials.allocate import Floats, Ints, Wish, allocate
from itrialspace_assets.trials.frames import (
    INSERTION_MODE,
    acquisition_columns,
    case_uids,
    host_columns,
    positions,
    size_bucket_of,
    table_frame,
    with_asks,
)
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.stock import Step, Stock, donor_pool, host_pool, reach_mm

Frames = tuple[pl.DataFrame, pl.DataFrame]
_LOBE = {x: i for i, x in enumerate(LOBES)}


def seeded(ids: Sequence[str], root: int, *identity: str) -> Ints:
    """A seeded order of ids that keeps the relative order of those that stay when others leave."""
    return np.argsort(np.array([case_seed(root, *identity, i) for i in ids], dtype=np.uint64), kind="stable").astype(
        np.int64
    )


def plan_twin(
    resolved: Resolved, arm: PlannedArm, stock: Stock, root: int, anatomy: str
) -> tuple[pl.DataFrame, pl.DataFrame, list[Step], int]:
    """(cases, case_nodules, pool steps, cases asked for) of a twin arm.

    Raises:
        TrialError: no nodule has a scan that is a host, or no host takes a donor; names the datasets.
    """
    assert resolved.trial.twin is not None
    if resolved.trial.twin.kind == "cross":
        return _cross(resolved, arm, stock, root, anatomy)
    return _native(resolved, arm, stock, root, anatomy, complete=resolved.trial.twin.kind == "complete")


def _native(
    resolved: Resolved, arm: PlannedArm, stock: Stock, root: int, anatomy: str, *, complete: bool
) -> tuple[pl.DataFrame, pl.DataFrame, list[Step], int]:
    trial, cohort, name = resolved.trial, arm.cohort, str(arm.host_dataset)
    donors, steps = donor_pool(stock, cohort)
    hosts, host_steps = host_pool(stock, cohort)
    own = donors.filter(pl.col("dataset") == name)
    steps.append(Step("donors", f"of {name}", own.height))
    own = own.join(hosts.select("scan_uid"), on="scan_uid", how="semi", maintain_order="left")
    steps += [*host_steps, Step("donors", "whose scan is a host", own.height)]
    if own.is_empty():
        told = ", ".join(f"{s.constraint}: {s.left}" for s in steps if s.of == "donors")
        raise TrialError(
            f"{trial.trial}: dataset {name}: expected nodules whose scan is a host, found none ({told}); run the stages profiles and hosts for it"
        )
    people = own["person_uid"].unique().sort().to_list()
    order = seeded(people, root, trial.trial, "person")
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
    if complete:
        scans = (
            picked.unique("scan_uid", keep="first", maintain_order=True)
            .sort("_person", "scan_uid")
            .select("scan_uid")
            .with_columns(number=pl.int_range(pl.len(), dtype=pl.Int64))
        )
        picked = (
            picked.join(scans, on="scan_uid", how="left")
            .sort("number", "_nodule")
            .with_columns(nodule_idx=pl.int_range(pl.len(), dtype=pl.Int64).over("number"))
        )
    else:  # every first nodule of all people, then every second: a run with fewer per scan begins the same way
        picked = picked.sort("_nodule", "_person", "scan_uid").with_columns(
            number=pl.int_range(pl.len(), dtype=pl.Int64), nodule_idx=pl.lit(0, pl.Int64)
        )
    picked = picked.with_columns(case_uid=case_uids(trial.trial, arm.name, picked["number"].to_numpy()))
    nodules = _rows(picked, trial.mode, "native", "its own scan: native voxels")
    first = picked.filter(pl.col("nodule_idx") == 0)
    where = first.select("number", "case_uid", "scan_uid").join(hosts, on="scan_uid", how="left", maintain_order="left")
    cases = _cases(resolved, arm, where, "native", root, anatomy)
    nodules = _finish(resolved, arm, nodules, cases, stock, root)
    return _counted(cases, nodules), table_frame("case_nodules", nodules), steps, cases.height


def _finish(
    resolved: Resolved, arm: PlannedArm, nodules: pl.DataFrame, cases: pl.DataFrame, stock: Stock, root: int
) -> pl.DataFrame:
    """The nodules with what they ask for, and those that the host keeps of its own."""
    trial = resolved.trial
    assert trial.twin is not None
    if trial.twin.keep_native:
        planned = nodules.select("case_uid", nodule_uid="donor_nodule_uid")
        last = nodules.group_by("case_uid").agg(_last=pl.col("nodule_idx").max())
        own = (
            cases.select("case_uid", scan_uid="host_scan_uid")
            .join(stock.donors, on="scan_uid", how="inner")
            .join(planned, on=["case_uid", "nodule_uid"], how="anti")
            .join(last, on="case_uid")
            .sort("case_uid", "nodule_uid")
            .with_columns(nodule_idx=pl.col("_last") + 1 + pl.int_range(pl.len(), dtype=pl.Int64).over("case_uid"))
        )
        kept = _rows(own, trial.mode, "native", "kept: the host's own nodule").with_columns(kept=pl.lit(True))
        nodules = pl.concat([nodules, kept.select(nodules.columns)])
    return with_asks(nodules, stock, arm.cohort, root, trial.trial, arm.name)


def _counted(cases: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    sizes = nodules.group_by("case_uid").agg(n_nodules=pl.len().cast(pl.Int64))
    return table_frame("cases", cases.join(sizes, on="case_uid", how="left"))


def _rows(picked: pl.DataFrame, mode: str, placement: str, why: str) -> pl.DataFrame:
    return picked.select(
        "case_uid", "nodule_idx", "label", "lobe", "cc_pct", "ml_pct", "ap_pct", mode=pl.lit(mode), present=pl.lit(True), donor_nodule_uid="nodule_uid",
        donor_dataset="dataset", donor_person_uid="person_uid", placement=pl.lit(placement), insertion_mode=pl.lit(INSERTION_MODE["profile"]),
        asked_diameter_mm=pl.lit(None, pl.Float64), donor_diameter_mm="diameter_mm", planned_diameter_mm="diameter_mm", scale=pl.lit(1.0),
        size_bucket=size_bucket_of("diameter_mm"), relaxations=pl.lit(""), kept=pl.lit(False), why=pl.lit(why),
    )  # fmt: skip


def _cases(
    resolved: Resolved, arm: PlannedArm, where: pl.DataFrame, cohort_mode: str, root: int, anatomy: str
) -> pl.DataFrame:
    """Rows of ``cases`` (without ``n_nodules``) of hosts with their ``number`` and ``case_uid``."""
    trial = resolved.trial
    seeds = draws(root, trial.trial, arm.name, "case", n=where.height) >> np.uint64(1)
    return host_columns(where).with_columns(
        number=where["number"], case_uid=where["case_uid"], mode=pl.lit(trial.mode), trial=pl.lit(trial.trial), arm=pl.lit(arm.name), cohort_mode=pl.lit(cohort_mode), attenuation=pl.lit(arm.cohort.attenuation), **acquisition_columns(arm.cohort),
        lesion_free_twin=pl.lit(arm.cohort.lesion_free_twins), anatomy=pl.lit(anatomy), seed=pl.Series(seeds.astype(np.int64))[where["number"].to_list()],
        render_replicate=where["render_replicate"] if "render_replicate" in where.columns else pl.lit(0, pl.Int64),
    )  # fmt: skip


def _cross(
    resolved: Resolved, arm: PlannedArm, stock: Stock, root: int, anatomy: str
) -> tuple[pl.DataFrame, pl.DataFrame, list[Step], int]:
    trial, cohort, twin = resolved.trial, arm.cohort, resolved.trial.twin
    assert twin is not None
    pool, steps = donor_pool(stock, cohort)
    every, host_steps = host_pool(stock, cohort)
    donors = pool.filter(pl.col("dataset") == arm.donor_dataset)
    hosts = every.filter(pl.col("dataset") == arm.host_dataset)
    steps += [
        Step("donors", f"of {arm.donor_dataset}", donors.height),
        *host_steps,
        Step("hosts", f"of {arm.host_dataset}", hosts.height),
    ]
    room = stock.room[stock.hosts["scan_uid"].search_sorted(hosts["scan_uid"]).to_numpy()]  # both sorted by id
    if donors.is_empty() or hosts.is_empty():
        raise TrialError(
            f"{trial.trial}, {arm.level}: expected donors and hosts, got {donors.height} nodules and {hosts.height} scans; run the stages profiles and hosts for both"
        )
    chosen = seeded(hosts["scan_uid"].to_list(), root, trial.trial, "host")[: cohort.max_hosts]
    hosts, room = hosts[chosen], room[chosen]
    reach = reach_mm(donors["diameter_mm"].to_numpy(), cohort.clearance_mm)
    lobe = donors["lobe"].replace_strict(_LOBE, return_dtype=pl.Int64).to_numpy()
    fits = room[:, lobe] >= reach  # (hosts, donors)
    both = pl.concat([donors["person_uid"], hosts["person_uid"]]).rank("dense").to_numpy()
    fits &= (both[None, : donors.height] != both[donors.height :, None]) | cohort.same_person
    if twin.pairing == "donor_patient_complete":
        donors, group = _by_patient(donors, cohort.max_donor_nodules, cohort.max_donor_patients, root, trial.trial)
        fits = _all_fit(donors, group, room, cohort.clearance_mm) & _apart(donors, group, hosts, cohort.same_person)
    else:
        donors, fits, group = _by_nodule(donors, fits, cohort.max_donor_patients, root, trial.trial)
    wanted = (
        min(cohort.max_donor_nodules or fits.shape[1], fits.shape[1])
        if twin.pairing != "donor_patient_complete"
        else fits.shape[1]
    )
    thing, host, replicate, asked = _pair(twin.pairing, fits, wanted, twin.n_hosts_per_donor, twin.render_seeds)
    got = (thing >= 0) & (host >= 0)
    if not got.any():
        raise TrialError(
            f"{trial.trial}, {arm.level}: no host lobe has room for any donor: {donors.height} nodules of {float(donors['diameter_mm'].to_numpy().min()):.1f} mm and more, {len(hosts)} hosts"
        )
    thing, host, replicate = thing[got], host[got], replicate[got]
    numbers = np.arange(len(thing))
    uid = case_uids(trial.trial, arm.name, numbers)
    where = hosts[host].with_columns(number=pl.Series(numbers), case_uid=uid, render_replicate=pl.Series(replicate))
    cases = pl.DataFrame({"number": numbers, "case_uid": uid, "_group": thing})
    members = donors.with_columns(_group=pl.Series(group)).sort("nodule_uid")
    rows = (
        cases.join(members, on="_group", how="inner")
        .sort("number", "nodule_uid")
        .with_columns(nodule_idx=pl.int_range(pl.len(), dtype=pl.Int64).over("number"))
    )
    nodules = _rows(
        rows,
        trial.mode,
        "profile",
        f"{twin.pairing.replace('_', ' ')}: {arm.donor_dataset} nodule in a scan of {arm.host_dataset}",
    )
    if twin.placement == "host_constrained_transfer":
        target = rows["lobe"].replace_strict(_LOBE, return_dtype=pl.Int64).to_numpy()
        raw = [draws(root, trial.trial, arm.name, "place", a, n=rows.height) for a in ("cc", "ml", "ap")]
        prescribed = cohort.model_copy(update={"placement": cohort.placement.model_copy(update={"mode": "prescribed"})})
        nodules = nodules.with_columns(
            insertion_mode=pl.lit("prescribed"), **positions(prescribed, stock, rows, target, raw)
        )
    made = _cases(resolved, arm, where, "cross", root, anatomy)
    nodules = _finish(resolved, arm, nodules, made, stock, root)
    return _counted(made, nodules), table_frame("case_nodules", nodules), steps, asked


def _by_nodule(
    donors: pl.DataFrame, fits: npt.NDArray[np.bool_], patients: int | None, root: int, *who: str
) -> tuple[pl.DataFrame, npt.NDArray[np.bool_], Ints]:
    """Donor nodules in seeded order; of the first ``patients`` people alone if that is asked."""
    order = seeded(donors["nodule_uid"].to_list(), root, *who, "donor")
    if patients:
        people = donors["person_uid"].unique().sort().to_list()
        kept = {people[i] for i in seeded(people, root, *who, "person")[:patients]}
        order = order[np.isin(order, donors["person_uid"].is_in(list(kept)).arg_true().to_numpy())]
    return donors[order], fits[:, order], np.arange(len(order))


def _by_patient(
    donors: pl.DataFrame, most: int | None, patients: int | None, root: int, *who: str
) -> tuple[pl.DataFrame, Ints]:
    """Donors with the number of their patient in seeded order; cut by whole patients, never through one."""
    people = donors["person_uid"].unique().sort().to_list()
    order = seeded(people, root, *who, "person")[:patients]
    rank = pl.DataFrame({"person_uid": [people[i] for i in order], "_p": np.arange(len(order))})
    kept = donors.join(rank, on="person_uid", how="inner").sort("_p", "nodule_uid")
    if most is not None:
        held = kept.group_by("_p").len().sort("_p")["len"].cum_sum().to_numpy()
        kept = kept.filter(pl.col("_p") < max(1, int((held <= most).sum())))
    return kept.drop("_p"), kept["_p"].to_numpy().astype(np.int64)


def _all_fit(donors: pl.DataFrame, group: Ints, room: Floats, clearance: float) -> npt.NDArray[np.bool_]:
    """Whether a host has room for every nodule of a patient, shape (hosts, patients)."""
    need = np.zeros((int(group.max()) + 1, len(LOBES)))
    lobe = donors["lobe"].replace_strict(_LOBE, return_dtype=pl.Int64).to_numpy()
    np.maximum.at(need, (group, lobe), reach_mm(donors["diameter_mm"].to_numpy(), clearance))
    return np.asarray((room[:, None, :] >= need[None]).all(axis=2))


def _apart(donors: pl.DataFrame, group: Ints, hosts: pl.DataFrame, same_person: bool) -> npt.NDArray[np.bool_]:
    people = donors.with_columns(_g=pl.Series(group)).unique("_g", keep="first").sort("_g")["person_uid"]
    both = pl.concat([people, hosts["person_uid"]]).rank("dense").to_numpy()
    return np.asarray((both[None, : len(people)] != both[len(people) :, None]) | same_person)


def _pair(
    pairing: str, fits: npt.NDArray[np.bool_], wanted: int, per_donor: int, renderings: int
) -> tuple[Ints, Ints, Ints, int]:
    """(donor or patient, host, rendering) of each case, -1 where none was had, and how many were asked for.

    ``fits``: (hosts, donors), both in their seeded order.
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
        start = np.arange(len(donor)).astype(np.uint64)
        whole = np.zeros((1, len(donor)), np.int64)
        given = allocate(
            Wish(np.arange(n_hosts), whole, whole + n_hosts, start),
            np.full(n_hosts, max(1, len(donor)), np.int64),
            lambda c, h: fits[h, donor[c]],
            donor,
        )
        return donor, given.thing, np.zeros(len(donor), np.int64), wanted * each
    host = (
        np.arange(wanted) % n_hosts
    )  # case i goes to host i, round and round; it takes the next donor that fits there
    whole = np.zeros((1, wanted), np.int64)
    start = np.arange(wanted).astype(np.uint64)
    given = allocate(
        Wish(np.arange(n_donors), whole, whole + n_donors, start),
        np.ones(n_donors, np.int64),
        lambda c, d: fits[host[c], d],
    )
    return given.thing, host, np.zeros(wanted, np.int64), wanted
