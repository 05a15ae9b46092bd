"""How many cases came through each stage, and why the others did not: by arm, by size and by lobe."""

from collections.abc import Sequence

import polars as pl

from itrialspace_assets.analysis.reports.document import Section, Table
from itrialspace_assets.analysis.reports.levels import FACTORS, in_order, shown
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.store import partition_of, read_all, read_file, read_table, table_files
from itrialspace_assets.records.tables import TABLES

_FACTORS = ("arm", "size_bucket", "lobe")
#: Level of size and lobe of a case without a nodule.
_CLEAN = "no nodule"
_NOTE = (
    "Counts are cases. Inserted: the nodule was put in. Rendered and sliced: by this source. Answered: a reader gave "
    "an answer to at least one of its pictures. Rejected cases are not replaced; their reasons are counted in cases."
)


def flow_section(settings: Settings, mode: str, arms: Sequence[str]) -> Section:
    """Planned, inserted, rendered, sliced, answered, and the reasons of rejection.

    Args:
        settings: where tables lie.
        mode: trial mode.
        arms: names of the trial's arms in the order of its file.
    """
    cases = _cases(settings, mode)
    stages = _stages(settings, mode)
    rejected = _rejected(settings, mode, cases)
    tables = [
        Table(
            f"flow_by_{factor}",
            (FACTORS[factor], "source", "planned", "inserted", "rendered", "sliced", "answered", "rejected for"),
            tuple(_rows(cases, stages, rejected, factor, arms)),
            _NOTE if factor == "arm" else "",
            folded=factor != "arm",
        )
        for factor in _FACTORS
    ]
    return Section("From plan to answer", tuple(tables), "context")


def _cases(settings: Settings, mode: str) -> pl.DataFrame:
    """Planned cases with arm, and size and lobe of the primary nodule."""
    nodules = read_table(settings.output, "case_nodules", mode=mode).filter(pl.col("nodule_idx") == 0)
    is_clean = ~pl.col("present")
    levels = nodules.select(
        "case_uid",
        *(
            pl.when(is_clean).then(pl.lit(_CLEAN)).otherwise(pl.col(c).cast(pl.String)).alias(c)
            for c in ("size_bucket", "lobe")
        ),
    )
    cases = read_table(settings.output, "cases", mode=mode).select("case_uid", "arm")
    return cases.join(levels, on="case_uid", how="left").with_columns(pl.col("size_bucket", "lobe").fill_null(_CLEAN))


def _stages(settings: Settings, mode: str) -> pl.DataFrame:
    """Which cases came through which stage: case_uid, source (null: of all), stage."""
    root = settings.output
    inserted = read_all(root, "insertions", mode=mode).select("case_uid", source=pl.lit(None, pl.String))
    cts = read_all(root, "cts", mode=mode).select("case_uid", "source")
    slices = read_all(root, "slices", mode=mode).select("slice_uid", "condition", "case_uid", "source")
    answers = read_all(root, "answers", mode=mode).filter(pl.col("status") == "ok", pl.col("control") == "none")
    answered = slices.join(answers, on=["slice_uid", "condition", "source"], how="semi")
    found = {"inserted": inserted, "rendered": cts, "sliced": slices, "answered": answered}
    return pl.concat(
        frame.select("case_uid", "source").unique().with_columns(stage=pl.lit(name)) for name, frame in found.items()
    )


def _rejected(settings: Settings, mode: str, cases: pl.DataFrame) -> pl.DataFrame:
    """Distinct reasons of each case: case_uid, stage and reason in words."""
    files = [
        path
        for path in table_files(settings.output, "rejected_cases")
        if partition_of("rejected_cases", path)["partition"].split("~")[0] == mode
    ]
    rows = pl.concat([TABLES["rejected_cases"].empty(), *(read_file("rejected_cases", path) for path in files)])
    words = pl.format("{} ({})", pl.col("reason").str.replace_all("_", " "), "stage")
    return rows.join(cases, on="case_uid", how="semi").select("case_uid", why=words).unique()


def _rows(
    cases: pl.DataFrame, stages: pl.DataFrame, rejected: pl.DataFrame, factor: str, arms: Sequence[str]
) -> list[tuple[str | int, ...]]:
    level = cases.select("case_uid", level=factor)
    planned = dict(level.group_by("level").len().iter_rows())
    counted = stages.join(level, on="case_uid").group_by("level", "source", "stage").len()
    count = {(lv, source, stage): n for lv, source, stage, n in counted.iter_rows()}
    reasons = (
        rejected.join(level, on="case_uid")
        .group_by("level", "why")
        .len()
        .sort("level", "len", "why", descending=[False, True, False])
    )
    sources = sorted(stages["source"].drop_nulls().unique()) or ["–"]
    rows: list[tuple[str | int, ...]] = []
    for one in in_order(factor, planned, arms):
        why = "; ".join(f"{text}: {n}" for lv, text, n in reasons.iter_rows() if lv == one)
        for source in sources:
            through = [count.get((one, source, stage), 0) for stage in ("rendered", "sliced", "answered")]
            rows.append((shown(one), source, planned[one], count.get((one, None, "inserted"), 0), *through, why or "–"))
    return rows
