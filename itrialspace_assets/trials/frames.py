"""Turns planned cases into the frames of ``arms``, ``cases`` and ``case_nodules``: columns, no loop over rows."""

import json
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
import polars as pl
from scipy.spatial.transform import Rotation

from itrialspace_assets.base.errors import TrialError
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS, SIZE_EDGES
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.trials.allocate import Floats
from itrialspace_assets.trials.companions import companion_rule
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.trials.plan import PlannedCases
from itrialspace_assets.trials.resolve import PlannedArm, Resolved
from itrialspace_assets.trials.stock import Stock

#: Published names of the placements.
INSERTION_MODE = {
    "profile": "profile_faithful",
    "prescribed": "prescribed",
    "randomised": "randomised",
    "native": "profile_faithful",
}
#: Nodules of a lobe that its percentages are taken from; fewer than this are no law (published).
LEAST_IN_LOBE = 5


def case_uids(trial: str, arm: str, numbers: npt.NDArray[np.int64]) -> pl.Series:
    """``<trial>/<arm>/<number>``, the number in five digits or more."""
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
    cohort: Cohort, stock: Stock, donors: pl.DataFrame, lobe: npt.NDArray[np.int64], raw: list[npt.NDArray[np.uint64]]
) -> dict[str, Any]:
    """Percentages of each case: the donor's own, or drawn from what the lobe's nodules have.

    Raises:
        TrialError: a target lobe has fewer than five nodules to take a law from.
    """
    ways = ("cc", "ml", "ap")
    if cohort.placement.mode in ("profile", "native"):
        return {f"{a}_pct": donors[f"{a}_pct"] for a in ways}
    ends = (0.1, 0.9) if cohort.placement.mode == "prescribed" else (0.0, 1.0)
    out = {f"{a}_pct": np.zeros(len(lobe)) for a in ways}
    for i in np.unique(lobe):
        of = stock.donors.filter(pl.col("lobe") == LOBES[i])
        if of.height < LEAST_IN_LOBE:
            raise TrialError(
                f"placement {cohort.placement.mode}: {LOBES[i]}: expected at least {LEAST_IN_LOBE} nodules to take positions from, got {of.height}"
            )
        at = lobe == i
        for a, draw in zip(ways, raw, strict=True):
            low, high = (float(of[f"{a}_pct"].quantile(q, "linear") or 0.0) for q in ends)
            out[f"{a}_pct"][at] = np.round(low + uniform(draw[at]) * (high - low), 4)
    return out


def with_asks(nodules: pl.DataFrame, stock: Stock, cohort: Cohort, root: int, *identity: str) -> pl.DataFrame:
    """Rows of ``case_nodules`` with what placement should meet beside the position, and the pose of each nodule.

    A nodule that goes where it lay in its own lobe should also have its own distances to pleura and
    airway; one that was given another place has none to meet. Poses depend on a case's number alone.
    """
    own = stock.donors.select(
        donor_nodule_uid="nodule_uid", _pleura="reinsertion_pleural_dist_mm", _airway="reinsertion_airway_dist_mm"
    )
    faithful = (pl.col("insertion_mode") == "profile_faithful") & (pl.col("placement") == "profile")
    out = nodules.join(own, on="donor_nodule_uid", how="left", maintain_order="left").with_columns(
        asked_pleural_mm=pl.when(faithful).then("_pleura"), asked_airway_mm=pl.when(faithful).then("_airway"), margin_mm=pl.lit(cohort.clearance_mm)
    )  # fmt: skip
    number = out["case_uid"].str.extract(r"(\d+)$").cast(pl.Int64).to_numpy()
    index = out["nodule_idx"].to_numpy()
    turn, flip = np.zeros((out.height, 3)), np.zeros(out.height, bool)
    free = (out["placement"] == "profile").to_numpy()
    for i in np.unique(index):
        at = np.flatnonzero((index == i) & free)
        if len(at):
            raw = [uniform(draws(root, *identity, "pose", str(i), a, n=int(number[at].max()) + 1))[number[at]] for a in "xyzm"]  # fmt: skip
            turn[at] = rotations(cohort.placement.rotation, *raw[:3])
            flip[at] = (raw[3] < 0.5) & cohort.placement.mirror
    return out.with_columns(
        **{f"rotation_{a}_deg": turn[:, i] for i, a in enumerate("xyz")}, mirrored=flip, **{f"declared_{a}_pct": f"{a}_pct" for a in ("cc", "ml", "ap")},
        declared_pleural_mm="asked_pleural_mm", declared_airway_mm="asked_airway_mm", fit_mm=pl.lit(None, pl.Float64),
    )  # fmt: skip


