"""What the sensors and the nightly schedule ask for, on made-up lists of what is out of date."""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import dagster as dg
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Step
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.staleness import Stale
from itrialspace_assets.sensors import reevaluation
from itrialspace_assets.sensors.reevaluation import MOST_RUNS, WATCHES, Fresh, nightly, sensors

READ = Node(Step(("tissue", "predictions", "blob"), "read", ("mode", "dataset"), "1"), ())
OTHER = Node(Step(("tissue", "predictions", "mock"), "read", ("mode", "dataset"), "1"), ())
REPORT = Node(Step(("mode_report",), "report", ("mode",), "1"), ())
PAIR = {"mode": "m05_counterfactual", "dataset": "LUNA16"}


@dataclass
class World:
    """Sensors over a list of what is out of date, which a test changes."""

    settings: Settings
    stale: list[Stale] = field(default_factory=list)
    silent: list[str] = field(default_factory=list)
    broken: str = ""
    datasets: set[str] = field(default_factory=lambda: {"LUNA16"})
    added: set[str] = field(default_factory=set)

    def found(self, stages: tuple[str, ...], added: set[str]) -> list[Stale]:
        self.added = added
        return [s for s in self.stale if s.node.step.stage in stages]

    def fresh(self) -> Fresh:
        def graph(settings: Settings) -> Graph:
            if self.broken:
                raise ConfigError(self.broken)
            return Graph((), (), {})

        jobs = {READ.step.key: "read", OTHER.step.key: "read", REPORT.step.key: "mode_reports"}
        return Fresh(graph, lambda s: iter(self.silent), jobs)

    def sensor(self, name: str) -> dg.SensorDefinition:
        jobs: Any = {n: dg.define_asset_job(f"{n}_job", selection="*") for n in ("read", "mode_reports")}
        return next(s for s in sensors(self.settings, self.fresh(), jobs) if s.name == f"{name}_changed")

    def look(self, name: str, instance: dg.DagsterInstance, cursor: str | None) -> Any:
        context = dg.build_sensor_context(instance=instance, cursor=cursor, definitions=dg.Definitions())
        return self.sensor(name)._raw_fn(context)


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    made = World(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out"))
    monkeypatch.setattr(reevaluation, "ready", lambda graph, settings, stages, added: made.found(stages, added))
    monkeypatch.setattr(reevaluation, "datasets_with_profiles", lambda graph, settings: made.datasets)
    return made


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def test_readers_of_a_pair_share_a_run_and_are_asked_for_once(world: World, instance: dg.DagsterInstance) -> None:
    world.stale = [Stale(READ, PAIR, "a"), Stale(OTHER, PAIR, "b"), Stale(REPORT, {"mode": "m1"}, "c")]
    found = world.look("readers", instance, None)
    (request,) = found.run_requests
    assert request.job_name == "read_job"
    assert request.partition_key == dg.MultiPartitionKey(PAIR)
    assert [k.path[-1] for k in request.asset_selection] == ["blob", "mock"]
    assert request.run_key == "read/m05_counterfactual/LUNA16/a/b"
    again = world.look("readers", instance, found.cursor)
    assert not again.run_requests, "the same state is asked for once, also where its run failed"
    world.stale[1] = Stale(OTHER, PAIR, "b2")
    (request,) = world.look("readers", instance, again.cursor).run_requests
    assert [k.path[-1] for k in request.asset_selection] == ["mock"]
    world.stale = []
    world.datasets.add("LUNA25")
    last = json.loads(world.look("readers", instance, again.cursor).cursor)
    assert last == {"asked": {}, "known": ["LUNA16"]}, "the cursor does not grow"
    assert world.added == {"LUNA25"}, "a dataset that was not there at the first look joins"


def test_what_exceeds_the_most_runs_comes_with_the_next_look(world: World, instance: dg.DagsterInstance) -> None:
    world.stale = [Stale(REPORT, {"mode": f"m{i:03}"}, "s") for i in range(MOST_RUNS + 3)]
    first = world.look("conclusions", instance, None)
    second = world.look("conclusions", instance, first.cursor)
    assert [len(r.run_requests) for r in (first, second)] == [MOST_RUNS, 3]
    assert not world.look("conclusions", instance, second.cursor).run_requests


def test_a_wrong_file_is_said_and_a_silent_server_too(
    world: World, instance: dg.DagsterInstance, caplog: pytest.LogCaptureFixture
) -> None:
    world.broken = "readers.yaml: readers.x: kind: expected one of blob"
    found = world.look("readers", instance, None)
    assert isinstance(found, dg.SkipReason) and "readers.yaml" in str(found.skip_message)
    world.broken, world.silent = "", ["reader served: no answer"]
    found = world.look("readers", instance, None)
    assert found.run_requests == []


def test_the_night_asks_each_tick_for_what_is_possible_by_then(world: World, instance: dg.DagsterInstance) -> None:
    world.stale = [Stale(REPORT, {"mode": "m1"}, "s"), Stale(READ, PAIR, "a")]
    jobs: Any = {n: dg.define_asset_job(f"{n}_job", selection="*") for n in ("read", "mode_reports")}
    by_name = {s.name: s for s in nightly(world.settings, world.fresh(), jobs)}
    assert set(by_name) == {"nightly_read", "nightly_mode_reports"}
    context = dg.build_schedule_context(instance=instance, scheduled_execution_time=datetime(2026, 1, 5, 1, 15))
    (request,) = by_name["nightly_mode_reports"]._execution_fn(context)  # type: ignore[operator]
    assert (request.run_key, request.partition_key) == ("2026-01-05/mode_reports/m1/s", "m1")


def test_all_are_off_unless_turned_on_and_every_stage_is_watched(tmp_path: Path) -> None:
    from itrialspace_assets.orchestration.nodes import STAGES

    assert sorted(s for w in WATCHES for s in w.stages) == sorted(STAGES)
    for automation, sensor, schedule in (
        ("off", dg.DefaultSensorStatus.STOPPED, dg.DefaultScheduleStatus.STOPPED),
        ("on", dg.DefaultSensorStatus.RUNNING, dg.DefaultScheduleStatus.RUNNING),
    ):
        settings = load_settings(data_dir=tmp_path, output_dir=tmp_path / "out", automation=automation)
        repository = build_definitions(settings=settings).get_repository_def()
        assert {s.name for s in repository.sensor_defs} == {*(f"{w.name}_changed" for w in WATCHES), "run_failed"}
        assert {s.default_status for s in repository.sensor_defs} == {sensor}
        of_night = [s for s in repository.schedule_defs if s.name.startswith("nightly_")]
        assert "nightly_read" in {s.name for s in of_night}
        assert {s.default_status for s in of_night} == {schedule}
