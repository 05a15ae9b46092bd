"""Rows of the table ``metric_cases``: what each slice of a report was, what was answered, and whether that is right.

From them every metric of slices can be computed again by SQL (``sql/views/metric_contributions.sql``). What counts as
right is said in ``tasks``; a test holds the two together.
"""

from collections.abc import Mapping

import polars as pl

from itrialspace_assets.analysis.scoring.rows import Analysis
from itrialspace_assets.analysis.scoring.tasks import TRUTH
from itrialspace_assets.records.tables import TABLES, TASK_OPTIONS


def no_cases() -> pl.DataFrame:
    """The table without a row, of a report that no reader was asked for."""
    return TABLES["metric_cases"].empty()


def case_rows(observations: pl.DataFrame, strata: Mapping[str, pl.Series], analysis: Analysis) -> pl.DataFrame:
    """Rows of ``metric_cases``, one for each observation.

    Args:
        observations: of ``observations.observe``, for all sources and readers, with ``one_n``.
        strata: factor -> stratum of each row, null where it is in none of this factor (see ``observations.strata_of``).
        analysis: what is reported.
    """
    answered = ((pl.col("status") == "ok") & pl.col("answer").is_not_null()).fill_null(False)
    known = observations.with_columns(truth=truth())
    return known.select(
        pl.lit(analysis.analysis).alias("analysis"),
        pl.lit(analysis.split).alias("split"),
        *("source", "reader", "task", "condition", "slice_uid", "case_uid", "sha256", "truth", "answer", "score"),
        "status",
        pl.when(pl.col("truth").is_not_null())
        .then(answered & (pl.col("answer").cast(pl.String) == pl.col("truth")).fill_null(False))
        .alias("right"),
        "one_n",
        (pl.col("presence") == "absent").fill_null(False).alias("negative"),
        pl.concat_list(s.alias(name) for name, s in strata.items()).list.drop_nulls().alias("strata"),
        *("diameter_mm", "host_person_uid", "donor_person_uid"),
    )


def truth() -> pl.Expr:
    """The option of a row's task that is right, null where it is not known."""
    yes, no = TASK_OPTIONS["malignancy"]
    of = {
        "presence": pl.col("presence"),
        "malignancy": pl.when(pl.col("label") == 1).then(pl.lit(yes)).when(pl.col("label") == 0).then(pl.lit(no)),
        **{task: pl.col(column).cast(pl.String) for task, column in TRUTH.items()},
    }
    found = pl.lit(None, pl.String)
    for task, options in TASK_OPTIONS.items():
        shown = pl.lit(True) if task == "presence" else pl.col("presence") == "present"
        value = pl.when(shown & of[task].is_in(list(options))).then(of[task])
        found = pl.when(pl.col("task") == task).then(value).otherwise(found)
    return found
