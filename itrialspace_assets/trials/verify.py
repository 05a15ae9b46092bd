"""What must hold of a finished manifest, from its tables alone."""

import polars as pl


def broken_rules(cases: pl.DataFrame, plan: pl.DataFrame, nodules: pl.DataFrame, arms: pl.DataFrame) -> list[str]:
    """Broken rules with how often; an empty list means the manifest holds.

    Labels are the donors' own; host and donor are different people unless the trial is native, and
    the same scan if it is; every case has one primary nodule and as many rows as it says;
    malignant counts are within half a finding of what was asked.
    """
    problems = []
    joined = plan.join(cases, on="case_uid", how="left", suffix="_case").join(
        nodules.select("nodule_uid", pl.col("label").alias("own_label"), pl.col("scan_uid").alias("donor_scan")),
        left_on="donor_nodule_uid",
        right_on="nodule_uid",
        how="left",
    )
    rules = {
        "a label differs from the donor's": ~pl.col("label").eq_missing(pl.col("own_label")),
        "host and donor are the same person": (pl.col("cohort_mode") != "native")
        & (pl.col("host_person_uid") == pl.col("donor_person_uid")),
        "a native nodule is in another scan": (pl.col("cohort_mode") == "native")
        & (pl.col("host_scan_uid") != pl.col("donor_scan")),
    }
    for rule, condition in rules.items():
        if count := joined.filter(condition).height:
            problems.append(f"{rule}: {count} rows")
    rows = plan.group_by("case_uid").agg(pl.len().alias("rows"), (pl.col("nodule_idx") == 0).sum().alias("primaries"))
    counted = cases.join(rows, on="case_uid", how="left")
    if wrong := counted.filter(
        (pl.col("rows").fill_null(0) != pl.col("n_nodules")) | (pl.col("primaries").fill_null(0) != 1)
    ).height:
        problems.append(f"nodule rows do not match the case: {wrong} cases")
    if off := arms.filter(
        pl.col("asked_malignant").is_not_null() & (pl.col("asked_malignant") != pl.col("got_malignant"))
    ).height:
        problems.append(f"malignant count differs from what was asked: {off} arms")
    if short := arms.filter(pl.col("asked_cases") != pl.col("got_cases")).height:
        problems.append(f"fewer cases than asked: {short} arms")
    return problems
