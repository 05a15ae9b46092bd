"""The cases of a trial a page at a time, each with the picture that shows it best. Reads tables only."""

from dataclasses import dataclass
from typing import Literal

import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.cases.trials import last_reviews
from itrialspace_assets.records.store import read_all
from itrialspace_assets.slices.windows import DEFAULT

VerdictFilter = Literal["accept", "reject", "none"]


@dataclass(frozen=True)
class CaseRow:
    """A case on a contact sheet.

    Attributes:
        case_uid: the case.
        arm: its arm.
        number: its number in the arm.
        host_scan_uid: its host.
        n_nodules: nodules planned.
        lobe: of the primary nodule, as realised, else as planned.
        diameter_mm: of the primary nodule, as realised, else as planned; of a clean case that of the empty place.
        stage: how far it came: planned, inserted, rendered or sliced.
        slice_uid: evaluation slice of its nodule (or empty place), plain; None: none was cut.
        verdict: of the last review; None: nobody looked.
        reviewer: who gave it.
    """

    case_uid: str
    arm: str
    number: int
    host_scan_uid: str
    n_nodules: int
    lobe: str | None
    diameter_mm: float | None
    stage: str
    slice_uid: str | None
    verdict: str | None
    reviewer: str | None


@dataclass(frozen=True)
class Sheet:
    """A page of cases: how many there are in all, and these."""

    total: int
    arms: list[str]
    rows: list[CaseRow]


def case_rows(settings: Settings, mode: str) -> pl.DataFrame:
    """Every case of a mode in the order of arms and numbers, the columns of ``CaseRow``."""
    root = settings.output
    cases = read_all(root, "cases", mode=mode)
    primary = pl.col("nodule_idx") == 0
    plan = read_all(root, "case_nodules", mode=mode).filter(primary)
    got = read_all(root, "insertions", mode=mode).filter(primary)
    cts = read_all(root, "cts", ["case_uid", "is_lesion_free", "source"], mode=mode)
    slices = read_all(root, "slices", mode=mode).filter(
        pl.col("z_offset") == 0,
        pl.col("condition") == "plain",
        pl.col("control") == "none",
        pl.col("path").str.ends_with(".png"),
    )
    best = slices.sort(
        pl.col("presence") != "present", pl.col("profile") != DEFAULT, "profile", "source", "slice_uid"
    ).unique("case_uid", keep="first")
    stage = (
        pl.when(pl.col("case_uid").is_in(slices["case_uid"].implode()))
        .then(pl.lit("sliced"))
        .when(pl.col("case_uid").is_in(cts["case_uid"].implode()))
        .then(pl.lit("rendered"))
        .when(pl.col("case_uid").is_in(got["case_uid"].implode()))
        .then(pl.lit("inserted"))
        .otherwise(pl.lit("planned"))
    )
    arms = read_all(root, "arms", mode=mode).select("arm", place="number")
    return (
        cases.select("case_uid", "arm", "number", "host_scan_uid", "n_nodules")
        .join(plan.select("case_uid", "lobe", diameter_mm="planned_diameter_mm"), on="case_uid", how="left")
        .join(got.select("case_uid", got_lobe="lobe", got_mm="diameter_mm"), on="case_uid", how="left")
        .with_columns(
            lobe=pl.coalesce("got_lobe", "lobe"), diameter_mm=pl.coalesce("got_mm", "diameter_mm"), stage=stage
        )
        .join(best.select("case_uid", "slice_uid"), on="case_uid", how="left")
        .join(last_reviews(settings), on="case_uid", how="left")
        .join(arms, on="arm", how="left")
        .sort("place", "arm", "number", "case_uid")
        .select(list(CaseRow.__dataclass_fields__))
    )


def sheet(rows: pl.DataFrame, arm: str | None, verdict: VerdictFilter | None, offset: int, limit: int) -> Sheet:
    """A page of a contact sheet.

    Args:
        rows: of ``case_rows``.
        arm: only this arm.
        verdict: only cases whose last review says so; none: those that nobody reviewed.
        offset: cases before the page.
        limit: most cases of the page.
    """
    found = rows if arm is None else rows.filter(pl.col("arm") == arm)
    if verdict is not None:
        wanted = pl.col("verdict").is_null() if verdict == "none" else pl.col("verdict") == verdict
        found = found.filter(wanted)
    page = found.slice(offset, limit)
    arms = rows["arm"].unique(maintain_order=True).to_list()
    return Sheet(found.height, arms, [CaseRow(*row) for row in page.rows()])
