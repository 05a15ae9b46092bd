"""``platform_health`` on a graph of three assets: states, rejections, and runs that failed."""

from pathlib import Path

import dagster as dg
import polars as pl
import pytest

from itrialspace_assets.casework.steps import Result, Step
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.records.store import read_table
from itrialspace_assets.resources.workspace import Workspace
from itrialspace_assets.sensors.health import failures, platform_health
from tests.support.small_graph import HOSTS, MASKS, REPORT, World, finished

#: The job of an asset that is materialized alone.
JOBS = {"__ephemeral_asset_job__": [("masks",)]}
PLAN = Node(Step(("plan",), "plan", ("mode",), "1"), ())


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = finished(tmp_path)
    made.make(PLAN, {"mode": "m1"}, Result(computed=5, rejected=2, retryable=1))
    return made


def graph(world: World) -> Graph:
    return Graph((HOSTS, PLAN, MASKS, REPORT), world.graph.sources, world.graph.keys)


def made(world: World, instance: dg.DagsterInstance) -> tuple[dict[tuple[str, str], str], dg.ExecuteInProcessResult]:
    result = dg.materialize(
        [platform_health(lambda settings: graph(world), JOBS)],
        instance=instance,
        resources={"workspace": Workspace.of(world.settings)},
    )
    rows = read_table(world.settings.output, "platform_health")
    return {(r["asset"], r["partition"]): r["state"] for r in rows.iter_rows(named=True)}, result


def test_every_partition_has_its_state_and_a_failed_run_fails_the_check(world: World) -> None:
    world.raw["C"] = "1"
    world.raw["A"] = "2"

    @dg.asset(
        name="masks",
        partitions_def=dg.MultiPartitionsDefinition(
            {"mode": dg.StaticPartitionsDefinition(["m1"]), "dataset": dg.StaticPartitionsDefinition(["B", "C"])}
        ),
    )
    def broken() -> None:
        raise RuntimeError("disk full")

    with dg.DagsterInstance.ephemeral() as instance:
        states, first = made(world, instance)
        assert states == {
            ("hosts", "A"): "out of date",
            ("hosts", "B"): "up to date",
            ("hosts", "C"): "missing",
            ("plan", "m1"): "out of date",  # one rejected case may pass
            ("masks", "m1/A"): "up to date",
            ("masks", "m1/B"): "up to date",
            ("masks", "m1/C"): "missing",
            ("report", "m1"): "up to date",
        }
        assert first.get_asset_check_evaluations()[0].passed
        for dataset in "BC":
            key = dg.MultiPartitionKey({"mode": "m1", "dataset": dataset})
            dg.materialize([broken], partition_key=key, instance=instance, raise_on_error=False)
        assert set(failures(instance, JOBS)) == {("masks", "m1/B"), ("masks", "m1/C")}
        states, second = made(world, instance)
        assert states["masks", "m1/C"] == "failed"
        assert states["masks", "m1/B"] == "up to date", "it is what it should be, whatever a later run did"
        (check,) = second.get_asset_check_evaluations()
        assert not check.passed and check.metadata["failed"].value == "masks [m1/C]"
    rows = read_table(world.settings.output, "platform_health").filter(pl.col("asset") == "plan")
    assert rows.select("done", "rejected", "retryable").rows() == [(3, 2, 1)]
