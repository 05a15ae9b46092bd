"""Partitions that are made side by side: none is lost, none of one dataset at once, whatever becomes of a process."""

import hashlib
import os
import signal
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from multiprocessing import Pipe
from pathlib import Path
from typing import Any

import polars as pl
import pytest

from itrialspace_assets import drive
from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.drive import RunChoice
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.instance import close_killed_runs, open_instance, shared_instance
from itrialspace_assets.records.store import table_path
from itrialspace_assets.runner import Log, PartitionRun, Processes

PAIRS = [
    PartitionRun("cases", (("inserted_masks",),), {"mode": m, "dataset": d})
    for m in ("m1", "m2", "m3")
    for d in ("A", "B", "C")
]


class Stand:
    """Stands for a process: its work is done in a thread of this one."""

    def __init__(self, work: Callable[[PartitionRun], Any]) -> None:
        self.pipe, self._there = Pipe()
        self.killed = False
        threading.Thread(target=self._serve, args=(work,), daemon=True).start()

    def _serve(self, work: Callable[[PartitionRun], Any]) -> None:
        with self._there as orders:
            while (wanted := orders.recv()) is not None:
                said = work(wanted)
                if said is None:
                    return  # as a process that is killed
                orders.send(said)

    def kill(self) -> None:
        self.killed = True

    def join(self) -> None: ...


def made_by(*works: Callable[[PartitionRun], Any]) -> tuple[Processes, list[Stand]]:
    stands = [Stand(work) for work in works]
    return Processes([(stand, stand.pipe) for stand in stands]), stands  # type: ignore[list-item]


def logged(wanted: PartitionRun) -> Log:
    log = Log()
    log.stages["insert"].computed = 1
    log.stages["insert"].seconds = 0.5
    return log


def test_every_partition_is_made_once_and_no_two_of_a_dataset_at_a_time() -> None:
    now: list[str] = []
    met: list[set[str]] = []

    def work(wanted: PartitionRun) -> Log:
        met.append({*now})
        assert wanted.part["dataset"] not in now
        now.append(wanted.part["dataset"])
        time.sleep(0.01)
        now.remove(wanted.part["dataset"])
        return logged(wanted)

    processes, _ = made_by(work, work)
    total, got = Log(), []
    for one, log in processes.run(PAIRS):
        assert log is not None
        total.add(log)
        got.append(one)
    processes.close()
    assert sorted(map(str, got)) == sorted(map(str, PAIRS))
    assert any(met), "two at a time"
    assert (total.stages["insert"].computed, total.stages["insert"].seconds) == (9, 4.5)


def test_what_a_killed_process_made_is_given_back_and_the_others_make_the_rest() -> None:
    processes, _ = made_by(lambda w: None if w == PAIRS[0] else logged(w), logged)
    found = {str(one): log for one, log in processes.run(PAIRS)}
    assert [name for name, log in found.items() if log is None] == [str(PAIRS[0])]
    assert len(found) == len(PAIRS)


def test_without_a_process_everything_is_given_back() -> None:
    processes, _ = made_by(lambda w: None, lambda w: None)
    found = list(processes.run(PAIRS))
    assert sorted(str(one) for one, _ in found) == sorted(map(str, PAIRS))
    assert not any(log for _, log in found)


def test_a_disk_that_is_full_ends_the_run_and_every_process() -> None:
    processes, stands = made_by(lambda w: PlatformError("the disk is full"), logged)
    with pytest.raises(PlatformError, match="the disk is full"):
        list(processes.run(PAIRS))
    assert all(stand.killed for stand in stands)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_the_run_and_every_process(number: signal.Signals) -> None:
    def work(wanted: PartitionRun) -> Log:
        os.kill(os.getpid(), number)
        return logged(wanted)

    processes, stands = made_by(work)
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(PlatformError, match=r"cases: interrupted\. Run again"):
        list(processes.run(PAIRS))
    assert stands[0].killed and signal.getsignal(signal.SIGTERM) is before


