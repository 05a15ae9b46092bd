"""Builds one partition of ``generations``, ``answers`` and ``detections`` in three parts: plan, work, collect.

What was asked before, for whichever mode, is in the ledger and is not asked again. The tables are made from the ledger.
"""

import logging
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import RETRYABLE, Case, Rejection, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.case import MarkScan, ReadBatch, ReadWork, RealScan, RenderedScan, RequestToRead
from itrialspace_assets.readers.compute import at_once, require_device
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from itrialspace_assets.readers.preview import candidates, grid
from itrialspace_assets.readers.questions import (
    ScansAsked,
    ids_in,
    listed_slices,
    scans_asked,
    slices_in_parts,
    table_partition,
)
from itrialspace_assets.readers.read import FAILURES, kept_marks, seal
from itrialspace_assets.readers.read import work as read_one
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given, requests_about
from itrialspace_assets.readers.scorers import SCORERS, score
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import (
    TableWriter,
    apart,
    read_all,
    read_blocks,
    table_path,
    write_table,
)
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.synthesis import devices

VERSION = "1"
#: Tasks that every reader has a status for.
TASKS = ("presence", "lobe", "size")
#: Cost of marking a scan over that of a request; shards are balanced by it (ours: the blob reader's).
_SCAN_COST = 16.0
_LOG = logging.getLogger("itrialspace.read")
#: What a reader returned for a request: columns of the ledger and of ``generations``.
_RETURNED = ["option_scores", "outside_log_mass", "raw_text"]
#: Rows of a reader's own table that are named where they match nothing (ours); all are counted.
_LISTED = 20
#: What answers are counted by for the preview.
_CELL = ["task", "condition", "control", "answer", "status"]
#: Seconds between two lines of progress.
_TELL_S = 10.0


def options_of(reader: Reader, settings: Settings) -> Options:
    """The reader's weights, and what of the settings decides which slices are read; empty where all are.

    Missing weights are said as such: the graph is built without them, and the stage refuses to run.
    """
    chosen = {}
    try:
        weights = reader.files()
    except ConfigError:
        weights = "missing"
    if weights is not None:
        chosen["weights"] = weights
    if settings.case_ids is not None:
        chosen["case_ids"] = digest(ids_in(settings.case_ids))
    if settings.max_cases is not None:
        chosen["max_cases"] = str(settings.max_cases)
    return chosen


def make_step(source: str, reader: Reader) -> Step:
    """The step of one reader on one source; its version covers code, options, weights, words and scorer."""
    dims = ("dataset",) if source == REAL else ("mode", "dataset")
    scorer = SCORERS[reader.scorer]
    version = digest([VERSION, reader.asked, scorer.name, scorer.version], 16)
    return Step(
        (source, "predictions", reader.name), "read", dims, version, partial(options_of, reader), reader.location
    )


def _journals(settings: Settings, source: str, reader: str, partition: Partition) -> Path:
    return journal.journal_dir(settings, f"{source}/predictions/{reader}", partition_name(partition))


def unasked(settings: Settings, reader: Reader, requests: pl.DataFrame) -> pl.DataFrame:
    """Those of some requests that the ledger holds no answer to, each key once, in their order.

    Args:
        settings: where the ledger lies.
        reader: who would be asked.
        requests: rows of ``requests_of``.
    """
    known = Ledger.of(settings, reader.name, reader.revision).lookup(requests["generation_key"], [])
    left = requests.join(known, on="generation_key", how="anti", maintain_order="left")
    return left.unique("generation_key", keep="first", maintain_order=True)


