"""Runs one function over many cases: in parallel, resumable, with bad cases put aside.

A case is committed by one line in its journal, written after its files are in place. A rerun skips
what is committed under the same input hash and whose files are intact. Results do not depend on
the number of workers, on order, or on interruptions. What the function does is not known here.
"""

import errno
import json
import multiprocessing
import os
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, field, replace
from multiprocessing import connection
from pathlib import Path
from typing import Any

from itrialspace_assets.errors import CaseRejected, ConfigError, PlatformError, Reason, TableError
from itrialspace_assets.fingerprints import FileHashes, replace_file
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import write_table


@dataclass(frozen=True)
class Case:
    """A unit of work. Cases of one ``group`` share inputs and run one after another in a worker."""

    uid: str
    input_hash: str
    group: str
    payload: dict[str, Any]  # JSON-able
    cost: float = 1.0  # relative to other cases of its stage; shards are dealt by it


@dataclass(frozen=True)
class Output:
    """What a case made: rows by table, and files below the output folder with their SHA-256."""

    rows: dict[str, list[dict[str, Any]]]
    files: dict[str, str] = field(default_factory=dict)
    put_aside: list["Rejection"] = field(default_factory=list)  # parts of a case that otherwise went well
    measured: dict[str, float] = field(default_factory=dict)  # what it took; kept in the journal, never in a table


@dataclass(frozen=True)
class Rejection:
    """A case (or one nodule of it, ``nodule_idx`` >= 0) that was put aside, and why."""

    uid: str
    reason: Reason
    detail: str
    nodule_idx: int = -1


@dataclass(frozen=True)
class Collected:
    """All cases of a partition after its shards ran."""

    rows: dict[str, list[dict[str, Any]]]
    rejected: list[Rejection]
    missing: list[str]
    files: dict[str, str]
    #: Greatest of each measure, and the mean seconds of a case.
    measured: dict[str, float] = field(default_factory=dict, compare=False)


Work = Callable[[dict[str, Any], Settings], Output]

_CHUNK = 8  # cases of one group per task: small enough to spread, large enough to share a host


def journal_dir(settings: Settings, stage: str, partition: str) -> Path:
    """Folder of a partition's journals; stage and partition as in the tables' folders."""
    return settings.output / "work" / stage.replace("/", "~") / partition.replace("/", "~")


def _entries(folder: Path) -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob("*.jsonl")):
        for line in path.read_text(encoding="utf-8").splitlines():
            try:
                yield json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed run


