"""Shared fixtures: a small procedural data root, and where real data would be."""

import atexit
import contextlib
import functools
import gc
import io
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import typer
from filelock import FileLock
from hypothesis import settings as hypothesis_settings

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.demo.root import make_root
from itrialspace_assets.imaging.geometry import Volume
from tests.support import torchvision_operators

COARSE = (2.8, 2.8, 3.603)
REAL = Path(__file__).resolve().parents[2] / "shared" / "real"

#: torchvision can be imported beside a torch for the CPU, here and in the processes that tests start.
SUPPORT = Path(torchvision_operators.__file__).parent
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [str(SUPPORT), os.environ.get("PYTHONPATH")]))

#: One thread a process: the tests share the cores already, and threads that wait for each other take processor time.
#: Polars reads its number when it is first used, which is after this.
os.environ.setdefault("OMP_NUM_THREADS", "1")
os.environ.setdefault("POLARS_MAX_THREADS", "1")
#: And one worker process where a test asks for no number: each process that makes partitions loads Dagster first.
os.environ["ITRIALSPACE_WORKERS"] = "1"
#: Lists are frozen at one time, so that whole runs can be compared byte by byte.
os.environ.setdefault("SOURCE_DATE_EPOCH", "1700000000")
#: No example may fail for its time: a shared machine is slow now and then.
hypothesis_settings.register_profile("its", deadline=None)
hypothesis_settings.load_profile("its")
#: The command line is built once a process, as it is for users, and not for every command that a test gives.
typer.main.get_command = functools.cache(typer.main.get_command)
#: absl (of mlcroissant) keeps the standard error of its import, and closes it when logging is configured while another
#: stream stands in its place. It must not be pytest's.
with contextlib.redirect_stderr(io.StringIO()):
    import absl.logging  # noqa: F401


#: Tests of networks, which are slow: torch, MONAI and transformers take 10 s to import, in one worker.
NETWORKS = (
    "tests/readers/chat/",
    "tests/readers/detector/",
    "tests/readers/vision/",
    "tests/synthesis/nodmaisi/",
    "tests/synthesis/test_estimate.py",
    "tests/synthesis/test_fidelity.py",
    "tests/test_diagnosis.py::test_each_fault_is_named_with_what_mends_it",
    "tests/readers/test_compute.py::test_gpus_are_shared_in_turns_and_asked_for_before_any_work",
    "tests/cli/test_readers.py::test_every_entry_is_listed_and_what_is_missing_is_said",
)
#: Tests that compare with statsmodels, which takes 4 s to import.
STATSMODELS = tuple(f"tests/analysis/test_{name}.py" for name in ("comparisons", "standardise", "tallies"))


#: Makes the demo that other files look at: begun first, so that nobody waits for it, and the longest file too.
MAKES_DEMO = "tests/end_to_end/test_demo.py"
#: The longest quick files: at the end of a run one worker would be left alone with them.
LONG_QUICK = ("tests/test_architecture.py", "tests/test_diagnosis.py")


@pytest.hookimpl(tryfirst=True)  # before tests are chosen by their markers
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files with whole runs first, then networks: workers that share the tests end at about the same time."""
    for item in items:
        if item.nodeid.startswith(NETWORKS):
            item.add_marker("slow")
    slow = [item for item in items if item.get_closest_marker("slow")]
    long = {item.path for item in slow if not item.nodeid.startswith(NETWORKS)}
    look_at_demo = {item.path for item in slow if "demo" in getattr(item, "fixturenames", ())}

    def order(item: pytest.Item) -> tuple[bool, ...]:
        return (
            not item.nodeid.startswith(MAKES_DEMO),
            item.path not in long,
            item.path in look_at_demo,
            not item.nodeid.startswith(NETWORKS),
            not item.nodeid.startswith(LONG_QUICK),
        )

    items.sort(key=order)


def pytest_collection_finish() -> None:
    """What was loaded and collected stays to the end: the collector of garbage need not look through it again."""
    gc.collect()
    gc.freeze()
    atexit.register(gc.unfreeze)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """A file's tests go to one worker, as ``--dist loadscope`` has it, and all tests of a large library to one."""
    from xdist.scheduler import LoadScopeScheduling

    class LibrariesTogether(LoadScopeScheduling):
        def _split_scope(self, nodeid: str) -> str:
            for library, tests in (("networks", NETWORKS), ("statsmodels", STATSMODELS)):
                if nodeid.startswith(tests):
                    return library
            return super()._split_scope(nodeid)

    return LibrariesTogether(config, log)


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Bytes are named by argument and position: compressed ones hold the time, so workers would differ."""
    return argname if isinstance(val, bytes) else None


@pytest.fixture(autouse=True)
def _own_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """No setting of the developer's machine reaches a test."""
    for name in [n for n in os.environ if n.startswith("ITRIALSPACE_") or n in ("DAGSTER_HOME", "HF_TOKEN")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("ITRIALSPACE_WORKERS", "1")


def shared_folder(factory: pytest.TempPathFactory) -> Path:
    """A folder that all workers of a run of the tests share."""
    own = factory.getbasetemp()
    return own.parent if "PYTEST_XDIST_WORKER" in os.environ else own


def made_once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that one worker makes and all others find; nobody writes into it afterwards.

    Args:
        factory: of temporary folders.
        name: of the folder.
        make: fills the folder, which does not exist yet.
    """
    folder = shared_folder(factory) / name
    done = folder.with_name(f"{name}.done")
    with FileLock(folder.with_name(f"{name}.lock")):
        if not done.exists():
            shutil.rmtree(folder, ignore_errors=True)
            make(folder)
            done.touch()
    return folder


@pytest.fixture(scope="session")
def browser() -> Iterator[Any]:
    """The one browser of this process."""
    from .support.browser import chromium

    with chromium() as started:
        yield started


@pytest.fixture(scope="session")
def data_root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two scans a dataset, coarse voxels: seconds to make, every size bucket and lobe; one for all workers."""
    root = shared_folder(tmp_path_factory) / "root" / "data"
    with FileLock(root.parent.with_name("root.lock")):
        make_root(root, hosts=2, spacing=COARSE, workers=1)  # does nothing if it is there
    return root


@pytest.fixture
def settings(data_root: Path, tmp_path: Path) -> Settings:
    """Settings with fresh outputs over the shared data root."""
    return load_settings(data_dir=data_root, output_dir=tmp_path / "out", workers=1)


@pytest.fixture
def own_root(data_root: Path, tmp_path: Path) -> Path:
    """A copy of the data root that a test may spoil."""
    copy = tmp_path / "data"
    shutil.copytree(data_root, copy, copy_function=os.link)
    return copy


@pytest.fixture
def real_data() -> Path:
    if not REAL.is_dir():
        pytest.skip("real data is not here: it is never part of the repository")
    return REAL


def small_chest() -> Volume:
    """An asymmetric label map: two lobes in the right lung, one in the left, body around, no symmetry."""
    labels = np.zeros((40, 36, 30), dtype=np.uint8)
    labels[2:38, 3:33, 1:29] = 200
    labels[5:15, 8:28, 4:20] = 29
    labels[5:15, 8:28, 20:25] = 28
    labels[22:35, 8:30, 4:16] = 32
    labels[22:35, 8:30, 16:26] = 30
    affine = np.diag([1.5, 2.0, 2.5, 1.0])
    affine[:3, 3] = [-30.0, -36.0, 7.0]
    return Volume(labels, affine)


def change(path: Path, data: bytes) -> None:
    """Replace a file's content without touching what it is linked to."""
    path.unlink()
    path.write_bytes(data)
