"""What people answered, with what the slices were: frames that ``its reading`` writes. The only place that unblinds."""

import json
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl
import yaml

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.yaml_files import load_yaml_file
from itrialspace_assets.explorer.reading.choose import PROFILE, slices_under
from itrialspace_assets.explorer.reading.journal import Session, folder, sessions
from itrialspace_assets.readers.registry import PEOPLE, entries
from itrialspace_assets.records.layout import REAL

#: What the name of a reader begins with whose answers people gave.
PREFIX = "human_"
#: Probabilities stay this far from 0 and 1, so that their logarithms are finite (ours: no one is surer than 1 in 200).
_SURE = 0.995
#: What stands for an answer about a nodule that the reader does not see: no option of the task, so it counts as wrong.
_UNSEEN = "no nodule seen"
_READINGS = pl.Schema(
    {
        "session": pl.String(),
        "reader": pl.String(),
        "item": pl.Int64(),
        "slice_uid": pl.String(),
        "condition": pl.String(),
        "picture_sha256": pl.String(),
        "tasks": pl.List(pl.String()),
        "presence": pl.String(),
        "confidence": pl.Int64(),
        "lobe": pl.String(),
        "size": pl.String(),
        "marks": pl.List(pl.Struct({"x": pl.Float64(), "y": pl.Float64()})),
        "seconds": pl.Float64(),
        "paused": pl.Float64(),
        "shown_at": pl.String(),
        "at": pl.String(),
    }
)
_PAIRS = pl.Schema(
    {
        "session": pl.String(),
        "reader": pl.String(),
        "item": pl.Int64(),
        "left": pl.String(),
        "right": pl.String(),
        "said_synthetic": pl.String(),
        "confidence": pl.Int64(),
        "seconds": pl.Float64(),
        "paused": pl.Float64(),
        "at": pl.String(),
    }
)


def finished(settings: Settings, names: Sequence[str]) -> list[Session]:
    """Finished sessions of some people.

    Args:
        settings: output folder.
        names: of the people.

    Raises:
        ConfigError: one of them has none.
    """
    done = [s for s in sessions(settings) if s.finished and s.header.asked.reader in names]
    if missing := sorted(set(names) - {s.header.asked.reader for s in done}):
        raise ConfigError(
            f"{missing[0]}: expected a finished reading session, found none; `its reading list` shows them"
        )
    return done


def readings(of: Sequence[Session]) -> pl.DataFrame:
    """Every reading of a picture, in the order in which they were given."""
    rows = [
        {
            "session": s.name,
            "reader": s.header.asked.reader,
            "item": a.item,
            "slice_uid": s.header.items[a.item].pictures[0].slice_uid,
            "condition": s.header.asked.condition,
            "picture_sha256": s.header.items[a.item].pictures[0].sha256,
            "tasks": ["presence", *s.header.asked.tasks],
            **a.case.model_dump(mode="python"),
            "seconds": a.seconds,
            "paused": a.paused,
            "shown_at": a.shown_at,
            "at": a.at,
        }
        for s in of
        for a in s.answers
        if a.case is not None
    ]
    return pl.DataFrame(rows, _READINGS).sort("at", "session", "item")


def with_truth(settings: Settings, given: pl.DataFrame) -> pl.DataFrame:
    """Readings with what each slice was: source, mode, case, truth of each task, and marks in world mm (RAS).

    Args:
        settings: output folder.
        given: of ``readings``.
    """
    parts = [
        slices_under(settings, condition).unique("slice_uid", keep="first", maintain_order=True)
        for condition in given["condition"].unique().sort()
    ]
    if not parts:
        return given
    truth = pl.concat(parts).select(
        *("slice_uid", "condition", "source", "mode", "case_uid", "target_uid", "affine"),
        presence_truth="presence",
        lobe_truth="lobe",
        size_truth="size_class",
    )
    known = given.join(truth, on=["slice_uid", "condition"], how="left", maintain_order="left")
    return known.with_columns(score=rating(), marks_mm=_in_world(known)).drop("affine")


def _in_world(rows: pl.DataFrame) -> pl.Series:
    """Marks of each row in world mm (RAS), as JSON: [[x, y, z], …]."""
    flat = rows.with_row_index("_row").explode("marks").drop_nulls(["marks", "affine"]).unnest("marks")
    if flat.is_empty():
        return pl.Series("marks_mm", ["[]"] * rows.height, dtype=pl.String)
    affine = np.array(flat["affine"].to_list(), float).reshape(-1, 3, 4)
    pixels = np.column_stack([flat["x"], flat["y"], np.zeros(flat.height), np.ones(flat.height)])
    world = np.einsum("nij,nj->ni", affine, pixels).round(2)
    listed = pl.DataFrame({"_row": flat["_row"], "mm": world.tolist()}).group_by("_row", maintain_order=True).agg("mm")
    by_row = dict(listed.iter_rows())
    return pl.Series("marks_mm", [json.dumps(by_row.get(i, [])) for i in range(rows.height)], dtype=pl.String)


def rating() -> pl.Expr:
    """How likely a nodule is, 0 to 100, of ``presence`` and ``confidence``: 50 is a guess, 0 and 100 are certain."""
    half = pl.col("confidence") / 2
    return pl.when(pl.col("presence") == "present").then(50 + half).otherwise(50 - half)


