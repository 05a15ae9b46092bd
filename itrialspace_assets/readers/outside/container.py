"""The kind ``container``: a program of others as a reader of whole scans, of slices, or of both.

Each scan, and each batch of slices, is a run of its own in folders of its own, which are removed after it. What goes
wrong in a run costs what it was given: it hangs, ends with an error, writes too much or into its input, or returns what
its interface does not allow.
"""

import os
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, hash_file
from itrialspace_assets.readers.api import Generation, Mark, Need, Read, Reader, Request, Scan
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.outside import runners
from itrialspace_assets.readers.outside.options import LIMITS, ContainerOptions
from itrialspace_assets.readers.outside.runners import NOBODY, Folders
from itrialspace_assets.readers.outside.scans import RESULT, read_marks, result_of, write_scan
from itrialspace_assets.readers.outside.slices import read_answers, write_requests
from itrialspace_assets.readers.outside.supervise import Ended, Limits, run, taken
from itrialspace_assets.readers.prompts import prompts_of
from itrialspace_assets.readers.weights import ExpectedFiles, ReaderWeights, weights_of

VERSION = "1"


@contextmanager
def _folders(options: ContainerOptions, weights: Path | None) -> Iterator[Folders]:
    """Empty folders of a run: the program may write into ``output`` and ``work``."""
    base = Path(tempfile.mkdtemp(prefix="its-outside-"))
    try:
        folders = Folders(base / "input", base / "output", base / "work", weights)
        for folder, mode in ((folders.input, 0o755), (folders.output, 0o777), (folders.work, 0o777)):
            folder.mkdir()
            folder.chmod(mode)
        (base / "log").mkdir()
        if options.image is None and os.geteuid() == 0:
            os.chown(base, 0, NOBODY)  # it may pass through to its folders, and see nothing else here
            base.chmod(0o710)
        yield folders
    finally:
        shutil.rmtree(base, ignore_errors=True)


def _returned(options: ContainerOptions, weights: Path | None, write: Callable[[Path], None], result: str) -> bytes:
    """Run the program once on what ``write`` puts into its input folder; the bytes of its result.

    Raises:
        Ended: it could not be started, ended with an error, broke a limit, changed its input, or left no result.
    """
    most = options.output_mb * 2**20
    with _folders(options, weights) as folders:
        write(folders.input)
        for path in folders.input.rglob("*"):
            path.chmod(0o755 if path.is_dir() else 0o644)
        before = _hashes(folders.input)
        command = (runners.as_process if options.image is None else runners.in_container)(options, folders)
        log = folders.work.parent / "log" / "printed.txt"
        watched = (folders.output, folders.work, log.parent)
        run(
            command.words,
            command.environment,
            folders.work,
            watched,
            log,
            Limits(options.timeout_s, most),
            command.stop,
        )
        if _hashes(folders.input) != before:
            raise Ended("expected its input as it was, got a changed one: it wrote outside of its output folder")
        return taken(folders.output, result, most)


def _hashes(folder: Path) -> dict[str, str]:
    """Content of every file of a folder by its path; links are not followed."""
    files = (p for p in sorted(folder.rglob("*")) if p.is_symlink() or not p.is_dir())
    return {str(p): hash_file(p) if p.is_file() and not p.is_symlink() else "no plain file" for p in files}


def mark(options: ContainerOptions, weights: Path | None, scan: Scan) -> list[Mark]:
    """The program's marks on a scan.

    Args:
        options: of the program.
        weights: folder that it may read.
        scan: which one.

    Raises:
        CaseRejected: the scan cannot be read, or the program failed on it.
    """
    ct = scan.ct()
    try:
        data = _returned(options, weights, lambda folder: write_scan(folder, ct, options), result_of(options))
        return read_marks(data, ct, options)
    except (Ended, ValueError) as error:
        raise CaseRejected(Reason.UNEXPECTED, f"the program: {error}") from None


def load(options: ContainerOptions, weights: Path | None) -> Read:
    """What reads slices; a batch that the program does not finish in time has failed as a whole."""

    def read(requests: Sequence[Request]) -> list[Generation]:
        try:
            data = _returned(options, weights, lambda folder: write_requests(folder, requests), RESULT)
        except Ended as error:
            if error.late:  # each half of the batch would be waited for again
                return [Generation(failure=f"the program: {error}") for _ in requests]
            raise
        return read_answers(data, requests)

    return read


def build(entry: ReaderEntry, options: ContainerOptions, place: ReaderEnvironment) -> Reader:
    """The reader of an entry; starts nothing.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where folders of weights lie.

    Raises:
        ConfigError: a task has no words.
    """
    slices = options.reads in ("slices", "both")
    tasks = (entry.tasks or ("presence", "lobe", "size")) if slices else ()
    weights = _weights(entry, options, place)
    folder = None if weights is None else weights.folder
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, options.model_dump(mode="json", exclude=LIMITS)], 16),
            partial(load, options, folder),
            scorer="text",
            tasks=tasks,
            prompts=prompts_of(entry, tasks),
        ),
        mark=partial(mark, options, folder) if options.reads in ("scans", "both") else None,
        files=partial(_files, options, weights, place),
        needs=partial(_needs, options, weights),
    )


def _weights(entry: ReaderEntry, options: ContainerOptions, place: ReaderEnvironment) -> ReaderWeights | None:
    if options.weights is None:
        return None
    expected = ExpectedFiles((), "the program's own weights", "see its makers' licence")
    return weights_of(entry, options.weights, place, expected)


def _files(options: ContainerOptions, weights: ReaderWeights | None, place: ReaderEnvironment) -> str:
    """
    Raises:
        ConfigError: the program or its weights are not there.
    """
    program = runners.identity(options, place.fingerprints)
    return digest([program, None if weights is None else weights.sha256()])


def _needs(options: ContainerOptions, weights: ReaderWeights | None) -> list[Need]:
    return runners.needs(options) + ([] if weights is None else weights.needs())


KIND = ReaderKind("container", ContainerOptions, build)
