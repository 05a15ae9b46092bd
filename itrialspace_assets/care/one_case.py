"""Runs one case again through insertion, rendering, slicing and reading, and writes down all that it read and made.

Works in a scratch folder beside the outputs and compares with what the tables hold. Of the output folder only the
case's own files are written, where one is missing or damaged, and its trace; no table, journal, record or ledger is.
"""

import json
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.fingerprints import hash_file, replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Case, Output
from itrialspace_assets.insertion.build import insertion_cases
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.trying import try_case
from itrialspace_assets.records.store import read_file, read_table, table_files, table_path
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.slices.build import slice_cases
from itrialspace_assets.slices.cut import cut_case
from itrialspace_assets.synthesis.build import render_cases
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.synthesis.rendering import render_case

#: What of the output folder a case reads, beside its own files: shown in the scratch folder by links.
_READ = ("tables", "store/hosts")
#: Columns that name a request, and those of which a trace of reading is made.
_REQUEST = ("slice_uid", "task", "condition", "control")
_ANSWER = (*_REQUEST, "prompt", "raw_text", "options", "option_scores", "answer", "status")


@dataclass
class Stage:
    """A stage of a case: what it read, what it made, and how that compares with the tables.

    Attributes:
        stage: the asset.
        read: what the case is made from, as the stage's worker gets it.
        rows: rows by table.
        files: files below the output folder with their SHA-256.
        rejected: why the case was rejected; empty if it was not.
        differs: what the tables hold otherwise; empty if all is equal.
        restored: files that were missing or damaged, and were put back.
    """

    stage: str
    read: dict[str, Any] = field(default_factory=dict)
    rows: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    files: dict[str, str] = field(default_factory=dict)
    rejected: str = ""
    differs: list[str] = field(default_factory=list)
    restored: list[str] = field(default_factory=list)
    seconds: float = 0.0


@dataclass(frozen=True)
class Trace:
    """All stages of a case, and the file that holds them."""

    case_uid: str
    stages: list[Stage]
    path: Path


def rerun(settings: Settings, case_uid: str) -> Trace:
    """Run a case again and write its trace.

    Args:
        settings: as the case was made with; other settings give other files, and the trace says so.
        case_uid: the case.

    Raises:
        ConfigError: no mode plans such a case.
        TableError: a table of a stage before is missing.
    """
    mode, dataset = _where(settings, case_uid)
    pair = {"mode": mode, "dataset": dataset}
    stages = []
    with _scratch(settings) as scratch:
        insert = _work(case_uid, "inserted_masks", insertion_cases(scratch, pair), insert_case, scratch)
        stages.append(_compared(settings, scratch, insert, pair))
        for renderer in enabled(settings):
            of = {"source": renderer.name, **pair}
            made = _work(
                case_uid, f"{renderer.name}/synthetic_cts", render_cases(scratch, renderer, pair), render_case, scratch
            )
            stages.append(_compared(settings, scratch, made, of))
            cut = _work(
                case_uid, f"{renderer.name}/eval_slices", slice_cases(scratch, renderer.name, pair), cut_case, scratch
            )
            stages.append(_compared(settings, scratch, cut, of))
            for name, reader in readers(settings).items():
                if cut.rows and reader.reads(renderer.name):
                    stages.append(_asked(settings, scratch, case_uid, renderer.name, name, of))
    path = settings.output / "cases" / f"{case_uid.replace('/', '_')}.trace.json"
    content = {"case_uid": case_uid, **pair, "stages": [_plain(stage) for stage in stages]}
    replace_file(path, (json.dumps(content, indent=1, default=str) + "\n").encode())
    return Trace(case_uid, stages, path)


def _plain(stage: Stage) -> dict[str, Any]:
    """A stage as JSON, without its seconds: equal cases have equal traces."""
    return {name: value for name, value in vars(stage).items() if name != "seconds"}


def _where(settings: Settings, case_uid: str) -> tuple[str, str]:
    """Mode and host dataset of a case."""
    known: list[str] = []
    for path in table_files(settings.output, "cases"):
        cases = read_file("cases", path, ["case_uid", "mode", "host_dataset"])
        own = cases.filter(pl.col("case_uid") == case_uid)
        if own.height:
            return str(own["mode"][0]), str(own["host_dataset"][0])
        known += cases["case_uid"].head(2).to_list()
    some = f"for example {', '.join(known[:3])}" if known else "but no trial is planned; run `its run --to plan`"
    raise ConfigError(f"--case {case_uid!r}: expected the case_uid of a planned case, {some}")