def rotations(how: Literal["none", "axial", "any"], u: Floats, v: Floats, w: Floats) -> Floats:
    """Angles (n, 3) in degrees about x, y, z (fixed axes) from three uniform draws each; ``any`` is uniform over all rotations."""
    out = np.zeros((len(u), 3))
    if how == "axial":
        out[:, 2] = 360.0 * u
    elif how == "any":  # Shoemake's uniform quaternions (Graphics Gems III, 1992)
        a, b = np.sqrt(1 - u), np.sqrt(u)
        quaternions = np.stack([a * np.sin(2 * np.pi * v), a * np.cos(2 * np.pi * v), b * np.sin(2 * np.pi * w), b * np.cos(2 * np.pi * w)], axis=1)  # fmt: skip
        out = Rotation.from_quat(quaternions).as_euler("xyz", degrees=True)
    return np.round(out, 4)


def sampled_frames(
    resolved: Resolved, arm: PlannedArm, planned: PlannedCases, stock: Stock, root: int, anatomy: str
) -> tuple[pl.DataFrame, pl.DataFrame]:
    """(cases, case_nodules) of a planned arm; every case of it was had."""
    trial, cohort, aims = resolved.trial, arm.cohort, planned.aims
    n = len(planned.donor)
    donors, hosts = planned.donors[planned.donor], planned.hosts[planned.host]
    own = donors["lobe"].replace_strict({x: i for i, x in enumerate(LOBES)}, return_dtype=pl.Int64).to_numpy()
    fixed = LOBES.index(cohort.placement.lobe) if cohort.placement.lobe else -1
    lobe = np.where(aims.lobe >= 0, aims.lobe, np.where(fixed >= 0, fixed, own)) if n else own
    who = (trial.trial,) if "position" in trial.share else (trial.trial, arm.name)
    places = positions(cohort, stock, donors, lobe, [draws(root, *who, "place", a, n=n) for a in ("cc", "ml", "ap")])
    uid = case_uids(trial.trial, arm.name, np.arange(n))
    names = pl.Series(list(LOBES))[lobe.tolist()] if n else pl.Series([], dtype=pl.String)
    nodules = pl.DataFrame({
        "case_uid": uid, "nodule_idx": np.zeros(n, np.int64), "present": aims.present, "donor_nodule_uid": donors["nodule_uid"], "donor_dataset": donors["dataset"],
        "donor_person_uid": donors["person_uid"], "label": donors["label"], "lobe": names, **places, "asked_diameter_mm": pl.Series(planned.asked, nan_to_null=True),
        "donor_diameter_mm": donors["diameter_mm"], "scale": planned.scale, "_scaled": planned.scaled_from, "_donors": planned.n_donors, "_hosts": planned.n_hosts,
        "_level": pl.Series([*aims.levels, "any size"])[aims.size.tolist()] if n else pl.Series([], dtype=pl.String),
    })  # fmt: skip
    nodules = nodules.with_columns(
        mode=pl.lit(trial.mode), placement=pl.lit("profile"), insertion_mode=pl.lit(INSERTION_MODE[cohort.placement.mode]),
        label=pl.when("present").then("label"), planned_diameter_mm=pl.col("donor_diameter_mm") * pl.col("scale"),
        relaxations=pl.when("_scaled").then(pl.concat_str(pl.lit("scaled by "), pl.col("scale").round(3).cast(pl.String), pl.lit(" into "), "_level", pl.lit(": no donor of that size was left"))).otherwise(pl.lit("")),
        why=pl.concat_str(pl.lit("donor: 1 of "), pl.col("_donors").cast(pl.String), pl.lit(" that meet "), "_level", pl.lit("; host: 1 of "), pl.col("_hosts").cast(pl.String), pl.lit(" with room in "), "lobe"),
    )  # fmt: skip
    nodules = nodules.with_columns(size_bucket=size_bucket_of("planned_diameter_mm"), kept=pl.lit(False))
    companions = _companions(cohort, stock, donors, uid, hosts)
    if companions is not None:
        companions = companions.with_columns(mode=pl.lit(trial.mode))
        nodules = pl.concat([nodules.select(companions.columns), companions])
    nodules = with_asks(nodules, stock, cohort, root, trial.trial, arm.name)
    counts = nodules.filter("present").group_by("case_uid").agg(n_nodules=pl.len().cast(pl.Int64))
    seeds = (draws(root, trial.trial, arm.name, "case", n=n) >> np.uint64(1)).astype(np.int64)
    cases = host_columns(hosts).with_columns(
        case_uid=uid, mode=pl.lit(trial.mode), trial=pl.lit(trial.trial), arm=pl.lit(arm.name), number=pl.int_range(n, dtype=pl.Int64, eager=True),
        cohort_mode=pl.lit("synthetic"), attenuation=pl.lit(cohort.attenuation), **acquisition_columns(cohort), lesion_free_twin=pl.lit(cohort.lesion_free_twins), render_replicate=pl.lit(0, pl.Int64), seed=pl.Series(seeds), anatomy=pl.lit(anatomy),
    ).join(counts, on="case_uid", how="left", maintain_order="left").with_columns(pl.col("n_nodules").fill_null(0))  # fmt: skip
    return table_frame("cases", cases), table_frame("case_nodules", nodules)


