"""What is in use, out of date, and can be made now, on a graph of three assets and one source."""

from pathlib import Path

import pytest

from itrialspace_assets.base.settings import load_settings
from tests.support.small_graph import HOSTS, MASKS, REPORT, World, finished


@pytest.fixture
def world(tmp_path: Path) -> World:
    return finished(tmp_path)


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
    assert set(world.ready()) == set()
    assert set(world.ready(added=("C",))) == {"hosts|C"}
    world.make(HOSTS, {"dataset": "C"})
    assert set(world.ready(added=("C",))) == {"masks|m1/C"}, "m2 was never run"


def test_what_was_never_made_is_not_begun(tmp_path: Path) -> None:
    new = World(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out"), {"A": "1"})
    assert new.ready() == {}


def test_a_file_that_was_damaged_is_made_again(world: World) -> None:
    (world.settings.output / "masks-m1-B").write_text("cut")
    assert set(world.ready()) == {"masks|m1/B"}
