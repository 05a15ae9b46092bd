"""Runs servers as processes until one ends or the user ends them: the Dagster webserver and daemon, a notebook."""

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Iterator
from types import FrameType

import typer

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, environment
from itrialspace_assets.orchestration.instance import open_instance

MODULE = "itrialspace_assets.locations.all"
#: Signals that end the UI: Ctrl-C, a service manager, a terminal that is closed.
ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
#: Seconds that both processes have to end by themselves. Ours: the daemon looks for a signal every few seconds.
PATIENCE_S = 20.0


def commands(host: str, port: int) -> list[list[str]]:
    """Command lines of the webserver and of the daemon."""
    python = [sys.executable, "-W", "ignore", "-m"]
    return [
        [*python, "dagster_webserver", "-m", MODULE, "-h", host, "-p", str(port)],
        [*python, "dagster._daemon", "run", "-m", MODULE],
    ]


def child_environment(settings: Settings) -> dict[str, str]:
    """Environment of a child process that is to load the same settings; secrets stay as they are."""
    laid_over = environment(settings)
    unset = {variable for variable, value in laid_over.items() if value is None}
    kept = {variable: value for variable, value in os.environ.items() if variable not in unset}
    return kept | {variable: value for variable, value in laid_over.items() if value is not None}


def serve(settings: Settings, host: str, port: int) -> int:
    """Serve until Ctrl-C, SIGTERM or SIGHUP, or until one of the two processes ends; both are stopped then.

    Args:
        settings: what both processes load.
        host: address to listen on.
        port: port of the web page.

    Returns:
        Exit code of the process that ended by itself, else 0.

    Raises:
        ConfigError: the port is in use.
    """
    require_free(host, port)
    open_instance(settings).dispose()

    def start() -> Iterator[subprocess.Popen[bytes]]:
        # Sessions of their own: Ctrl-C reaches this process alone, which then ends each with its own children.
        for command in commands(host, port):
            yield subprocess.Popen(command, env=child_environment(settings), start_new_session=True)
        typer.echo(
            f"Dagster home: {os.environ['DAGSTER_HOME']}\nResult: http://{host}:{port} (ready in some seconds; "
            "Ctrl-C ends it)"
        )

    return attend(start)


def attend(start: Callable[[], Iterable[subprocess.Popen[bytes]]]) -> int:
    """Wait until one of some processes ends, or Ctrl-C, SIGTERM or SIGHUP comes; then all are stopped.

    Args:
        start: starts each, in a session of its own.

    Returns:
        Exit code of the process that ended by itself, else 0.
    """
    before = {number: signal.signal(number, _end) for number in ENDING}
    running: list[subprocess.Popen[bytes]] = []
    code: int | None = None
    try:
        for process in start():
            running.append(process)
        while code is None:
            time.sleep(0.5)
            code = next((p.returncode for p in running if p.poll() is not None), None)
    except KeyboardInterrupt:
        code = 0
    finally:
        for number in ENDING:
            signal.signal(number, signal.SIG_IGN)
        _stop(running)
        for number, handler in before.items():
            signal.signal(number, handler)
    return code or 0


def _end(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def require_free(host: str, port: int) -> None:
    """Refuse a port that is in use.

    Raises:
        ConfigError: something answers there.
    """
    with socket.socket() as probe:
        probe.settimeout(1)
        if probe.connect_ex((host, port)) == 0:
            raise ConfigError(f"--port {port}: expected a free port, got one in use; choose another with --port")


def _stop(running: list[subprocess.Popen[bytes]]) -> None:
    """End processes with all their children: first by request, after ``PATIENCE_S`` by force.

    Runs that the daemon launched are among the children: they get the time to record that they were interrupted.
    """
    for process in running:
        _signal(process, signal.SIGINT)
    deadline = time.monotonic() + PATIENCE_S
    while any(_alive(p) for p in running) and time.monotonic() < deadline:
        time.sleep(0.1)
    for process in running:
        _signal(process, signal.SIGKILL)
        process.wait()


def _alive(process: subprocess.Popen[bytes]) -> bool:
    """Whether a process or one of its children runs."""
    process.poll()  # else a process that has ended stays in its group
    return _signal(process, 0)


def _signal(process: subprocess.Popen[bytes], number: int) -> bool:
    """Signal a process and its children, which may outlive it; False if none is left."""
    try:
        os.killpg(process.pid, number)
    except (ProcessLookupError, PermissionError):  # macOS refuses to signal a group of zombies
        return False
    return True
