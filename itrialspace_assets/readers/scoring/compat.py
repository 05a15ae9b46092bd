"""The parsers of the published study, with their peculiarities, for comparison with its numbers.

A refusal is whatever the patterns hit (docs/facts/readers.md#published-parsers). For results of one's own use ``text``.
Everything is polars expressions over the columns ``task`` and ``raw_text``.
"""

from collections.abc import Sequence

import polars as pl

VERSION = "1"
_ABSENT = (
    "no|nope|absent|none|not present|not detected|negative|no nodule|does not contain|without"  # whole words, anywhere
)
_PRESENT = "yes|yeah|yep|present|contains|detected|visible|seen|found|positive"
_LOBES = {
    "right middle lobe": "right_lung_middle_lobe",
    "right upper lobe": "right_lung_upper_lobe",
    "right lower lobe": "right_lung_lower_lobe",
    "left upper lobe": "left_lung_upper_lobe",
    "left lower lobe": "left_lung_lower_lobe",
    "right middle": "right_lung_middle_lobe",
    "right upper": "right_lung_upper_lobe",
    "right lower": "right_lung_lower_lobe",
    "left upper": "left_lung_upper_lobe",
    "left lower": "left_lung_lower_lobe",
    "rml": "right_lung_middle_lobe",
    "rul": "right_lung_upper_lobe",
    "rll": "right_lung_lower_lobe",
    "lul": "left_lung_upper_lobe",
    "lll": "left_lung_lower_lobe",
}
#: In the order in which they are tried.
_SIZES = (
    ("<5mm", r"<\s*5\s*mm|(?:less than|smaller than|under)\s+5"),
    (">20mm", r">\s*20\s*mm|(?:larger than|greater than|over|above)\s+20"),
    ("10-20mm", r"10\s*[-–—to]+\s*20\s*mm|between\s+10\s+and\s+20"),
    ("5-10mm", r"5\s*[-–—to]+\s*10\s*mm|between\s+5\s+and\s+10"),
)


def _first(text: pl.Expr, rules: Sequence[tuple[str, str]]) -> pl.Expr:
    """The label of the first pattern that a text holds."""
    return pl.coalesce(pl.when(text.str.contains(pattern)).then(pl.lit(label)) for label, pattern in rules)


def _presence(text: pl.Expr) -> pl.Expr:
    denied = text.str.contains(rf"\b(?:{_ABSENT})\b")
    twice = text.str.contains(r"\bnot (?:absent|negative)\b")
    return (
        pl.when(denied & ~twice)
        .then(pl.lit("absent"))
        .when(denied | text.str.contains(rf"\b(?:{_PRESENT})\b"))
        .then(pl.lit("present"))
    )


def _lobe(text: pl.Expr) -> pl.Expr:
    labels = {label: label for label in _LOBES.values()}
    whole = text.str.replace_all(" ", "_").replace_strict(labels, default=None, return_dtype=pl.String)
    words = text.str.replace_all("_", " ")
    return pl.coalesce(whole, _first(words, [(label, rf"\b{name}\b") for name, label in _LOBES.items()]))


def parsed(rows: pl.DataFrame) -> pl.DataFrame:
    """``answer``, ``status`` and ``reason`` of texts, from ``task`` and ``raw_text``; malignancy was not asked.

    Args:
        rows: with the columns ``task`` and ``raw_text``.

    Returns:
        One row for each, in their order, with the three columns alone.
    """
    text = pl.col("raw_text").fill_null("").str.to_lowercase().str.strip_chars()
    task = pl.col("task")
    return rows.select(
        answer=pl.when(task == "presence")
        .then(_presence(text))
        .when(task == "lobe")
        .then(_lobe(text))
        .when(task == "size")
        .then(_first(text, _SIZES)),
        status=pl.lit("unparsed"),
        reason=pl.when(text == "").then(pl.lit("no text")).otherwise(pl.lit("no pattern of the published parser fits")),
    )