def plan(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> list[str]:
    """Assign what was not asked yet to shards, in batches; the keys of the shards.

    Args:
        settings: data, outputs, number of shards, requests of a batch.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigns them.

    Raises:
        ConfigError: the data root is missing, the output folder cannot be written, or a reader's entry is wrong.
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    require_data_root(settings)
    how = readers(settings)[reader]
    if settings.ask:
        require_ready(how)
    listed = listed_slices(settings, source, partition)
    about = scans_asked(settings, source, how, partition, listed)
    parts = (
        requests_about(how, slices, about.keys)
        for slices in slices_in_parts(settings, source, how, partition, listed, "image_uid")
    )
    _restore(settings, how, table_partition(source, partition))
    if not settings.ask:
        return []
    cases = chain(_batches(settings, how, parts, about.shown, run_id), _scans(settings, how, about, run_id))
    return shards.assign_shards(settings, cases, _journals(settings, source, reader, partition), run_id)


def require_ready(reader: Reader) -> None:
    """Make sure that a reader can be asked, before any work.

    Raises:
        ConfigError: the reader lacks something; says what and how to fix it.
    """
    if needs := reader.needs():
        said = "; ".join(f"{need.what}: {need.fix}" for need in needs)
        raise ConfigError(f"reader {reader.name} is not ready: {said}")
    reader.prepare()


def _restore(settings: Settings, reader: Reader, where: dict[str, str]) -> None:
    """Put back into the ledger what only the table ``generations`` still holds, so that it is not asked again."""
    path = table_path(settings.output, "generations", reader=reader.name, **where)
    ledger = Ledger.of(settings, reader.name, reader.revision)
    try:
        for before in read_blocks("generations", path) if path.exists() else ():
            rows = before.filter(pl.col("failure").is_null(), pl.col("reader_revision") == reader.revision)
            known = ledger.lookup(rows["generation_key"], [])
            rows = rows.join(known, on="generation_key", how="anti").unique("generation_key", keep="first")
            rows = rows.with_columns(seconds=pl.lit(None, pl.Float64), asked_ns=pl.lit(0, pl.Int64))
            ledger.append(rows.select(list(SCHEMA)).to_dicts())
    except TableError:  # of another version of the table
        return
    finally:
        ledger.seal()


def to_read(requests: pl.DataFrame, shown: Mapping[str, RenderedScan | RealScan]) -> tuple[RequestToRead, ...]:
    """Requests for a worker.

    Args:
        requests: rows of ``requests_of``.
        shown: the whole scans that they are about, by their id.
    """
    columns = [name for name in RequestToRead.model_fields if name != "scan"]
    rows = requests.select(*columns, "scan_uid").iter_rows(named=True)
    return tuple(RequestToRead(scan=shown.get(row.pop("scan_uid")), **row) for row in rows)


def _batches(
    settings: Settings,
    reader: Reader,
    asked: Iterable[pl.DataFrame],
    shown: Mapping[str, RenderedScan | RealScan],
    run_id: str,
) -> Iterator[Case]:
    """What was not asked yet, in batches; requests about whole scans one scan at a time, which is opened once."""
    seen = [pl.DataFrame(schema={"generation_key": pl.String})]  # in a part before: not asked twice
    rest: pl.DataFrame | None = None
    for requests in asked:
        left = unasked(settings, reader, requests)
        left = left.join(pl.concat(seen), on="generation_key", how="anti", maintain_order="left")
        seen.append(left.select("generation_key"))
        if reader.scan_levels is None:
            rest = left if rest is None else pl.concat([rest, left])
            whole = rest.height - rest.height % settings.batch
            batches, rest = list(rest[:whole].iter_slices(settings.batch)), rest[whole:]
        else:
            batches = left.partition_by("image_uid", maintain_order=True) if left.height else []
        yield from (_batch(reader, batch, shown, run_id) for batch in batches)
    if rest is not None and rest.height:
        yield _batch(reader, rest, shown, run_id)


def _batch(reader: Reader, requests: pl.DataFrame, shown: Mapping[str, RenderedScan | RealScan], run_id: str) -> Case:
    batch = ReadBatch(reader=reader.name, requests=to_read(requests, shown))
    made_by = digest([run_id, requests["generation_key"].to_list()], 32)
    return Case(made_by, made_by, made_by, ReadWork(job=batch), float(requests.height))


def _scans(settings: Settings, reader: Reader, asked: ScansAsked, run_id: str) -> list[Case]:
    """The scans that have no marks yet; those of one host are a group."""
    return [
        Case(
            f"scan/{uid}",
            digest([run_id, scan.key, reader.revision], 32),
            asked.hosts[uid],
            ReadWork(job=MarkScan(reader=reader.name, scan=scan)),
            _SCAN_COST,
        )
        for uid, scan in asked.scans.items()
        if kept_marks(settings, reader, scan) is None
    ]


def work(settings: Settings, source: str, reader: str, partition: Partition, run_id: str, shard: str) -> None:
    """Do what ``plan`` assigned to one shard.

    Args:
        settings: data, outputs, number of workers.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigned the shards.
        shard: key of the shard, as ``plan`` gave it.

    Raises:
        ConfigError: a setting is wrong for every case, or the GPU that is asked for is not here.
        PlatformError: the disk failed, or workers end before they take a case.
    """
    if readers(settings)[reader].device == "cuda":
        require_device("cuda")
        settings = settings.model_copy(update={"workers": devices.workers(settings)})
    folder = _journals(settings, source, reader, partition)
    left = shards.assigned(folder, run_id, shard)
    told = _progress(f"{source}/predictions/{reader} [{partition_name(partition)}] {shard}", left)
    shards.run_shard(read_one, ReadWork, settings, folder, run_id, shard, told)


def estimate(
    settings: Settings, source: str, reader: str, partition: Partition, run_id: str, keys: list[str]
) -> dict[str, float | str]:
    """What the shards of a run will take, as metadata; of a reader that was never asked, the number of requests.

    Args:
        settings: where shards and the ledger lie, number of workers.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigned the shards.
        keys: the shards, from ``plan``.
    """
    how = readers(settings)[reader]
    left = shards.assigned(_journals(settings, source, reader, partition), run_id, size=_size)
    each = Ledger.of(settings, how.name, how.revision).seconds_each()
    found: dict[str, float | str] = {"estimated_requests": left}
    if each is not None:
        found["estimated_seconds"] = round(left * each / at_once(settings, how.device), 3)
    return found


def _progress(what: str, total: int) -> Callable[[int], None]:
    """A function that is told how many more batches and scans are done, and logs how many, and the time left."""
    began = last = time.monotonic()
    done = 0

    def tell(more: int) -> None:
        nonlocal done, last
        done += more
        now = time.monotonic()
        if now - last >= _TELL_S or done == total:
            last = now
            left = (total - done) * (now - began) / done
            _LOG.info("%s: %d of %d batches and scans, about %.0f s left", what, done, total, left)

    return tell


def collect(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> Result:
    """Write ``generations``, ``answers``, ``detections`` and the rejected cases from what was asked.

    Args:
        settings: data and outputs.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigned the shards.

    Raises:
        ConfigError: a reader's entry is wrong.
        TableError: a table of a stage before is missing, a request is neither answered nor failed, or a row breaks a
            rule of its table.
    """
    how = readers(settings)[reader]
    step, name, where = make_step(source, how), partition_name(partition), table_partition(source, partition)
    folder = _journals(settings, source, reader, partition)
    listed = listed_slices(settings, source, partition)
    about = scans_asked(settings, source, how, partition, listed)
    failed, rejected = _failed(folder, run_id, about.cases)
    marks = {uid: kept_marks(settings, how, scan) for uid, scan in about.scans.items()}
    unmarked = [
        uid for uid, found in marks.items() if found is None and about.cases[uid] not in {r.uid for r in rejected}
    ]
    ledger = Ledger.of(settings, how.name, how.revision)
    told = _Told()
    with (
        TableWriter(settings.output, "generations", reader=reader, **where) as generations,
        TableWriter(settings.output, "answers", reader=reader, **where) as answers,
    ):
        for slices in slices_in_parts(settings, source, how, partition, listed, "target_uid"):
            requests = requests_about(how, slices, about.keys)
            if requests.height and not generations.height:
                seal(settings, how)
                _compact(ledger)
            known = ledger.lookup(requests["generation_key"], _RETURNED)
            made = _generations(how, where, requests, known, failed)
            scored = _answers(how, where, given(how, slices, about.keys), made)
            told.add(slices, made, scored)
            generations.append(made.drop("missing"))
            answers.append(scored)
        _require_done(f"{step.name} {name}", settings, told.missing + len(unmarked))
        written = [
            generations.write(),
            answers.write(),
            write_table(settings.output, "detections", _detections(how, where, marks), reader=reader, **where),
        ]
    write_rejected(settings, step.name, name, rejected)
    new = shards.assigned(folder, run_id, size=_size)
    unmatched = _unmatched(settings, how)
    facts: dict[str, float | str] = {"cases": listed["case_uid"].n_unique()}
    facts |= {} if how.unmatched is None else {"unmatched_rows": len(unmatched)}
    return Result(
        {
            "generations": generations.height,
            "answers": answers.height,
            "detections": sum(map(len, filter(None, marks.values()))),
        },
        new,
        told.requests + len(about.scans) - new,
        told.failed + len(rejected),
        "; ".join(filter(None, (about.note, *unmatched[:_LISTED]))),
        picture=told.picture(settings.output),
        preview=told.preview(),
        facts=facts,
        retryable=told.may_pass + sum(r.reason in RETRYABLE for r in rejected),
        written=tuple(written),
    )


class _Told:
    """What is said about the answers of a partition, gathered over its parts.

    Attributes:
        failed: requests that failed.
        may_pass: those of them whose cause may pass.
    """

    def __init__(self) -> None:
        self.failed = self.may_pass = 0
        # of each key its hash, which takes a sixth of its memory; of two that differ it is the same once in 2^64
        self._keys = [pl.Series("generation_key", [], pl.UInt64)]
        self._missing = self._keys.copy()
        self._counts: list[pl.DataFrame] = []
        self._shown: list[pl.DataFrame] = []

    def add(self, slices: pl.DataFrame, generations: pl.DataFrame, answers: pl.DataFrame) -> None:
        """Gather a part.

        Args:
            slices: its slices.
            generations: what was returned for them, with ``missing``.
            answers: what was made of that.
        """
        lost = generations["failure"].drop_nulls()
        self.failed += len(lost)
        self.may_pass += sum(text.startswith(tuple(r.value for r in RETRYABLE)) for text in lost)
        self._keys.append(generations["generation_key"].hash().unique())
        self._missing.append(generations.filter("missing")["generation_key"].hash().unique())
        self._counts.append(answers.group_by(_CELL).agg(pl.len().alias("answers")))
        self._shown.append(apart(candidates(slices, answers)))

    @property
    def requests(self) -> int:
        """Different requests."""
        return pl.concat(self._keys).n_unique()

    @property
    def missing(self) -> int:
        """Requests that were neither answered nor failed."""
        return pl.concat(self._missing).n_unique()

    def picture(self, root: Path) -> bytes | None:
        """Some slices with truth and answer."""
        return grid(root, pl.concat(self._shown)) if self._shown else None

    def preview(self) -> str:
        """Markdown: how often each answer was given."""
        if not self._counts:
            return ""
        counts = pl.concat(self._counts).group_by(_CELL).agg(pl.col("answers").sum()).sort(_CELL)
        return pictures.markdown(counts) if counts.height else ""


def _unmatched(settings: Settings, reader: Reader) -> list[str]:
    """Rows of a reader's own table that name no slice that is cut so far, of any partition; a line each."""
    if reader.unmatched is None:
        return []
    names = ["slice_uid", "image_uid", "published_id", "case_uid"]
    return reader.unmatched(read_all(settings.output, "slices").select(names).unique())


def _compact(ledger: Ledger) -> None:
    try:
        ledger.compact()
    except TableError as error:  # another partition of the reader does it
        if "under way" not in str(error):
            raise


def _size(case: dict[str, Any]) -> int:
    """Requests and scans of an assigned case."""
    job = case["payload"]["job"]
    return len(job["requests"]) if job["what"] == "requests" else 1


def _failed(folder: Path, run_id: str, cases: Mapping[str, str]) -> tuple[pl.DataFrame, list[Rejection]]:
    """Requests that failed in a run (key and failure), and the cases of scans that were rejected."""
    entries = journal.of_run(folder, run_id)
    rows = [
        (f["generation_key"], f"{f['reason']}: {f['detail']}")
        for e in entries
        for f in e.get("rows", {}).get(FAILURES, ())
    ]
    whole = {e["uid"]: f"{e['reason']}: {e['detail']}" for e in entries if "reason" in e}
    rejected = [
        Rejection(cases[uid], journal.reason_of(e), e["detail"])
        for e in entries
        if "reason" in e and (uid := e["uid"].removeprefix("scan/")) in cases
    ]
    for case in shards.all_of(ReadWork, folder, run_id) if whole else ():
        payload = case.payload
        if case.uid in whole and isinstance(payload, ReadWork) and isinstance(payload.job, ReadBatch):
            rows += [(r.generation_key, whole[case.uid]) for r in payload.job.requests]
    schema = {"generation_key": pl.String, "failure": pl.String}
    unique = {r.uid: r for r in rejected}
    return pl.DataFrame(rows, schema=schema, orient="row").unique("generation_key", keep="last"), list(unique.values())


def _generations(
    reader: Reader, where: dict[str, str], requests: pl.DataFrame, known: pl.DataFrame, failed: pl.DataFrame
) -> pl.DataFrame:
    """Rows of ``generations``, and in ``missing`` whether a request was neither answered nor failed."""
    found = requests.join(known.with_columns(answered=pl.lit(True)), on="generation_key", how="left")
    found = found.join(failed, on="generation_key", how="left")
    answered = pl.col("answered").fill_null(False)
    return found.with_columns(
        failure=pl.when(~answered).then(pl.col("failure")),
        missing=~answered & pl.col("failure").is_null(),
        reader=pl.lit(reader.name),
        reader_revision=pl.lit(reader.revision),
        seed=pl.lit(reader.seed, pl.Int64),
        **{name: pl.lit(value) for name, value in where.items()},
    ).select(*TABLES["generations"].schema, "missing")


def _require_done(where: str, settings: Settings, missing: int) -> None:
    if missing and not settings.ask:
        raise TableError(f"{where}: {missing} requests were never asked; ask them with `its run --only read`")
    if missing:
        raise TableError(f"{where}: {missing} requests were not finished; run it again")


def _answers(reader: Reader, where: dict[str, str], seen: pl.DataFrame, generations: pl.DataFrame) -> pl.DataFrame:
    """Rows of ``answers``; a task that the reader does not do is ``unsupported`` for everything that it was shown."""
    schema = TABLES["answers"].schema
    scored = score(generations, reader.scorer).select(list(schema))
    rule = SCORERS[reader.scorer]
    left_out = pl.DataFrame({"task": [t for t in TASKS if t not in reader.tasks]}, schema={"task": pl.String})
    unsupported = seen.join(left_out, how="cross")
    constant = {
        "reader": reader.name,
        "scorer": rule.name,
        "scorer_version": rule.version,
        "status": "unsupported",
        **where,
    }
    return pl.concat(
        [
            scored,
            unsupported.with_columns(
                **{name: pl.lit(value) for name, value in constant.items()},
                **{name: pl.lit(None, schema[name]) for name in ("generation_key", "answer", "score")},
                reason=pl.lit("the reader does not do this task"),
            ).select(list(schema)),
        ]
    )


def _detections(
    reader: Reader, where: dict[str, str], marks: dict[str, list[dict[str, Any]] | None]
) -> list[dict[str, Any]]:
    same = {"reader": reader.name, "reader_revision": reader.revision, **where}
    return [
        {"image_uid": uid, "mark": rank, **mark, **same}
        for uid, found in marks.items()
        for rank, mark in enumerate(found or ())
    ]
