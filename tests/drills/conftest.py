"""One small trial that is planned, and what it gives when nothing disturbs it: all drills are held against that."""

import hashlib
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from ..conftest import made_once
from ..end_to_end.conftest import its, planned_once  # noqa: F401  a fixture

#: A pair of each of two datasets, from insertion to answers.
RUN = ("run", "--modes", "x_small", "--datasets", "LUNA16,LUNA25", "--to", "read", "--workers", "1")


def places(data: Path, out: Path) -> dict[str, str]:
    """Variables of a process that works on these outputs."""
    return {
        "ITRIALSPACE_DATA_DIR": str(data),
        "ITRIALSPACE_OUTPUT_DIR": str(out),
        "ITRIALSPACE_TRIALS_DIR": str(out / "trials"),
        "ITRIALSPACE_WORKERS": "1",
    }


def hashes(out: Path) -> dict[str, str]:
    """Hash of every table, volume and picture. The ledger is left out: it holds seconds."""
    return {
        str(p.relative_to(out)): hashlib.sha256(p.read_bytes()).hexdigest()
        for top in ("tables", "store", "vlm_dataset")
        for p in sorted((out / top).rglob("*"))
        if p.is_file()
    }


def half_written(out: Path) -> list[str]:
    """Temporary files that were left."""
    return [str(p.relative_to(out)) for p in out.rglob(".*") if p.name.startswith((".tmp-", ".probe-"))]


@pytest.fixture(scope="session")
def planned(planned_once: Path) -> Path:  # noqa: F811
    """Outputs with the trial planned, and its file; drills spoil copies of it."""
    return planned_once


@pytest.fixture
def copy(planned: Path, tmp_path: Path) -> Callable[[str], Path]:
    """Makes a copy of the planned outputs that a test may spoil."""

    def made(name: str) -> Path:
        shutil.copytree(planned, tmp_path / name)
        return tmp_path / name

    return made


@pytest.fixture(scope="session")
def calm(data_root: Path, planned: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Outputs of the run that nothing disturbed: made once for all workers."""

    def make(out: Path) -> None:
        shutil.copytree(planned, out)
        done = its(*RUN, **places(data_root, out))
        assert done.returncode == 0, done.stdout + done.stderr

    return made_once(tmp_path_factory, "calm", make)


@pytest.fixture(scope="session")
def undisturbed(calm: Path) -> dict[str, str]:
    """Their hashes."""
    return hashes(calm)


def python(code: str, *arguments: str, **environment: str) -> "subprocess.Popen[str]":
    """A further process that does something beside the run."""
    pipe = subprocess.PIPE
    return subprocess.Popen([sys.executable, "-c", code, *arguments], stdout=pipe, stdin=pipe, text=True)
