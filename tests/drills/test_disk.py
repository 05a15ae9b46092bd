"""A disk that becomes full while a run writes: it says so, leaves nothing half written, and a rerun ends as ever."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ..end_to_end.conftest import apart
from .conftest import RUN, half_written, hashes, places

pytestmark = pytest.mark.slow
#: The outputs take 16 MiB when the run is done.
SIZE = 48 * 2**20


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of its own, in memory."""
    folder = tmp_path / "disk"
    folder.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "its-drill", str(folder)]
    if os.geteuid() != 0 or not shutil.which("mount"):
        pytest.skip("a small file system can be mounted by root only")
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted here: {done.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def test_a_full_disk_is_named_and_a_rerun_mends_it(
    data_root: Path, planned: Path, disk: Path, undisturbed: dict[str, str]
) -> None:
    """Full before the history opens; while masks are written; too small for the images that would come next."""
    out, ballast = disk / "out", disk / "ballast"
    shutil.copytree(planned, out)
    for free, word in ((30_000, "is full"), (400_000, "is full"), (2_500_000, "need about")):
        ballast.unlink(missing_ok=True)
        with ballast.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, shutil.disk_usage(disk).free - free)
        done = apart(*RUN, **places(data_root, out))
        said = done.stdout + done.stderr
        assert done.returncode == 1, said
        assert "Traceback" not in said, said
        assert word in done.stderr and str(out) in done.stderr and " free" in done.stderr, said
        assert half_written(out) == []
    ballast.unlink()
    done = apart(*RUN, **places(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(out) == undisturbed
