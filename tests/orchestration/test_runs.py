"""What a failed step says: a lost history names its database and how to go on, anything else its first cause."""

import sys

import sqlalchemy
from dagster._core.execution.plan.objects import ErrorSource, StepFailureData
from dagster._utils.error import serializable_error_info_from_exc_info

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
