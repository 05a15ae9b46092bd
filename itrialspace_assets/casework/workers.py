"""Runs one function over many cases in worker processes and commits each as it ends.

Results do not depend on the number of workers, on order, or on interruptions. What the function does is not known
here.
"""

import json
import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from itertools import groupby, islice
from multiprocessing import connection
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import Any

from itrialspace_assets.base.disk import disk_failure
from itrialspace_assets.base.errors import CaseRejected, ConfigError, PlatformError, Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal
from itrialspace_assets.casework.cases import Case, Collected, Output, require_all
from itrialspace_assets.casework.spool import Spool

Work = Callable[[Any, Settings], Output]

_CHUNK = 8  # cases of one group per task: small enough to spread, large enough to share a host


def run(
    work: Work, cases: Iterable[Case], settings: Settings, file: Path, progress: Callable[[int], None] | None = None
) -> None:
    """Run a function over cases and commit each in a journal as it ends.

    A ``CaseRejected`` rejects its case. A case that ends by another exception, or whose worker is killed, is tried once
    more and then rejected too.

    Args:
        work: makes a case's output from its payload and the settings; with several workers it must be a function of a
            module, so that it can be pickled.
        cases: the cases to run, taken as they are needed; a worker gets a few that follow each other and are of one
            group.
        settings: how many worker processes; 1 runs all in this process.
        file: journal that the lines are added to; made with its folder where it is missing.
        progress: called after each commit with the number of cases that it held.

    Raises:
        ConfigError: ``work`` found a setting that is wrong for every case.
        PlatformError: the disk failed, or workers end before they take a case.
    """
    left = _Queue(_chunks(cases))
    if not left:
        return
    file.parent.mkdir(parents=True, exist_ok=True)
    torn = file.exists() and not file.read_bytes().endswith(b"\n")  # by a worker that was killed in this very shard
    known = FileHashes(settings.output / "work" / "fingerprints.sqlite")
    with file.open("a", encoding="utf-8") as out, known as hashes:
        if torn:
            out.write("\n")

        def commit(entries: Sequence[dict[str, Any]]) -> None:
            out.writelines([json.dumps(entry, allow_nan=False, separators=(",", ":")) + "\n" for entry in entries])
            out.flush()
            hashes.remember(settings.output, {k: v for entry in entries for k, v in entry.get("files", {}).items()})
            if progress:
                progress(len(entries))

        if settings.workers == 1:
            while left:
                for case in left.pop():
                    commit([_run_one(work, case, settings)])
            return
        rounds_without_work = 0
        while left:
            before = left.taken
            for case in _run_pool(work, left, settings, commit):  # a worker died on one of these: one at a time
                if _run_pool(work, _Queue(iter([[case]])), settings, commit):
                    commit(
                        [
                            journal.entry_of(
                                case, CaseRejected(Reason.WORKER_KILLED, "the worker died twice on this case"), 0.0
                            )
                        ]
                    )
            rounds_without_work = rounds_without_work + 1 if left.taken == before else 0
            if rounds_without_work == 3:
                raise PlatformError(
                    "worker processes end before they take a case; see the messages above, or set "
                    "ITRIALSPACE_WORKERS=1 to see why"
                )


def process(
    work: Work, cases: Iterable[Case], settings: Settings, stage: str, partition: str, run_id: str
) -> tuple[Collected, int]:
    """Bring every case of a partition up to date, without shards.

    Args:
        work: makes a case's output from its payload and the settings.
        cases: all cases of the partition, made one after the other; those that are done do not run again.
        settings: outputs, and how many worker processes.
        stage: the stage, or the asset's name where a stage has several (``tissue/eval_slices``).
        partition: name of the partition, as ``steps.partition_name`` gives it.
        run_id: the run; begins the journal's name.

    Returns:
        What the partition holds, and how many cases ran now.

    Raises:
        ConfigError: a setting is wrong for every case.
        PlatformError: the disk failed, or workers end before they take a case.
        TableError: a case is neither done nor rejected.
    """
    folder = journal.journal_dir(settings, stage, partition)
    with Spool.of(settings, cases) as spool:
        todo = journal.pending(settings, spool.listed, folder)
        run(work, spool.cases(todo), settings, folder / f"{run_id}-0.jsonl")
        made = journal.collect(settings, spool.listed, folder)
    require_all(made, f"{stage} {partition}")
    return made, len(todo)


