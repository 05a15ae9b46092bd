"""How many cases of each arm came through each stage: planned, inserted, rendered, sliced, answered."""

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import read_all, read_table


def flow_table(settings: Settings, mode: str) -> pl.DataFrame:
    """Cases by arm at each stage: planned, inserted, rendered, sliced, answered."""
    root = settings.output
    cases = read_table(root, "cases", mode=mode).select("case_uid", "arm")
    counts = {"planned": cases}
    counts["inserted"] = read_all(root, "insertions", mode=mode).select("case_uid").unique()
    for table, stage in (("cts", "rendered"), ("slices", "sliced")):
        found = read_all(root, table, mode=mode)
        counts[stage] = found.select("case_uid").unique()
    slices = read_all(root, "slices", mode=mode).select("slice_uid", "condition", "case_uid")
    answers = read_all(root, "answers", mode=mode).filter(pl.col("status") == "ok", pl.col("control") == "none")
    counts["answered"] = slices.join(answers, on=["slice_uid", "condition"], how="semi").select("case_uid").unique()
    out = cases.group_by("arm").agg(pl.len().alias("planned")).sort("arm")
    for stage, frame in list(counts.items())[1:]:
        got = cases.join(frame, on="case_uid", how="semi").group_by("arm").agg(pl.len().alias(stage))
        out = out.join(got, on="arm", how="left")
    return out.fill_null(0)
