"""The data scorecard of a mode: coverage, violations, completeness, consistency by subgroup, fidelity; as counts.

Every number is k of n or has the reason why there is none. Forms no section (``sections`` does) and judges nothing.
"""

from dataclasses import dataclass

import polars as pl

from itrialspace_assets.analysis.evidence.gather import Evidence
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS

#: Marginals of a cohort that coverage is shown by.
_COVERED = ("size", "lobe", "label")
#: Subgroups of planned cases that consistency is shown by.
SUBGROUPS = ("size_bucket", "lobe", "host_dataset")


@dataclass(frozen=True)
class Covered:
    """A level of a cohort: cases asked for and planned; ``asked`` None: nothing was asked, ``note`` says why."""

    arm: str
    by: str
    level: str
    asked: int | None
    got: int
    note: str


@dataclass(frozen=True)
class Counted:
    """k of n things that meet a condition; n 0 has its reason in ``note``."""

    what: str
    level: str
    k: int
    n: int
    note: str = ""


@dataclass(frozen=True)
class Complete:
    """Planned cases of a group, and how many came through the stages of an image source."""

    group: str
    level: str
    source: str
    planned: int
    inserted: int
    rendered: int
    sliced: int
    answered: int


@dataclass(frozen=True)
class Consistent:
    """A subgroup of inserted nodules: how far it is from its plan; null where it is empty."""

    by: str
    level: str
    n: int
    lobe_as_asked: int
    size_as_planned: int
    diameter_gap_mm: float | None
    shift_mm: float | None


@dataclass(frozen=True)
class Distance:
    """How far images lie from real ones; ``value`` None has its reason in ``note``."""

    reference: str
    compared: str
    metric: str
    value: float | None
    images_reference: int
    images_compared: int
    note: str


def coverage(evidence: Evidence) -> list[Covered]:
    """Asked against planned by arm, and within each arm by size, lobe and label."""
    arms = [
        Covered(r["arm"], "arm", r["arm"], r["asked_cases"], r["got_cases"], r["relaxations"] or "")
        for r in evidence.arms.sort("mode", "number").iter_rows(named=True)
    ]
    order = evidence.arms.select("mode", "arm", "number")
    rows = evidence.balance.filter(pl.col("marginal").is_in(_COVERED)).join(order, on=["mode", "arm"], how="left")
    sizes = pl.col("level").replace_strict({b: i for i, b in enumerate(SIZE_BUCKETS)}, default=None)
    rows = rows.with_columns(_place=sizes).sort("mode", "number", "marginal", "_place", "level")
    return arms + [
        Covered(
            r["arm"],
            r["marginal"],
            r["level"],
            r["asked"],
            r["got"],
            "" if r["asked"] is not None else f"no quota: {r['status']}",
        )
        for r in rows.iter_rows(named=True)
    ]


def violations(evidence: Evidence) -> list[Counted]:
    """Rejected cases by stage and reason, relaxations, and what insertion audits found."""
    planned, nodules = evidence.cases.height, evidence.insertions
    why = evidence.rejected.group_by("stage", "reason").agg(pl.col("case_uid").n_unique()).sort("stage", "reason")
    found = [Counted(f"rejected at {stage}", reason, k, planned) for stage, reason, k in why.iter_rows()]
    if not found:
        found.append(Counted("rejected", "any reason", 0, planned, "" if planned else "no case was planned"))
    for table, rows in (("planned nodules relaxed", evidence.planned), ("inserted nodules relaxed", nodules)):
        words = rows.select(pl.col("relaxations").str.split(";").explode().str.strip_chars()).to_series()
        counts = words.filter(words != "").value_counts().sort("relaxations")
        found += [Counted(table, word, k, rows.height) for word, k in counts.iter_rows()]
    none = "" if nodules.height else "nothing was inserted"
    found += [
        Counted(
            "inserted nodules",
            "reach outside the lobes",
            int((nodules["outside_lung"] > 0).sum()),
            nodules.height,
            none,
        ),
        Counted("inserted nodules", "lie in another nodule", int((nodules["overlap"] > 0).sum()), nodules.height, none),
    ]
    images = evidence.cts.filter(~pl.col("is_lesion_free"))
    none = "" if images.height else "nothing was rendered"
    found.append(
        Counted(
            "images",
            "voxels without a label were filled",
            int((images["filled_voxels"] > 0).sum()),
            images.height,
            none,
        )
    )
    return found