#: Rejections that another try may mend: they end a run, not a case.
TRANSIENT = (Reason.UNEXPECTED, Reason.WORKER_KILLED, Reason.OUT_OF_MEMORY)
#: A full, failing or closed disk is nobody's case: the run stops. What cannot be read is told by the readers.
_DISK = (errno.ENOSPC, errno.EIO, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


def _committed(settings: Settings, cases: Sequence[Case], folder: Path) -> dict[str, dict[str, Any]]:
    """Journal entry of every case that is committed under its present input hash and intact.

    What was done beats what was put aside, in whichever run.
    """
    wanted = {case.uid: case.input_hash for case in cases}
    done: dict[str, dict[str, Any]] = {}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for entry in _entries(folder):
            uid = str(entry.get("uid"))
            if wanted.get(uid) != entry.get("input_hash"):
                continue
            if "reason" in entry:
                done.setdefault(uid, entry)
            elif hashes.intact(settings.output, entry["files"]):
                done[uid] = entry
    return done


def pending(settings: Settings, cases: Sequence[Case], folder: Path) -> list[Case]:
    """The cases that still have to run; rejected ones only if their input changed or the cause may have passed."""
    done = _committed(settings, cases, folder)
    return [c for c in cases if c.uid not in done or done[c.uid].get("reason") in TRANSIENT]


def unsettled(made: "Collected") -> int:
    """How many cases were put aside for a cause that may pass; their partition is not up to date."""
    return sum(r.reason in TRANSIENT for r in made.rejected)


def run(
    work: Work, cases: Sequence[Case], settings: Settings, journal: Path, progress: Callable[[int], None] | None = None
) -> None:
    """Run ``work`` over ``cases`` and commit each in ``journal`` as it ends; ``progress`` is told how many.

    A ``CaseRejected`` quarantines its case. Any other exception, or a killed worker, is tried once
    more and then quarantined too. Only configuration errors and defects of this module escape.
    """
    if not cases:
        return
    journal.parent.mkdir(parents=True, exist_ok=True)
    with journal.open("a", encoding="utf-8") as out:

        def commit(entries: Iterable[dict[str, Any]]) -> None:
            lines = [json.dumps(entry, allow_nan=False, separators=(",", ":")) + "\n" for entry in entries]
            out.writelines(lines)
            out.flush()
            if progress:
                progress(len(lines))

        if settings.workers == 1:
            for chunk in _chunks(cases):
                for case in chunk:
                    commit([_run_one(work, case, settings)])
            return
        left = deque(_chunks(cases))
        rounds_without_work = 0
        while left:
            before = len(left)
            for case in _run_pool(work, left, settings, commit):  # a worker died on one of these: one at a time
                if _run_pool(work, deque([[case]]), settings, commit):
                    commit([_entry(case, CaseRejected(Reason.WORKER_KILLED, "the worker died twice on this case"), 0.0)])  # fmt: skip
            rounds_without_work = rounds_without_work + 1 if len(left) == before else 0
            if rounds_without_work == 3:
                raise PlatformError("worker processes end before they take a case; see the messages above, or set ITRIALSPACE_WORKERS=1 to see why")  # fmt: skip


def collect(settings: Settings, cases: Sequence[Case], folder: Path) -> Collected:
    """Gather what the journals of a partition hold for exactly these cases, sorted by case."""
    done = _committed(settings, cases, folder)
    rows: dict[str, list[dict[str, Any]]] = {}
    rejected, missing = [], []
    files: dict[str, str] = {}
    measured: dict[str, float] = {}
    seconds = [float(entry["seconds"]) for entry in done.values() if "reason" not in entry]
    for uid in sorted(case.uid for case in cases):
        entry = done.get(uid)
        if entry is None:
            missing.append(uid)
        elif "reason" in entry:
            rejected.append(Rejection(uid, Reason(entry["reason"]), entry["detail"]))
        else:
            files.update(entry["files"])
            for name, value in entry.get("measured", {}).items():
                measured[name] = max(value, measured.get(name, value))
            rejected += [
                Rejection(r["uid"], Reason(r["reason"]), r["detail"], r["nodule_idx"])
                for r in entry.get("put_aside", ())
            ]
            for table, values in entry["rows"].items():
                rows.setdefault(table, []).extend(values)
    if seconds:
        measured["seconds_a_case"] = round(sum(seconds) / len(seconds), 3)
    return Collected(rows, rejected, missing, files, measured)


def process(
    work: Work, cases: Sequence[Case], settings: Settings, stage: str, partition: str, run_id: str
) -> tuple[Collected, int]:
    """Bring every case of a partition up to date in this process: what it holds, how many cases ran.

    Raises:
        TableError: a case is neither done nor put aside.
    """
    folder = journal_dir(settings, stage, partition)
    todo = pending(settings, cases, folder)
    run(work, todo, settings, folder / f"{run_id}-0.jsonl")
    made = collect(settings, cases, folder)
    require_all(made, f"{stage} {partition}")
    return made, len(todo)


def write_rejected(settings: Settings, stage: str, partition: str, rejected: Sequence[Rejection]) -> None:
    """Write this partition's part of ``rejected_cases`` (also when empty: absence means not run)."""
    write_table(
        settings.output,
        "rejected_cases",
        [
            {"stage": stage, "partition": partition, "case_uid": r.uid, "nodule_idx": r.nodule_idx,
             "reason": r.reason.value, "detail": r.detail}
            for r in rejected
        ],
        stage=stage,
        partition=partition,
    )  # fmt: skip


def _chunks(cases: Sequence[Case]) -> Iterator[list[Case]]:
    groups: dict[str, list[Case]] = {}
    for case in cases:
        groups.setdefault(case.group, []).append(case)
    for members in groups.values():
        for start in range(0, len(members), _CHUNK):
            yield members[start : start + _CHUNK]


def _entry(case: Case, result: Output | CaseRejected, seconds: float) -> dict[str, Any]:
    base: dict[str, Any] = {"uid": case.uid, "input_hash": case.input_hash, "seconds": round(seconds, 3)}
    if isinstance(result, CaseRejected):
        return base | {"reason": result.reason.value, "detail": result.detail}
    if result.put_aside:
        base["put_aside"] = [
            {"uid": r.uid, "reason": r.reason.value, "detail": r.detail, "nodule_idx": r.nodule_idx}
            for r in result.put_aside
        ]
    if result.measured:
        base["measured"] = result.measured
    return base | {"rows": result.rows, "files": result.files}


def _run_chunk(work: Work, cases: list[Case], settings: Settings) -> list[dict[str, Any]]:
    return [_run_one(work, case, settings) for case in cases]


def _run_one(work: Work, case: Case, settings: Settings) -> dict[str, Any]:
    started = time.perf_counter()
    result: Output | CaseRejected
    for attempt in (1, 2):
        try:
            result = work(case.payload, settings)
            aside = [replace(r, detail=_portable(r.detail, settings)) for r in result.put_aside]
            result = replace(result, put_aside=aside)
            break
        except CaseRejected as error:
            result = CaseRejected(error.reason, _portable(error.detail, settings))
            break
        except ConfigError:  # no case's fault: every other one would meet it too
            raise
        except Exception as error:  # a defect or a transient fault; counted, never hidden
            if isinstance(error, OSError) and error.errno in _DISK:
                raise PlatformError(
                    f"{case.uid}: the disk failed: {error.strerror}; free space (or make it writable) and run again"
                ) from None
            detail = _portable(f"{type(error).__name__}: {error}", settings)
            result = CaseRejected(Reason.UNEXPECTED, detail)
            if attempt == 1:
                continue
    return _entry(case, result, time.perf_counter() - started)


def _portable(detail: str, settings: Settings) -> str:
    """Detail without this machine's folders: outputs hold no absolute path."""
    for folder in (settings.output, settings.data):
        detail = detail.replace(f"{folder}{os.sep}", "")
    return detail


def _run_pool(
    work: Work,
    chunks: deque[list[Case]],
    settings: Settings,
    commit: Callable[[Iterable[dict[str, Any]]], None],
) -> list[Case]:
    """Run chunks in the pool until none is left or a worker dies; the cases that were under way then.

    Few chunks are handed out at a time, so that few are in doubt when a worker dies; the others stay in ``chunks``.
    """
    pool = _pool(settings.workers)
    waiting: dict[Future[list[dict[str, Any]]], list[Case]] = {}
    lost: list[Case] = []
    try:
        while (chunks or waiting) and not lost:
            while chunks and len(waiting) < 2 * settings.workers:
                waiting[pool.submit(_run_chunk, work, chunks[0], settings)] = chunks[0]
                chunks.popleft()
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                chunk = waiting.pop(future)
                try:
                    commit(future.result())
                except BrokenProcessPool:
                    lost += chunk
    except BrokenProcessPool:
        pass  # died while a chunk was handed out: it is still in ``chunks``
    except BaseException:
        for future in waiting:
            future.cancel()
        raise
    broken = bool(lost) or bool(waiting)
    for future, chunk in waiting.items():
        if future.exception() is None:
            commit(future.result())
        else:
            lost += chunk
    if broken or chunks:
        _drop_pool(settings.workers)
    return lost


_POOLS: dict[int, ProcessPoolExecutor] = {}
_POOLS_LOCK = threading.Lock()


def _pool(workers: int) -> ProcessPoolExecutor:
    """The process pool of this process; kept, because starting one costs about a second."""
    with _POOLS_LOCK:
        if workers not in _POOLS:
            # forkserver: threads of this process (polars, Dagster) make a plain fork unsafe
            context = multiprocessing.get_context("forkserver")
            context.set_forkserver_preload(["itrialspace_assets.geometry", "polars", "scipy.ndimage"])
            _POOLS[workers] = ProcessPoolExecutor(workers, mp_context=context, initializer=_die_with_parent)
        return _POOLS[workers]


def _drop_pool(workers: int) -> None:
    with _POOLS_LOCK:
        if pool := _POOLS.pop(workers, None):
            pool.shutdown(wait=False, cancel_futures=True)


def _die_with_parent() -> None:
    """End this worker when its parent is killed; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()


def deal(settings: Settings, cases: Sequence[Case], folder: Path, run_id: str) -> list[str]:
    """Write the pending cases to one file a shard, whole groups together; the shards' keys.

    Costliest group first to the shard with the least to do, so that shards end at about the same
    time. With nothing to do there is no shard.
    """
    groups: dict[str, list[Case]] = {}
    for case in pending(settings, cases, folder):
        groups.setdefault(case.group, []).append(case)
    shards: list[list[Case]] = [[] for _ in range(min(settings.shards, len(groups)))]
    costs = {name: sum(case.cost for case in members) for name, members in groups.items()}
    load = [0.0] * len(shards)
    for group in sorted(groups, key=lambda g: (-costs[g], g)):
        least = load.index(min(load))
        shards[least].extend(groups[group])
        load[least] += costs[group]
    for number, members in enumerate(shards):
        data = json.dumps([asdict(case) for case in members], allow_nan=False).encode()
        replace_file(folder / f"{run_id}-s{number}.shard.json", data)
    return [f"s{number}" for number in range(len(shards))]


def run_shard(work: Work, settings: Settings, folder: Path, run_id: str, shard: str) -> None:
    """Run the cases that ``deal`` gave to a shard."""
    cases = [Case(**entry) for entry in json.loads((folder / f"{run_id}-{shard}.shard.json").read_text())]
    run(
        work, pending(settings, cases, folder), settings, folder / f"{run_id}-{shard}.jsonl"
    )  # a retried shard: the rest


def dealt(folder: Path, run_id: str) -> int:
    """How many cases this run had left to do."""
    return sum(len(json.loads(path.read_text())) for path in folder.glob(f"{run_id}-s*.shard.json"))


def require_all(made: Collected, where: str) -> None:
    """Refuse to write a partition while cases are neither done nor put aside.

    Raises:
        TableError: some are missing, for example because a shard was stopped.
    """
    if made.missing:
        raise TableError(
            f"{where}: {len(made.missing)} cases were not finished (first: {made.missing[0]}); run it again"
        )
