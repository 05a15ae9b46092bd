"""A Dagster executor that runs each step as a SLURM job, shards as an array. Submits, asks and cancels; runs no step.

Steps see the same files: the output folder, the data root and the Python environment lie on a file system that the
nodes share. What a step asks for is in its tags (``orchestration.op_tags``). The id of a step's job is kept in a file,
its name before that, so that a run that was interrupted finds its jobs again.
"""

import re
import shlex
import sys
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from itertools import chain
from pathlib import Path
from secrets import token_hex
from typing import Any

import dagster as dg
from dagster._core.events import DagsterEvent, EngineEventData
from dagster._core.execution.plan.objects import StepFailureData
from dagster._core.execution.retries import RetryMode
from dagster._core.executor.step_delegating import (
    CheckStepHealthResult,
    StepDelegatingExecutor,
    StepHandler,
    StepHandlerContext,
)
from dagster_shared.error import SerializableErrorInfo

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.resources import slurm_jobs
from itrialspace_assets.resources.slurm_jobs import ALIVE, COMPLETED, TAG, ControllerDown

#: Seconds between two questions to SLURM about each running step (ours: a controller answers hundreds a second).
HEALTH_S = 10
#: Most jobs of one run at once, so that a run does not fill a queue (ours).
MAX_JOBS = 100
#: Seconds that the events of a step may come after its job has completed (ours: a slow file system or database).
GRACE_S = 120.0


class SlurmSteps(StepHandler):
    """Launches, watches and cancels the job of a step, or its task of an array.

    Shards wait until ``submit_waiting``, so that those which became ready together are one array.

    Args:
        folder: for scripts, logs and numbers of jobs; on the shared file system.
        cpu: options of ``sbatch`` for every step; those in a step's tags come after them.
        gpu: the same for steps whose tags ask for a GPU.
    """

    def __init__(self, folder: Path, cpu: Sequence[str], gpu: Sequence[str]) -> None:
        super().__init__()
        slurm_jobs.require_commands()
        self._folder, self._cpu, self._gpu = folder, cpu, gpu
        self._waiting: list[StepHandlerContext] = []
        self._completed: dict[Path, float] = {}

    @property
    def name(self) -> str:
        return "SlurmSteps"

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        if _is_shard(_key(step_handler_context)):
            self._waiting.append(step_handler_context)
        else:
            yield from self._launch([step_handler_context])

    def submit_waiting(self) -> Iterator[DagsterEvent]:
        """Submit the shards that wait: an array for those of one op, which ask for the same."""
        ops: dict[str, list[StepHandlerContext]] = defaultdict(list)
        for context in self._waiting:
            ops[_op(_key(context))].append(context)
        self._waiting = []
        for steps in ops.values():
            yield from self._launch(steps)

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        path = self._path(step_handler_context)
        job = _id(path)
        if job is None:
            return CheckStepHealthResult.unhealthy(
                f"{path.with_suffix('.job')}: expected the id of its job, found none"
            )
        state = slurm_jobs.state(job)
        if state in ALIVE:
            return CheckStepHealthResult.healthy()
        if state == COMPLETED:  # what it did is in the event log, or comes soon
            since = self._completed.setdefault(path, time.monotonic())
            if time.monotonic() - since < GRACE_S:
                return CheckStepHealthResult.healthy()
        log = self._log(path, _key(step_handler_context), job)
        return CheckStepHealthResult.unhealthy(
            f"SLURM job {job} ended as {state} and the step did not report. End of {log}:\n"
            f"{slurm_jobs.tail(log) or '(empty)'}"
        )

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        key, job = _key(step_handler_context), _id(self._path(step_handler_context))
        self._waiting = [context for context in self._waiting if _key(context) != key]
        if job is None:
            return
        slurm_jobs.cancel(job)
        yield DagsterEvent.engine_event(
            step_handler_context.get_step_context(key), f"Cancelled SLURM job {job} of step {key}.", EngineEventData()
        )

    def _launch(self, steps: Sequence[StepHandlerContext]) -> Iterator[DagsterEvent]:
        """Submit steps that ask for the same: as one job, or in arrays as large as the cluster takes them."""
        left = list(steps)
        try:
            most = slurm_jobs.array_limit() if len(left) > 1 else 1
            while left:
                yield from self._submit(left[:most])
                del left[:most]
        except (ConfigError, ControllerDown) as error:
            for context in left:
                key = _key(context)
                refused = SerializableErrorInfo(f"Step {key} could not be submitted: {error}", [], None)
                yield DagsterEvent.step_failure_event(
                    context.get_step_context(key),
                    StepFailureData(error=refused, user_failure_data=None),  # type: ignore[no-untyped-call]
                )

    def _submit(self, steps: Sequence[StepHandlerContext]) -> Iterator[DagsterEvent]:
        """Submit steps that ask for the same: one as a job, several as an array.

        Raises:
            ConfigError: SLURM refuses the job; says why in SLURM's words.
            ControllerDown: SLURM's controller does not answer.
        """
        first, array = steps[0], len(steps) > 1
        run, called = first.execute_step_args.run_id, _op(_key(first)) if array else _key(first)
        name = f"its-{run[:8]}-{_plain(called)}-{token_hex(4)}"
        options, paths = self._options(first), [self._path(context) for context in steps]
        for task, path in enumerate(paths):  # so that a run that ends before it has the id finds it by name
            replace_file(path.with_suffix(".job"), (f"{name} {task}" if array else name).encode())
        script = paths[0].with_name(f"{name}.sh") if array else paths[0].with_suffix(".sh")
        replace_file(script, _script(steps).encode())
        log = self._log(paths[0], _key(first), "%A_%a" if array else "%j")
        tasks = [f"--array=0-{len(steps) - 1}"] if array else []
        job = slurm_jobs.submit(script, log, name, [*options, *tasks])
        for task, (context, path) in enumerate(zip(steps, paths, strict=True)):
            key, number = _key(context), f"{job}_{task}" if array else job
            replace_file(path.with_suffix(".job"), number.encode())
            facts = {
                "SLURM job": number,
                "log": str(self._log(path, key, number)),
                "options": shlex.join(options) or "none",
            }
            of = f", task {task} of {len(steps)} of array {job}" if array else ""
            yield DagsterEvent.step_worker_starting(
                context.get_step_context(key), f"Submitted step {key} as SLURM job {number}{of}.", metadata=facts
            )

    def _path(self, context: StepHandlerContext) -> Path:
        """Files of this attempt at a step, without a suffix."""
        args, key = context.execute_step_args, _key(context)
        tries = args.known_state.get_retry_state().get_attempt_count(key) if args.known_state else 0
        return self._folder / args.run_id / f"{_plain(key)}-{tries}"

    def _log(self, path: Path, key: str, job: str) -> Path:
        """What a job prints; a task of an array is called by SLURM, which knows no step."""
        return path.with_name(f"{_plain(_op(key))}-{job}.log") if "_" in job else path.with_suffix(".log")

    def _options(self, context: StepHandlerContext) -> list[str]:
        asked = shlex.split(context.step_tags[_key(context)].get(TAG, ""))
        return [*(self._gpu if any(o.startswith("--gres=gpu") for o in asked) else self._cpu), *asked]


