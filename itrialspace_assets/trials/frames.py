"""Turns planned cases into the frames of ``cases`` and ``case_nodules``: whole columns, no loop over rows.

Also what twin trials share with them: names of cases, positions, poses. Chooses no donor and no host.
"""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial.transform import Rotation

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS, SIZE_EDGES
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.assignment import Floats
from itrialspace_assets.trials.companions import companion_rule
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.plan import PlannedCases
from itrialspace_assets.trials.pool import CandidatePool, lobe_index
from itrialspace_assets.trials.resolve import PlannedArm, Resolved

#: Published names of the placements (docs/facts/trials.md#placement).
INSERTION_MODE = {
    "profile": "profile_faithful",
    "prescribed": "prescribed",
    "randomised": "randomised",
    "native": "profile_faithful",
}
#: Least number of nodules of a lobe from which its percentages are taken (docs/facts/trials.md#placement).
LEAST_IN_LOBE = 5
#: Raw draws, one array a percentage.
Draws = list[npt.NDArray[np.uint64]]
#: The three percentages of a position in a lobe: craniocaudal, mediolateral, anteroposterior.
WAYS = ("cc", "ml", "ap")


def case_uids(trial: str, arm: str, numbers: npt.NDArray[np.int64]) -> pl.Series:
    """``<trial>/<arm>/<number>`` of each case, the number in five digits or more.

    Args:
        trial: the trial's name.
        arm: the arm's name.
        numbers: numbers of the cases in the arm, shape (n,).
    """
    digits = pl.Series(numbers).cast(pl.String).str.zfill(5)
    return pl.select(pl.concat_str(pl.lit(f"{trial}/{arm}/"), pl.lit(digits))).to_series()


def size_bucket_of(column: str) -> pl.Expr:
    """The cohort bucket (half-open) of a column of diameters in mm."""
    out: Any = pl.when(pl.col(column) < SIZE_EDGES[0]).then(pl.lit(SIZE_BUCKETS[0]))
    for edge, name in zip(SIZE_EDGES[1:], SIZE_BUCKETS[1:-1], strict=True):
        out = out.when(pl.col(column) < edge).then(pl.lit(name))
    found: pl.Expr = out.otherwise(pl.lit(SIZE_BUCKETS[-1]))
    return found


def positions(
    cohort: Cohort, pool: CandidatePool, donors: pl.DataFrame, lobe: npt.NDArray[np.int64], raw: Draws
) -> dict[str, Any]:
    """Percentages of each case in its lobe, by column: the donor's own, or drawn from what the lobe's nodules have.

    Args:
        cohort: says which.
        pool: the nodules from which a lobe's law is taken.
        donors: the donor of each case.
        lobe: target lobe of each case, index into ``LOBES``, shape (n,).
        raw: raw draws for the three percentages, shape (n,) each.

    Raises:
        TrialError: a target lobe has fewer than five nodules to take a law from.
    """
    if cohort.placement.mode in ("profile", "native"):
        return {f"{a}_pct": donors[f"{a}_pct"] for a in WAYS}
    ends = (0.1, 0.9) if cohort.placement.mode == "prescribed" else (0.0, 1.0)
    out = {f"{a}_pct": np.zeros(len(lobe)) for a in WAYS}
    for i in np.unique(lobe):
        of = pool.donors.filter(pl.col("lobe") == LOBES[i])
        if of.height < LEAST_IN_LOBE:
            raise TrialError(
                f"placement {cohort.placement.mode}: {LOBES[i]}: expected at least {LEAST_IN_LOBE} nodules to "
                f"take positions from, got {of.height}"
            )
        at = lobe == i
        for a, draw in zip(WAYS, raw, strict=True):
            low, high = (float(of[f"{a}_pct"].quantile(q, "linear") or 0.0) for q in ends)
            out[f"{a}_pct"][at] = np.round(low + uniform(draw[at]) * (high - low), 4)
    return out


