"""Verifies a finished manifest: the rules that its tables must keep, from the tables and the trial alone.

Independent of the planner; plans nothing and writes nothing.
"""

from typing import Any

import polars as pl

from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.trials.resolve import PlannedArm, Resolved

#: Columns of the index that the rules compare with.
INDEX_COLUMNS = ("nodule_uid", "label", "scan_uid", "person_uid")


def broken_rules(
    resolved: Resolved, arms: pl.DataFrame, cases: pl.DataFrame, plan: pl.DataFrame, index: pl.DataFrame
) -> list[str]:
    """Broken rules, each with how often it is broken; an empty list means that the manifest keeps them all.

    Labels are the donors' own. Host and donor are different people (aliases included) unless the trial says
    otherwise; a native nodule lies in its own scan. Every case has one primary nodule and as many rows as it
    says. Counts, malignant findings, reuse, sizes, scales, demographics and excluded datasets are as asked.
    Arms share what they are to share, and no person where they are to be independent.

    Args:
        resolved: the trial.
        arms: its ``arms``.
        cases: its ``cases``.
        plan: its ``case_nodules``.
        index: the table ``nodules``.
    """
    joined = plan.join(cases.drop("mode"), on="case_uid", how="left").join(
        index.select(INDEX_COLUMNS).rename(
            dict(zip(INDEX_COLUMNS, ("donor_nodule_uid", "own_label", "donor_scan", "own_person"), strict=True))
        ),
        on="donor_nodule_uid",
        how="left",
    )
    foreign = (pl.col("cohort_mode") != "native") & ~pl.col("kept")  # a nodule that the host keeps is its own
    rules: dict[str, pl.Expr] = {
        "a nodule of no case": pl.col("host_scan_uid").is_null(),
        "a donor that the index does not know": pl.col("donor_scan").is_null()
        & (pl.col("donor_dataset") != PROCEDURAL),
        "a label differs from the donor's": pl.col("present") & ~pl.col("label").eq_missing(pl.col("own_label")),
        "a donor's person differs from the index's": pl.col("donor_person_uid") != pl.col("own_person"),
        "a native nodule is in another scan": ~foreign & (pl.col("host_scan_uid") != pl.col("donor_scan")),
        "the planned diameter is not the donor's times the scale": (
            pl.col("planned_diameter_mm") - pl.col("donor_diameter_mm") * pl.col("scale")
        ).abs()
        > 1e-6,
        "a target position outside 0-100": ~pl.all_horizontal(
            pl.col(f"{a}_pct").is_between(0, 100) for a in ("cc", "ml", "ap")
        )
        & foreign,
        "a target that is no lobe": ~pl.col("lobe").str.contains("_lung_") & foreign,
    }
    problems = [
        f"{rule}: {count} rows" for rule, condition in rules.items() if (count := joined.filter(condition).height)
    ]
    rows = plan.group_by("case_uid").agg(
        rows=pl.col("present").sum(),
        primaries=(pl.col("nodule_idx") == 0).sum(),
        unique=pl.col("nodule_idx").n_unique() == pl.len(),
    )
    counted = cases.join(rows, on="case_uid", how="left")
    wrong = counted.filter(
        (pl.col("rows").fill_null(0) != pl.col("n_nodules"))
        | (pl.col("primaries").fill_null(0) != 1)
        | ~pl.col("unique").fill_null(False)
    )
    if wrong.height:
        problems.append(f"nodule rows do not match the case: {wrong.height} cases")
    if off := arms.filter(
        pl.col("asked_malignant").is_not_null() & (pl.col("asked_malignant") != pl.col("got_malignant"))
    ).height:
        problems.append(f"malignant count differs from what was asked: {off} arms")
    if resolved.trial.planner == "sampled" and (
        short := arms.filter(pl.col("asked_cases") != pl.col("got_cases")).height
    ):
        problems.append(f"fewer cases than asked: {short} arms")
    by_arm = {str(name): rows for (name,), rows in joined.group_by(["arm"])}
    for arm in resolved.arms:
        problems += _arm(resolved, arm, by_arm.get(arm.name, joined.clear()), arms)
    return problems + _between_arms(resolved, cases, plan)