def _key(context: StepHandlerContext) -> str:
    keys = context.execute_step_args.step_keys_to_execute
    assert keys is not None and len(keys) == 1  # the executor launches steps one by one
    return keys[0]


def _is_shard(key: str) -> bool:
    """True for a step that Dagster made by mapping: ``tissue__synthetic_cts__shard[s0]``."""
    return key.endswith("]")


def _op(key: str) -> str:
    """A step's key without its shard."""
    return key.partition("[")[0]


def _plain(key: str) -> str:
    """A step's key as a file's name: ``tissue__synthetic_cts__shard[s0]`` holds brackets."""
    return re.sub(r"[^\w-]+", "_", key).strip("_")


def _script(steps: Sequence[StepHandlerContext]) -> str:
    """A shell script that runs a step; of several, that of its task of an array."""

    def exports(context: StepHandlerContext) -> list[str]:
        return [f"export {e['name']}={shlex.quote(e['value'])}" for e in context.execute_step_args.get_command_env()]

    if len(steps) == 1:
        lines = exports(steps[0])
    else:
        tasks = [[f"{task})", *exports(context), ";;"] for task, context in enumerate(steps)]
        lines = ['case "$SLURM_ARRAY_TASK_ID" in', *chain.from_iterable(tasks), "esac"]
    command = shlex.join([sys.executable, "-m", "dagster", "api", "execute_step"])  # PATH may not hold dagster
    return "\n".join(["#!/bin/sh", f"cd {shlex.quote(str(Path.cwd()))}", *lines, f"exec {command}", ""])


def _id(path: Path) -> str | None:
    """The id of a step's job, ``<job>`` or ``<array>_<task>``; none if it was not submitted.

    Raises:
        ControllerDown: SLURM's controller does not answer.
    """
    try:
        said = path.with_suffix(".job").read_text().strip()
    except FileNotFoundError:
        return None
    if said[:1].isdigit():
        return said
    name, _, task = said.partition(" ")  # the run ended before it wrote the id
    job = slurm_jobs.find(name)
    return f"{job}_{task}" if job and task else job


class SlurmExecutor(StepDelegatingExecutor):
    """Dagster's executor, which also submits what waits.

    Dagster launches all steps that are ready one after another, and reads events about a second later: until then
    shards wait for each other.
    """

    def __init__(self, steps: SlurmSteps, max_concurrent: int, health_s: int) -> None:
        super().__init__(
            steps,
            retries=RetryMode.ENABLED,
            max_concurrent=max_concurrent,
            check_step_health_interval_seconds=health_s,
            should_verify_step=True,
        )
        self._steps = steps

    def _pop_events(
        self, instance: dg.DagsterInstance, run_id: str, seen_storage_ids: set[int]
    ) -> Sequence[DagsterEvent]:
        list(self._steps.submit_waiting())  # each event is in the history when it is made
        return super()._pop_events(instance, run_id, seen_storage_ids)


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
def slurm_executor(init_context: dg.InitExecutorContext) -> SlurmExecutor:
    """Runs each step as a job of a SLURM cluster, and the shards of an asset as an array."""
    config: Any = init_context.executor_config
    steps = SlurmSteps(Path(config["folder"]), config["cpu"], config["gpu"])
    return SlurmExecutor(steps, config["max_concurrent"], config["health_s"])


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
