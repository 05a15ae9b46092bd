"""Builds one partition of ``generations``, ``answers`` and ``detections`` in three parts: plan, work, collect.

What was asked before, for whichever mode, is in the ledger and is not asked again. The tables are made from the ledger.
"""

import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError, MissingTable, TableError
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import RETRYABLE, Case, Rejection, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.case import MarkScan, ReadBatch, ReadWork, RealScan, RenderedScan, RequestToRead
from itrialspace_assets.readers.compute import at_once, require_device
from itrialspace_assets.readers.ledger import SCHEMA, Ledger
from itrialspace_assets.readers.preview import grid
from itrialspace_assets.readers.read import FAILURES, kept_marks, seal
from itrialspace_assets.readers.read import work as read_one
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.readers.requests import given, requests_of
from itrialspace_assets.readers.scorers import SCORERS, score
from itrialspace_assets.records.layout import REAL, ids_of
from itrialspace_assets.records.store import look_up, read_all, read_table, write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.slices.case import RenderedImage
from itrialspace_assets.synthesis import devices

VERSION = "1"
#: Tasks that every reader has a status for.
TASKS = ("presence", "lobe", "size")
#: Cost of marking a scan over that of a request; shards are balanced by it (ours: the blob reader's).
_SCAN_COST = 16.0
_LOG = logging.getLogger("itrialspace.read")
#: Rows of a reader's own table that are named where they match nothing (ours); all are counted.
_LISTED = 20
#: Seconds between two lines of progress.
_TELL_S = 10.0


@dataclass(frozen=True)
class Questions:
    """All that a reader is asked in a partition.

    Attributes:
        slices: rows of the table ``slices``.
        given: what it is shown (see ``requests.given``).
        requests: see ``requests_of``.
        shown: the whole scans that requests are about, by their id; empty for a reader of slices.
        scans: the whole scans that it marks, by their id.
        hosts: what scans of one host are grouped by.
        cases: a case of each whole scan.
        note: what was left out.
    """

    slices: pl.DataFrame
    given: pl.DataFrame
    requests: pl.DataFrame
    shown: dict[str, RenderedScan | RealScan]
    scans: dict[str, RenderedScan | RealScan]
    hosts: dict[str, str]
    cases: dict[str, str]
    note: str


def table_partition(source: str, partition: Partition) -> dict[str, str]:
    """Values of the partition columns of ``slices`` and the tables made from it, for a partition of the graph."""
    return {"source": source, "mode": partition.get("mode", REAL), "dataset": partition["dataset"]}


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
        chosen["case_ids"] = digest(_listed(settings.case_ids))
    if settings.max_cases is not None:
        chosen["max_cases"] = str(settings.max_cases)
    return chosen


def _listed(path: Path) -> list[str]:
    """Ids of a list file, sorted; blank lines and lines that start with # do not count.

    Raises:
        ConfigError: there is no such file, or it is no text.
    """
    try:
        lines = ids_of(path.read_text(encoding="utf-8-sig"))
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(f"ITRIALSPACE_CASE_IDS={path}: expected a file with one id a line, got: {error}") from None
    return sorted({line.strip() for line in lines} - {""})


def chosen_slices(settings: Settings, slices: pl.DataFrame) -> pl.DataFrame:
    """The slices that are read: of the cases, slices or published ids of ``case_ids``, of ``max_cases`` cases."""
    if settings.case_ids is not None:
        listed = _listed(settings.case_ids)
        named = slices.filter(
            pl.any_horizontal(pl.col(c).is_in(listed) for c in ("case_uid", "slice_uid", "published_id"))
        )
        slices = slices.filter(pl.col("target_uid").is_in(named["target_uid"].unique().implode()))
    if settings.max_cases is not None:
        first = slices["case_uid"].unique().sort().head(settings.max_cases)
        slices = slices.filter(pl.col("case_uid").is_in(first.implode()))
    return slices