def acquisition_columns(cohort: Cohort) -> dict[str, pl.Expr]:
    """The columns of ``cases`` that say how scans are taken."""
    how = cohort.acquisition
    return {"mtf50_per_mm": pl.lit(how.mtf50_per_mm), "dose": pl.lit(how.dose), "slice_mm": pl.lit(how.slice_mm, pl.Float64)}  # fmt: skip


def host_columns(hosts: pl.DataFrame) -> pl.DataFrame:
    """The columns of ``cases`` that are the host's own."""
    return hosts.select(
        host_dataset="dataset", host_scan_uid="scan_uid", host_person_uid="person_uid", host_age="age", host_sex="sex", host_smoking="smoking"
    )  # fmt: skip


def table_frame(name: str, frame: pl.DataFrame) -> pl.DataFrame:
    """A frame in a table's columns and types, sorted by key."""
    table = TABLES[name]
    return frame.select(pl.col(c).cast(t) for c, t in table.schema.items()).sort(table.key)


def _companions(
    cohort: Cohort, stock: Stock, donors: pl.DataFrame, uid: pl.Series, hosts: pl.DataFrame
) -> pl.DataFrame | None:
    """Rows of the primary's companions: the other nodules of its scan, by strategy, in the order of their ids."""
    if cohort.companions == "none":
        return None
    primary = donors.select("nodule_uid", "scan_uid", "lobe").with_columns(case_uid=uid)
    pairs = primary.join(stock.donors, on="scan_uid", suffix="_c").filter(
        pl.col("nodule_uid") != pl.col("nodule_uid_c"), pl.col("lobe_c").is_in(list(LOBES))
    )
    pairs = pairs.filter(companion_rule(cohort.companions, "lobe", "lobe_c")).sort("case_uid", "nodule_uid_c")
    return pairs.select(
        "case_uid", nodule_idx=(pl.int_range(pl.len()).over("case_uid") + 1).cast(pl.Int64), present=pl.lit(True), donor_nodule_uid="nodule_uid_c", donor_dataset="dataset",
        donor_person_uid="person_uid", label="label", placement=pl.lit("profile"), insertion_mode=pl.lit("profile_faithful"), lobe="lobe_c",
        cc_pct="cc_pct", ml_pct="ml_pct", ap_pct="ap_pct", asked_diameter_mm=pl.lit(None, pl.Float64), donor_diameter_mm="diameter_mm", planned_diameter_mm="diameter_mm",
        scale=pl.lit(1.0), size_bucket=size_bucket_of("diameter_mm"), relaxations=pl.lit(""), kept=pl.lit(False), why=pl.concat_str(pl.lit("companion of "), "nodule_uid"),
    )  # fmt: skip


def effective(values: pl.Series) -> float:
    """Effective number of different values: (Σ uses)² / Σ uses²."""
    uses = values.value_counts()["count"].to_numpy().astype(float)
    return round(float(uses.sum() ** 2 / (uses**2).sum()), 4) if len(uses) else 0.0


def arm_row(
    resolved: Resolved, arm: PlannedArm, cases: pl.DataFrame, nodules: pl.DataFrame, *, asked: int, asked_malignant: int | None, donor_pool: int, host_pool: int,
    scaled: int, relaxations: tuple[str, ...], marginals: dict[str, str], note: str | None,
) -> dict[str, Any]:  # fmt: skip
    """A row of ``arms``; malignant counts are those of primary nodules."""
    first = nodules.filter(pl.col("nodule_idx") == 0)
    return {
        "trial": resolved.trial.trial, "mode": resolved.trial.mode, "arm": arm.name, "number": arm.number, "varies": arm.varies, "level": arm.level,
        "published": arm.published, "folder": arm.folder, "asked_cases": asked, "got_cases": cases.height, "asked_malignant": asked_malignant,
        "got_malignant": int((first["label"] == 1).sum()), "clean_cases": int((cases["n_nodules"] == 0).sum()), "donor_pool": donor_pool, "host_pool": host_pool,
        "donors": first["donor_nodule_uid"].n_unique(), "donors_effective": effective(first["donor_nodule_uid"]), "host_persons": cases["host_person_uid"].n_unique(),
        "hosts_effective": effective(cases["host_person_uid"]), "scaled": scaled, "relaxations": ";".join(relaxations), "marginals": json.dumps(marginals, sort_keys=True), "note": note,
    }  # fmt: skip
