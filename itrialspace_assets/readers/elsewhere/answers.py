"""Reads answers that were given elsewhere, in one of three layouts, into one form; keeps nothing and matches nothing.

``plain`` is a table with a row an answer. ``imrmc`` is the input of iMRMC: reader, case, modality and rating, of which
one reader and modality is read and the rows of the truth are left out (docs/facts/readers.md#tables-of-answers).
``release`` is a model's folder of the published study (docs/facts/published-release.md#results-of-models).
"""

import io
import math
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.readers.elsewhere.options import TableOptions
from itrialspace_assets.readers.elsewhere.tables import (
    ROW,
    numbers,
    open_table,
    refuse,
    refuse_duplicates,
    require_columns,
    without_blanks,
)
from itrialspace_assets.records.tables import CONDITIONS, PICTURE_CONTROLS, REQUEST_CONTROLS, TASK_OPTIONS
from itrialspace_assets.records.text_tables import read_text

#: How iMRMC's rows of the truth name their reader: the file of the Java program, and the data frame of R.
_TRUTH = ("-1", "truth")
_IMRMC = ("readerID", "caseID", "modalityID", "score")
_BEGIN = "BEGIN DATA:"
_CONTROLS = ("none", *PICTURE_CONTROLS, *REQUEST_CONTROLS)
_RESULTS = "_results.csv"


@dataclass(frozen=True)
class Answer:
    """What a row says: its number in the file, the text of the answer, a score for each option in their order, and the
    hash of the picture that it is about; None where the table does not say."""

    row: int
    file: str
    text: str | None
    scores: tuple[float, ...] | None
    picture_sha256: str | None


#: (task, id, condition or None for every one, control) -> what was answered.
Answers = dict[tuple[str, str, str | None, str], Answer]


def files_of(path: Path, options: TableOptions) -> list[Path]:
    """The files that hold the answers, sorted; empty where there is none."""
    if options.layout != "release":
        return [path] if path.is_file() else []
    return sorted(p for p in path.glob(f"*/*{_RESULTS}") if p.parent.name in CONDITIONS)


def read_answers(path: Path, options: TableOptions, tasks: tuple[str, ...]) -> Answers:
    """All answers of a table to some tasks.

    Args:
        path: the file, or the folder of a model of a release.
        options: how it is laid out.
        tasks: the reader's; rows about others are left out.

    Raises:
        ConfigError: no table, or rows that say nothing sure; names the rows.
    """
    found: Answers = {}
    for file in files_of(path, options):
        rows = {"plain": _plain, "imrmc": _imrmc, "release": _release}[options.layout](file, options, tasks)
        name = str(file.relative_to(path.parent))
        for row in _checked(file, rows, options, tasks).iter_rows(named=True):
            key = (row["task"], row["id"], row["condition"], row["control"])
            found[key] = Answer(row[ROW], name, row["answer"], row["scores"], row["picture_sha256"])
    return found


def _plain(file: Path, options: TableOptions, tasks: tuple[str, ...]) -> pl.DataFrame:
    rows = open_table(file, options.columns)
    require_columns(file, rows, [options.by, *(["task"] if len(tasks) > 1 else [])])
    if "task" not in rows.columns:
        rows = rows.with_columns(task=pl.lit(tasks[0]))
    return rows.with_columns(id=pl.col(options.by))  # in the place of any column of the table under this name


def _imrmc(file: Path, options: TableOptions, tasks: tuple[str, ...]) -> pl.DataFrame:
    rows = _imrmc_rows(file, options)
    require_columns(file, rows, _IMRMC)
    read = rows.filter(~pl.col("readerID").str.to_lowercase().is_in(_TRUTH))
    for column, wanted in (("readerID", options.reader_id), ("modalityID", options.modality_id)):
        there = read[column].unique().sort().to_list()
        if wanted not in there:
            raise ConfigError(f"{file}: {column}: expected {wanted!r} of the options, got {', '.join(map(str, there))}")
        read = read.filter(pl.col(column) == wanted)
    return read.select(ROW, "score", id="caseID", task=pl.lit(tasks[0]))


def _imrmc_rows(file: Path, options: TableOptions) -> pl.DataFrame:
    """Rows of a data frame as CSV, or of the program's own file: a free text, a line ``BEGIN DATA:``, then rows."""
    try:
        text = read_text(file, "ratings") if file.suffix.lower() != ".parquet" else ""
    except TableError as error:
        raise ConfigError(f"{file}: {error}") from None
    lines = [line.strip() for line in text.splitlines()]
    if _BEGIN not in lines:
        return open_table(file, options.columns)
    data = [line for line in lines[lines.index(_BEGIN) + 1 :] if line]
    if not data or any(line.count(",") != 3 for line in data):
        raise ConfigError(f"{file}: expected rows of reader, case, modality and score after {_BEGIN!r}")
    body = io.StringIO("\n".join(data))
    frame = pl.read_csv(body, has_header=False, new_columns=list(_IMRMC), infer_schema=False, quote_char=None)
    return frame.with_columns(pl.all().str.strip_chars()).with_row_index(ROW)


