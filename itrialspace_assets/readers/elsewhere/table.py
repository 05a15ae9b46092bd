"""Kind ``table``: a reader whose answers or marks were made elsewhere and are looked up by id. Sees no picture."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.readers.api import Generation, Ids, Mark, Need, Read, Reader, Request, Scan
from itrialspace_assets.readers.elsewhere.answers import Answer, Answers, files_of, read_answers
from itrialspace_assets.readers.elsewhere.marks import read_marks
from itrialspace_assets.readers.elsewhere.options import TableOptions
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.records.tables import TASK_OPTIONS

VERSION = "1"
#: Options that say where files lie; the files' hashes stand for them.
_PATHS = {"answers", "marks"}


@dataclass(frozen=True, eq=False)
class Tables:
    """The tables of one entry: where they lie and how they are laid out."""

    name: str
    options: TableOptions
    tasks: tuple[str, ...]
    answers: Path | None
    marks: Path | None
    fingerprints: Path

    def needs(self) -> list[Need]:
        """The tables that are missing."""
        fix = f"put it there, or change options of {self.name} in readers.yaml"
        missing = []
        if self.answers is not None and not files_of(self.answers, self.options):
            what = "<condition>/<task>_results.csv in it" if self.options.layout == "release" else "a table"
            missing.append(Need(f"{self.answers}: expected {what}, found none", fix))
        if self.marks is not None and not self.marks.is_file():
            missing.append(Need(f"{self.marks}: expected a table of marks, found none", fix))
        return missing

    def files(self) -> str:
        """Hash over the tables.

        Raises:
            ConfigError: one is missing.
        """
        if needs := self.needs():
            raise ConfigError(f"reader {self.name}: {needs[0].what}: {needs[0].fix}")
        of_answers = [] if self.answers is None else files_of(self.answers, self.options)
        of_marks = [] if self.marks is None else [self.marks]
        named = [f"{p.parent.name}/{p.name}" if self.options.layout == "release" else "answers" for p in of_answers]
        with FileHashes(self.fingerprints) as hashes:
            return digest([*zip(named, map(hashes.get, of_answers), strict=True), [hashes.get(p) for p in of_marks]])

    def prepare(self) -> None:
        """Read everything once, so that a wrong row stops the work before it begins.

        Raises:
            ConfigError: a table cannot be read, or a row says nothing sure.
        """
        content = self.files()
        _answers(self, content)
        _marks(self, content)

    def unmatched(self, slices: pl.DataFrame) -> list[str]:
        """Rows that name no slice or scan.

        Args:
            slices: ids of all slices that are cut.
        """
        content, by = self.files(), self.options.by
        known = set(slices[by].unique())
        rows = {a.file + f" row {a.row}": key[1] for key, a in _answers(self, content).items() if key[1] not in known}
        scans = set(slices["image_uid"].unique())
        lost = sorted(uid for uid in _marks(self, content) if uid not in scans)
        return [f"{row}: {by} {uid!r} names no slice that is cut" for row, uid in rows.items()] + [
            f"marks: image_uid {uid!r} names no image of a slice that is cut" for uid in lost
        ]


@lru_cache(maxsize=8)
def _answers(tables: Tables, content: str) -> Answers:
    """The answers of tables with this content, read once a process."""
    return {} if tables.answers is None else read_answers(tables.answers, tables.options, tables.tasks)


@lru_cache(maxsize=8)
def _marks(tables: Tables, content: str) -> dict[str, list[Mark]]:
    """The marks of tables with this content, read once a process."""
    return {} if tables.marks is None else read_marks(tables.marks, tables.options)


def load(tables: Tables) -> Read:
    """What looks answers up."""
    answers = _answers(tables, tables.files())

    def read(requests: Sequence[Request]) -> list[Generation]:
        return [look_up(answers, tables.options, request) for request in requests]

    return read


def look_up(answers: Answers, options: TableOptions, request: Request) -> Generation:
    """What a table says to a request; a failure where it says nothing, two things, or speaks of another picture.

    Args:
        answers: of the table.
        options: the id that joins them.
        request: with its ids.
    """
    assert request.ids is not None
    names = _names(request.ids, options)
    keys = [(request.task, n, c, request.control) for n in names for c in (request.condition, None)]
    found = [answers[key] for key in keys if key in answers]
    if not found:
        about = f"task {request.task}, condition {request.condition}, control {request.control}"
        return Generation(failure=f"no row for {options.by} {' or '.join(names)}, {about}", reason=Reason.NOT_ANSWERED)
    first = found[0]
    if any((a.text, a.scores) != (first.text, first.scores) for a in found):
        rows = ", ".join(f"{a.file} row {a.row}" for a in found)
        return Generation(failure=f"rows with different answers to one slice: {rows}", reason=Reason.NOT_ANSWERED)
    if first.picture_sha256 not in (None, request.ids.picture_sha256):
        return Generation(
            failure=f"{first.file} row {first.row} is about another picture: expected picture_sha256 "
            f"{request.ids.picture_sha256}, got {first.picture_sha256}",
            reason=Reason.NOT_ANSWERED,
        )
    return _said(first, request)


def _names(ids: Ids, options: TableOptions) -> tuple[str, ...]:
    return {
        "slice_uid": (ids.slice_uid,),
        "image_uid": (ids.image_uid,),
        "published_id": ids.published_ids,
        "case_uid": ids.case_uids,
    }[options.by]


def _said(answer: Answer, request: Request) -> Generation:
    """A row as a generation, its scores in the order in which the options were asked."""
    if answer.scores is None:
        return Generation(answer.text or "")
    by_option = dict(zip(TASK_OPTIONS[request.task], answer.scores, strict=True))
    return Generation(answer.text, tuple(by_option[option] for option in request.options))


def mark(tables: Tables, scan: Scan) -> list[Mark]:
    """The marks of a scan; none where its row says so.

    Raises:
        CaseRejected: the table has no row for the scan: it was not read.
    """
    marks = _marks(tables, tables.files())
    if scan.image_uid not in marks:
        raise CaseRejected(Reason.NOT_ANSWERED, f"no row of marks for image_uid {scan.image_uid}")
    return marks[scan.image_uid]


def _path(entry: ReaderEntry, text: str) -> Path:
    try:
        return entry.folder / Path(text).expanduser()
    except RuntimeError:
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: options: expected a home folder for ~ in {text!r}, found none; give "
            "the whole path"
        ) from None


def build(entry: ReaderEntry, options: TableOptions, place: ReaderEnvironment) -> Reader:
    """The table reader of an entry.

    Args:
        entry: of ``readers.yaml``; ``tasks`` names what the table answers, presence where it is not given.
        options: its options, checked.
        place: where hashes are remembered.

    Raises:
        ConfigError: a path begins with the home folder of nobody.
    """
    tasks = () if options.answers is None else tuple(entry.tasks or ("presence",))
    answers, marks = (None if text is None else _path(entry, text) for text in (options.answers, options.marks))
    tables = Tables(entry.name, options, tasks, answers, marks, place.fingerprints)
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, options.model_dump(mode="json", exclude=_PATHS)], 16),
            partial(load, tables),
            scorer="text" if options.threshold is None else "option_scores",
            tasks=tasks,
        ),
        mark=None if marks is None else partial(mark, tables),
        files=tables.files,
        needs=tables.needs,
        prepare=tables.prepare,
        by_id=True,
        sees=False,
        unmatched=tables.unmatched,
    )


KIND = ReaderKind("table", TableOptions, build)
