"""What a failed step says (a lost history how to go on, anything else its first cause), and what ends a wait."""

import os
import signal
import socket
import subprocess
import sys
from pathlib import Path

import dagster as dg
import pytest
import sqlalchemy
from dagster._core.execution.plan.objects import ErrorSource, StepFailureData
from dagster._utils.error import serializable_error_info_from_exc_info

from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.orchestration import runs
from itrialspace_assets.orchestration.instance import DRIVER, open_instance
from itrialspace_assets.orchestration.runs import cause_of


def failed_with(error: BaseException) -> StepFailureData:
    try:
        raise RuntimeError("the step failed") from error
    except RuntimeError:
        info = serializable_error_info_from_exc_info(sys.exc_info())
    return StepFailureData(error=info, user_failure_data=None, error_source=ErrorSource.USER_CODE_ERROR)


def test_a_history_that_is_lost_inside_a_step_says_how_to_go_on() -> None:
    driver = RuntimeError("server closed\n  the connection")
    lost = sqlalchemy.exc.OperationalError("INSERT INTO event_logs VALUES (1)", {"event": "x" * 999}, driver)
    lost.__cause__ = driver
    said = cause_of(failed_with(lost))
    assert "history failed: " in said and "server closed the connection" in said and said.endswith("is kept")
    assert "run again" in said and "INSERT" not in said


def test_any_other_step_says_its_first_cause() -> None:
    inner = ValueError("x.yaml: expected y")
    outer = OSError("wrapped")
    outer.__cause__ = inner
    assert cause_of(failed_with(outer)) == "ValueError: x.yaml: expected y"


def test_a_run_that_waits_for_its_turn_ends_at_a_signal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    @dg.asset(pool="one")
    def made() -> None:
        raise AssertionError("its slot is another's")

    pauses: list[float] = []

    def asked_to_end(seconds: float) -> None:
        pauses.append(seconds)
        assert len(pauses) < 9, "it waits for ever"
        if len(pauses) == 2:
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(runs.time, "sleep", asked_to_end)
    whole = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out")) as instance:
        pool = instance.event_log_storage
        pool.initialize_concurrency_limit_to_default("one")
        assert pool.claim_concurrency_slot("one", "another", "x").is_claimed
        result = runs.run(runs.job_of(whole, [("made",)]), instance, {}, {})
        assert not result.success
        assert runs.was_interrupted(result)
        assert len(pauses) == 2, "at the next look"
        assert [step.run_id for step in pool.get_concurrency_info("one").pending_steps] == ["another"], (
            "nor waits there"
        )


def test_a_run_that_waits_for_a_driver_that_is_killed_takes_its_turn(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Killed after this run looked for such drivers: its slot would be taken for ever."""

    @dg.asset(pool="one")
    def made() -> None: ...

    monkeypatch.setattr(runs, "_LOOK_S", 0.0)
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    job = dg.Definitions(assets=[made]).resolve_implicit_global_asset_job_def()
    monkeypatch.setenv("DAGSTER_HOME", str(tmp_path / "home"))
    with open_instance(load_settings(data_dir=tmp_path, output_dir=tmp_path / "out")) as instance:
        other = instance.create_run_for_job(
            job, status=dg.DagsterRunStatus.STARTED, tags={DRIVER: f"{socket.gethostname()}:{killed.pid}"}
        )
        pool = instance.event_log_storage
        pool.initialize_concurrency_limit_to_default("one")
        assert pool.claim_concurrency_slot("one", other.run_id, "x").is_claimed
        assert runs.run(runs.job_of(job, [("made",)]), instance, {}, {}).success
        ended = instance.get_run_by_id(other.run_id)
        assert ended is not None and ended.status == dg.DagsterRunStatus.FAILURE
