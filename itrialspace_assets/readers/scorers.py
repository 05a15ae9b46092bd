"""Scorers: turn generations into answers. A new rule makes ``answers`` again in seconds; no reader is asked.

A scorer sees the columns of ``generations`` and never the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import polars as pl

from itrialspace_assets.imaging.anatomy import ANSWER_EDGES, ANSWER_SIZES
from itrialspace_assets.readers.scoring import compat, text
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Tasks of two options: the first one's score less the other's is the score of the answer.
_TWO = {task: options[0] for task, options in TASK_OPTIONS.items() if len(options) == 2}


@dataclass(frozen=True)
class Scorer:
    """A rule with its version.

    ``score`` takes generations and gives a row for each, in their order: ``answer`` (an option of the task, or null),
    ``score`` (higher means more likely present), ``status`` and ``reason`` of rows without an answer.
    """

    name: str
    version: str
    score: Callable[[pl.DataFrame], pl.DataFrame]


def _difference() -> pl.Expr:
    """Of a task of two options, the first one's score less the other's, in whatever order they were asked."""
    scores, first = pl.col("option_scores"), pl.col("task").replace_strict(_TWO, default=None, return_dtype=pl.String)
    difference = scores.list.get(0, null_on_oob=True) - scores.list.get(1, null_on_oob=True)
    in_order = pl.col("options").list.get(0, null_on_oob=True) == first
    return pl.when(first.is_not_null()).then(pl.when(in_order).then(difference).otherwise(-difference))


def _by_scores(rows: pl.DataFrame) -> pl.DataFrame:
    """The option of the greatest score; none where options tie for it or where there are no scores."""
    scores = pl.col("option_scores")
    tied = scores.list.eval((pl.element() == pl.element().max()).cast(pl.Int64)).list.sum() != 1
    best = pl.col("options").list.get(scores.list.arg_max(), null_on_oob=True)
    reason = pl.when(scores.is_null()).then(pl.lit("no option scores")).otherwise(pl.lit("options tie"))
    return rows.select(
        answer=pl.when(scores.is_not_null() & ~tied).then(best),
        score=_difference(),
        status=pl.lit("unparsed"),
        reason=reason,
    )


def _by_words(parser: Callable[[pl.DataFrame], pl.DataFrame], rows: pl.DataFrame) -> pl.DataFrame:
    """What a parser of free text reads; a score where the reader gave scores of the options too."""
    return parser(rows).with_columns(rows.select(score=_difference()))


def _by_spot(rows: pl.DataFrame) -> pl.DataFrame:
    """Of the blob reader: response against threshold (HU), and the diameter's class."""
    scores = pl.col("option_scores")
    present = pl.col("options").list.get(0, null_on_oob=True) == "present"
    response = (
        pl.when(present).then(scores.list.get(0, null_on_oob=True)).otherwise(scores.list.get(1, null_on_oob=True))
    )
    threshold = (
        pl.when(present).then(scores.list.get(1, null_on_oob=True)).otherwise(scores.list.get(0, null_on_oob=True))
    )
    diameter = pl.col("raw_text").str.extract(r"^([0-9.]+) mm$").cast(pl.Float64)
    seen = pl.when(response >= threshold).then(pl.lit("present")).when(response.is_not_null()).then(pl.lit("absent"))
    size = diameter.cut(list(ANSWER_EDGES), labels=list(ANSWER_SIZES), left_closed=True).cast(pl.String)
    return rows.select(
        answer=pl.when(pl.col("task") == "size").then(size).otherwise(seen),
        score=pl.when(pl.col("task") == "presence").then(response),
        status=pl.lit("unparsed"),
        reason=pl.lit("neither a response nor a diameter"),
    )


SCORERS = {
    s.name: s
    for s in (
        Scorer("option_scores", "1", _by_scores),
        Scorer("text", text.VERSION, partial(_by_words, text.parsed)),
        Scorer("compat", compat.VERSION, partial(_by_words, compat.parsed)),
        Scorer("spot", "1", _by_spot),
    )
}


def score(generations: pl.DataFrame, scorer: str) -> pl.DataFrame:
    """Answers to generations, one a row in their order.

    A row without an answer has a status and a reason; a failure is the status ``error``.

    Args:
        generations: rows of the table ``generations``.
        scorer: name of a scorer.

    Returns:
        The rows with ``scorer``, ``scorer_version``, ``answer``, ``score``, ``status`` and ``reason``.
    """
    rule = SCORERS[scorer]
    failed = pl.col("failure").is_not_null()
    made = generations.with_columns(rule.score(generations)).with_columns(
        answer=pl.when(~failed).then(pl.col("answer"))
    )
    ok = pl.col("answer").is_not_null()
    return made.with_columns(
        score=pl.when(ok).then(pl.col("score")),
        status=pl.when(ok).then(pl.lit("ok")).when(failed).then(pl.lit("error")).otherwise(pl.col("status")),
        reason=pl.when(ok).then(None).when(failed).then(pl.col("failure")).otherwise(pl.col("reason")),
        scorer=pl.lit(rule.name),
        scorer_version=pl.lit(rule.version),
    )
