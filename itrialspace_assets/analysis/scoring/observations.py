"""What a report scores: the slices of a frozen list with readers' answers, and the strata they are shown by."""

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
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Scorers whose scores are no difference of log-probabilities: those of ``spot`` are HU.
OTHER_UNITS = ("spot",)


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
        missing = missing_pairs(settings, source, mode) if mode != REAL else []
        first = f"make what is missing ({', '.join(missing)}) with `its run --to slice`, then " if missing else ""
        raise TableError(
            f"report of {source}/{name}: split {settings.split} holds no list for it; {first}freeze it with "
            f"`its splits freeze {settings.split}`"
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
    tasks = pl.DataFrame({"task": [t for t in TASK_OPTIONS if t in how.tasks or t != "malignancy"]})
    return (
        frame.join(tasks, how="cross")
        .join(kept, on=[*PICTURE, "picture_sha256", "task"], how="left")
        .with_columns(source=pl.lit(source), reader=pl.lit(reader), log_odds=pl.lit(how.scorer not in OTHER_UNITS))
        .sort("slice_uid", "condition", "task", "case_uid")
    )


def with_one_n(observations: pl.DataFrame) -> pl.DataFrame:
    """Observations with ``one_n``: targets that every reader answered in every task that it does, in every condition.

    It is the published rule: an answer that could not be parsed is an answer there. Targets without an answer are left
    out of every cell of their source. Readers may see a target in different profiles, and cases may share it.
    """
    asked = observations.filter((pl.col("status") != "unsupported").fill_null(True))
    given = pl.col("status").is_in(["ok", "refused", "unparsed"]).fill_null(False)
    cells = pl.struct("reader", "task", "condition").n_unique()
    done = asked.group_by("source", "target_uid").agg(cells.alias("_cells"), given.all().alias("_all"))
    whole = done.select(
        "source", "target_uid", one_n=pl.col("_all") & (pl.col("_cells") == pl.col("_cells").max().over("source"))
    )
    return observations.join(whole, on=["source", "target_uid"], how="left", maintain_order="left").with_columns(
        pl.col("one_n").fill_null(False)
    )


def strata_of(observations: pl.DataFrame, factors: Sequence[str]) -> dict[str, pl.Series]:
    """Stratum of each row by factor: ``all``, or factor=level; a negative goes with its pair's level, null: with none.

    Args:
        observations: of ``observe``.
        factors: columns whose levels are strata.
    """
    found = {"all": pl.repeat("all", observations.height, dtype=pl.String, eager=True)}
    pair, is_shown = ["source", "pair_uid"], pl.col("presence") == "present"
    for factor in factors:
        rows = observations.select(*pair, "presence", _own=pl.col(factor).cast(pl.String))
        of_pair = rows.filter(is_shown).group_by(pair).agg(pl.col("_own").min().alias("_pair"))
        level = pl.when(is_shown).then(pl.col("_own")).otherwise(pl.col("_pair"))
        joined = rows.join(of_pair, on=pair, how="left", maintain_order="left")
        found[factor] = joined.select(f"{factor}=" + level).to_series()
    return found