def completeness(evidence: Evidence) -> list[Complete]:
    """Planned to answered by arm, then by each subgroup, for each image source."""
    inserted = evidence.cases.select("case_uid", "inserted")
    stages = evidence.stages.join(inserted, on="case_uid", how="left")
    numbers = evidence.arms.select("mode", "arm", "number")
    found = []
    for by in ("arm", *SUBGROUPS):
        counts = stages.group_by(
            "mode", "source", pl.col(by).cast(pl.String).fill_null("none planned").alias("level")
        ).agg(planned=pl.len(), **{c: pl.col(c).sum() for c in ("inserted", "rendered", "sliced", "answered")})
        places = {b: i for i, b in enumerate(SIZE_BUCKETS)}
        counts = counts.join(numbers, left_on=["mode", "level"], right_on=["mode", "arm"], how="left").with_columns(
            _place=pl.coalesce("number", pl.col("level").replace_strict(places, default=None, return_dtype=pl.Int64))
        )
        for r in counts.sort("source", "_place", "level").iter_rows(named=True):
            found.append(
                Complete(
                    by, r["level"], r["source"], r["planned"], r["inserted"], r["rendered"], r["sliced"], r["answered"]
                )
            )
    return found


def consistency(evidence: Evidence) -> list[Consistent]:
    """How far inserted nodules are from their plan, by planned size, asked lobe and host dataset."""
    of_plan = evidence.planned.select("case_uid", "nodule_idx", planned_bucket="size_bucket")
    rows = evidence.insertions.join(of_plan, on=["case_uid", "nodule_idx"], how="left")
    found = []
    for by, column in (("size planned", "planned_bucket"), ("lobe asked", "asked_lobe"), ("host dataset", "dataset")):
        groups = rows.group_by(pl.col(column).cast(pl.String).fill_null("unknown").alias("level")).agg(
            n=pl.len(),
            lobe=(pl.col("lobe") == pl.col("asked_lobe")).sum(),
            size=(pl.col("size_bucket") == pl.col("planned_bucket")).sum(),
            gap=(pl.col("diameter_mm") - pl.col("planned_diameter_mm")).abs().median(),
            shift=pl.col("shift_mm").median(),
        )
        place = pl.col("level").replace_strict({b: i for i, b in enumerate(SIZE_BUCKETS)}, default=None)
        for r in groups.sort(place, "level").iter_rows(named=True):
            found.append(Consistent(by, r["level"], r["n"], r["lobe"], r["size"], r["gap"], r["shift"]))
    return found


def distances(evidence: Evidence) -> list[Distance]:
    """Distances of the mode's images from real ones; one row with the reason where there are none."""
    rows = evidence.fidelity.filter(pl.col("kind") == "real_to_synthetic").sort("compared", "reference")
    own = rows.filter(
        (pl.col("compared") == "all") | pl.col("compared").str.split("/").list.last().is_in(evidence.scope.modes)
    )
    if not own.height:
        return [
            Distance(
                "real",
                evidence.scope.name,
                "none",
                None,
                0,
                0,
                "not measured yet: see the study's report, or `its evidence cards`",
            )
        ]
    return [
        Distance(
            r["reference"],
            r["compared"],
            r["metric"],
            r["value"],
            r["images_reference"],
            r["images_compared"],
            r["note"] or ("" if r["value"] is not None else "no reason given"),
        )
        for r in own.iter_rows(named=True)
    ]
