"""Runs assets for partitions through Dagster and says what happened: here, or side by side in processes of their own.

A partition of few cases leaves worker processes idle between its steps. Several such partitions are made at once, each
by one process from its first step to its last. Which ones, and in which order, is not decided here.
"""

import os
import signal
import warnings
from collections import defaultdict, deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, fields
from multiprocessing import connection
from multiprocessing.process import BaseProcess
from typing import Any

import dagster as dg
from dagster._core.instance.ref import InstanceRef

from itrialspace_assets.base.disk import disk_failure
from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import partition_name
from itrialspace_assets.casework.workers import die_with_parent, process_context
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration import runs
from itrialspace_assets.orchestration.history import history_failure
from itrialspace_assets.orchestration.instance import DRIVER, driver_tag
from itrialspace_assets.orchestration.nodes import Key

#: Of a run that this program drives: it is not started again by a daemon.
_NO_RETRY = {"dagster/max_retries": "0"}
#: What a call says that Ctrl-C or SIGTERM ended.
_INTERRUPTED = "interrupted. Run again: what is finished is kept"


@dataclass
class Tally:
    """What happened to a stage's partitions in this call."""

    ran: int = 0
    current: int = 0
    computed: int = 0
    reused: int = 0
    rejected: int = 0
    seconds: float = 0.0
    cases: float = 0.0  # that were computed; of a stage that counts requests, their share of its cases

    def add(self, other: "Tally") -> None:
        """Count what happened elsewhere too."""
        for one in fields(self):
            setattr(self, one.name, getattr(self, one.name) + getattr(other, one.name))


@dataclass
class Log:
    """What happened in this call."""

    stages: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)

    def add(self, other: "Log") -> None:
        """Take over what happened in another process."""
        for stage, tally in other.stages.items():
            self.stages[stage].add(tally)
        self.failures += other.failures
        self.warnings += other.warnings


class Runner:
    """Runs assets for one partition after another in this process."""

    def __init__(self, settings: Settings, instance: dg.DagsterInstance) -> None:
        self.graph, self.instance = build_graph(settings), instance
        self._job = build_definitions(settings=settings).resolve_implicit_global_asset_job_def()
        self._jobs: dict[tuple[Key, ...], dg.JobDefinition] = {}  # of the assets that are made together

    def run(self, keys: tuple[Key, ...], part: dict[str, str], log: Log, side_by_side: int = 1) -> None:
        """Make some assets of one partition in one run.

        Args:
            keys: of the assets.
            part: the partition.
            log: what happened is added to it.
            side_by_side: processes that make partitions at once: of each second, a step took its share.

        Raises:
            PlatformError: Ctrl-C or SIGTERM came.
        """
        if keys not in self._jobs:
            self._jobs[keys] = runs.job_of(self._job, keys)
        result = runs.run(self._jobs[keys], self.instance, part, {DRIVER: driver_tag(), **_NO_RETRY})
        nodes = [self.graph.node(key) for key in keys]
        where = f"{', '.join(n.step.name for n in nodes)} [{partition_name(part)}]"
        if runs.was_interrupted(result):
            raise PlatformError(f"{where}: {_INTERRUPTED}")
        stage_of = {n.step.key: n.step.stage for n in nodes}
        by_name = {"__".join(n.step.key): n.step.stage for n in nodes}
        for event in result.all_events:
            if event.is_step_materialization:
                metadata = event.step_materialization_data.materialization.metadata
                tally = log.stages[stage_of[tuple(event.asset_key.path)]]  # type: ignore[union-attr]
                tally.ran += 1
                computed, reused, rejected = (
                    int(str(metadata[name].value)) for name in ("computed", "reused", "rejected")
                )
                tally.computed += computed
                tally.reused += reused
                tally.rejected += rejected
                tally.cases += (
                    float(str(metadata["cases"].value)) * computed / max(1, computed + reused)
                    if "cases" in metadata
                    else computed
                )
            elif event.is_step_success:
                name = str(event.step_key).split(".")[0].removesuffix("__checks")
                stage = by_name.get(name, nodes[0].step.stage)  # checks of the catalog have names of their own
                log.stages[stage].seconds += event.step_success_data.duration_ms / 1000 / side_by_side
            elif event.is_step_failure:
                log.failures.append(f"{where}: {runs.cause_of(event.step_failure_data)}")
        for check in result.get_asset_check_evaluations():
            if not check.passed:
                details = "; ".join(f"{k}: {v.value}" for k, v in check.metadata.items())
                log.warnings.append(
                    f"check {check.check_name} of {check.asset_key.to_user_string()} [{partition_name(part)}] "
                    f"failed: {details}"
                )
        if not result.success and not log.failures:
            log.failures.append(f"{where}: a blocking check failed")