def _arm(resolved: Resolved, arm: PlannedArm, rows: pl.DataFrame, arms: pl.DataFrame) -> list[str]:
    c = arm.cohort
    rows = rows.filter(~pl.col("kept"))
    given_up = (arms.filter(pl.col("arm") == arm.name)["relaxations"].to_list() or [""])[0]
    first = rows.filter(pl.col("nodule_idx") == 0)
    banned = set(c.exclude_training)
    scale = max(c.max_scale, 2.0) if "max_scale" in given_up else c.max_scale
    found: dict[str, Any] = {
        "host and donor are the same person": rows.filter(
            (pl.col("cohort_mode") != "native")
            & (pl.col("host_person_uid") == pl.col("donor_person_uid"))
            & (not c.same_person)
        ).height,
        "a dataset that a model was trained on": rows.filter(
            pl.col("host_dataset").is_in(list(banned)) | pl.col("donor_dataset").is_in(list(banned))
        ).height,
        "a scale beyond its limit": rows.filter(
            (pl.col("scale") > scale + 1e-6) | (pl.col("scale") < 1 / scale - 1e-6)
        ).height,
    }
    h = c.hosts
    if h.sex:
        found[f"a host that is not {h.sex}"] = first.filter(~(pl.col("host_sex") == h.sex).fill_null(False)).height
    if h.age:
        found[f"a host outside {h.age} years"] = first.filter(
            ~((pl.col("host_age") >= h.age[0]) & (pl.col("host_age") < h.age[1])).fill_null(False)
        ).height
    if h.smoking:
        found[f"a host that is not {', '.join(h.smoking)}"] = first.filter(
            ~pl.col("host_smoking").is_in(h.smoking).fill_null(False)
        ).height
    if c.label is not None:
        found[f"a primary nodule of another label than {c.label}"] = first.filter(
            pl.col("present") & ~(pl.col("label") == c.label).fill_null(False)
        ).height
    if isinstance(h.datasets, list):
        found["a host of another dataset"] = first.filter(~pl.col("host_dataset").is_in(h.datasets)).height
    if isinstance(c.donors.datasets, list):
        allowed = [*c.donors.datasets, *([PROCEDURAL] if c.donors.procedural != "never" else [])]
        found["a donor of another dataset"] = rows.filter(~pl.col("donor_dataset").is_in(allowed)).height
    if resolved.trial.planner == "sampled" and "max_uses" not in given_up:
        for what, column, limit in (
            ("donor", "donor_nodule_uid", c.donors.max_uses),
            ("host", "host_scan_uid", c.hosts.max_uses),
        ):
            if limit is not None and first.height:
                found[f"a {what} used more than {limit} times"] = (
                    first.group_by(column).len().filter(pl.col("len") > limit).height
                )
    return [f"arm {arm.name}: {rule}: {count} rows" for rule, count in found.items() if count]


def _between_arms(resolved: Resolved, cases: pl.DataFrame, plan: pl.DataFrame) -> list[str]:
    problems = []
    trial = resolved.trial
    if "host" in trial.share and not (trial.arms_from and trial.arms_from.leave_after_cancer):
        several = cases.group_by("number").agg(pl.col("host_scan_uid").n_unique()).filter(pl.col("host_scan_uid") > 1)
        if several.height:
            problems.append(f"arms that share hosts have different ones: {several.height} case numbers")
    if trial.independent_arms:
        people = pl.concat(
            [
                cases.select("arm", person="host_person_uid"),
                plan.join(cases.select("case_uid", "arm"), on="case_uid").select("arm", person="donor_person_uid"),
            ]
        ).unique()
        if shared := people.group_by("person").len().filter(pl.col("len") > 1).height:
            problems.append(f"arms that are to be independent share people: {shared} people")
    return problems


def far_from_asked(balance: pl.DataFrame) -> list[str]:
    """Marginals met by quota that lie more than one and a half cases from their share."""
    far = balance.filter((pl.col("status") == "calibrated") & pl.col("asked").is_not_null())
    totals = balance.group_by("arm", "marginal").agg(total=pl.col("got").sum())
    far = far.join(totals, on=["arm", "marginal"]).filter(
        (pl.col("got") - pl.col("asked_share") * pl.col("total")).abs() > 1.5
    )
    return [
        f"{r['arm']}: {r['marginal']} {r['level']}: asked {r['asked_share']:.3f} of {r['total']}, got {r['got']}"
        for r in far.iter_rows(named=True)
    ]
