"""What is in use, out of date, and can be made now, on a graph of three assets and one source."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.casework.steps import Partition, Result, Step, partition_name, record
from itrialspace_assets.orchestration.lineage import reads_of
from itrialspace_assets.orchestration.nodes import Graph, Node, Source
from itrialspace_assets.orchestration.staleness import ready

RAW = ("raw", "profiles")
HOSTS = Node(Step(("hosts",), "hosts", ("dataset",), "1"), (RAW,))
MASKS = Node(Step(("masks",), "insert", ("mode", "dataset"), "1"), (("hosts",),))
REPORT = Node(Step(("report",), "report", ("mode",), "1"), (("masks",),), every=(("masks",),))
STAGES = ("hosts", "insert", "report")


@dataclass
class World:
    settings: Settings
    raw: dict[str, str]

    @property
    def graph(self) -> Graph:
        source = Source(RAW, "profiles", ("dataset",), lambda s, p: self.raw.get(p["dataset"], ""))
        return Graph((HOSTS, MASKS, REPORT), (source,), {"dataset": ("A", "B", "C"), "mode": ("m1", "m2")})

    def make(self, node: Node, partition: Partition) -> None:
        reads = reads_of(self.graph, node, self.settings, partition)
        files = {f"{node.step.name}-{partition_name(partition).replace('/', '-')}": ""}
        for file in files:
            path = self.settings.output / file
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(str(sorted(reads.items())))
        from itrialspace_assets.base.fingerprints import hash_file

        hashed = {file: hash_file(self.settings.output / file) for file in files}
        record(self.settings, node.step, partition, reads, Result(files=hashed))

    def ready(self, stages: tuple[str, ...] = STAGES) -> dict[str, str]:
        return {s.label: s.state for s in ready(self.graph, self.settings, stages)}


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(load_settings(data_dir=tmp_path / "data", output_dir=tmp_path / "out"), {"A": "1", "B": "1"})
    made.settings.data.mkdir(parents=True)
    parts: Mapping[str, list[dict[str, str]]] = {
        "hosts": [{"dataset": d} for d in "AB"],
        "masks": [{"mode": "m1", "dataset": d} for d in "AB"],
        "report": [{"mode": "m1"}],
    }
    for node in (HOSTS, MASKS, REPORT):
        for part in parts[node.step.name]:
            made.make(node, part)
    return made


def test_nothing_is_asked_for_where_nothing_changed(world: World) -> None:
    assert world.ready() == {}


def test_a_change_is_followed_one_step_at_a_time(world: World) -> None:
    world.raw["A"] = "2"
    assert set(world.ready()) == {"hosts|A"}
    assert world.ready(("insert", "report")) == {}, "what it reads is out of date: not yet"
    world.make(HOSTS, {"dataset": "A"})
    assert set(world.ready()) == {"masks|m1/A"}
    world.make(MASKS, {"mode": "m1", "dataset": "A"})
    assert set(world.ready()) == {"report|m1"}
    world.make(REPORT, {"mode": "m1"})
    assert world.ready() == {}


def test_the_state_tells_two_changes_apart(world: World) -> None:
    world.raw["A"] = "2"
    first = world.ready()["hosts|A"]
    assert world.ready()["hosts|A"] == first
    world.raw["A"] = "3"
    assert world.ready()["hosts|A"] != first


def test_a_dataset_that_is_added_joins_the_modes_that_were_run(world: World) -> None:
    world.raw["C"] = "1"
    assert set(world.ready()) == {"hosts|C"}
    world.make(HOSTS, {"dataset": "C"})
    assert set(world.ready()) == {"masks|m1/C"}, "m2 was never run"


def test_what_was_never_made_is_not_begun(tmp_path: Path) -> None:
    new = World(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out"), {"A": "1"})
    assert new.ready() == {}


def test_a_file_that_was_damaged_is_made_again(world: World) -> None:
    (world.settings.output / "masks-m1-B").write_text("cut")
    assert set(world.ready()) == {"masks|m1/B"}
