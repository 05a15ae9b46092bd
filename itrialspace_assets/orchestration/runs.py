"""Runs some assets for one partition in this process, many times with the same assets.

``JobDefinition.execute_in_process`` cuts its job out of the whole graph, and takes a snapshot of both, at each call:
a fifth of the time of a partition without work. Here that is done once for each choice of assets.
"""

import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import dagster as dg
from dagster._core.definitions.job_base import InMemoryJob
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.events import RunFailureReason
from dagster._core.execution.execute_in_process import core_execute_in_process, merge_run_tags
from dagster._core.execution.plan.active import ActiveExecution
from dagster._core.execution.plan.objects import StepFailureData
from dagster._utils.interrupts import pop_captured_interrupt

from itrialspace_assets.casework.steps import Partition
from itrialspace_assets.orchestration.history import history_failure_of
from itrialspace_assets.orchestration.instance import close_killed_runs
from itrialspace_assets.orchestration.nodes import Key

#: Console lines of Dagster are for its own commands; events are in the history.
_RUN_CONFIG = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
#: Seconds between two looks at whether a step may start (ours: Dagster asks for a slot of a pool every 1 to 15 s).
_PAUSE_S = 0.2
#: Seconds between two looks, while a step waits, for drivers that were killed (ours: a look reads the open runs).
_LOOK_S = 5.0


def job_of(whole: dg.JobDefinition, keys: Sequence[Key]) -> dg.JobDefinition:
    """The job of some assets and their checks.

    Args:
        whole: the job of all assets.
        keys: of the assets.
    """
    return whole.as_ephemeral_job({}, {}, asset_selection=[dg.AssetKey(list(key)) for key in keys])


def run(
    job: dg.JobDefinition, instance: dg.DagsterInstance, partition: Partition, tags: Mapping[str, str]
) -> "dg.ExecuteInProcessResult":
    """Run a job for one partition; a step that fails, Ctrl-C or SIGTERM ends the run, not this process.

    Args:
        job: from ``job_of``.
        instance: keeps the run and its events.
        partition: key by dimension; empty for assets without partitions.
        tags: of the run.
    """
    key: Any = dg.MultiPartitionKey(partition) if len(partition) == 2 else next(iter(partition.values()), None)
    selected = frozenset(job.asset_selection or ())
    with _heard_while_it_waits(instance):
        return core_execute_in_process(
            job=InMemoryJob(job),
            run_config=_RUN_CONFIG,
            instance=instance,
            output_capturing_enabled=True,
            raise_on_error=False,
            run_tags=merge_run_tags(job, key, tags, list(selected), instance, _RUN_CONFIG),
            asset_selection=selected,
        )


@contextmanager
def _heard_while_it_waits(instance: dg.DagsterInstance) -> Iterator[None]:
    """Let Ctrl-C and SIGTERM end a run whose next step waits for a slot of a pool, and free slots of killed drivers.

    Dagster notes signals during a run and hands them to the step that is running; while none is, nothing looks at them,
    and its loop asks without a pause whether a step may start. A driver that is killed after this one began, or whose
    end takes a moment longer, leaves its slot taken: nobody else would free it.
    """
    looked = time.monotonic()

    def wait(_: ActiveExecution) -> None:
        nonlocal looked
        if pop_captured_interrupt():
            raise DagsterExecutionInterruptedError
        if time.monotonic() - looked >= _LOOK_S:
            close_killed_runs(instance)
            looked = time.monotonic()
        time.sleep(_PAUSE_S)

    theirs = ActiveExecution.sleep_til_ready
    ActiveExecution.sleep_til_ready = wait  # type: ignore[method-assign, assignment]
    try:
        yield
    finally:
        ActiveExecution.sleep_til_ready = theirs  # type: ignore[method-assign]


def was_interrupted(result: "dg.ExecuteInProcessResult") -> bool:
    """True if Ctrl-C or SIGTERM ended a run."""
    return any(
        event.job_failure_data.failure_reason is RunFailureReason.UNEXPECTED_TERMINATION
        for event in result.all_events
        if event.is_job_failure
    )


def cause_of(failed: StepFailureData) -> str:
    """What went wrong in a step: the message of a platform error, a lost history, else the first error of all."""
    if failed.user_failure_data and failed.user_failure_data.description:
        return failed.user_failure_data.description
    error = failed.error
    while error is not None:
        if lost := history_failure_of(error):
            return lost
        if error.cause is None:
            return error.message.strip()
        error = error.cause
    return "unknown failure"
