"""Slices as points by what they show, coloured by what a reader answered: where its errors lie together.

A point's place comes from the slice's own numbers alone, never from an answer; so every reader, task and condition has
the same map. Reads tables; writes nothing.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.analysis.scoring.outcomes import truth
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.layouts.features import Singles, scaled
from itrialspace_assets.explorer.layouts.reduce import principal
from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import partition_of, read_all, read_file, table_files
from itrialspace_assets.records.tables import CONDITIONS, TABLES, TASK_OPTIONS, TASKS

#: What a reader's answer to a slice is.
OUTCOMES = ("right", "wrong", "refused", "not_answered", "no_truth")
#: Tables that the map is made of.
READ = ("slices", "answers", "cts", "insertions", "nodules")
_SLICE = (
    *("slice_uid", "target_uid", "condition", "control", "case_uid", "image_uid", "path", "sha256", "profile"),
    *("slice_z", "z_offset", "pixel_x_mm", "pixel_y_mm", "presence", "lobe", "size_class", "diameter_mm"),
    *("planned_diameter_mm", "label", "target_pixels", "negative_type", "mode"),
)
#: Weight of another lobe beside a number that differs by one standard deviation; ours: lobes form groups of their own
#: without hiding the numbers.
_LOBE_WEIGHT = 0.5


@dataclass(frozen=True)
class AnswerFilter:
    """Which answers colour the map. ``mode`` (a trial mode) and ``dataset`` narrow it down; None: all."""

    source: str
    reader: str
    task: str = "presence"
    condition: str = "plain"
    mode: str | None = None
    dataset: str | None = None


def answered(settings: Settings) -> pl.DataFrame:
    """For which maps there are answers: ``source``, ``reader`` and their ``modes``, by partition of ``answers``."""
    schema = {"source": pl.String, "reader": pl.String, "mode": pl.String, "dataset": pl.String}
    rows = [partition_of("answers", path) for path in table_files(settings.output, "answers")]
    found = pl.DataFrame(rows, schema=schema)
    return found.group_by("source", "reader").agg(modes=pl.col("mode").unique().sort()).sort("source", "reader")


@dataclass(frozen=True)
class SlicePoints:
    """Slices of a map before any answer: ``slices`` of every plane shown, ``points`` of the targets' own planes.

    ``points``: ``x``, ``y`` (float32, no unit), what the slice shows, its truth and ids, by ``slice_uid``.
    """

    slices: pl.DataFrame
    points: pl.DataFrame


def draw(settings: Settings, asked: AnswerFilter) -> SlicePoints:
    """Points of the slices that the reader is shown: first two principal components of what they show.

    The answer depends on the reader's profile, not on its answers, and not on the task.

    Args:
        settings: where tables lie.
        asked: which slices.

    Raises:
        ConfigError: no such reader, task or condition, or the reader reads whole scans.
        TableError: a table was accepted under another contract.
    """
    _require(settings, asked)
    slices = _slices(settings, asked)
    shown = _facts(settings, asked.source, slices)
    xy = place(shown)
    return SlicePoints(slices, shown.with_columns(x=pl.Series(xy[:, 0]), y=pl.Series(xy[:, 1])))


def colour(settings: Settings, asked: AnswerFilter, drawn: SlicePoints) -> pl.DataFrame:
    """One row a slice, by ``slice_uid``: ``x``, ``y``, ``outcome`` (of ``OUTCOMES``), ``score``, what it shows, ids.

    What it shows: ``diameter_mm``, ``area_mm2`` (of the target there), ``contrast_hu`` (lesion less what surrounds it;
    null for real CTs), ``pleural_mm``, ``lobe``, ``presence``.

    Args:
        settings: where tables lie.
        asked: whose answers.
        drawn: of ``draw`` for the same reader, condition, mode and dataset.

    Raises:
        ConfigError: no such reader or task.
        TableError: a table was accepted under another contract.
    """
    _require(settings, asked)
    told = _answers(settings, asked, drawn.slices)
    joined = drawn.points.join(told, on="slice_uid", how="left", maintain_order="left")
    numbers = ("score", "diameter_mm", "area_mm2", "contrast_hu", "pleural_mm")
    return joined.with_columns(task=pl.lit(asked.task)).select(
        "x",
        "y",
        _outcome(asked.task).cast(pl.Enum(OUTCOMES)).alias("outcome"),
        *(pl.col(name).cast(pl.Float32) for name in numbers),
        pl.col("lobe", "presence", "mode").cast(pl.Categorical),
        "slice_uid",
        "case_uid",
    )


def place(shown: pl.DataFrame) -> Singles:
    """Points (n, 2) of slices by what they show, float32, without a unit; what is missing counts as the mean.

    Args:
        shown: diameter_mm, area_mm2, contrast_hu, pleural_mm, cc_pct, ml_pct, ap_pct and lobe of each slice.
    """
    # Diameters and areas span two orders of magnitude, and a reader feels ratios of them: their logarithms. Contrast,
    # distance to the pleura and position are what a miss is explained by (docs/facts/explorer.md#slices).
    numbers = shown.select(
        pl.col("diameter_mm").log(2),
        (pl.col("area_mm2") + 1).log(2),
        *("contrast_hu", "pleural_mm", "cc_pct", "ml_pct", "ap_pct"),
    )
    values = scaled(numbers.cast(pl.Float64).to_numpy())
    flags = [_LOBE_WEIGHT * (shown["lobe"] == lobe).fill_null(False).to_numpy()[:, None] for lobe in LOBES]
    return principal(np.hstack([values, *flags]).astype(np.float32), 2)


def _require(settings: Settings, asked: AnswerFilter) -> None:
    for name, value, known in (
        ("reader", asked.reader, tuple(readers(settings))),
        ("task", asked.task, TASKS),
        ("condition", asked.condition, CONDITIONS),
    ):
        if value not in known:
            raise ConfigError(f"{name} {value!r}: expected one of {', '.join(known)}")
    if readers(settings)[asked.reader].scan_levels is not None:
        raise ConfigError(f"reader {asked.reader!r}: expected one that reads slices, got one of whole scans")


def _files(settings: Settings, table: str, asked: AnswerFilter, **fixed: str) -> list[Path]:
    """Files of the partitions of a table that are asked for."""
    given_ = {"source": asked.source, "mode": asked.mode, "dataset": asked.dataset, **fixed}
    wanted = {name: value for name, value in given_.items() if value is not None}
    return [p for p in table_files(settings.output, table) if wanted.items() <= partition_of(table, p).items()]


def _slices(settings: Settings, asked: AnswerFilter) -> pl.DataFrame:
    """Rows of ``slices`` of the condition and of the reader's profile, each picture once."""
    how = readers(settings)[asked.reader]
    mine = (pl.col("condition") == asked.condition) & (pl.col("control") == "none") & (pl.col("profile") == how.profile)
    parts = [read_file("slices", path, _SLICE).filter(mine) for path in _files(settings, "slices", asked)]
    return pl.concat([TABLES["slices"].empty().select(_SLICE), *parts]).unique(
        ["slice_uid", "condition"], keep="first", maintain_order=True
    )


