"""A Dagster executor that runs each step as a SLURM job. Submits, asks and cancels; runs no step itself.

Steps see the same files: the output folder, the data root and the Python environment lie on a file system that the
nodes share. What a step asks for is in its tags (``orchestration.op_tags``). The number of a step's job is kept in a
file, so that a run that was interrupted finds its jobs again.
"""

import re
import shlex
import sys
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.resources import slurm_jobs
from itrialspace_assets.resources.slurm_jobs import ALIVE, COMPLETED, TAG

#: Seconds between two questions to SLURM about each running step (ours: a controller answers hundreds a second).
HEALTH_S = 10
#: Most jobs of one run at once, so that a run does not fill a queue (ours).
MAX_JOBS = 100
#: Seconds that the events of a step may come after its job has completed (ours: a slow file system or database).
GRACE_S = 120.0


class SlurmSteps(StepHandler):
    """Launches, watches and cancels the job of a step.

    Args:
        folder: for scripts, logs and numbers of jobs; on the shared file system.
        cpu: options of ``sbatch`` for every step; those in a step's tags come after them.
        gpu: the same for steps whose tags ask for a GPU.
    """

    def __init__(self, folder: Path, cpu: Sequence[str], gpu: Sequence[str]) -> None:
        super().__init__()
        slurm_jobs.require_commands()
        self._folder, self._cpu, self._gpu = folder, cpu, gpu
        self._completed: dict[Path, float] = {}

    @property
    def name(self) -> str:
        return "SlurmSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        context, path = step_handler_context, self._path(step_handler_context)
        key = _key(context)
        args = context.execute_step_args
        lines = [f"export {e['name']}={shlex.quote(e['value'])}" for e in args.get_command_env()]
        command = shlex.join([sys.executable, "-m", "dagster", "api", "execute_step"])  # PATH may not hold dagster
        script = path.with_suffix(".sh")
        here = f"cd {shlex.quote(str(Path.cwd()))}"
        replace_file(script, "\n".join(["#!/bin/sh", here, *lines, f"exec {command}", ""]).encode())
        options = self._options(context.step_tags[key])
        job = slurm_jobs.submit(script, path.with_suffix(".log"), f"its-{args.run_id[:8]}-{_plain(key)}", options)
        replace_file(path.with_suffix(".job"), job.encode())
        facts = {
            "SLURM job": job,
            "log": str(path.with_suffix(".log")),
            "options": shlex.join(options) or "none",
        }
        yield DagsterEvent.step_worker_starting(
            context.get_step_context(key), f"Submitted step {key} as SLURM job {job}.", metadata=facts
        )

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        path = self._path(step_handler_context)
        job = _number(path)
        if job is None:
            return CheckStepHealthResult.unhealthy(
                f"{path.with_suffix('.job')}: expected the number of its job, found none"
            )
        state = slurm_jobs.state(job)
        if state in ALIVE:
            return CheckStepHealthResult.healthy()
        if state == COMPLETED:  # what it did is in the event log, or comes soon
            since = self._completed.setdefault(path, time.monotonic())
            if time.monotonic() - since < GRACE_S:
                return CheckStepHealthResult.healthy()
        log = path.with_suffix(".log")
        return CheckStepHealthResult.unhealthy(
            f"SLURM job {job} ended as {state} and the step did not report. End of {log}:\n"
            f"{slurm_jobs.tail(log) or '(empty)'}"
        )

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        key, job = _key(step_handler_context), _number(self._path(step_handler_context))
        if job is None:
            return
        slurm_jobs.cancel(job)
        yield DagsterEvent.engine_event(
            step_handler_context.get_step_context(key), f"Cancelled SLURM job {job} of step {key}.", EngineEventData()
        )

    def _path(self, context: StepHandlerContext) -> Path:
        """Files of this attempt at a step, without a suffix."""
        args, key = context.execute_step_args, _key(context)
        tries = args.known_state.get_retry_state().get_attempt_count(key) if args.known_state else 0
        return self._folder / args.run_id / f"{_plain(key)}-{tries}"

    def _options(self, tags: Mapping[str, str]) -> list[str]:
        asked = shlex.split(tags.get(TAG, ""))
        return [*(self._gpu if any(o.startswith("--gres=gpu") for o in asked) else self._cpu), *asked]


def _key(context: StepHandlerContext) -> str:
    keys = context.execute_step_args.step_keys_to_execute
    assert keys is not None and len(keys) == 1  # the executor launches steps one by one
    return keys[0]


def _plain(key: str) -> str:
    """A step's key as a file's name: ``tissue__synthetic_cts__shard[s0]`` holds brackets."""
    return re.sub(r"[^\w-]+", "_", key).strip("_")


def _number(path: Path) -> str | None:
    try:
        return path.with_suffix(".job").read_text().strip()
    except FileNotFoundError:
        return None


@dg.executor(
    name="slurm",
    config_schema={
        "folder": dg.Field(str, description="Folder for scripts and logs of jobs, on the shared file system."),
        "cpu": dg.Field([str], default_value=[], description="Options of sbatch for every step."),
        "gpu": dg.Field([str], default_value=[], description="Options of sbatch for steps that need a GPU."),
        "max_concurrent": dg.Field(int, default_value=MAX_JOBS, description="Most jobs of a run at once."),
        "health_s": dg.Field(int, default_value=HEALTH_S, description="Seconds between two questions about a job."),
    },
    requirements=dg.multiple_process_executor_requirements(),
)
def slurm_executor(init_context: dg.InitExecutorContext) -> StepDelegatingExecutor:
    """Runs each step as a job of a SLURM cluster."""
    config: Any = init_context.executor_config
    return StepDelegatingExecutor(
        SlurmSteps(Path(config["folder"]), config["cpu"], config["gpu"]),
        retries=RetryMode.ENABLED,
        max_concurrent=config["max_concurrent"],
        check_step_health_interval_seconds=config["health_s"],
        should_verify_step=True,
    )


def slurm_of(settings: Settings) -> dg.ExecutorDefinition:
    """The executor as the settings say."""

    def options(partition: str | None) -> list[str]:
        given = {"--partition": partition, "--account": settings.slurm_account}
        return [*(f"{name}={value}" for name, value in given.items() if value), *shlex.split(settings.slurm_options)]

    return slurm_executor.configured(
        {
            "folder": str(settings.output / "work" / "slurm"),
            "cpu": options(settings.slurm_partition),
            "gpu": options(settings.slurm_gpu_partition or settings.slurm_partition),
        },
        name="slurm",
    )
