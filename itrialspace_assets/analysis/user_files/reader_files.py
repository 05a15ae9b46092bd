"""Reads reader studies that users bring, files of iMRMC or long tables; an error names file, row or line, column."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.reader_study import ReaderStudy
from itrialspace_assets.analysis.user_files.user_tables import FALSE, SCORE, TRUE, TableSource, UserTable
from itrialspace_assets.base.errors import TableError
from itrialspace_assets.records.text_tables import NUMBER, read_text


def read_reader_study(source: TableSource) -> ReaderStudy:
    """A reader study: a file of iMRMC, or a long table.

    The long table has the columns reader, modality (or treatment), case, truth (0 or 1) and score (or rating or
    probability), a row for each reading. A file of iMRMC has four fields a line after BEGIN DATA: reader, case,
    modality, score; its lines of the reader truth (or -1) give the truth.

    Args:
        source: file or frame.

    Raises:
        TableError: it cannot be read, a value is wrong, a reading is there twice, or a case has no truth or two; names
            the row (or line) and the column.
    """
    lines = None if isinstance(source, pl.DataFrame) else _imrmc_lines(Path(source))
    if lines is not None:
        return _of_imrmc(Path(str(source)).name, *lines)
    table = UserTable.read(source, "reader study")
    frame = pl.DataFrame(
        {
            "reader": table.texts("reader"),
            "modality": table.texts("modality", "treatment"),
            "case": table.texts("case"),
            "truth": table.truths("truth"),
            "score": table.numbers(*SCORE),
        }
    )
    twice = ~frame.select(key=pl.struct("reader", "modality", "case"))["key"].is_first_distinct()
    table.refuse(twice, frame["case"], "each case once for a reader and modality")
    first = frame.select(differs=pl.col("truth") != pl.col("truth").first().over("case"))["differs"]
    table.refuse(first, table.column("truth"), "the same truth in every row of a case")
    return _study(frame, frame.select("case", "truth").unique("case"))


def _imrmc_lines(path: Path) -> tuple[int, list[str]] | None:
    """Lines below BEGIN DATA, and the number of the first of them; None where there is no such line."""
    try:
        lines = read_text(path, "reader study").split("\n")
    except TableError:
        return None  # another kind of file: the reader of tables says what is wrong
    start = next((i for i, line in enumerate(lines) if line.strip().casefold().startswith("begin data")), None)
    return None if start is None else (start + 2, lines[start + 1 :])


def _of_imrmc(name: str, first: int, lines: Sequence[str]) -> ReaderStudy:
    """The study in the lines of a file of iMRMC; ``first`` is the number of the first line."""
    rows = pl.DataFrame(
        {"text": lines, "line": np.arange(first, first + len(lines))}, schema_overrides={"text": pl.String}
    )
    rows = rows.filter(pl.col("text").str.strip_chars() != "")
    fields = rows.with_columns(field=pl.col("text").str.split(","))

    def refuse(frame: pl.DataFrame, wrong: pl.Expr, column: str, expected: str) -> None:
        bad = frame.filter(wrong)
        if bad.height:
            raise TableError(
                f"{name}: line {bad['line'][0]}, column {column}: expected {expected}, got {bad['text'][0]!r}"
            )

    refuse(fields, pl.col("text").str.contains('"', literal=True), "reader", "a line without quotation marks")
    refuse(fields, pl.col("field").list.len() != 4, "reader, case, modality, score", "four fields, separated by commas")
    columns = ("reader", "case", "modality", "score")
    frame = fields.with_columns(pl.col("field").list.get(i).str.strip_chars().alias(c) for i, c in enumerate(columns))
    for column in columns:
        refuse(frame, pl.col(column) == "", column, "a value")
    is_truth = pl.col("reader").str.to_lowercase().is_in(["truth", "-1"])
    truths, scores = frame.filter(is_truth), frame.filter(~is_truth)
    refuse(truths, ~pl.col("score").is_in([*TRUE, *FALSE]), "score", "0 or 1 as truth")
    refuse(truths, ~pl.col("case").is_first_distinct(), "case", "one line of truth for each case")
    as_number = pl.when(pl.col("score").str.contains(NUMBER)).then(pl.col("score")).cast(pl.Float64, strict=False)
    refuse(scores, ~as_number.is_finite().fill_null(False), "score", "a finite number")
    key = pl.struct("reader", "modality", "case")
    refuse(scores, ~key.is_first_distinct(), "case", "each case once for a reader and modality")
    refuse(scores, ~pl.col("case").is_in(truths["case"].implode()), "case", "a case with a line of truth")
    truth = truths.select("case", truth=pl.col("score").is_in(list(TRUE)))
    return _study(scores.with_columns(pl.col("score").cast(pl.Float64)), truth)


def _study(readings: pl.DataFrame, truth: pl.DataFrame) -> ReaderStudy:
    """Readings (reader, modality, case, score) and the truth of cases as arrays."""
    truth = truth.sort("case")
    names = {c: tuple(readings[c].unique().sort()) for c in ("modality", "reader")} | {"case": tuple(truth["case"])}
    at = [
        readings[c].replace_strict(list(n), list(range(len(n))), return_dtype=pl.Int64).to_numpy()
        if n
        else np.zeros(0, np.int64)
        for c, n in names.items()
    ]
    score = np.full([len(n) for n in names.values()], np.nan)
    score[tuple(at)] = readings["score"].to_numpy()
    return ReaderStudy(names["modality"], names["reader"], names["case"], truth["truth"].to_numpy(), score)