def questions(settings: Settings, source: str, reader: Reader, partition: Partition) -> Questions:
    """What a reader is asked in a partition, whether it was asked before or not.

    Args:
        settings: where tables and real CTs lie, and which slices are read.
        source: ``real`` or a renderer's name.
        reader: the reader; need not be loaded.
        partition: dataset, and of a rendered source the mode.

    Raises:
        ConfigError: no slice of the reader's profile was cut, or a list of ids cannot be read.
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    where = table_partition(source, partition)
    slices = chosen_slices(settings, read_table(settings.output, "slices", **where))
    if (reader.mark is None and reader.scan_levels is None) or slices.is_empty():
        note = "" if slices.height else "no slice in this partition"
        return Questions(slices, given(reader, slices, {}), requests_of(reader, slices), {}, {}, {}, {}, note)
    if source == REAL:
        scans, hosts = _real_scans(settings, partition["dataset"])
    else:
        scans, hosts = _rendered_scans(settings, where)
    if reader.by_id:  # equal scans of two ids may get different marks
        scans = {uid: s.model_copy(update={"key": digest([s.key, uid], 32)}) for uid, s in scans.items()}
    whole = {uid: scan for uid, scan in scans.items() if isinstance(scan, RealScan) or scan.image.kept != "planes"}
    of_case = slices.select("case_uid", "image_uid").unique().sort("case_uid", "image_uid")
    for image in of_case["image_uid"].unique():
        look_up(scans, image, "cts")
    # marks on lesion-free images alone would all be false: a case's scans are marked where all of them are whole
    kept = of_case.filter(pl.col("image_uid").is_in(list(whole)).all().over("case_uid"))
    cases = dict(kept.select("image_uid", "case_uid").unique("image_uid", keep="first", maintain_order=True).rows())
    note = (
        ""
        if len(cases) == of_case["image_uid"].n_unique()
        else ("no marks or answers on whole scans: only slices of them were kept (ITRIALSPACE_CTS=slices)")
    )
    known = {uid: whole[uid] for uid in cases}
    keys = {uid: scan.key for uid, scan in known.items()}
    return Questions(
        slices,
        given(reader, slices, keys),
        requests_of(reader, slices, keys),
        {} if reader.scan_levels is None else known,
        {} if reader.mark is None else known,
        hosts,
        cases,
        note,
    )


def _real_scans(settings: Settings, dataset: str) -> tuple[dict[str, RenderedScan | RealScan], dict[str, str]]:
    """The scans of a dataset by their id, and what scans are grouped by: the scan itself."""
    profiles = read_table(settings.output, "profiles", dataset=dataset).unique("scan_uid", keep="first")
    scans: dict[str, RenderedScan | RealScan] = {}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for uid, ct_path in profiles.select("scan_uid", "ct_path").iter_rows():
            key = digest([ct_hash(hashes, settings.data, ct_path)], 32)
            scans[uid] = RealScan(image_uid=uid, key=key, ct_path=ct_path)
    return scans, {uid: uid for uid in scans}


def _rendered_scans(
    settings: Settings, where: dict[str, str]
) -> tuple[dict[str, RenderedScan | RealScan], dict[str, str]]:
    """The images of a partition by their id, and what scans of one host are grouped by: the lesion-free twin."""
    cts = read_table(settings.output, "cts", **where).select(list(RenderedImage.model_fields))
    images = [RenderedImage(**row) for row in cts.iter_rows(named=True)]
    scans: dict[str, RenderedScan | RealScan] = {
        i.image_uid: RenderedScan(image_uid=i.image_uid, key=digest([i.sha256, i.twin_uid], 32), image=i)
        for i in images
    }
    return scans, {i.image_uid: i.twin_uid for i in images}


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
    known = Ledger.of(settings, reader.name, reader.revision).lookup(requests["generation_key"])
    left = requests.join(known.select("generation_key"), on="generation_key", how="anti", maintain_order="left")
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
    asked = questions(settings, source, how, partition)
    _restore(settings, how, table_partition(source, partition), asked.requests)
    if not settings.ask:
        return []
    cases = _batches(settings, how, asked, run_id) + _scans(settings, how, asked, run_id)
    return shards.assign_shards(settings, cases, _journals(settings, source, reader, partition), run_id)


def require_ready(reader: Reader) -> None:
    """Make sure that a reader can be asked, before any work.

    Raises:
        ConfigError: the reader lacks something; says what and how to mend it.
    """
    if needs := reader.needs():
        said = "; ".join(f"{need.what}: {need.mend}" for need in needs)
        raise ConfigError(f"reader {reader.name} is not ready: {said}")
    reader.prepare()


def _restore(settings: Settings, reader: Reader, where: dict[str, str], requests: pl.DataFrame) -> None:
    """Put back into the ledger what only the table ``generations`` still holds, so that it is not asked again."""
    try:
        before = read_table(settings.output, "generations", reader=reader.name, **where)
    except MissingTable:
        return
    except TableError:  # of another version of the table
        return
    lost = unasked(settings, reader, requests).select("generation_key")
    rows = before.filter(pl.col("failure").is_null()).join(lost, on="generation_key", how="semi")
    rows = rows.with_columns(seconds=pl.lit(None, pl.Float64), asked_ns=pl.lit(0, pl.Int64)).select(list(SCHEMA))
    ledger = Ledger.of(settings, reader.name, reader.revision)
    ledger.append(rows.to_dicts())
    if rows.height:
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


def _batches(settings: Settings, reader: Reader, asked: Questions, run_id: str) -> list[Case]:
    """What was not asked yet, in batches; requests about whole scans one scan at a time, which is opened once."""
    left = unasked(settings, reader, asked.requests)
    if reader.scan_levels is None or left.is_empty():
        parts = list(left.iter_slices(settings.batch))
    else:
        parts = left.partition_by("image_uid", maintain_order=True)
    cases = []
    for part in parts:
        batch = ReadBatch(reader=reader.name, requests=to_read(part, asked.shown))
        made_by = digest([run_id, part["generation_key"].to_list()], 32)
        cases.append(Case(made_by, made_by, made_by, ReadWork(job=batch), float(part.height)))
    return cases


def _scans(settings: Settings, reader: Reader, asked: Questions, run_id: str) -> list[Case]:
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
    left = len(shards.read_shard(ReadWork, folder, run_id, shard))
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
    left = shards.assigned(_journals(settings, source, reader, partition), run_id, _size)
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
    asked = questions(settings, source, how, partition)
    failed, rejected = _failed(folder, run_id, asked)
    ledger = Ledger.of(settings, how.name, how.revision)
    if asked.requests.height:
        seal(settings, how)
        _compact(ledger)
    generations = _generations(how, where, asked.requests, ledger.lookup(asked.requests["generation_key"]), failed)
    marks = {uid: kept_marks(settings, how, scan) for uid, scan in asked.scans.items()}
    unmarked = [
        uid for uid, found in marks.items() if found is None and asked.cases[uid] not in {r.uid for r in rejected}
    ]
    _require_done(f"{step.name} {name}", settings, generations, unmarked)
    answers = _answers(how, where, asked.given, generations)
    written = [
        write_table(settings.output, table, rows, reader=reader, **where)
        for table, rows in (
            ("generations", generations.drop("missing")),
            ("answers", answers),
            ("detections", _detections(how, where, marks)),
        )
    ]
    write_rejected(settings, step.name, name, rejected)
    new = shards.assigned(folder, run_id, _size)
    unmatched = _unmatched(settings, how)
    facts: dict[str, float | str] = {"cases": asked.slices["case_uid"].n_unique()}
    facts |= {} if how.unmatched is None else {"unmatched_rows": len(unmatched)}
    lost = generations.filter(pl.col("failure").is_not_null())
    may_pass = sum(text.startswith(tuple(r.value for r in RETRYABLE)) for text in lost["failure"])
    return Result(
        {
            "generations": generations.height,
            "answers": answers.height,
            "detections": sum(map(len, filter(None, marks.values()))),
        },
        new,
        asked.requests["generation_key"].n_unique() + len(asked.scans) - new,
        lost.height + len(rejected),
        "; ".join(filter(None, (asked.note, *unmatched[:_LISTED]))),
        picture=grid(settings.output, asked.slices, answers),
        preview=_preview(answers),
        facts=facts,
        retryable=may_pass + sum(r.reason in RETRYABLE for r in rejected),
        written=tuple(written),
    )


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


def _failed(folder: Path, run_id: str, asked: Questions) -> tuple[pl.DataFrame, list[Rejection]]:
    """Requests that failed in a run (key and failure), and the cases of scans that were rejected."""
    entries = journal.of_run(folder, run_id)
    rows = [
        (f["generation_key"], f"{f['reason']}: {f['detail']}")
        for e in entries
        for f in e.get("rows", {}).get(FAILURES, ())
    ]
    whole = {e["uid"]: f"{e['reason']}: {e['detail']}" for e in entries if "reason" in e}
    rejected = [
        Rejection(asked.cases[uid], journal.reason_of(e), e["detail"])
        for e in entries
        if "reason" in e and (uid := e["uid"].removeprefix("scan/")) in asked.cases
    ]
    for case in shards.all_of(ReadWork, folder, run_id) if whole else ():
        if case.uid in whole and isinstance(case.payload.job, ReadBatch):  # type: ignore[attr-defined]
            rows += [(r.generation_key, whole[case.uid]) for r in case.payload.job.requests]  # type: ignore[attr-defined]
    schema = {"generation_key": pl.String, "failure": pl.String}
    unique = {r.uid: r for r in rejected}
    return pl.DataFrame(rows, schema=schema, orient="row").unique("generation_key", keep="last"), list(unique.values())


def _generations(
    reader: Reader, where: dict[str, str], requests: pl.DataFrame, known: pl.DataFrame, failed: pl.DataFrame
) -> pl.DataFrame:
    """Rows of ``generations``, and in ``missing`` whether a request was neither answered nor failed."""
    returned = ("option_scores", "outside_log_mass", "raw_text")
    found = requests.join(
        known.select("generation_key", *returned, answered=pl.lit(True)), on="generation_key", how="left"
    )
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


def _require_done(where: str, settings: Settings, generations: pl.DataFrame, unmarked: list[str]) -> None:
    missing = generations.filter("missing")["generation_key"].n_unique() + len(unmarked)
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


def _preview(answers: pl.DataFrame) -> str:
    if answers.is_empty():
        return ""
    return pictures.markdown(
        answers.group_by("task", "condition", "control", "answer", "status")
        .agg(pl.len().alias("answers"))
        .sort("task", "condition", "control", "answer")
    )
