"""Answers of all analyses as right or wrong, with the finding that each is about; small enough for a whole study.

What is compared between real and synthetic slices is a share of right answers: a share has strata and pairs, and slices
that show a nodule can be compared although negatives of the two sides are of different kinds. Compares nothing.
"""

from collections.abc import Iterable, Iterator

import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, locks
from itrialspace_assets.analysis.scoring.observations import observe
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.registry import slice_readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all, table_files
from itrialspace_assets.records.tables import TASK_OPTIONS
from itrialspace_assets.synthesis.renderers import enabled

#: Columns that hold few different texts: kept as numbers.
_TEXTS = (
    *("source", "mode", "reader", "task", "condition", "measure", "nodule_uid", "slice_uid", "dataset"),
    *("donor_dataset", "lobe", "size_class", "negative_type", "host_person_uid", "donor_person_uid", "anatomy"),
)
SCHEMA = pl.Schema({**dict.fromkeys(_TEXTS, pl.Categorical()), "right": pl.Boolean()})


def targets(settings: Settings, mode: str) -> pl.DataFrame:
    """The first nodule of each case of a mode: case_uid, nodule_uid, native (on its own scan, voxel for voxel)."""
    rows = read_all(settings.output, "case_nodules", mode=mode).filter(pl.col("nodule_idx") == 0)
    return rows.select("case_uid", nodule_uid="donor_nodule_uid", native=pl.col("placement") == "native")


def truth() -> pl.Expr:
    """What is right in a row's task: an option of it, null (or another text) where it is not known.

    Reads ``task``, ``presence``, ``lobe``, ``size_class`` and ``label``.
    """
    shown = pl.col("presence") == "present"
    return (
        pl.when(pl.col("task") == "presence")
        .then(pl.col("presence").cast(pl.String))
        .when(~shown)
        .then(None)
        .when(pl.col("task") == "lobe")
        .then(pl.col("lobe").cast(pl.String))
        .when(pl.col("task") == "size")
        .then(pl.col("size_class").cast(pl.String))
        .when(pl.col("label") == 1)
        .then(pl.lit("malignant"))
        .when(pl.col("label") == 0)
        .then(pl.lit("benign"))
    )


def outcomes(seen: pl.DataFrame, nodules: pl.DataFrame | None) -> pl.DataFrame:
    """Right and wrong answers of one analysis, of the tasks that its readers do and slices whose truth is known.

    No answer is wrong. ``measure`` is ``sensitivity`` or ``specificity`` of presence and ``accuracy`` of another task,
    over slices that show a nodule. ``nodule_uid`` is the finding on its own scan: of a real slice, and of a slice of a
    twin trial; else null.

    Args:
        seen: of ``observations.observe``.
        nodules: of ``targets``; None: the slices are real.
    """
    shown, status = pl.col("presence") == "present", pl.col("status")
    options = [o for of_task in TASK_OPTIONS.values() for o in of_task]
    unread = ((status == "unsupported").any() & (status.is_null() | (status == "unsupported")).all()).over(
        "source", "reader", "task", "condition"
    )
    presence = pl.when(shown).then(pl.lit("sensitivity")).otherwise(pl.lit("specificity"))
    rows = seen.with_columns(
        _truth=truth(),
        measure=pl.when(pl.col("task") == "presence").then(presence).otherwise(pl.lit("accuracy")),
    ).filter(pl.col("_truth").is_in(options), ~unread)
    right = ((status == "ok") & (pl.col("answer").cast(pl.String) == pl.col("_truth"))).fill_null(False)
    if nodules is None:
        own = pl.col("case_uid").str.strip_prefix(f"{REAL}/")
        rows = rows.with_columns(nodule_uid=own, donor_dataset=pl.col("dataset"))
    else:
        rows = rows.join(nodules, on="case_uid", how="left").with_columns(
            donor_dataset=pl.col("nodule_uid").str.split("/").list.first(),
            nodule_uid=pl.when("native").then("nodule_uid"),
        )
    return rows.with_columns(right=right).select(pl.col(c).cast(t) for c, t in SCHEMA.items())


def study_outcomes(settings: Settings) -> pl.DataFrame:
    """Outcomes of every frozen list of the split and every enabled reader; one reader's answers at a time."""
    found = list(_each(settings))
    return pl.concat(found) if found else SCHEMA.to_frame()


def _each(settings: Settings) -> Iterator[pl.DataFrame]:
    frozen = locks(settings, settings.split)
    real = [(REAL, REAL, key.name) for key in frozen if key.source == REAL]
    modes = sorted({p.parent.name for p in table_files(settings.output, "cases")})
    made: Iterable[tuple[str, str, str]] = ((r.name, mode, mode) for r in enabled(settings) for mode in modes)
    for source, mode, name in (*sorted(real), *made):
        if ListKey(settings.split, source, name) not in frozen:
            continue
        nodules = None if mode == REAL else targets(settings, mode)
        for reader in slice_readers(settings, source):
            yield outcomes(observe(settings, source, mode, name, reader), nodules)
