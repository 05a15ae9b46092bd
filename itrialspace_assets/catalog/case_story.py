"""What the tables say of a case: how it was planned, what became of it, what readers answered. Opens no image.

The static case page and the explorer tell the same.
"""

from dataclasses import dataclass
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import UnknownId
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all

Cell = str | int | float | bool | None


@dataclass(frozen=True)
class StoryTable:
    """A table as people read it."""

    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]


@dataclass(frozen=True)
class CaseStory:
    """A case, told from tables.

    Attributes:
        uid: its ``case_uid``.
        mode: its mode.
        mark: whether people and images are real.
        lead: why it was planned so, and where.
        case: its row of ``cases``.
        insertions: its rows of ``insertions``, by nodule.
        cts: its rows of ``cts``.
        slices: its rows of ``slices``.
        tables: asked and got; answers; what was rejected, if anything.
    """

    uid: str
    mode: str
    mark: str
    lead: str
    case: dict[str, Any]
    insertions: pl.DataFrame
    cts: pl.DataFrame
    slices: pl.DataFrame
    tables: tuple[StoryTable, ...]


def tell(settings: Settings, uid: str) -> CaseStory:
    """The story of a case.

    Raises:
        UnknownId: no manifest holds such a case; names near ones.
    """
    root = settings.output
    cases = read_all(root, "cases")
    found = cases.filter(pl.col("case_uid") == uid)
    if found.is_empty():
        raise UnknownId("case_uid", uid, cases["case_uid"].to_list())
    case = found.row(0, named=True)
    where = {"mode": case["mode"], "dataset": case["host_dataset"]}
    plan = read_all(root, "case_nodules", mode=case["mode"]).filter(pl.col("case_uid") == uid)
    got, cts, slices = (
        read_all(root, name, **where).filter(pl.col("case_uid") == uid) for name in ("insertions", "cts", "slices")
    )
    answers = read_all(root, "answers", **where).join(slices, on=["slice_uid", "condition", "source"], how="semi")
    rejected = read_all(root, "rejected_cases").filter(pl.col("case_uid") == uid)
    tables = [
        StoryTable("Asked and got", *_asked_and_got(plan, got)),
        StoryTable("Answers", *_answers(slices, answers)),
    ]
    if rejected.height:
        tables.append(StoryTable("Rejected", tuple(rejected.columns), tuple(rejected.rows())))
    sources = ", ".join(sorted(set(cts["source"].to_list()))) or "nothing yet"
    lead = (
        f"{plan['why'][0]}. Mode {case['mode']}, arm {case['arm']}, host {case['host_scan_uid']}, cohort "
        f"{case['cohort_mode']}."
    )
    return CaseStory(uid, case["mode"], mark_of(case["anatomy"], sources), lead, case, got, cts, slices, tuple(tables))


def _asked_and_got(plan: pl.DataFrame, got: pl.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    realised = {r["nodule_idx"]: r for r in got.iter_rows(named=True)}
    rows: list[tuple[Cell, ...]] = []
    for p in plan.sort("nodule_idx").iter_rows(named=True):
        g = realised.get(p["nodule_idx"], {})
        got_mm = round(g["diameter_mm"], 2) if g else None
        rows += [
            (p["nodule_idx"], "donor", p["donor_nodule_uid"], g.get("donor_nodule_uid")),
            (p["nodule_idx"], "lobe", p["lobe"], g.get("lobe")),
            (p["nodule_idx"], "diameter mm", round(p["planned_diameter_mm"], 2), got_mm),
            (p["nodule_idx"], "cc, ml, ap %", _triple(p), _triple(g) if g else None),
            (p["nodule_idx"], "distance from the planned centre mm", 0, g["shift_mm"] if g else None),
            (p["nodule_idx"], "relaxations", p["relaxations"] or "none", (g["relaxations"] or "none") if g else None),
        ]
    return ("nodule", "what", "asked", "got"), tuple(rows)


def _triple(row: dict[str, Any]) -> str:
    return ", ".join("–" if row[f"{a}_pct"] is None else f"{row[f'{a}_pct']:.1f}" for a in ("cc", "ml", "ap"))


def _answers(slices: pl.DataFrame, answers: pl.DataFrame) -> tuple[tuple[str, ...], tuple[tuple[Cell, ...], ...]]:
    truth = slices.select("slice_uid", "condition", "presence", "size_class", pl.col("lobe").alias("true_lobe"))
    shown = answers.join(truth.unique(["slice_uid", "condition"]), on=["slice_uid", "condition"]).sort(
        "presence", "task", "condition", "control", "reader", descending=[True, False, False, False, False]
    )
    columns = (
        "source",
        "reader",
        "presence",
        "size_class",
        "condition",
        "control",
        "task",
        "answer",
        "score",
        "status",
        "reason",
    )
    return columns, tuple(shown.select(columns).rows())