def answer_table(given: pl.DataFrame) -> pl.DataFrame:
    """A table that a reader of kind ``table`` looks answers up in: the first reading of each picture.

    The scores of presence are logarithms of the probability that the person states, so calibration can be measured.
    """
    first = given.unique(["slice_uid", "condition"], keep="first", maintain_order=True).with_columns(
        _p=(rating() / 100).clip(1 - _SURE, _SURE)
    )
    parts = [
        first.filter(pl.col("tasks").list.contains(task)).select(
            *("slice_uid", "condition", "picture_sha256"),
            task=pl.lit(task),
            answer=pl.col(task).fill_null(_UNSEEN),
            score_present=pl.col("_p").log().round(6) if task == "presence" else pl.lit(None, pl.Float64),
            score_absent=(1 - pl.col("_p")).log().round(6) if task == "presence" else pl.lit(None, pl.Float64),
        )
        for task in ("presence", "lobe", "size")
    ]
    return pl.concat(parts).sort("slice_uid", "condition", "task")


def register(settings: Settings, name: str) -> tuple[str, Path]:
    """Make the finished sessions of a person a reader of kind ``table``; its name, and a list of the slices it read.

    Args:
        settings: output folder.
        name: of the person.

    Raises:
        ConfigError: the person has no finished session of cases, or the file that names people's tables is wrong.
    """
    path = folder(settings) / PEOPLE
    if path.exists():
        entries(None, people=path)
    given = readings(finished(settings, [name]))
    if given.is_empty():
        raise ConfigError(f"{name}: expected a finished session of cases, found sessions of pairs alone")
    known = with_truth(settings, given)
    reader, where = f"{PREFIX}{name}", folder(settings)
    table = answer_table(given)
    entry = {
        "kind": "table",
        "enabled": True,
        "profile": PROFILE,
        "tasks": sorted(table["task"].unique(), key=["presence", "lobe", "size"].index),
        "sources": known["source"].drop_nulls().unique().sort().to_list(),
        "trained_on": "a person",
        "options": {"answers": f"{reader}.csv", "by": "slice_uid"},
    }
    replace_file(where / f"{reader}.csv", table.write_csv().encode())
    slices = where / f"{reader}.slices.txt"
    replace_file(slices, "".join(f"{uid}\n" for uid in table["slice_uid"].unique().sort()).encode())
    with locked(where / "readers.lock"):
        tree = load_yaml_file(path) if path.exists() else {"readers": {}}
        tree["readers"][reader] = entry
        replace_file(path, yaml.safe_dump(tree).encode())
    return reader, slices


def mrmc_table(known: pl.DataFrame) -> pl.DataFrame:
    """Rows of a reader study for ``its score mrmc``: reader, modality (the guidance), case (the target), truth, score.

    Args:
        known: of ``with_truth``; the first reading of each picture by each person counts.
    """
    first = known.drop_nulls("presence_truth").unique(["reader", "slice_uid", "condition"], keep="first")
    return first.select(
        "reader",
        modality="condition",
        case="target_uid",
        truth=(pl.col("presence_truth") == "present").cast(pl.Int64),
        score="score",
    ).sort("reader", "modality", "case")


def pairs(settings: Settings, of: Sequence[Session]) -> pl.DataFrame:
    """Every choice between two pictures, and whether it was right.

    Args:
        settings: output folder.
        of: sessions.
    """
    rows = [
        {
            "session": s.name,
            "reader": s.header.asked.reader,
            "item": a.item,
            "left": s.header.items[a.item].pictures[0].slice_uid,
            "right": s.header.items[a.item].pictures[1].slice_uid,
            "said_synthetic": a.pair.synthetic,
            "confidence": a.pair.confidence,
            "seconds": a.seconds,
            "paused": a.paused,
            "at": a.at,
        }
        for s in of
        for a in s.answers
        if a.pair is not None
    ]
    found = pl.DataFrame(rows, _PAIRS)
    if found.is_empty():
        return found.with_columns(synthetic=pl.lit(None, pl.String), correct=pl.lit(None, pl.Boolean))
    conditions = {s.header.asked.condition for s in of}
    sources = pl.concat([slices_under(settings, c) for c in sorted(conditions)]).select("slice_uid", "source").unique()
    left = found.join(sources, left_on="left", right_on="slice_uid", how="left", maintain_order="left")["source"]
    side = pl.Series(["right" if s == REAL else "left" for s in left], dtype=pl.String)
    return found.with_columns(synthetic=side, correct=found["said_synthetic"] == side)


def chosen_rightly(of: pl.DataFrame) -> list[str]:
    """A line for each person: how many choices were right, with the exact 95 % interval of a share.

    Args:
        of: of ``pairs``.
    """
    from scipy.stats import binomtest

    counted = of.group_by("reader").agg(k=pl.col("correct").sum(), n=pl.len()).sort("reader")
    limits = [binomtest(k, n).proportion_ci() for k, n in counted.select("k", "n").iter_rows()]
    return [
        f"{reader}: {k} of {n} choices between real and synthetic right ({ci.low:.2f} to {ci.high:.2f}; 0.50 is "
        "chance; pairs are taken as independent)"
        for (reader, k, n), ci in zip(counted.iter_rows(), limits, strict=True)
    ]
