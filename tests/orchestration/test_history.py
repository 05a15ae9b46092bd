"""The history of runs in SQLite holds what Dagster's own storage holds, and tells those who watch."""

import threading
import time
from collections.abc import Iterator
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets.orchestration.instance import INSTANCE

KEYS = ["a", "b"]
_PARTS = dg.StaticPartitionsDefinition(KEYS)


@dg.asset(partitions_def=_PARTS)
def made() -> "dg.MaterializeResult[None]":
    return dg.MaterializeResult(metadata={"rows": 3})


@dg.asset_check(asset=made, partitions_def=_PARTS)
def looked_at() -> dg.AssetCheckResult:
    return dg.AssetCheckResult(passed=False, metadata={"which": "the first"})


JOB = dg.Definitions(assets=[made], asset_checks=[looked_at]).resolve_implicit_global_asset_job_def()


def opened(home: Path, config: str) -> dg.DagsterInstance:
    home.mkdir(exist_ok=True)
    if not (home / "dagster.yaml").exists():  # another that opens it now must not find it half written
        (home / "dagster.yaml").write_text(config)
    return dg.DagsterInstance.from_config(str(home))


@pytest.fixture
def ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[dg.DagsterInstance]:
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "ours"))
    with opened(tmp_path / "ours", INSTANCE) as instance:
        assert type(instance.event_log_storage).__module__ == "itrialspace_assets.orchestration.history"
        yield instance


def _told(instance: dg.DagsterInstance) -> list[object]:
    """All that a page asks of a history, without ids and times."""
    found: list[object] = []
    for key in KEYS:
        result = JOB.execute_in_process(instance=instance, partition_key=key)
        run = instance.get_run_by_id(result.run_id)
        assert run is not None
        found += [run.status, run.tags["dagster/partition"], run.asset_selection]
        found += [(e.dagster_event_type, e.step_key) for e in instance.all_logs(run.run_id)]
    records = instance.fetch_materializations(dg.AssetKey("made"), limit=10).records
    found += [(r.partition_key, r.asset_materialization and r.asset_materialization.metadata) for r in records]
    check = dg.AssetCheckKey(dg.AssetKey("made"), "looked_at")
    for record in instance.event_log_storage.get_asset_check_execution_history(check, limit=10):
        evaluation = record.event and record.event.dagster_event and record.event.dagster_event.event_specific_data
        found += [record.status, getattr(evaluation, "partition", None), getattr(evaluation, "passed", None)]
    found.append(sorted(instance.get_materialized_partitions(dg.AssetKey("made"))))
    found.append([r.status for r in instance.get_runs(dg.RunsFilter(tags={"dagster/partition": "b"}))])
    return found


@pytest.mark.slow
def test_it_holds_what_dagsters_own_storage_holds(tmp_path: Path, ours: dg.DagsterInstance) -> None:
    with opened(tmp_path / "theirs", "telemetry: {enabled: false}") as theirs:
        expected = _told(theirs)
    assert len(expected) > 40
    assert _told(ours) == expected


def test_it_is_read_by_another_that_is_open_at_the_same_time(tmp_path: Path, ours: dg.DagsterInstance) -> None:
    seen: list[str] = []
    with opened(tmp_path / "ours", INSTANCE) as page:
        run = ours.create_run_for_job(JOB)
        page.event_log_storage.watch(run.run_id, None, lambda event, cursor: seen.append(event.message))
        ours.report_engine_event("begun", run)
        until = time.monotonic() + 20
        while not seen and time.monotonic() < until:
            time.sleep(0.02)
        page.event_log_storage.end_watch(run.run_id, next(iter(page.event_log_storage._watchers[run.run_id]), None))
    assert seen[-1:] == ["begun"]


@pytest.mark.slow
def test_many_write_at_once(tmp_path: Path, ours: dg.DagsterInstance) -> None:
    each, writers = 25, 6
    failed: list[Exception] = []

    def write(name: str) -> None:
        try:
            with opened(tmp_path / "ours", INSTANCE) as instance:
                for n in range(each):
                    instance.report_runless_asset_event(dg.AssetMaterialization(name, partition=str(n)))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=write, args=(f"w{i}",)) for i in range(writers)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not failed
    counts = [len(ours.get_materialized_partitions(dg.AssetKey(f"w{i}"))) for i in range(writers)]
    assert counts == [each] * writers
