"""What ``its compare`` says, as a document: numbers, what is not the same, flips by level, and their pictures."""

from itertools import chain
from pathlib import Path

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.reports.document import (
    Block,
    Estimate,
    Gallery,
    Paragraph,
    Picture,
    Report,
    Section,
    Table,
    Value,
)
from itrialspace_assets.analysis.scoring.comparison import ComparedNumber, Comparison
from itrialspace_assets.analysis.scoring.sides import PairedSides, Side, SliceIds

#: Pictures that are shown of each kind of flip (ours); the table lists all.
SHOWN = 24
_FLIPS = ("case_uid", "truth", "a_answer", "b_answer", "a_score", "b_score", "size_bucket", "lobe", "published_id")
_WORDS = {"improved": "Improved: A wrong, B right", "regressed": "Regressed: A right, B wrong"}


def notes_of(pairs: PairedSides, a: Side, b: Side) -> list[str]:
    """What is not the same on both sides, a sentence each; empty where everything is.

    Args:
        pairs: the same slices of both.
        a: the first side.
        b: the second side.
    """
    counted = (
        (pairs.only_a, "slices are in A alone and do not count"),
        (pairs.only_b, "slices are in B alone and do not count"),
        (pairs.twice_a, "slices have several answers of A and do not count"),
        (pairs.twice_b, "slices have several answers of B and do not count"),
        (pairs.changed, "slices are another target or another picture in B and do not count"),
    )
    said = [f"{ids.count} {what}: {_first(ids)}" for ids, what in counted if ids.count]
    said += [
        f"The manifest of {mode} differs between the two folders: it was planned again" for mode in pairs.manifests
    ]
    said += [
        f"{s.stale} answers of {n} are to other pictures than the present ones and do not count"
        for n, s in (("A", a), ("B", b))
        if s.stale
    ]
    if a.revisions and a.revisions == b.revisions and a.root != b.root:
        said.append(f"Both sides are of one revision ({a.revisions[0]}): what differs is not the reader")
    return said


def _first(ids: SliceIds) -> str:
    more = f"; and {ids.count - len(ids.first)} more" if ids.count > len(ids.first) else ""
    return "; ".join(ids.first) + more


def comparison_report(pairs: PairedSides, a: Side, b: Side, found: Comparison, study: Study, mark: str) -> Report:
    """The whole document.

    Args:
        pairs: the same slices of both.
        a: the first side.
        b: the second side.
        found: what they differ in.
        study: alpha and clusters.
        mark: what the data are.
    """
    task, condition = pairs.rows["task"][0], pairs.rows["condition"][0]
    numbers = Table("compared", ("source", "slices", "cases", "A", "B", "B less A", "p"), _numbers(found))
    flips = Table(
        "flips_counted",
        ("source", "improved", "regressed", "both right", "both wrong", "p (McNemar, clustered)"),
        tuple(
            (s.source, s.improved, s.regressed, s.both_right, s.both_wrong, _short(s.p_flips)) for s in found.sources
        ),
    )
    levels = Table(
        "flips_by_level",
        tuple(found.levels.columns),
        tuple(found.levels.rows()),
        "Slices with a nodule by level; nodule=none: those without one.",
    )
    notes: list[Block] = [Paragraph(f"{text}.", "warning") for text in notes_of(pairs, a, b)]
    shown = found.flips.select("source", "flip", *_FLIPS, picture=pl.col("b_path"))
    every = Table(
        "flips", tuple(shown.columns), tuple(shown.rows()), "Pictures lie below the output folder of B.", folded=True
    )
    return Report(
        name="compare",
        title=f"{a.name} against {b.name}",
        question=f"How do both do on the same slices, and what flipped? {found.metric} of {task}, {condition}.",
        data=(mark,),
        protocol=(
            _about("A", a),
            _about("B", b),
            f"Limits and p: alpha {study.alpha:g}, clusters {', '.join(study.clusters)} (study {study.study}).",
        ),
        sections=(
            Section("On the same slices", (numbers, flips)),
            Section("What is not the same", tuple(notes) or (Paragraph("Slices and pictures are the same."),)),
            Section("What improved and what regressed", (levels, every)),
            *(_gallery(b.root, found.flips, flip) for flip in _WORDS),
        ),
    )


def _about(name: str, side: Side) -> str:
    revisions = ", ".join(side.revisions) or "not known"
    return f"{name}: {side.name} · reader {side.reader} · revision {revisions} · scorer {side.scorer}"


def _numbers(found: Comparison) -> tuple[tuple[Value, ...], ...]:
    def shown(number: ComparedNumber, n: int) -> Estimate:
        return Estimate(number.estimate, number.low, number.high, None, n, number.flag)

    return tuple(
        (s.source, s.n, s.n_cases, shown(s.a, s.n), shown(s.b, s.n), shown(s.difference, s.n), _short(s.p))
        for s in found.sources
    )


def _short(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.3g}")


def _gallery(root: Path, flips: pl.DataFrame, flip: str) -> Section:
    """Pictures of the flips of one kind; those that are no PNG, or gone, are counted."""
    of = flips.filter(pl.col("flip") == flip)
    pictures = list(chain.from_iterable(_pictures(root, row) for row in of.head(SHOWN).iter_rows(named=True)))
    blocks: list[Block] = [Gallery(f"flips_{flip}", tuple(pictures))] if pictures else []
    if len(pictures) < of.height or not of.height:
        blocks.append(Paragraph(f"{of.height} slices; {len(pictures)} pictures are shown.", "note"))
    return Section(_WORDS[flip], tuple(blocks))


def _pictures(root: Path, row: dict[str, object]) -> list[Picture]:
    path = root / str(row["b_path"])
    if path.suffix != ".png" or not path.is_file():
        return []
    said = [f"{x.upper()} {row[f'{x}_answer'] or row[f'{x}_status']}" for x in "ab"]
    caption = f"{row['case_uid']}: truth {row['truth']}, {', '.join(said)}"
    return [Picture(path.read_bytes(), f"slice of {row['case_uid']}", caption)]
