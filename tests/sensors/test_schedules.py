"""The weekly report chain: what each schedule asks for, and in which order."""

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

import dagster as dg
import pytest

from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.orchestration.instance import CHAIN
from itrialspace_assets.sensors.schedules import STEPS, WEEKLY

NAMES = ["splits", "mode_reports", "real_reports", "catalog"]


@pytest.fixture(scope="module")
def repository() -> dg.RepositoryDefinition:
    return build_definitions().get_repository_def()


@pytest.fixture
def instance(tmp_path: Path) -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.local_temp(str(tmp_path)) as instance:  # a schedule asks no instance that is ephemeral
        yield instance


def requests(repository: dg.RepositoryDefinition, name: str, instance: dg.DagsterInstance) -> list[dg.RunRequest]:
    context = dg.build_schedule_context(
        instance=instance, scheduled_execution_time=datetime(2026, 1, 5, 5), repository_def=repository
    )
    schedule = repository.get_schedule_def(f"weekly_{name}")
    return list(schedule.evaluate_tick(context).run_requests or [])


def test_names_times_and_jobs(repository: dg.RepositoryDefinition) -> None:
    assert [name for name, _ in STEPS] == NAMES
    found = {s.name: s for s in repository.schedule_defs if s.name.startswith("weekly_")}
    assert set(found) == {f"weekly_{name}" for name in NAMES}
    for name in NAMES:
        schedule = found[f"weekly_{name}"]
        assert schedule.job_name == f"{name}_job"
        assert schedule.cron_schedule == WEEKLY == "0 5 * * 1"
        assert schedule.default_status == dg.DefaultScheduleStatus.STOPPED


def test_steps_without_partitions_ask_for_one_run(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    for name in ("splits", "catalog"):
        (request,) = requests(repository, name, instance)
        assert (request.run_key, request.partition_key) == (f"2026-01-05/{name}/all", None)


def test_only_partitions_that_were_materialized_are_asked_for(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    assert requests(repository, "mode_reports", instance) == []
    for asset, partition in (
        ("mode_report", "m05_counterfactual"),
        ("mode_report", "m02_size_detection_curve"),
        ("real_report", "LUNA16"),
        ("cohort_manifests", "m07_bootstrap_confidence"),
    ):
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(asset), partition=partition))
    found = requests(repository, "mode_reports", instance)
    assert [r.partition_key for r in found] == ["m02_size_detection_curve", "m05_counterfactual"]
    assert [r.run_key for r in found] == [f"2026-01-05/mode_reports/{r.partition_key}" for r in found]
    assert [r.partition_key for r in requests(repository, "real_reports", instance)] == ["LUNA16"]


def test_the_chain_runs_one_after_the_other_by_priority(
    repository: dg.RepositoryDefinition, instance: dg.DagsterInstance
) -> None:
    for asset, partition in (("mode_report", "m05_counterfactual"), ("real_report", "LUNA16")):
        instance.report_runless_asset_event(dg.AssetMaterialization(dg.AssetKey(asset), partition=partition))
    tags = [requests(repository, name, instance)[0].tags for name in NAMES]
    assert [t["dagster/priority"] for t in tags] == ["4", "3", "2", "1"]
    assert {t[CHAIN] for t in tags} == {"weekly"}


def test_a_location_has_the_schedules_of_its_jobs() -> None:
    names = {s.name for s in build_definitions(location="gpu").get_repository_def().schedule_defs}
    assert names == set()