@contextmanager
def _scratch(settings: Settings) -> Iterator[Settings]:
    """Settings with an output folder of its own that shows tables and hosts; gone afterwards."""
    work = settings.output / "work"
    work.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=work, prefix=".tmp-case-") as folder:
        root = Path(folder)
        for name in _READ:
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            (root / name).symlink_to((settings.output / name).absolute())
        yield settings.model_copy(update={"output_dir": root, "data_dir": settings.data, "workers": 1})


def _work(
    case_uid: str, stage: str, cases: Iterable[Case], work: Callable[[Any, Settings], Output], scratch: Settings
) -> Stage:
    """One case through one stage.

    Args:
        case_uid: the case.
        stage: the asset.
        cases: all cases of its partition.
        work: what the stage does with a case.
        scratch: from ``_scratch``.
    """
    case = next((c for c in cases if c.uid == case_uid), None)
    if case is None:
        return Stage(stage, rejected="the stage before has no such case in its table; run it (its run)")
    done = Stage(stage, read=case.payload.model_dump(mode="json"))
    began = time.perf_counter()
    try:
        made = work(case.payload, scratch)
    except CaseRejected as error:
        done.rejected = f"{error.reason.value}: {error.detail}"
        return done
    done.seconds = time.perf_counter() - began
    done.rows, done.files = made.rows, made.files
    done.rejected = "; ".join(f"{r.reason.value}: {r.detail}" for r in made.rejected)
    return done


def _compared(settings: Settings, scratch: Settings, stage: Stage, where: dict[str, str]) -> Stage:
    """Compare a stage with the tables; put back files that are missing or damaged where the tables agree.

    Args:
        settings: the outputs.
        scratch: where the stage wrote.
        stage: from ``_work``.
        where: partition of its tables.
    """
    for table, rows in stage.rows.items():
        part = {d: where[d] for d in TABLES[table].partition}
        key = list(TABLES[table].key)
        mine = TABLES[table].frame(rows).sort(key)
        kept = read_table(settings.output, table, **part).filter(pl.col("case_uid").is_in(mine["case_uid"].unique()))
        if not mine.equals(kept.sort(key)):
            stage.differs.append(f"{table}: the {mine.height} rows made now are not the {kept.height} of the table")
    for name, sha in stage.files.items():
        path = settings.output / name
        if stage.differs or (path.exists() and hash_file(path) == sha):
            continue
        replace_file(path, (scratch.output / name).read_bytes())
        stage.restored.append(name)
    return stage


def _asked(
    settings: Settings, scratch: Settings, case_uid: str, source: str, reader: str, where: dict[str, str]
) -> Stage:
    """Ask a reader all that it is asked about a case, on the pictures that were cut now.

    Args:
        settings: the outputs.
        scratch: where the pictures were cut.
        case_uid: the case.
        source: name of the renderer.
        reader: name of an enabled reader.
        where: source, mode and dataset.
    """
    stage = Stage(f"{source}/predictions/{reader}")
    try:
        tried = try_case(scratch, reader, case_uid, source, {}, marks=False)
    except (CaseRejected, ConfigError) as error:
        stage.rejected = str(error)
        return stage
    stage.seconds = sum(request.seconds for request in tried.requests)
    stage.rows = {"answers": [{name: request.row[name] for name in _ANSWER} for request in tried.requests]}
    if not table_path(settings.output, "answers", reader=reader, **where).exists():
        stage.differs.append("answers: there is no table yet; run the stage read")
        return stage
    kept = read_table(settings.output, "answers", [*_REQUEST, "answer", "status"], reader=reader, **where)
    before = {row[:4]: row[4:] for row in kept.iter_rows()}
    other = [
        row
        for row in stage.rows["answers"]
        if before.get(tuple(row[name] for name in _REQUEST)) != (row["answer"], row["status"])
    ]
    if other:
        stage.differs.append(f"answers: {len(other)} of {len(stage.rows['answers'])} are not those of the table")
    return stage
