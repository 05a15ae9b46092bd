"""Processes of their own that start with the libraries loaded. Holds nothing of what they run.

A command of ``its`` loads libraries for four processor seconds before it does anything. Here one process loads them and
forks itself for each command: memory, files, signals and the end of a command are those of a process of its own. That a
command finds its imports by itself is not shown by this, but by ``its`` of the end-to-end tests.
"""

import atexit
import importlib
import json
import os
import re
import runpy
import select
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from typing import Any

#: What commands import that run steps.
LOADED = ("itrialspace_assets.definitions", "itrialspace_assets.drive", "scipy.stats", "duckdb")
ROOT = Path(__file__).parents[2]
_ONE_AT_A_TIME = threading.Lock()


class Process:
    """A process that was forked, with methods of ``subprocess.Popen``.

    Args:
        words: what follows ``python`` on a command line: ``-m module ...`` or ``-c code ...``.
        environment: all of its variables.
        into: open file for what it prints; kept for ``communicate`` if unset.
    """

    def __init__(self, words: Sequence[str], environment: dict[str, str], into: int | None = None) -> None:
        self.args = list(words)
        self.returncode: int | None = None
        self._said = [tempfile.TemporaryFile("w+", encoding="utf-8") for _ in range(2)]  # noqa: SIM115
        out, err = (into, into) if into is not None else (file.fileno() for file in self._said)
        job = json.dumps({"words": self.args, "environment": environment, "folder": str(Path.cwd())}).encode()
        reading, writing = os.pipe()
        with _ONE_AT_A_TIME:
            socket.send_fds(_server(), [len(job).to_bytes(4, "big")], [out, err, writing])
            _server().sendall(job)
        os.close(writing)
        self._end = os.fdopen(reading, "rb", 0)
        self.pid = int(self._end.readline())

    def poll(self) -> int | None:
        """Its exit code, if it has ended."""
        return self._code(0)

    def wait(self, timeout: float | None = None) -> int:
        """Its exit code.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        if (code := self._code(timeout)) is None:
            raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return code

    def communicate(self, timeout: float | None = None) -> tuple[str, str]:
        """What it printed, once it has ended.

        Raises:
            subprocess.TimeoutExpired: it still runs after ``timeout`` seconds.
        """
        self.wait(timeout)
        for file in self._said:
            file.seek(0)
        return self._said[0].read(), self._said[1].read()

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self.send_signal(signal.SIGTERM)

    def _code(self, timeout: float | None) -> int | None:
        if self.returncode is None and select.select([self._end], [], [], timeout)[0]:
            self.returncode = int(self._end.readline())
        return self.returncode


def run(words: Sequence[str], environment: dict[str, str], timeout: float = 900) -> subprocess.CompletedProcess[str]:
    """Start a process, wait for its end, and tell what it printed.

    Args:
        words: what follows ``python`` on a command line.
        environment: all of its variables.
        timeout: in seconds.

    Raises:
        subprocess.TimeoutExpired: it was still running, and was killed.
    """
    process = Process(words, environment)
    try:
        out, err = process.communicate(timeout)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        raise
    return subprocess.CompletedProcess(process.args, process.wait(), out, err)


@cache
def _server() -> socket.socket:
    """The socket of the process that forks, which ends when this process does."""
    ours, theirs = socket.socketpair()
    code = "from tests.support.warm import serve; serve()"
    process = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdin=theirs.fileno(), stdout=subprocess.DEVNULL)
    theirs.close()

    def end() -> None:
        ours.close()
        process.wait()

    atexit.register(end)
    return ours


def serve() -> None:
    """Load, and fork for each job that comes on the standard input; in a fork, do the job and return."""
    warnings.simplefilter("ignore")
    for name in LOADED:
        importlib.import_module(name)
    warnings.resetwarnings()
    threads = [path.read_text() for path in Path("/proc/self/task").glob("*/comm")]
    assert not [name for name in threads if re.match(r"polars-\d", name)], "forks would wait for threads of polars"
    jobs = socket.socket(fileno=os.dup(0))
    while (received := socket.recv_fds(jobs, 4, 3))[0]:
        header, files = received[:2]
        while len(header) < 4:
            header += jobs.recv(4 - len(header))
        job = b""
        while len(job) < int.from_bytes(header, "big"):
            job += jobs.recv(1 << 16)
        if os.fork() == 0:
            jobs.close()
            _watched(*files)
            return _do(json.loads(job), *files)
        for file in files:
            os.close(file)
        while _ended():
            pass
    return None


def _ended() -> bool:
    """Whether a process that watches another was done, and is now forgotten."""
    try:
        return os.waitpid(-1, os.WNOHANG)[0] > 0
    except ChildProcessError:
        return False


def _watched(out: int, err: int, report: int) -> None:
    """Go on in a child; this process tells the child's number, waits for its end and tells its exit code."""
    if child := os.fork():
        for file in {out, err}:
            os.close(file)
        os.write(report, f"{child}\n".encode())
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        os.write(report, f"{code}\n".encode())
        os._exit(0)


def _do(job: dict[str, Any], out: int, err: int, report: int) -> None:
    """Run what a command line asks for, as ``python`` would, with the output in two files."""
    nothing = os.open(os.devnull, os.O_RDONLY)
    for file, number in ((nothing, 0), (out, 1), (err, 2)):
        os.dup2(file, number)
    for file in {nothing, out, err, report}:
        os.close(file)
    os.chdir(job["folder"])
    os.environ.clear()
    os.environ.update(job["environment"])
    words: list[str] = job["words"]
    if words[0] == "-W":
        warnings.simplefilter(words[1])  # type: ignore[arg-type]
        words = words[2:]
    sys.argv = [words[0], *words[2:]]
    if words[0] == "-m":
        runpy.run_module(words[1], run_name="__main__", alter_sys=True)
    else:
        exec(compile(words[1], "<string>", "exec"), vars(sys.modules["__main__"]))
