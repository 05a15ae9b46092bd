"""Scorers: turn generations into answers. A new rule makes ``answers`` anew in seconds; no reader is asked.

A scorer sees the columns of ``generations`` and never the truth.
"""

from collections.abc import Callable
from dataclasses import dataclass

import polars as pl

from itrialspace_assets.imaging.anatomy import ANSWER_EDGES, ANSWER_SIZES, LOBES
from itrialspace_assets.records.tables import TASK_OPTIONS

#: Tasks of two options: the first one's score less the other's is the score of the answer.
_TWO = {task: options[0] for task, options in TASK_OPTIONS.items() if len(options) == 2}
#: A whole answer in other words (ours), lower case, single blanks, without a full stop.
_WORDS = {
    "presence": {"yes": "present", "no": "absent"},
    "size": {"<5 mm": "<5mm", "5-10 mm": "5-10mm", "10-20 mm": "10-20mm", ">20 mm": ">20mm"},
    "lobe": {lobe.replace("_lung_", " ").replace("_", " "): lobe for lobe in LOBES}
    | {lobe.replace("_", " "): lobe for lobe in LOBES},
}
#: A text that declines to answer (ours).
_REFUSES = (
    r"^(i('m| am) (sorry|unable|not able)|i (cannot|can't|can not|am unable|won't)|as an ai|sorry\b|unable to|it is not"
    r" possible|cannot (be )?(determine|answer|assess))"
)


@dataclass(frozen=True)
class Scorer:
    """A rule with its version.

    ``score`` takes generations and gives expressions by name: ``answer`` (an option of the task, or null), ``score``
    (higher means more likely present), ``status`` and ``reason`` of rows without an answer.
    """

    name: str
    version: str
    score: Callable[[], dict[str, pl.Expr]]


def _difference() -> pl.Expr:
    """Of a task of two options, the first one's score less the other's, in whatever order they were asked."""
    scores, first = pl.col("option_scores"), pl.col("task").replace_strict(_TWO, default=None, return_dtype=pl.String)
    difference = scores.list.get(0, null_on_oob=True) - scores.list.get(1, null_on_oob=True)
    in_order = pl.col("options").list.get(0, null_on_oob=True) == first
    return pl.when(first.is_not_null()).then(pl.when(in_order).then(difference).otherwise(-difference))


def _by_scores() -> dict[str, pl.Expr]:
    """The option of the greatest score; none where options tie for it or where there are no scores."""
    scores = pl.col("option_scores")
    tied = scores.list.eval((pl.element() == pl.element().max()).cast(pl.Int64)).list.sum() != 1
    best = pl.col("options").list.get(scores.list.arg_max(), null_on_oob=True)
    reason = pl.when(scores.is_null()).then(pl.lit("no option scores")).otherwise(pl.lit("options tie"))
    return {
        "answer": pl.when(scores.is_not_null() & ~tied).then(best),
        "score": _difference(),
        "status": pl.lit("unparsed"),
        "reason": reason,
    }


def _by_words() -> dict[str, pl.Expr]:
    """The option that the whole text is, in its words or in those of ``_WORDS``; a score where options have scores."""
    text = pl.col("raw_text").str.to_lowercase().str.replace_all(r"\s+", " ").str.strip_chars(" .")
    found = pl.lit(None, pl.String)
    for task, options in TASK_OPTIONS.items():
        known = {option.lower(): option for option in options} | _WORDS.get(task, {})
        said = text.replace_strict(known, default=None, return_dtype=pl.String)
        found = pl.when(pl.col("task") == task).then(said).otherwise(found)
    refused = text.str.contains(_REFUSES).fill_null(False)
    return {
        "answer": found,
        "score": _difference(),
        "status": pl.when(refused).then(pl.lit("refused")).otherwise(pl.lit("unparsed")),
        "reason": pl.when(refused)
        .then(pl.lit("declined to answer"))
        .when(text.fill_null("") == "")
        .then(pl.lit("no text"))
        .otherwise(pl.lit("the text is none of the options")),
    }


def _by_spot() -> dict[str, pl.Expr]:
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
    return {
        "answer": pl.when(pl.col("task") == "size").then(size).otherwise(seen),
        "score": pl.when(pl.col("task") == "presence").then(response),
        "status": pl.lit("unparsed"),
        "reason": pl.lit("neither a response nor a diameter"),
    }


SCORERS = {
    s.name: s
    for s in (
        Scorer("option_scores", "1", _by_scores),
        Scorer("words", "1", _by_words),
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
    made = generations.with_columns(**rule.score()).with_columns(answer=pl.when(~failed).then(pl.col("answer")))
    ok = pl.col("answer").is_not_null()
    return made.with_columns(
        score=pl.when(ok).then(pl.col("score")),
        status=pl.when(ok).then(pl.lit("ok")).when(failed).then(pl.lit("error")).otherwise(pl.col("status")),
        reason=pl.when(ok).then(None).when(failed).then(pl.col("failure")).otherwise(pl.col("reason")),
        scorer=pl.lit(rule.name),
        scorer_version=pl.lit(rule.version),
    )
