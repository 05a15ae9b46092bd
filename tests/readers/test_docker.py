"""Programs of others in containers. Needs a Docker daemon and, in ITS_TEST_IMAGE, an image with ``python3``."""

import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import make
from tests.readers import programs
from tests.readers.test_outside import SAID, ct, marks, wait_for

pytestmark = [pytest.mark.docker, pytest.mark.slow]


@pytest.fixture
def image(tmp_path: Path) -> str:
    """The image that the tests run, named in the environment; nothing is fetched."""
    name = os.environ.get("ITS_TEST_IMAGE")
    if not name:
        pytest.skip("ITS_TEST_IMAGE names no image with python3")
    entry = ReaderEntry(name="theirs", kind="container", options={"image": name})
    if needs := make(entry, ReaderEnvironment(None, tmp_path / "f.sqlite")).needs():
        pytest.skip("; ".join(need.what for need in needs))
    return name


def reader(tmp_path: Path, image: str, program: str, **options: Any) -> Reader:
    command = ["python3", "-I", "-S", "-c", program, "{input}", "{output}"]
    given = {"image": image, "command": command, "timeout_s": 60, "memory_mb": 128, "output_mb": 4} | options
    entry = ReaderEntry(name="theirs", kind="container", options=given)
    return make(entry, ReaderEnvironment(None, tmp_path / "fingerprints.sqlite"))


def names() -> str:
    """Names of all containers."""
    command = ["docker", "ps", "--all", "--format", "{{.Names}}"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def test_a_container_marks_what_a_process_marks(tmp_path: Path, image: str) -> None:
    scan = ct()
    own = reader(tmp_path, image, programs.OWN)
    assert own.files()
    (mark,) = marks(own, scan)
    assert mark.world == pytest.approx(tuple(scan.to_world([6, 2, 3])), abs=1e-4)
    (mark,) = marks(reader(tmp_path, image, programs.CHALLENGE, interface="grand_challenge"), scan)
    assert mark.world == pytest.approx(tuple(scan.to_world([6, 2, 3])), abs=1e-4)


@pytest.mark.parametrize("name", programs.WRONG)
def test_what_a_container_does_wrong_costs_its_scan(tmp_path: Path, image: str, name: str) -> None:
    said = "MemoryError|killed" if name == "memory" else "10000 files, got more" if name == "many files" else SAID[name]
    program = programs.wrong(name).replace("range(200)", "range(20000)")
    how = reader(tmp_path, image, program, timeout_s=3 if name == "hang" else 60)
    with pytest.raises(CaseRejected, match=said.replace("0.7", "3")):
        marks(how, ct())
    assert "its-" not in names()


def test_a_killed_worker_takes_its_container_along(tmp_path: Path, image: str) -> None:
    code = f"""
from pathlib import Path
from tests.readers.test_docker import ct, marks, reader
marks(reader(Path({str(tmp_path)!r}), {image!r}, "import time; time.sleep(50)"), ct())
"""
    worker = subprocess.Popen([sys.executable, "-c", code])
    try:
        wait_for(lambda: "its-" in names())
    finally:
        worker.kill()
        worker.wait()
    wait_for(lambda: "its-" not in names())


def test_a_container_calls_nobody(tmp_path: Path, image: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        program = programs.CALLS.format(port=server.getsockname()[1])
        with pytest.raises(CaseRejected, match=r"Connection refused|Network is unreachable"):
            marks(reader(tmp_path, image, program), ct())


def test_a_container_is_not_root(tmp_path: Path, image: str) -> None:
    with pytest.raises(CaseRejected, match="last printed: 'user 65534'"):
        marks(reader(tmp_path, image, "import os, sys; sys.exit(f'user {os.getuid()}')"), ct())