def _facts(settings: Settings, source: str, slices: pl.DataFrame) -> pl.DataFrame:
    """What each slice of a target's own plane shows, sorted by ``slice_uid``."""
    own = slices.filter(pl.col("z_offset") == 0)
    found = own.join(_cases(settings, source, own), on="case_uid", how="left", maintain_order="left")
    area = pl.col("target_pixels") * pl.col("pixel_x_mm") * pl.col("pixel_y_mm")
    diameter = pl.coalesce("diameter_mm", "planned_diameter_mm")
    return found.with_columns(area_mm2=area, diameter_mm=diameter).sort("slice_uid")


def _cases(settings: Settings, source: str, slices: pl.DataFrame) -> pl.DataFrame:
    """``contrast_hu``, ``pleural_mm`` and position of the first nodule of each case that slices name."""
    percents = ("cc_pct", "ml_pct", "ap_pct")
    if source == REAL:
        columns = ("nodule_uid", "pleural_distance_mm", *(f"lobe_{p}" for p in percents))
        return read_all(settings.output, "nodules", columns).select(
            case_uid=pl.concat_str(pl.lit(f"{REAL}/"), "nodule_uid"),
            pleural_mm="pleural_distance_mm",
            contrast_hu=pl.lit(None, pl.Float64),
            **{p: pl.col(f"lobe_{p}") for p in percents},
        )
    parts = []
    for mode in slices["mode"].unique().sort():
        columns = ("case_uid", "nodule_idx", "pleural_mm", *percents)
        first = read_all(settings.output, "insertions", columns, mode=mode).filter(pl.col("nodule_idx") == 0)
        hu = ("case_uid", "is_lesion_free", "lesion_hu", "background_hu")
        cts = read_all(settings.output, "cts", hu, source=source, mode=mode).filter(~pl.col("is_lesion_free"))
        contrast = cts.select("case_uid", contrast_hu=pl.col("lesion_hu") - pl.col("background_hu"))
        parts.append(first.drop("nodule_idx").join(contrast, on="case_uid", how="left"))
    names = {"case_uid": pl.String, **dict.fromkeys(("pleural_mm", *percents, "contrast_hu"), pl.Float64)}
    return pl.concat([pl.DataFrame(schema=names), *parts])


def _answers(settings: Settings, asked: AnswerFilter, slices: pl.DataFrame) -> pl.DataFrame:
    """``slice_uid``, ``answer``, ``score`` and ``status`` of the reader's answers to the present pictures."""
    how = readers(settings)[asked.reader]
    columns = ("condition", "control", "task", "scorer", "slice_uid", "picture_sha256", "answer", "score", "status")
    of = (
        (pl.col("condition") == asked.condition)
        & (pl.col("control") == "none")
        & (pl.col("task") == asked.task)
        & (pl.col("scorer") == how.scorer)
    )
    paths = _files(settings, "answers", asked, reader=asked.reader)
    empty = TABLES["answers"].empty().select(columns)
    found = pl.concat([empty, *(read_file("answers", path, columns).filter(of) for path in paths)])
    present = given(how, slices, {}).select("slice_uid", "picture_sha256")
    told = found.join(present, on=["slice_uid", "picture_sha256"], how="semi")
    return told.select("slice_uid", "answer", "score", "status").unique("slice_uid", keep="first", maintain_order=True)


def _outcome(task: str) -> pl.Expr:
    status, known = pl.col("status"), truth().is_in(list(TASK_OPTIONS[task])).fill_null(False)
    return (
        pl.when(~known)
        .then(pl.lit("no_truth"))
        .when(status == "ok")
        .then(pl.when(pl.col("answer") == truth()).then(pl.lit("right")).otherwise(pl.lit("wrong")))
        .when(status.is_in(["refused", "unparsed"]))
        .then(pl.lit("refused"))
        .otherwise(pl.lit("not_answered"))
    )