def _chunks(cases: Iterable[Case]) -> Iterator[list[Case]]:
    for _, members in groupby(cases, lambda case: case.group):
        while chunk := list(islice(members, _CHUNK)):
            yield chunk


class _Queue:
    """Chunks that are taken as they are needed; of those ahead only the next is in memory."""

    def __init__(self, chunks: Iterator[list[Case]]) -> None:
        self._chunks = chunks
        self.next = next(chunks, None)
        self.taken = 0

    def __bool__(self) -> bool:
        return self.next is not None

    def pop(self) -> list[Case]:
        """The next chunk; only while there is one."""
        chunk = self.next
        assert chunk is not None
        self.next, self.taken = next(self._chunks, None), self.taken + 1
        return chunk


def _run_chunk(work: Work, cases: list[Case], settings: Settings) -> list[dict[str, Any]]:
    return [_run_one(work, case, settings) for case in cases]


def _run_one(work: Work, case: Case, settings: Settings) -> dict[str, Any]:
    started = time.perf_counter()
    result: Output | CaseRejected
    for attempt in (1, 2):
        try:
            result = work(case.payload, settings)
            parts = [replace(r, detail=_portable(r.detail, settings)) for r in result.rejected]
            result = replace(result, rejected=parts)
            break
        except CaseRejected as error:
            result = CaseRejected(error.reason, _portable(error.detail, settings))
            break
        except ConfigError:  # no case's fault: every other one would meet it too
            raise
        except Exception as error:  # a defect or a transient fault; counted, never hidden
            if told := disk_failure(error, settings.output):  # no fault of a case: the run ends
                raise PlatformError(f"{case.uid}: {told}") from None
            detail = _portable(f"{type(error).__name__}: {error}", settings)
            result = CaseRejected(Reason.UNEXPECTED, detail)
            if attempt == 1:
                continue
    return journal.entry_of(case, result, time.perf_counter() - started)


def _portable(detail: str, settings: Settings) -> str:
    """Detail without this machine's folders: outputs hold no absolute path."""
    for folder in (settings.output, settings.data):
        detail = detail.replace(f"{folder}{os.sep}", "")
    return detail.encode("utf-8", "backslashreplace").decode()  # as tables can hold it


def _run_pool(
    work: Work,
    chunks: _Queue,
    settings: Settings,
    commit: Callable[[Sequence[dict[str, Any]]], None],
) -> list[Case]:
    """Run chunks in the pool until none is left or a worker dies; returns the cases that ran when it died.

    Few chunks are submitted at a time, so that few are in doubt when a worker dies; the others stay in ``chunks``.
    """
    pool = _pool(settings.workers)
    waiting: dict[Future[list[dict[str, Any]]], list[Case]] = {}
    lost: list[Case] = []
    try:
        while (chunks or waiting) and not lost:
            while chunks and len(waiting) < 2 * settings.workers:
                assert chunks.next is not None
                future = pool.submit(_run_chunk, work, chunks.next, settings)
                waiting[future] = chunks.pop()
            done, _ = wait(waiting, return_when=FIRST_COMPLETED)
            for future in done:
                chunk = waiting.pop(future)
                try:
                    commit(future.result())
                except BrokenProcessPool:
                    lost += chunk
    except BrokenProcessPool:
        pass  # died while a chunk was submitted: it is still in ``chunks``
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
            _POOLS[workers] = ProcessPoolExecutor(workers, mp_context=process_context(), initializer=die_with_parent)
        return _POOLS[workers]


def process_context() -> ForkServerContext:
    """How this program starts processes: threads of its own (polars, Dagster) make a plain fork unsafe."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload(["itrialspace_assets.imaging.geometry", "polars", "scipy.ndimage"])
    return context


def _drop_pool(workers: int) -> None:
    with _POOLS_LOCK:
        if pool := _POOLS.pop(workers, None):
            pool.shutdown(wait=False, cancel_futures=True)


def die_with_parent() -> None:
    """End this process when its parent is killed; otherwise it would wait for work for ever."""
    parent = multiprocessing.parent_process()
    if parent is None:
        return

    def watch() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=watch, daemon=True).start()