def _release(file: Path, options: TableOptions, tasks: tuple[str, ...]) -> pl.DataFrame:
    rows = open_table(file, {"answer": "prediction", **options.columns})
    require_columns(file, rows, ["image_path", "task"])
    ids = pl.Series("id", [published_id(path) for path in rows["image_path"].fill_null("")])
    rows = rows.with_columns(ids, condition=pl.lit(file.parent.name))
    refuse(file, rows, pl.col("id").is_null(), "slices/<mode or dataset>/<id>.png", "image_path")
    return rows


def published_id(image_path: str) -> str | None:
    """The published id of a picture of the release, from its path below ``slices``; None where it is no such path."""
    parts = PurePosixPath(image_path.replace("\\", "/")).parts
    below = parts[len(parts) - parts[::-1].index("slices") :] if "slices" in parts else ()
    below = tuple(p for p in below[:-1] if p not in CONDITIONS) + below[-1:]
    return f"{below[0]}/{below[1].removesuffix('.png')}" if len(below) == 2 else None


def _checked(file: Path, rows: pl.DataFrame, options: TableOptions, tasks: tuple[str, ...]) -> pl.DataFrame:
    """Rows as ``_row``, ``task``, ``id``, ``condition``, ``control``, ``answer``, ``scores``, ``picture_sha256``."""
    rows = without_blanks(rows, ["id", "task"])
    refuse(file, rows, pl.col("id").is_null(), "an id in every row", "id")
    refuse(
        file,
        rows,
        ~pl.col("task").is_in(list(TASK_OPTIONS)).fill_null(False),
        f"one of {', '.join(TASK_OPTIONS)}",
        "task",
    )
    optional = [c for c in ("condition", "control", "answer", "score", "picture_sha256") if c not in rows.columns]
    given = "condition" not in optional
    rows = rows.with_columns(**{c: pl.lit(None, pl.String) for c in optional})
    rows = without_blanks(rows, ["condition", "control", "picture_sha256"])
    default = None if options.condition == "any" else options.condition
    rows = rows.with_columns(
        condition=pl.col("condition") if given else pl.lit(default, pl.String),
        control=pl.col("control").fill_null("none"),
    )
    known = pl.col("condition").is_in(list(CONDITIONS)) | (
        pl.col("condition").is_null() & (not given or options.condition == "any")
    )
    refuse(file, rows, ~known, f"one of {', '.join(CONDITIONS)}", "condition")
    refuse(file, rows, ~pl.col("control").is_in(_CONTROLS), f"one of {', '.join(_CONTROLS)}", "control")
    rows = rows.filter(pl.col("task").is_in(list(tasks)))
    refuse_duplicates(file, rows, ["task", "id", "condition", "control"])
    return _with_scores(file, rows, options)


def _with_scores(file: Path, rows: pl.DataFrame, options: TableOptions) -> pl.DataFrame:
    """Adds ``scores``: of each option's own column, or of the one score against the threshold."""
    kept = [ROW, "task", "id", "condition", "control", "answer", "picture_sha256"]
    parts = [rows.select(kept).clear().with_columns(scores=pl.lit(None, pl.List(pl.Float64)))]
    for (task,), part in rows.partition_by("task", as_dict=True, maintain_order=True).items():
        names = [f"score_{option}" for option in TASK_OPTIONS[task]]
        there = [n for n in names if n in part.columns]
        if there and len(there) < len(names):
            require_columns(file, part, names)
        if there:
            part = numbers(file, part, names)
        else:
            part, names = _against_threshold(file, part, task, options)
        scored = pl.lit(False)
        if names:
            scored = pl.all_horizontal(pl.col(names).is_not_null())
            some = pl.any_horizontal(pl.col(names).is_not_null())
            refuse(file, part, some & ~scored, "a score of every option, or of none", names[0])
        scores = pl.when(scored).then(pl.concat_list(names) if names else pl.lit(None, pl.List(pl.Float64)))
        refuse(file, part, pl.col("answer").is_null() & ~scored, "an answer or a score", "id")
        parts.append(part.select(*kept, scores=scores))
    return pl.concat(parts)


def _against_threshold(
    file: Path, part: pl.DataFrame, task: str, options: TableOptions
) -> tuple[pl.DataFrame, list[str]]:
    """Scores of two options from one score: that of the first is the row's, that of the second the threshold.

    A score that equals the threshold answers with the first option, so the second gets the number just below it.
    """
    part = numbers(file, part, ["score"])
    if part["score"].null_count() == part.height:
        return part, []
    if len(TASK_OPTIONS[task]) != 2:
        raise ConfigError(
            f"{file}: column score: expected a task of two options, got {task}; give score_<option> for each of "
            f"{', '.join(TASK_OPTIONS[task])}"
        )
    if options.threshold is None:
        refuse(file, part, pl.col("answer").is_null(), "an answer, or options.threshold in readers.yaml", "score")
    second = math.nextafter(options.threshold or 0.0, -math.inf)
    first, other = (f"score_{option}" for option in TASK_OPTIONS[task])
    scored = pl.col("score").is_not_null()
    part = part.with_columns(pl.col("score").alias(first), pl.when(scored).then(pl.lit(second)).alias(other))
    return part, [first, other]
