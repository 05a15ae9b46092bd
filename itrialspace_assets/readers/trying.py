"""Asks one reader about one case, with the code of the stage, to look at what it is shown and what it returns.

Writes no table and no line of a ledger; marks of whole scans stay in the store, as every mark does.
"""

import difflib
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition
from itrialspace_assets.readers.api import Picture, Reader
from itrialspace_assets.readers.asking import Returned, ask
from itrialspace_assets.readers.build import require_ready, to_read
from itrialspace_assets.readers.case import RequestToRead
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.questions import questions
from itrialspace_assets.readers.read import marks_of, open_request
from itrialspace_assets.readers.registry import entries_of, make
from itrialspace_assets.readers.scorers import score
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import partition_of, read_file, table_files


@dataclass(frozen=True)
class Tried:
    """A request, its pictures, and what came of it; ``row`` has the columns of requests and of answers.

    ``truth`` is whether a nodule is on the slice, and what kind of slice it is without one. No reader is told.
    """

    row: dict[str, Any]
    pictures: tuple[Picture, ...]
    seconds: float
    truth: str


@dataclass(frozen=True)
class Marked:
    """Marks on a whole scan, best first; rows with the columns of the table ``detections`` that hold numbers."""

    image_uid: str
    marks: list[dict[str, Any]]


@dataclass(frozen=True)
class TriedCase:
    """All that a reader said about a case, and why there is nothing about its scans, if so."""

    reader: Reader
    source: str
    requests: list[Tried]
    scans: list[Marked]
    note: str


def entry_named(settings: Settings, name: str) -> ReaderEntry:
    """An entry of ``readers.yaml``, enabled or not.

    Raises:
        ConfigError: there is none of that name.
    """
    known = entries_of(settings)
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise ConfigError(
            f"reader {name!r}: expected one of {', '.join(known)}" + (f"; did you mean {near[0]!r}?" if near else "")
        )
    return known[name]


def try_case(
    settings: Settings, name: str, case_uid: str, source: str | None, only: dict[str, str], marks: bool
) -> TriedCase:
    """Ask a reader all that the stage would ask it about a case.

    Args:
        settings: where slices, scans and weights lie.
        name: of an entry, enabled or not.
        case_uid: the case.
        source: ``real`` or a renderer's name; the first that has the case where it is None.
        only: values that requests must have, by column: ``task``, ``condition``.
        marks: mark the case's scans too; a reader that reads no slices does so in any case.

    Raises:
        ConfigError: no such reader or case, or the reader is not ready.
        TableError: a table of a stage before is missing.
        CaseRejected: a scan is damaged, or the reader failed on it.
    """
    reader = make(entry_named(settings, name), ReaderEnvironment.of(settings))
    require_ready(reader)
    where, partition = _partition_of(settings, case_uid, source)
    with tempfile.TemporaryDirectory() as folder:
        listed = Path(folder) / "case.txt"
        listed.write_text(case_uid)
        of_case = settings.model_copy(update={"case_ids": listed, "max_cases": None})
        asked = questions(of_case, where, reader, partition)
    rows = asked.requests.filter(pl.lit(True), *(pl.col(column) == value for column, value in only.items()))
    wants_marks = marks or (reader.mark is not None and not reader.tasks)
    return TriedCase(
        reader,
        where,
        _ask(settings, reader, rows, to_read(rows, asked.shown), _truths(asked.slices)),
        [Marked(uid, marks_of(settings, reader, scan)) for uid, scan in asked.scans.items()] if wants_marks else [],
        asked.note,
    )


def _partition_of(settings: Settings, case_uid: str, source: str | None) -> tuple[str, Partition]:
    """Source and partition whose slices hold a case.

    Raises:
        ConfigError: none does.
    """
    known: list[str] = []
    for path in table_files(settings.output, "slices", **({} if source is None else {"source": source})):
        cases = read_file("slices", path)["case_uid"]
        found = partition_of("slices", path)
        if cases.is_in([case_uid]).any():
            partition = {"dataset": found["dataset"]}
            return found["source"], partition if found["source"] == REAL else partition | {"mode": found["mode"]}
        known += cases.unique().sort().head(3).to_list()
    some = f"for example {', '.join(known[:3])}" if known else "found no slices; cut them with `its run --to slice`"
    raise ConfigError(f"case {case_uid!r}: expected a case with slices, {some}")


def _ask(
    settings: Settings,
    reader: Reader,
    rows: pl.DataFrame,
    requests: tuple[RequestToRead, ...],
    truths: dict[str, str],
) -> list[Tried]:
    """What came of requests; each alone in its batch, so that its seconds are its own."""
    if rows.is_empty():
        return []
    read = reader.load()
    opened: dict[str, tuple[Picture, ...] | str] = {}
    tried: list[tuple[dict[str, Any], tuple[Picture, ...], Returned]] = []
    for row, wanted in zip(rows.iter_rows(named=True), requests, strict=True):
        request = open_request(settings, reader, wanted, opened)
        if isinstance(request, str):
            tried.append((row, (), Returned(None, 0.0, detail=request)))
        else:
            tried.append((row, request.pictures, ask(read, [request])[0]))
    answers = score(_generations([(row, returned) for row, _, returned in tried]), reader.scorer)
    return [
        Tried(answer, pictures, returned.seconds, truths.get(answer["slice_uid"], "of the whole scan"))
        for answer, (_, pictures, returned) in zip(answers.iter_rows(named=True), tried, strict=True)
    ]


def _truths(slices: pl.DataFrame) -> dict[str, str]:
    """Truth of each slice in words."""
    rows = slices.select("slice_uid", "presence", "negative_type").unique().iter_rows()
    return {uid: presence if negative is None else f"{presence} ({negative})" for uid, presence, negative in rows}


def _generations(returned: list[tuple[dict[str, Any], Returned]]) -> pl.DataFrame:
    columns = ("task", "condition", "control", "slice_uid", "image_uid", "prompt_id", "prompt", "options")
    rows = [
        {name: row[name] for name in columns}
        | {
            "option_scores": got.generation.option_scores if got.generation else None,
            "raw_text": got.generation.raw_text if got.generation else None,
            "failure": None if got.generation else got.detail,
        }
        for row, got in returned
    ]
    schema: dict[str, pl.DataType] = {name: pl.String() for name in (*columns[:-1], "raw_text", "failure")}
    schema |= {"options": pl.List(pl.String()), "option_scores": pl.List(pl.Float64())}
    return pl.DataFrame(rows, schema=schema)
