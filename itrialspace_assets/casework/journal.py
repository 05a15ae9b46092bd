"""The journal of a partition: one line a case, written after its files are in place. Runs no case.

What is committed under the same input hash, with its files intact, is not done again.
"""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.memory import peak_memory_mb
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import RETRYABLE, Case, Collected, Output, Rejection

#: Layout of a line; lines of another layout are not read, and their cases run again.
FORMAT = 2


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
    with path.open(encoding="utf-8") as source:  # not read whole: a long cohort has gigabytes of lines
        for line in source:
            try:
                entry = json.loads(line)
            except json.JSONDecodeError:
                continue  # the last line of a killed run
            if entry.get("format") == FORMAT:
                yield entry


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


def _committed(settings: Settings, cases: Sequence[Case], folder: Path) -> dict[str, dict[str, Any]]:
    """Journal entry of every case that is committed under its present input hash and intact.

    What was done beats what was rejected, in whichever run.
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
    """The cases that still have to run; rejected ones only if their input changed or the cause may have passed.

    Args:
        settings: where the files of finished cases lie.
        cases: all cases of the partition, with their present input hashes.
        folder: the partition's journals, see ``journal_dir``.
    """
    done = _committed(settings, cases, folder)
    return [c for c in cases if c.uid not in done or done[c.uid].get("reason") in RETRYABLE]


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


def collect(settings: Settings, cases: Sequence[Case], folder: Path) -> Collected:
    """Gather what the journals of a partition hold for exactly these cases, sorted by case.

    Args:
        settings: where the files of finished cases lie.
        cases: all cases of the partition, with their present input hashes.
        folder: the partition's journals, see ``journal_dir``.

    Returns:
        Rows and files of the finished cases; cases without a valid line are ``missing``.
    """
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
                for r in entry.get("rejected", ())
            ]
            for table, values in entry["rows"].items():
                rows.setdefault(table, []).extend(values)
    if seconds:
        measured["seconds_a_case"] = round(sum(seconds) / len(seconds), 3)
    memory = max((int(entry.get("memory_mb", 0)) for entry in done.values()), default=0)
    return Collected(rows, rejected, missing, files, measured, memory)