@dataclass(frozen=True)
class PartitionRun:
    """Assets of one partition that are made in one run; the title says what for."""

    title: str
    keys: tuple[Key, ...]
    part: dict[str, str]

    @property
    def images(self) -> str:
        """Whose images it works on: partitions of one dataset share some, and are never made at the same time."""
        return self.part.get("dataset", f"{self.title} {partition_name(self.part)}")


@dataclass
class _Process:
    """A process that makes partitions, the pipe to it, and what it makes now."""

    process: BaseProcess
    pipe: Any  # a connection
    now: PartitionRun | None = None


class Processes:
    """Processes that make partitions side by side, each with one worker: itself. They live until ``close``."""

    def __init__(self, started: Iterable[tuple[BaseProcess, Any]]) -> None:
        """
        Args:
            started: each process with the pipe to it.
        """
        self._processes = [_Process(process, pipe) for process, pipe in started]

    def run(self, wanted: Sequence[PartitionRun]) -> Iterator[tuple[PartitionRun, Log | None]]:
        """Make partitions, in their order as far as no two of one dataset are made at once.

        Args:
            wanted: partitions that do not read each other.

        Yields:
            Each one when it ends, with what happened; without it, if its process was killed or none is left.

        Raises:
            PlatformError: Ctrl-C or SIGTERM came, or a disk or the database of the history failed.
        """
        left = deque(wanted)
        before = signal.signal(signal.SIGTERM, signal.default_int_handler)  # as Ctrl-C
        try:
            while left or any(p.now for p in self._processes):
                self._give(left)
                if not self._processes:
                    yield from ((one, None) for one in left)
                    return
                for pipe in connection.wait([p.pipe for p in self._processes if p.now]):
                    yield self._take(next(p for p in self._processes if p.pipe is pipe))
        except KeyboardInterrupt:
            self._kill()
            raise PlatformError(f"{wanted[0].title}: {_INTERRUPTED}") from None
        except BaseException:
            self._kill()
            raise
        finally:
            signal.signal(signal.SIGTERM, before)

    def _give(self, left: "deque[PartitionRun]") -> None:
        for process in self._processes:
            busy = {p.now.images for p in self._processes if p.now}
            if process.now is None and (one := next((w for w in left if w.images not in busy), None)):
                left.remove(one)
                process.now = one
                process.pipe.send(one)

    def _take(self, process: _Process) -> tuple[PartitionRun, Log | None]:
        one, process.now = process.now, None
        assert one is not None  # only busy ones are listened to
        try:
            said = process.pipe.recv()
        except (EOFError, ConnectionError):
            self._processes.remove(process)
            process.process.join()
            return one, None
        if isinstance(said, PlatformError):
            raise said
        return one, said

    def _kill(self) -> None:
        for process in self._processes:
            process.process.kill()
            process.process.join()
        self._processes.clear()

    def close(self) -> None:
        """End the processes; none works any more."""
        for process in self._processes:
            process.pipe.send(None)
            process.process.join()
        self._processes.clear()


def start_processes(settings: Settings, ref: InstanceRef, number: int) -> Processes:
    """Start processes that make partitions.

    Args:
        settings: of this call.
        ref: the instance; lets as many steps of one pool run at a time as there are processes.
        number: of processes.
    """
    alone, context = settings.model_copy(update={"workers": 1}), process_context()
    started: list[tuple[BaseProcess, Any]] = []
    for _ in range(number):
        here, there = context.Pipe()
        given = (there, alone, ref, os.environ["DAGSTER_HOME"], number)
        process = context.Process(target=_serve, args=given, daemon=True)
        process.start()
        there.close()  # so that the pipe ends when the process does
        started.append((process, here))
    return Processes(started)


def _serve(orders: Any, settings: Settings, ref: InstanceRef, home: str, side_by_side: int) -> None:
    """Make one partition after another, as they are asked for through a pipe, until ``None`` is."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent ends this process when it is interrupted
    for kind in (dg.BetaWarning, dg.PreviewWarning, dg.SupersessionWarning):  # Dagster's version is pinned exactly
        warnings.simplefilter("ignore", kind)
    os.environ["DAGSTER_HOME"] = home
    with dg.DagsterInstance.from_ref(ref) as instance:
        runner = Runner(settings, instance)
        while (wanted := orders.recv()) is not None:
            log = Log()
            try:
                runner.run(wanted.keys, wanted.part, log, side_by_side)
            except Exception as error:
                said = disk_failure(error, settings.output) or history_failure(error)
                if said is None:
                    raise
                orders.send(PlatformError(said))
                return
            orders.send(log)