def test_partitions_of_few_cases_are_made_by_one_process(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """Those of many cases by all workers, and so are all where a GPU is shared out."""
    two, graph = settings.model_copy(update={"workers": 2}), build_graph(settings)
    profiles, report = graph.node(("profiles",)), graph.node(("mode_report",))
    inserted, dataset, mode = (
        graph.node(("inserted_masks",)),
        {"dataset": "LUNA16"},
        {"mode": "m01_controlled_prevalence"},
    )
    assert drive.is_small(two, [profiles], dataset) and drive.is_small(two, [report], mode)
    assert not drive.is_small(settings, [profiles], dataset), "there is one worker"
    assert not drive.is_small(two, [inserted], mode | dataset), "nothing is planned"
    gpu = replace(profiles, step=replace(profiles.step, location="gpu"))
    assert not drive.is_small(two, [gpu], dataset)
    lines = len((two.data / "profiles/LUNA16_nodule_profiles.csv").read_text().splitlines())
    monkeypatch.setattr(drive, "FEW_CASES", lines)
    assert drive.is_small(two, [profiles], dataset)
    assert not drive.is_small(two.model_copy(update={"workers": 8}), [profiles], dataset), (
        "it keeps four of eight waiting"
    )
    monkeypatch.setattr(drive, "FEW_CASES", 2)
    assert not drive.is_small(two, [profiles], dataset), "its table has three nodules"
    path = table_path(two.output, "cases", **mode)
    path.parent.mkdir(parents=True)
    path.touch()
    rows = pl.DataFrame({"host_dataset": ["LUNA16", "LUNA16", "LUNA25", "LUNA25", "LUNA25"]})
    monkeypatch.setattr(drive, "read_file", lambda *_: rows)
    pairs = [mode | {"dataset": d} for d in ("LUNA16", "LUNA25", "LUNGx")]
    assert [p["dataset"] for p in pairs if drive.is_small(two, [inserted], p)] == ["LUNA16", "LUNGx"]


def test_processes_share_a_pool_unless_an_instance_of_the_user_queues_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path))
    for text, pools in (("", {"granularity": "op", "default_limit": 2}), ("run_queue: {max_concurrent_runs: 3}", None)):
        (tmp_path / "dagster.yaml").write_text(text)
        assert (shared_instance(2).settings.get("concurrency") or {}).get("pools") == pools


def tables(settings: Settings) -> dict[str, str]:
    root = settings.output / "tables"
    return {str(p.relative_to(root)): hashlib.sha256(p.read_bytes()).hexdigest() for p in root.rglob("*.parquet")}


@pytest.mark.slow
def test_a_process_that_is_killed_costs_its_partition_a_second_try(
    settings: Settings, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    datasets = ("LUNA16", "LUNA25", "LUNGx", "DLCS24")
    choice = RunChoice(("m02_size_detection_curve",), datasets, ("profiles", "hosts", "index", "plan", "insert"))
    homes = {
        name: settings.model_copy(update={"output_dir": tmp_path / name, "relax": True}) for name in ("quiet", "killed")
    }
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "quiet" / "dagster"))
    assert not drive.drive(homes["quiet"], choice)

    start = drive.start_processes
    started: list[Processes] = []
    monkeypatch.setattr(drive, "start_processes", lambda *given: started.append(start(*given)) or started[-1])
    add = Log.add

    def kill_one(log: Log, other: Log) -> None:
        if victims := [p for p in started[0]._processes if p.now and len(started[0]._processes) == 2]:
            os.kill(victims[0].process.pid or 0, signal.SIGKILL)
        add(log, other)

    monkeypatch.setattr(Log, "add", kill_one)
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "killed" / "dagster"))
    assert not drive.drive(homes["killed"].model_copy(update={"workers": 2}), choice)
    assert "was killed" in capsys.readouterr().out
    assert tables(homes["killed"]) == tables(homes["quiet"])
    with open_instance(homes["killed"]) as instance:
        assert close_killed_runs(instance) == []
        assert not [r for r in instance.get_runs() if not r.is_finished]
