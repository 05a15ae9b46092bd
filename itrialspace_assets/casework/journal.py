"""The journal of a partition: one line a case, written after its files are in place. Runs no case.

What is committed under the same input hash, with its files intact, is not done again.
"""

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeVar

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.memory import peak_memory_mb
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import RETRYABLE, Case, Collected, Output, Rejection
from itrialspace_assets.casework.rows import LineStart, Rows, read_lines

#: Layout of a line; lines of another layout are not read, and their cases run again.
FORMAT = 2


class Unit(Protocol):
    """What a journal asks of a case: ``Case``, or ``spool.Listed`` without its payload."""

    @property
    def uid(self) -> str: ...
    @property
    def input_hash(self) -> str: ...
    @property
    def group(self) -> str: ...


AnyUnit = TypeVar("AnyUnit", bound=Unit)


class _Done(NamedTuple):
    """The line of a case that has ended."""

    place: LineStart
    reason: str | None  # why it was rejected


def journal_dir(settings: Settings, stage: str, partition: str) -> Path:
    """Folder of a partition's journals and shard files.

    Args:
        settings: where outputs lie.
        stage: the stage, or the asset's name where a stage has several (``tissue/eval_slices``).
        partition: name of the partition, as ``steps.partition_name`` gives it.
    """
    return settings.output / "work" / stage.replace("/", "~") / partition.replace("/", "~")


def lines(path: Path) -> Iterator[dict[str, Any]]:
    """The lines of a journal; those of another layout, and one that a killed run tore, are left out."""
    return (entry for _, entry in _placed(path))


def _placed(path: Path) -> Iterator[tuple[LineStart, dict[str, Any]]]:
    """``lines``, each with its place."""
    at = 0
    with path.open("rb") as source:  # not read whole: a long cohort has gigabytes of lines
        for line in source:
            place, at = LineStart(path, at), at + len(line)
            try:
                entry = json.loads(line)
            except ValueError:
                continue  # the last line of a killed run
            if entry.get("format") == FORMAT:
                yield place, entry


def _entries(folder: Path, files: str = "*.jsonl") -> Iterator[dict[str, Any]]:
    for path in sorted(folder.glob(files)):
        yield from lines(path)


def mean_seconds(settings: Settings, stage: str) -> tuple[float | None, int]:
    """Mean seconds of the cases of a stage that were done, over all partitions and runs, and how many they were.

    A case that a later run did again counts with its last time. Lines that cannot be read are left out.

    Args:
        settings: where outputs lie.
        stage: as of ``journal_dir``.
    """
    folder = settings.output / "work" / stage.replace("/", "~")
    done = {str(e["uid"]): float(e["seconds"]) for e in _entries(folder, "*/*.jsonl") if "reason" not in e}
    return (sum(done.values()) / len(done) if done else None), len(done)


def of_run(folder: Path, run_id: str) -> list[dict[str, Any]]:
    """The lines of one run, the last one of each case (see ``entry_of``).

    Args:
        folder: the partition's journals, see ``journal_dir``.
        run_id: the run; begins the journals' names.
    """
    return list({str(entry["uid"]): entry for entry in _entries(folder, f"{run_id}-*.jsonl")}.values())


def reason_of(entry: dict[str, Any]) -> Reason:
    """Why the case of a line was rejected."""
    return Reason(entry["reason"])


def _committed(settings: Settings, cases: Iterable[Unit], folder: Path) -> dict[str, _Done]:
    """The line of every case that is committed under its present input hash and intact.

    What was done beats what was rejected, in whichever run.
    """
    wanted = {case.uid: case.input_hash for case in cases}
    done: dict[str, _Done] = {}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for path in sorted(folder.glob("*.jsonl")):
            for place, entry in _placed(path):
                uid = str(entry.get("uid"))
                if wanted.get(uid) != entry.get("input_hash"):
                    continue
                if "reason" in entry:
                    done.setdefault(uid, _Done(place, entry["reason"]))
                elif hashes.intact(settings.output, entry["files"]):
                    done[uid] = _Done(place, None)
    return done


def pending(settings: Settings, cases: Iterable[AnyUnit], folder: Path) -> list[AnyUnit]:
    """The cases that still have to run; rejected ones only if their input changed or the cause may have passed.

    Args:
        settings: where the files of finished cases lie.
        cases: all cases of the partition, with their present input hashes.
        folder: the partition's journals, see ``journal_dir``.

    Returns:
        Cases of one group next to each other, in the order in which their first ones are given.
    """
    cases = list(cases)
    done = _committed(settings, cases, folder)
    groups: dict[str, list[AnyUnit]] = {}
    for case in cases:
        if case.uid not in done or done[case.uid].reason in RETRYABLE:
            groups.setdefault(case.group, []).append(case)
    return [case for members in groups.values() for case in members]


def entry_of(case: Case, result: Output | CaseRejected, seconds: float) -> dict[str, Any]:
    """The line of a case that has ended, done or rejected.

    Args:
        case: the case.
        result: its rows and files, or the error that rejected it.
        seconds: wall-clock time that it took.

    Returns:
        An object for JSON; a rejected case has ``reason`` and ``detail``, another one ``rows`` and ``files``.
    """
    base: dict[str, Any] = {
        "format": FORMAT,
        "uid": case.uid,
        "input_hash": case.input_hash,
        "seconds": round(seconds, 3),
        "memory_mb": peak_memory_mb(),
    }
    if isinstance(result, CaseRejected):
        return base | {"reason": result.reason.value, "detail": result.detail}
    if result.rejected:
        base["rejected"] = [
            {"uid": r.uid, "reason": r.reason.value, "detail": r.detail, "nodule_idx": r.nodule_idx}
            for r in result.rejected
        ]
    if result.measured:
        base["measured"] = result.measured
    return base | {"rows": result.rows, "files": result.files}


def collect(settings: Settings, cases: Iterable[Unit], folder: Path) -> Collected:
    """Gather what the journals of a partition hold for exactly these cases, sorted by case.

    Args:
        settings: where the files of finished cases lie.
        cases: all cases of the partition, with their present input hashes.
        folder: the partition's journals, see ``journal_dir``.

    Returns:
        Rows and files of the finished cases; cases without a valid line are ``missing``. Rows stay in the journals
        until they are asked for.
    """
    uids = []

    def noted() -> Iterator[Unit]:
        for case in cases:
            uids.append(case.uid)
            yield case

    done = _committed(settings, noted(), folder)
    uids.sort()
    ended = [uid for uid in uids if uid in done]
    tables: set[str] = set()
    finished: list[LineStart] = []
    rejected: list[Rejection] = []
    files: dict[str, str] = {}
    measured: dict[str, float] = {}
    seconds, memory = 0.0, 0
    for uid, entry in zip(ended, read_lines([done[uid].place for uid in ended]), strict=True):
        memory = max(memory, int(entry.get("memory_mb", 0)))
        if "reason" in entry:
            rejected.append(Rejection(uid, Reason(entry["reason"]), entry["detail"]))
            continue
        finished.append(done[uid].place)
        tables |= entry["rows"].keys()
        files.update(entry["files"])
        seconds += float(entry["seconds"])
        for name, value in entry.get("measured", {}).items():
            measured[name] = max(value, measured.get(name, value))
        rejected += [
            Rejection(r["uid"], Reason(r["reason"]), r["detail"], r["nodule_idx"]) for r in entry.get("rejected", ())
        ]
    if finished:
        measured["seconds_a_case"] = round(seconds / len(finished), 3)
    missing = [uid for uid in uids if uid not in done]
    return Collected(Rows(finished, tables), rejected, missing, files, len(uids), measured, memory)
