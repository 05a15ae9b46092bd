"""Two runs at once, databases that go away, a clock that is set back: the outputs are those of a quiet run."""

import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import dagster as dg
import pytest
from dagster._core.definitions.data_version import CachingStaleStatusResolver, StaleStatus
from dagster._core.loader import LoadingContextForTest

from itrialspace_assets import drive
from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration import history
from itrialspace_assets.orchestration.instance import open_instance
from itrialspace_assets.orchestration.lineage import up_to_date

from ..end_to_end.conftest import ITS, apart, with_no_settings
from ..support import postgres, warm
from .conftest import RUN, hashes, places

#: Holds the history of an output folder for as long as it is told, as a program that writes to it does.
HOLD = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], timeout=60, isolation_level=None)
db.execute("BEGIN IMMEDIATE")
print("held", flush=True)
sys.stdin.readline()
db.execute("COMMIT")
"""
#: A run in which the clock is ten years ahead.
AHEAD = """
import sys, time
real = time.time
time.time = lambda: real() + 10 * 365.25 * 86400
from itrialspace_assets.cli.main import main
sys.argv = ["its", *sys.argv[1:]]
main()
"""


def started(data: Path, out: Path, **more: str) -> warm.Process:
    return warm.Process([*ITS[1:], *RUN], with_no_settings() | places(data, out) | more)


def wait_for(ready: Callable[[], bool], process: warm.Process) -> None:
    while not ready():
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)


@pytest.mark.slow
def test_two_runs_of_the_same_partitions_at_once(
    data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str]
) -> None:
    out = copy("two")
    both = [started(data_root, out) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [process.returncode for process in both] == [0, 0], said
    assert hashes(out) == undisturbed
    assert apart("status", **places(data_root, out)).returncode == 0


@pytest.mark.slow
def test_a_run_that_waits_for_another_ends_within_seconds_when_it_is_told_to(
    data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    out = copy("waits")
    monkeypatch.setenv("DAGSTER_HOME", str(out / "dagster"))
    with open_instance(load_settings(data_dir=data_root, output_dir=out)) as instance:
        pool = instance.event_log_storage
        pool.initialize_concurrency_limit_to_default("synthesise_shards")
        assert pool.claim_concurrency_slot("synthesise_shards", "another", "x").is_claimed
        run = started(data_root, out)
        wait_for(lambda: len(pool.get_concurrency_info("synthesise_shards").pending_steps) == 2, run)
        time.sleep(2)
        run.terminate()
        said = run.communicate(timeout=20)
        assert run.returncode == 1, said
        assert "interrupted. Run again" in said[1]
        pool.free_concurrency_slot_for_step("another", "x")
    assert apart(*RUN, **places(data_root, out)).returncode == 0
    assert hashes(out) == undisturbed


@pytest.mark.slow
def test_a_history_that_another_program_holds_is_waited_for(
    data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str]
) -> None:
    out = copy("held")
    database = out / "dagster/history/event_log.db"
    assert database.exists()
    run = started(data_root, out)
    wait_for(lambda: any((out / "tables/insertions").rglob("part.parquet")), run)
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(database)], stdin=pipe, stdout=pipe, text=True)
    assert holder.stdout is not None
    assert holder.stdout.readline() == "held\n"
    time.sleep(4)
    assert run.poll() is None, "it waits"
    holder.communicate("\n")
    said = run.communicate(timeout=300)
    assert run.returncode == 0, said
    assert hashes(out) == undisturbed


@pytest.mark.slow
def test_a_history_that_is_held_for_good_is_a_message(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the next run, after it was let go, is an ordinary one."""
    monkeypatch.setattr(history, "_WAIT_MS", 100)
    monkeypatch.setenv("DAGSTER_HOME", str(settings.output / "dagster"))
    choice = drive.RunChoice((), ("LUNA16",), ("profiles",))
    open_instance(settings).dispose()
    database = settings.output / "dagster/history/event_log.db"
    pipe = subprocess.PIPE
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(database)], stdin=pipe, stdout=pipe, text=True)
    assert holder.stdout is not None and holder.stdout.readline() == "held\n"
    with pytest.raises(PlatformError, match=r"history failed: database is locked.*run again"):
        drive.drive(settings, choice)
    holder.communicate("\n")
    assert not drive.drive(settings, choice)
    assert (settings.output / "tables/profiles/LUNA16/part.parquet").exists()


@pytest.fixture
def server() -> Iterator[postgres.Server]:
    if why := postgres.missing():
        pytest.skip(why)
    pytest.importorskip("dagster_postgres")
    with postgres.server() as running:
        yield running


@pytest.mark.slow
def test_a_database_server_that_is_restarted(
    server: postgres.Server, data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str]
) -> None:
    """While it is away the run waits or ends with a message; the next one ends as ever."""
    out = copy("postgres")
    home = out / "home"
    home.mkdir()
    (home / "dagster.yaml").write_text(postgres.STORAGE.format(port=server.port))
    run = started(data_root, out, DAGSTER_HOME=str(home))
    wait_for(lambda: any((out / "tables/insertions").rglob("part.parquet")), run)
    server.stop()
    time.sleep(2)
    server.start()
    stdout, stderr = run.communicate(timeout=300)
    assert run.returncode in (0, 1), stdout + stderr
    assert "Traceback" not in stdout + stderr
    assert run.returncode == 0 or "run again" in stderr, stderr
    done = apart(*RUN, **places(data_root, out), DAGSTER_HOME=str(home))
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(out) == undisturbed
    with dg.DagsterInstance.from_config(str(home)) as instance:
        assert instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])) == []


@pytest.mark.slow
def test_a_clock_that_is_set_back(
    data_root: Path, copy: Callable[[str], Path], undisturbed: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was made and recorded in the future is up to date now; a change is seen though its times are older."""
    out = copy("clock")
    env = with_no_settings() | places(data_root, out)
    ahead = [sys.executable, "-c", AHEAD, *RUN]  # before any library is imported
    done = subprocess.run(ahead, check=False, env=env, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stdout + done.stderr
    assert hashes(out) == undisturbed
    future = time.time() + 10 * 365.25 * 86400
    for path in out.rglob("*"):
        if path.is_file() and "dagster" not in path.parts:
            os.utime(path, (future, future))
    done = apart(*RUN, **places(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert " made" not in done.stdout.replace("made ", ""), done.stdout
    trial = out / "trials/x_small.yaml"
    trial.write_text(trial.read_text().replace("value: 0.5", "value: 1.0"))
    os.utime(trial, (1, 1))
    done = apart(*RUN, **places(data_root, out))
    assert done.returncode == 0, done.stdout + done.stderr
    assert "plan: 1 partition made" in done.stdout, done.stdout
    settings = load_settings(data_dir=data_root, output_dir=out, trials_dir=out / "trials", workers=1)
    graph, definitions = build_graph(settings), build_definitions(settings=settings)
    pair = {"mode": "x_small", "dataset": "LUNA25"}
    monkeypatch.setenv("DAGSTER_HOME", str(out / "dagster"))
    with open_instance(settings) as instance:
        view = CachingStaleStatusResolver(instance, definitions.resolve_asset_graph(), LoadingContextForTest(instance))
        for key in (("inserted_masks",), ("tissue", "synthetic_cts"), ("tissue", "predictions", "blob")):
            assert up_to_date(graph, graph.node(key), settings, pair)
            assert view.get_status(dg.AssetKey(list(key)), dg.MultiPartitionKey(pair)) == StaleStatus.FRESH
