"""What a report scores: the slices of a frozen list with a reader's answers, and the strata they are shown by."""

from collections.abc import Sequence

import polars as pl

from itrialspace_assets.analysis.frozen import PICTURE, ListKey, locks, require_unchanged
from itrialspace_assets.analysis.splits import missing_pairs, present_slices
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_all


def observe(settings: Settings, source: str, mode: str, name: str, reader: str) -> pl.DataFrame:
    """One row per slice of the frozen list that the reader is shown, condition and task, with the answer or null.

    None for a reader of whole scans: the list holds slices. Controls are left out. An answer to another picture than
    the present one is none.

    Args:
        settings: which split, and where tables lie.
        source: image source.
        mode: trial mode, or ``real``.
        name: of the frozen list: the mode, or real-<dataset>.
        reader: whose answers.

    Raises:
        TableError: there is no frozen list, it was changed after freezing, or a frozen picture is gone or changed.
    """
    key = ListKey(settings.split, source, name)
    if key not in locks(settings, settings.split):
        missing = missing_pairs(settings, source, mode) if mode != REAL else [name]
        raise TableError(
            f"report of {source}/{name}: split {settings.split} holds no list for it; still missing: "
            f"{', '.join(missing) or 'the stage splits'}"
        )
    where = {"dataset": name.removeprefix(f"{REAL}-")} if mode == REAL else {}
    slices = present_slices(settings, source, name)
    wanted = require_unchanged(settings, key, slices)
    how = readers(settings)[reader]
    seen = given(how, slices, {}).filter(pl.col("control") == "none")
    frame = slices.join(wanted, on=PICTURE, how="semi").join(seen.select(*PICTURE, "picture_sha256"), on=PICTURE)
    answers = read_all(settings.output, "answers", source=source, reader=reader, mode=mode, **where)
    kept = answers.filter(pl.col("scorer") == how.scorer).select(
        *PICTURE, "picture_sha256", "task", "answer", "score", "status"
    )
    tasks = pl.DataFrame({"task": ["presence", "size", "lobe"]})
    return (
        frame.join(tasks, how="cross")
        .join(kept, on=[*PICTURE, "picture_sha256", "task"], how="left")
        .sort("slice_uid", "condition", "task")
    )


def strata_of(observations: pl.DataFrame, factors: Sequence[str]) -> dict[str, pl.Series]:
    """``all`` and one mask per level of each factor; a negative goes with its pair's level."""
    masks = {"all": pl.Series([True] * observations.height, dtype=pl.Boolean())}
    for factor in factors:
        level = (
            observations.filter(pl.col("presence") == "present")
            .select("pair_uid", pl.col(factor).alias("_level"))
            .unique()
        )
        joined = observations.select("pair_uid").join(level, on="pair_uid", how="left", maintain_order="left")
        for value in sorted(v for v in joined["_level"].unique() if v is not None):
            masks[f"{factor}={value}"] = (joined["_level"] == value).fill_null(False)
    return masks
