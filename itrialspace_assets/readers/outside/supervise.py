"""Runs a command under limits and ends it when it breaks one. Knows nothing of readers or of what it computes."""

import contextlib
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

#: Seconds between two looks at a running program (ours).
_LOOK_S = 0.05, 0.5
#: Most files that a program may leave (ours).
_FILES = 10_000
#: Bytes at the end of what it printed that a message quotes from (ours).
_TAIL = 4096


class Ended(Exception):
    """A program ended wrongly; the message says how. ``late``: it ran out of time."""

    def __init__(self, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.late = late


@dataclass(frozen=True)
class Limits:
    """Seconds, and bytes of all that is written into the watched folders."""

    seconds: float
    written: int


def run(
    command: Sequence[str],
    environment: Mapping[str, str],
    folder: Path,
    watched: Sequence[Path],
    log: Path,
    limits: Limits,
    stop: Callable[[], None],
) -> None:
    """Run a command to its end.

    Args:
        command: its words.
        environment: all variables that it gets.
        folder: working folder.
        watched: folders, the log among them, whose bytes and files are limited.
        log: file for what it prints.
        limits: of time and of bytes.
        stop: ends what the command started but does not end with it.

    Raises:
        Ended: it could not be started, ended with an error, or broke a limit.
    """
    with log.open("wb") as printed:
        try:
            process = subprocess.Popen(
                command,
                env=dict(environment),
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=printed,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        except OSError as error:
            raise Ended(f"expected a program that starts, got: {error}") from None
    try:
        code = _wait(process, watched, limits)
    finally:
        if process.poll() is None:
            stop()
        with contextlib.suppress(ProcessLookupError):  # also what it left behind
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    if code != 0:
        how = f"signal {-code}" if code < 0 else f"exit code {code}"
        killed = " (killed; most often memory was too small)" if code in (137, -signal.SIGKILL) else ""
        raise Ended(f"expected exit code 0, got {how}{killed}; last printed: {last_line(log)}")


def _wait(process: "subprocess.Popen[bytes]", watched: Sequence[Path], limits: Limits) -> int:
    until = time.monotonic() + limits.seconds
    pause = _LOOK_S[0]
    while True:
        with contextlib.suppress(subprocess.TimeoutExpired):
            code = process.wait(min(pause, max(0.0, until - time.monotonic())))
            _require_small(watched, limits)
            return code
        _require_small(watched, limits)
        if time.monotonic() >= until:
            raise Ended(f"expected an end within {limits.seconds:g} s, got none; it was stopped", late=True)
        pause = min(2 * pause, _LOOK_S[1])


def _require_small(folders: Sequence[Path], limits: Limits) -> None:
    size = count = 0
    for folder in folders:
        for here, _, names in os.walk(folder):
            for name in names:
                with contextlib.suppress(OSError):
                    size += (Path(here) / name).lstat().st_size
                count += 1
                if size > limits.written or count > _FILES:
                    raise Ended(
                        f"expected at most {limits.written / 2**20:g} MB and {_FILES} files, got more; it was stopped"
                    )


def last_line(log: Path) -> str:
    """The last line that a program printed, at most 200 characters, without control characters; ``nothing``."""
    with log.open("rb") as printed:
        printed.seek(max(0, log.stat().st_size - _TAIL))
        text = printed.read().decode(errors="replace")
    lines = [line for line in (re.sub(r"[\x00-\x1f\x7f]+", " ", raw).strip() for raw in text.splitlines()) if line]
    return repr(lines[-1][-200:]) if lines else "nothing"


def taken(folder: Path, name: str, limit: int) -> bytes:
    """Bytes of a file that a program left in its folder; links are not followed.

    Args:
        folder: of its results.
        name: path below it.
        limit: most bytes.

    Raises:
        Ended: there is none, it is no plain file, lies outside, or is too large.
    """
    path = folder / name
    if path.resolve().parent != folder.resolve() / Path(name).parent or path.is_symlink():
        raise Ended(f"{name}: expected a file in the output folder, got a link out of it")
    if not path.is_file():
        raise Ended(f"{name}: expected a file in the output folder, found none")
    if (size := path.stat().st_size) > limit:
        raise Ended(f"{name}: expected at most {limit / 2**20:g} MB, got {size / 2**20:.1f} MB")
    try:
        return path.read_bytes()
    except OSError as error:
        raise Ended(f"{name}: expected a file that can be read, got: {error.strerror}") from None
