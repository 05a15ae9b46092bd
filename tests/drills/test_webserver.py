"""A web page that is killed during two backfills of the same partitions: started again, all ends as in a quiet run."""

import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from ..end_to_end.conftest import ITS, its
from ..end_to_end.test_dagster import LAUNCH, PAIR_ASSETS, STATUS, post
from .conftest import RUN, hashes, places

pytestmark = [pytest.mark.slow, pytest.mark.patient]
PARTITIONS = ["LUNA16|x_small", "LUNA25|x_small"]
RUNS = "{ runsOrError { ... on Runs { results { status } } } }"
#: Seconds for the page to answer, and for the two backfills to end after the restart (ours): a run whose process died
#: while it was starting is found after 300 s (``start_timeout_seconds`` of ``orchestration.instance.INSTANCE``).
PATIENCE_S = 480


def serve(data: Path, out: Path, port: int) -> "subprocess.Popen[bytes]":
    env = {k: v for k, v in os.environ.items() if k != "DAGSTER_HOME"} | places(data, out)
    with (out / "ui.log").open("a") as log:
        server = subprocess.Popen([*ITS, "ui", "--port", str(port)], env=env, stdout=log, stderr=log)
    answers = until(lambda: server.poll() is not None or _answers(port), PATIENCE_S)
    assert answers and server.poll() is None, (out / "ui.log").read_text()[-3000:]
    return server


def _answers(port: int) -> bool:
    try:
        return bool(post(port, "{ version }")["version"])
    except OSError:
        return False


def states(port: int) -> list[str]:
    return [r["status"] for r in post(port, RUNS)["runsOrError"]["results"]]


def launch(port: int) -> str:
    selected = [{"path": a.split("/")} for a in PAIR_ASSETS]
    asked: Any = {"assetSelection": selected, "partitionNames": PARTITIONS, "fromFailure": False}
    return str(post(port, LAUNCH, p=asked)["launchPartitionBackfill"]["backfillId"])


def until(ready: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while not ready():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.5)
    return True


def webserver_of(server: "subprocess.Popen[bytes]") -> int:
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    return next(int(c) for c in children if b"dagster_webserver" in Path(f"/proc/{c}/cmdline").read_bytes())


@pytest.mark.skipif(not Path("/proc/self/task").exists(), reason="finds the web page's process in /proc")
def test_it_is_killed_during_two_backfills_and_started_again(
    data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str]
) -> None:
    out = copy("web")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    server = serve(data_root, out, port)
    try:
        both = [launch(port), launch(port)]

        def running() -> bool:
            found = states(port)
            return "STARTED" in found and "STARTING" not in found

        assert until(running, PATIENCE_S), (out / "ui.log").read_text()[-3000:]
        os.kill(webserver_of(server), signal.SIGKILL)
        assert server.wait(60) != 0, "the command ends with what it serves"
        server = serve(data_root, out, port)

        def ended() -> bool:
            assert server.poll() is None, (out / "ui.log").read_text()[-3000:]
            found = [post(port, STATUS, b=b)["partitionBackfillOrError"]["status"] for b in both]
            return not {"REQUESTED", "IN_PROGRESS", "COMPLETING"} & set(found)

        assert until(ended, PATIENCE_S), (states(port), (out / "ui.log").read_text()[-3000:])
        assert not {"STARTED", "STARTING", "QUEUED", "CANCELING"} & set(states(port)), "no run hangs"
    finally:
        server.terminate()
        server.wait(60)
    done = its(*RUN, **places(data_root, out))  # fixes what the kill left, and reads the real slices
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(out) == undisturbed
