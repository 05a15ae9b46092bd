"""Misses and false alarms with their pictures: what a reader said to which slice. Chooses; computes no estimate."""

from typing import Any

import polars as pl

from itrialspace_assets.analysis.reports.document import Block, Gallery, Link, Paragraph, Picture, Section, Table
from itrialspace_assets.analysis.reports.levels import shown
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import REAL

#: Pictures of a report, half of them misses (issue 19, section 6).
MOST = 12
_KINDS = {"present": "miss", "absent": "false alarm"}


def mistakes_section(settings: Settings, seen: pl.DataFrame) -> Section:
    """Up to twelve misses and false alarms on plain pictures, the surest wrong answers first, readers in turn.

    Args:
        settings: where pictures lie.
        seen: of ``observations.observe``, for all readers.
    """
    wrong = _wrong(seen)
    counted = wrong.group_by("kind").len().sort("kind").iter_rows()
    said = ", ".join(f"{n} {kind}{'' if n == 1 else 'es' if kind == 'miss' else 's'}" for kind, n in counted)
    chosen = _chosen(wrong)
    if chosen.is_empty():
        return Section("Misses and false alarms", (Paragraph("No reader gave a wrong answer to a plain picture."),))
    pictures, lost = [], 0
    for row in chosen.iter_rows(named=True):
        path = settings.output / row["path"]
        if path.exists():
            pictures.append(_picture(row, path.read_bytes()))
        else:
            lost += 1
    shown_of = f"Shown are {len(pictures)}, each picture once, each reader's surest wrong answers first."
    lead = f"Pictures without guidance: {said}. {shown_of}"
    blocks: list[Block] = [Paragraph(lead)]
    if lost:
        blocks.append(Paragraph(f"{lost} pictures are no longer in the store.", "warning"))
    columns = ("case", "source", "reader", "kind", "answer", "score", "size", "lobe", "arm", "slice")
    rows = tuple(
        (
            r["case_uid"],
            r["source"],
            r["reader"],
            r["kind"],
            r["answer"],
            r["score"],
            r["size_bucket"],
            r["lobe"],
            r["arm"],
            r["slice_uid"],
        )
        for r in chosen.iter_rows(named=True)
    )
    blocks += [Gallery("mistakes", tuple(pictures)), Table("mistakes_shown", columns, rows, folded=True)]
    return Section("Misses and false alarms", tuple(blocks))


def _wrong(seen: pl.DataFrame) -> pl.DataFrame:
    """Wrong answers to plain pictures, with kind, and how sure the reader was (its score, towards the answer)."""
    answer, presence = pl.col("answer").cast(pl.String), pl.col("presence").cast(pl.String)
    rows = seen.filter(
        pl.col("task") == "presence",
        pl.col("condition") == "plain",
        pl.col("status") == "ok",
        answer != presence,
        pl.col("path").str.ends_with(".png"),
    )
    sure = pl.when(presence == "present").then(-pl.col("score")).otherwise(pl.col("score"))
    return rows.with_columns(kind=presence.replace_strict(_KINDS, return_dtype=pl.String), sure=sure)


def _chosen(wrong: pl.DataFrame) -> pl.DataFrame:
    """Half misses, half false alarms, more of one where there are fewer of the other; no picture twice."""
    ordered = wrong.sort(
        ["sure", "slice_uid", "source", "reader"], descending=[True, False, False, False], nulls_last=True
    )
    turn = pl.int_range(pl.len()).over("kind", "source", "reader")
    ranked = ordered.with_columns(turn=turn).sort("turn", "source", "reader", maintain_order=True)
    kinds = [
        ranked.filter(pl.col("kind") == kind).unique("sha256", keep="first", maintain_order=True)
        for kind in _KINDS.values()
    ]
    half = MOST // 2
    room = [max(half, MOST - min(half, other.height)) for other in reversed(kinds)]
    return pl.concat(frame.head(n) for frame, n in zip(kinds, room, strict=True))


def _picture(row: dict[str, Any], png: bytes) -> Picture:
    kind, who = row["kind"], f"{row['reader']} on {row['source']}"
    score = "" if row["score"] is None else f", score {row['score']:.3g}"
    if row["presence"] == "present":
        truth = f"a nodule of {row['diameter_mm']:.1f} mm" if row["diameter_mm"] is not None else "a nodule"
        truth += f", {shown(row['lobe'])}" if row["lobe"] else ""
    else:
        truth = "no nodule"
    arm = f" Arm {row['arm']}." if row["arm"] else ""
    caption = f"{kind.capitalize()}: {who} said {row['answer']}{score}; there is {truth}.{arm} Case {row['case_uid']}."
    page = None
    if row["source"] != REAL:
        written = "Its page, once `its case show` has written it"
        page = Link(written, f"../../cases/{row['case_uid'].replace('/', '_')}.html")
    return Picture(png, f"Slice of case {row['case_uid']}, plain: {kind} of {who}", caption, page)
