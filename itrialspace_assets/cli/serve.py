"""Runs the Dagster webserver and daemon side by side until one ends or Ctrl-C."""

import os
import signal
import subprocess
import sys
import time

import typer

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.drive import open_instance

MODULE = "itrialspace_assets.locations.all"


def serve(settings: Settings, host: str, port: int) -> int:
    """Exit code of the first of the two to end; both are stopped."""
    open_instance(settings).dispose()
    commands = [
        [sys.executable, "-W", "ignore", "-m", "dagster_webserver", "-m", MODULE, "-h", host, "-p", str(port)],
        [sys.executable, "-W", "ignore", "-m", "dagster._daemon", "run", "-m", MODULE],
    ]
    signal.signal(signal.SIGINT, signal.default_int_handler)
    running = [subprocess.Popen(c, env=os.environ.copy(), start_new_session=True) for c in commands]
    typer.echo(f"Dagster UI: http://{host}:{port}   (Ctrl-C ends it)   home: {os.environ['DAGSTER_HOME']}")
    signal.signal(signal.SIGTERM, lambda *_: (_ for _ in ()).throw(KeyboardInterrupt()))
    code: int | None = None
    try:
        while code is None:
            time.sleep(0.5)
            code = next((p.poll() for p in running if p.poll() is not None), None)
    except KeyboardInterrupt:
        code = 0
    finally:
        for process in running:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGINT)
        for process in running:
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
    return code or 0