def with_asks(nodules: pl.DataFrame, pool: CandidatePool, cohort: Cohort, root: int, *identity: str) -> pl.DataFrame:
    """Rows of ``case_nodules`` with what placement should meet beside the position, and the pose of each nodule.

    A nodule that goes where it lay in its own lobe should also have its own distances to pleura and
    airway; one that was given another place has none to meet. Poses depend on a case's number alone.

    Args:
        nodules: rows with ``case_uid``, ``nodule_idx``, donor, placement and percentages.
        pool: gives the donors' own distances.
        cohort: says how nodules are turned and mirrored, and how much free lung is wanted around them.
        root: root of the draws.
        identity: trial and arm, which the draws belong to.
    """
    own = pool.donors.select(
        donor_nodule_uid="nodule_uid", _pleura="reinsertion_pleural_dist_mm", _airway="reinsertion_airway_dist_mm"
    )
    faithful = (pl.col("insertion_mode") == "profile_faithful") & (pl.col("placement") == "profile")
    out = nodules.join(own, on="donor_nodule_uid", how="left", maintain_order="left").with_columns(
        asked_pleural_mm=pl.when(faithful).then("_pleura"),
        asked_airway_mm=pl.when(faithful).then("_airway"),
        margin_mm=pl.lit(cohort.clearance_mm),
    )
    number = out["case_uid"].str.extract(r"(\d+)$").cast(pl.Int64).to_numpy()
    index = out["nodule_idx"].to_numpy()
    turn, flip = np.zeros((out.height, 3)), np.zeros(out.height, bool)
    free = (out["placement"] == "profile").to_numpy()
    for i in np.unique(index):
        at = np.flatnonzero((index == i) & free)
        if len(at):
            raw = [
                uniform(draws(root, *identity, "pose", str(i), a, n=int(number[at].max()) + 1))[number[at]]
                for a in "xyzm"
            ]
            turn[at] = rotations(cohort.placement.rotation, *raw[:3])
            flip[at] = (raw[3] < 0.5) & cohort.placement.mirror
    return out.with_columns(
        **{f"rotation_{a}_deg": turn[:, i] for i, a in enumerate("xyz")},
        mirrored=flip,
        **{f"declared_{a}_pct": f"{a}_pct" for a in WAYS},
        declared_pleural_mm="asked_pleural_mm",
        declared_airway_mm="asked_airway_mm",
        fit_mm=pl.lit(None, pl.Float64),
        fit=pl.lit("unverified"),
    )


def rotations(how: Literal["none", "axial", "any"], u: Floats, v: Floats, w: Floats) -> Floats:
    """Angles in degrees about x, y, z (fixed axes, canonical RAS+), shape (n, 3).

    Args:
        how: ``axial`` turns about z alone; ``any`` is uniform over all rotations.
        u: uniform draws in [0, 1), shape (n,).
        v: the same.
        w: the same.
    """
    out = np.zeros((len(u), 3))
    if how == "axial":
        out[:, 2] = 360.0 * u
    elif how == "any":  # Shoemake's uniform quaternions (Graphics Gems III, 1992)
        a, b = np.sqrt(1 - u), np.sqrt(u)
        quaternions = np.stack(
            [
                a * np.sin(2 * np.pi * v),
                a * np.cos(2 * np.pi * v),
                b * np.sin(2 * np.pi * w),
                b * np.cos(2 * np.pi * w),
            ],
            axis=1,
        )
        out = Rotation.from_quat(quaternions).as_euler("xyz", degrees=True)
    return np.round(out, 4)


