"""Runs with a job that was made once are recorded as runs that Dagster starts itself."""

import dagster as dg
import pytest

from itrialspace_assets.orchestration.runs import job_of, run

_MODE, _DATASET = dg.StaticPartitionsDefinition(["m1", "m2"]), dg.StaticPartitionsDefinition(["d1"])
_PAIR = dg.MultiPartitionsDefinition({"mode": _MODE, "dataset": _DATASET})


@dg.asset(partitions_def=_PAIR)
def first() -> None: ...


@dg.asset(partitions_def=_PAIR, deps=[first])
def second(context: dg.AssetExecutionContext) -> None:
    if "m2" in str(context.partition_key):
        raise dg.Failure("no such mode")


@dg.asset
def whole() -> None: ...


@dg.asset_check(asset=first)
def checked() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=True)


WHOLE = dg.Definitions([first, second, whole], asset_checks=[checked]).resolve_implicit_global_asset_job_def()


@pytest.mark.parametrize(
    ("keys", "partition"),
    [
        ([("first",), ("second",)], {"mode": "m1", "dataset": "d1"}),
        ([("second",)], {"mode": "m2", "dataset": "d1"}),
        ([("whole",)], {}),
    ],
)
def test_a_run_is_recorded_as_one_that_dagster_starts(keys: list[tuple[str]], partition: dict[str, str]) -> None:
    job = job_of(WHOLE, keys)
    found = []
    with dg.DagsterInstance.ephemeral() as instance:
        ours = [run(job, instance, partition, {"by": "us"}) for _ in range(2)]
        theirs = WHOLE.execute_in_process(
            instance=instance,
            partition_key=dg.MultiPartitionKey(partition) if partition else None,
            asset_selection=[dg.AssetKey(list(key)) for key in keys],
            raise_on_error=False,
            tags={"by": "us"},
        )
        for result in (*ours, theirs):
            made = instance.get_run_by_id(result.run_id)
            assert made is not None
            events = [(e.dagster_event_type, e.step_key) for e in instance.all_logs(made.run_id)]
            found.append((made.status, made.tags, made.asset_selection, made.job_snapshot_id, made.job_name, events))
    assert found[0] == found[1] == found[2]
    assert ours[0].success == (partition.get("mode") != "m2")