def sampled_frames(
    resolved: Resolved, arm: PlannedArm, planned: PlannedCases, pool: CandidatePool, root: int, anatomy: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(cases, case_nodules) of a planned arm of which every case is feasible.

    Args:
        resolved: the trial.
        arm: the arm.
        planned: its cases.
        pool: all donors: companions and laws of position are taken from it.
        root: root of the draws.
        anatomy: real or procedural.
    """
    trial, cohort = resolved.trial, arm.cohort
    nodules = _sampled_nodules(resolved, arm, planned, pool, root)
    hosts = planned.hosts[planned.host]
    companions = _companions(cohort, pool, planned.donors[planned.donor], _uids(resolved, arm, planned))
    if companions is not None:
        companions = companions.with_columns(mode=pl.lit(trial.mode))
        nodules = pl.concat([nodules.select(companions.columns), companions])
    nodules = with_asks(nodules, pool, cohort, root, trial.trial, arm.name)
    numbered = hosts.with_columns(
        number=pl.int_range(len(planned.donor), dtype=pl.Int64, eager=True), case_uid=_uids(resolved, arm, planned)
    )
    cases = case_columns(resolved, arm, numbered, "synthetic", root, anatomy)
    return counted(cases, nodules.filter("present")), table_frame("case_nodules", nodules)


def _uids(resolved: Resolved, arm: PlannedArm, planned: PlannedCases) -> pl.Series:
    return case_uids(resolved.trial.trial, arm.name, np.arange(len(planned.donor)))


def _sampled_nodules(
    resolved: Resolved, arm: PlannedArm, planned: PlannedCases, pool: CandidatePool, root: int
) -> pl.DataFrame:
    """The columns of ``case_nodules`` of primary nodules, without what ``with_asks`` adds."""
    trial, cohort, aims = resolved.trial, arm.cohort, planned.aims
    n = len(planned.donor)
    donors = planned.donors[planned.donor]
    own = lobe_index(donors["lobe"])
    fixed = LOBES.index(cohort.placement.lobe) if cohort.placement.lobe else -1
    lobe = np.where(aims.lobe >= 0, aims.lobe, np.where(fixed >= 0, fixed, own)) if n else own
    who = (trial.trial,) if "position" in trial.share else (trial.trial, arm.name)
    places = positions(cohort, pool, donors, lobe, [draws(root, *who, "place", a, n=n) for a in WAYS])
    nodules = pl.DataFrame(
        {
            "case_uid": _uids(resolved, arm, planned),
            "nodule_idx": np.zeros(n, np.int64),
            "present": aims.present,
            "donor_nodule_uid": donors["nodule_uid"],
            "donor_dataset": donors["dataset"],
            "donor_person_uid": donors["person_uid"],
            "label": donors["label"],
            "lobe": _named(LOBES, lobe),
            **places,
            "asked_diameter_mm": pl.Series(planned.asked, nan_to_null=True),
            "donor_diameter_mm": donors["diameter_mm"],
            "scale": planned.scale,
            "_scaled": planned.scaled_from,
            "_donors": planned.n_donors,
            "_hosts": planned.n_hosts,
            "_size_level": _named((*aims.size_levels, "any size"), aims.size),
        }
    )
    scaled = pl.concat_str(
        pl.lit("scaled by "),
        pl.col("scale").round(3).cast(pl.String),
        pl.lit(" into "),
        "_size_level",
        pl.lit(": no donor of that size was left"),
    )
    why = pl.concat_str(
        pl.lit("donor: 1 of "),
        pl.col("_donors").cast(pl.String),
        pl.lit(" that meet "),
        "_size_level",
        pl.lit("; host: 1 of "),
        pl.col("_hosts").cast(pl.String),
        pl.lit(" with room in "),
        "lobe",
    )
    return nodules.with_columns(
        mode=pl.lit(trial.mode),
        placement=pl.lit("profile"),
        insertion_mode=pl.lit(INSERTION_MODE[cohort.placement.mode]),
        label=pl.when("present").then("label"),
        planned_diameter_mm=pl.col("donor_diameter_mm") * pl.col("scale"),
        relaxations=pl.when("_scaled").then(scaled).otherwise(pl.lit("")),
        why=why,
    ).with_columns(size_bucket=size_bucket_of("planned_diameter_mm"), kept=pl.lit(False))


def _named(names: Sequence[str], at: npt.NDArray[np.int64]) -> pl.Series:
    """The name at each index; -1 is the last."""
    return pl.Series(list(names), dtype=pl.String)[at.tolist()] if len(at) else pl.Series([], dtype=pl.String)


def case_columns(
    resolved: Resolved, arm: PlannedArm, hosts: pl.DataFrame, cohort_mode: str, root: int, anatomy: str
) -> pl.DataFrame:
    """The columns of ``cases`` without ``n_nodules``, which ``counted`` adds.

    Args:
        resolved: the trial.
        arm: the arm.
        hosts: the host of each case with ``number`` and ``case_uid``; and ``render_replicate`` where it is not 0.
        cohort_mode: how host and donor relate.
        root: root of the draws.
        anatomy: real or procedural.
    """
    trial = resolved.trial
    seeds = draws(root, trial.trial, arm.name, "case", n=hosts.height) >> np.uint64(1)
    replicate = hosts["render_replicate"] if "render_replicate" in hosts.columns else pl.lit(0, pl.Int64)
    return host_columns(hosts).with_columns(
        number=hosts["number"],
        case_uid=hosts["case_uid"],
        mode=pl.lit(trial.mode),
        trial=pl.lit(trial.trial),
        arm=pl.lit(arm.name),
        cohort_mode=pl.lit(cohort_mode),
        attenuation=pl.lit(arm.cohort.attenuation),
        **acquisition_columns(arm.cohort),
        lesion_free_twin=pl.lit(arm.cohort.lesion_free_twins),
        render_replicate=replicate,
        seed=pl.Series(seeds.astype(np.int64))[hosts["number"].to_list()] if hosts.height else pl.lit(0, pl.Int64),
        anatomy=pl.lit(anatomy),
    )


def counted(cases: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """The frame of ``cases``: their columns with the number of their nodules, 0 for a case without any."""
    counts = nodules.group_by("case_uid").agg(n_nodules=pl.len().cast(pl.Int64))
    joined = cases.join(counts, on="case_uid", how="left", maintain_order="left")
    return table_frame("cases", joined.with_columns(pl.col("n_nodules").fill_null(0)))


def acquisition_columns(cohort: Cohort) -> dict[str, pl.Expr]:
    """The columns of ``cases`` that say how scans are taken."""
    how = cohort.acquisition
    return {
        "mtf50_per_mm": pl.lit(how.mtf50_per_mm),
        "dose": pl.lit(how.dose),
        "slice_mm": pl.lit(how.slice_mm, pl.Float64),
    }


def host_columns(hosts: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``cases`` that are the host's own."""
    return hosts.select(
        host_dataset="dataset",
        host_scan_uid="scan_uid",
        host_person_uid="person_uid",
        host_age="age",
        host_sex="sex",
        host_smoking="smoking",
    )


def table_frame(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """A frame in a table's columns and types, sorted by key."""
    table = TABLES[name]
    return frame.select(pl.col(c).cast(t) for c, t in table.schema.items()).sort(table.key)


def _companions(cohort: Cohort, pool: CandidatePool, donors: pl.DataFrame, uid: pl.Series) -> pl.DataFrame | None:
    """Rows of the companions of each primary nodule: the other nodules of its scan, in the order of their ids."""
    if cohort.companions == "none":
        return None
    primary = donors.select("nodule_uid", "scan_uid", "lobe").with_columns(case_uid=uid)
    pairs = primary.join(pool.donors, on="scan_uid", suffix="_c").filter(
        pl.col("nodule_uid") != pl.col("nodule_uid_c"),
        pl.col("lobe_c").is_in(list(LOBES)) & pl.col("cc_pct").is_not_null(),
    )
    pairs = pairs.filter(companion_rule(cohort.companions, "lobe", "lobe_c")).sort("case_uid", "nodule_uid_c")
    return pairs.select(
        "case_uid",
        nodule_idx=(pl.int_range(pl.len()).over("case_uid") + 1).cast(pl.Int64),
        present=pl.lit(True),
        donor_nodule_uid="nodule_uid_c",
        donor_dataset="dataset",
        donor_person_uid="person_uid",
        label="label",
        placement=pl.lit("profile"),
        insertion_mode=pl.lit("profile_faithful"),
        lobe="lobe_c",
        cc_pct="cc_pct",
        ml_pct="ml_pct",
        ap_pct="ap_pct",
        asked_diameter_mm=pl.lit(None, pl.Float64),
        donor_diameter_mm="diameter_mm",
        planned_diameter_mm="diameter_mm",
        scale=pl.lit(1.0),
        size_bucket=size_bucket_of("diameter_mm"),
        relaxations=pl.lit(""),
        kept=pl.lit(False),
        why=pl.concat_str(pl.lit("companion of "), "nodule_uid"),
    )


def effective(values: pl.Series) -> float:
    """Effective number of different values: (Σ uses)² / Σ uses², over how often each is used."""
    uses = values.value_counts()["count"].to_numpy().astype(float)
    return round(float(uses.sum() ** 2 / (uses**2).sum()), 4) if len(uses) else 0.0
