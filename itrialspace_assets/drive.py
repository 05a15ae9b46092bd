"""Drives the asset graph in this process: asks what is up to date, runs the rest through Dagster.

The same assets as in the UI, recorded in the same instance. A partition that is up to date starts
no run.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path
from typing import Any

import dagster as dg
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from itrialspace_assets.analysis.splits import REAL, missing_pairs
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, is_current, last_record, partition_name
from itrialspace_assets.definitions import build_definitions
from itrialspace_assets.graph import nodes
from itrialspace_assets.orchestration.nodes import STAGES, Node
from itrialspace_assets.profiles.registry import datasets as registered
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial, mode_keys, trial_files

#: Tag of a run that this module drives; its value is the driving process.
DRIVER = "itrialspace/driver_pid"
CONSOLE = Console(stderr=False)


@dataclass(frozen=True)
class Choice:
    """What the user asked to run."""

    modes: tuple[str, ...]
    datasets: tuple[str, ...]
    stages: tuple[str, ...]


@dataclass
class Tally:
    """What happened to a stage's partitions in this call."""

    ran: int = 0
    current: int = 0
    computed: int = 0
    reused: int = 0
    rejected: int = 0
    seconds: float = 0.0


@dataclass
class Log:
    stages: dict[str, Tally] = field(default_factory=lambda: defaultdict(Tally))
    failures: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


def choose(settings: Settings, modes: str | None, datasets: str | None, only: str | None, to: str | None) -> Choice:
    """Read the user's words.

    Raises:
        ConfigError: an unknown mode, dataset or stage; lists what is allowed.
    """
    if only and to:
        raise ConfigError("--only and --to: give one of them")
    for name, value in (("--only", only), ("--to", to)):
        if value and value not in STAGES:
            raise ConfigError(f"{name} {value!r}: expected one of {', '.join(STAGES)}")
    stages = (only,) if only else STAGES[: STAGES.index(to) + 1] if to else STAGES
    known = registered(settings)
    if datasets:
        chosen = tuple(d.strip() for d in datasets.split(",") if d.strip())
        if unknown := [d for d in chosen if d not in known]:
            raise ConfigError(f"--datasets: expected names out of {', '.join(known)}, got {', '.join(unknown)}")
    else:
        chosen = tuple(d for d, entry in known.items() if entry.profile_csv(settings.data).exists())
    keys = _modes(settings, modes) if modes else default_modes(settings)
    for key in keys:
        load_trial(settings, key)
    enabled(settings)
    return Choice(keys, chosen, stages)


def default_modes(settings: Settings) -> tuple[str, ...]:
    """The thirteen modes and the user's own trials; further shipped ones run when they are named."""
    own = tuple(
        k for k, path in trial_files(settings).items() if settings.trials_dir and path.parent == settings.trials_dir
    )
    return (*MODES, *own)


def _modes(settings: Settings, text: str) -> tuple[str, ...]:
    found: list[str] = []
    for word in (w.strip() for w in text.split(",") if w.strip()):
        low, dash, high = word.partition("-")
        if word == "all":
            found += default_modes(settings)
        elif word.isdigit() and 1 <= int(word) <= len(MODES):
            found.append(MODES[int(word) - 1])
        elif dash and low.isdigit() and high.isdigit() and 1 <= int(low) <= int(high) <= len(MODES):
            found += MODES[int(low) - 1 : int(high)]
        elif word in mode_keys(settings):
            found.append(word)
        else:
            raise ConfigError(
                f"--modes: expected numbers or ranges of 1-13, all, or keys such as {MODES[0]}, got {word!r}"
            )
    return tuple(dict.fromkeys(found))


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance that the UI shows too; made below the outputs unless DAGSTER_HOME says where."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.output / "dagster").absolute()
    home.mkdir(parents=True, exist_ok=True)
    config = home / "dagster.yaml"
    if not config.exists():
        config.write_text("telemetry:\n  enabled: false\nnux:\n  enabled: false\n")
    os.environ["DAGSTER_HOME"] = str(home)
    _relax_sqlite()
    return dg.DagsterInstance.from_config(str(home))


def _relax_sqlite() -> None:
    """No fsync per event: after a power cut the event log may lack its end, the outputs do not."""
    import sqlalchemy

    @sqlalchemy.event.listens_for(sqlalchemy.Engine, "connect")
    def relax(connection: Any, record: Any) -> None:
        connection.execute("PRAGMA synchronous=OFF")


def close_killed_runs(instance: dg.DagsterInstance) -> None:
    """Mark runs of drivers that were killed as failed; otherwise the UI shows them running for ever."""
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        pid = run.tags.get(DRIVER, "")
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            instance.report_run_failed(
                run, f"the process {pid} that drove this run was killed; its run goes on from there"
            )


class Driver:
    """One call's graph, instance and log."""

    def __init__(self, settings: Settings, choice: Choice) -> None:
        self.settings, self.choice, self.log = settings, choice, Log()
        overrides: dict[str, Any] = {"data_dir": settings.data, "output_dir": settings.output}
        overrides |= {
            name: getattr(settings, name) for name in ("size", "workers", "seed", "overrides", "relax", "per_gpu")
        }
        self.job = build_definitions(**overrides).resolve_implicit_global_asset_job_def()
        self.instance = open_instance(settings)
        close_killed_runs(self.instance)
        self.nodes = [n for n in nodes(settings) if n.step.stage in choice.stages]

    def group(self, title: str, members: list[Node], partitions: Iterable[dict[str, str]]) -> None:
        """Bring every partition of some assets of one shape up to date; stop the call at a failure."""
        parts = list(partitions)
        if not members or not parts or self.log.failures:
            return
        with Progress(
            TextColumn(f"{title:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            console=CONSOLE,
            transient=True,
            disable=not CONSOLE.is_terminal,
        ) as bar:
            task = bar.add_task("", total=len(parts), now="")
            for part in parts:
                bar.update(task, now=partition_name(part))
                self._one(members, part)
                bar.advance(task)

    def _one(self, members: list[Node], part: dict[str, str]) -> None:
        stale: list[Node] = []
        keys: set[tuple[str, ...]] = set()
        for node in members:
            if keys & set(node.reads) or not is_current(self.settings, node.step, part):
                stale.append(node)
                keys.add(node.step.key)
            else:
                self._count_current(node, part)
        if stale:
            self._execute(stale, part)

    def _count_current(self, node: Node, part: Partition) -> None:
        tally, record = self.log.stages[node.step.stage], last_record(self.settings, node.step, part) or {}
        tally.current += 1
        tally.reused += int(record.get("computed", 0)) + int(record.get("reused", 0))  # type: ignore[call-overload]
        tally.rejected += int(record.get("rejected", 0))  # type: ignore[call-overload]

    def _execute(self, stale: list[Node], part: dict[str, str]) -> None:
        key: Any = dg.MultiPartitionKey(part) if len(part) == 2 else next(iter(part.values()), None)
        started = time.perf_counter()
        result = self.job.execute_in_process(
            instance=self.instance, partition_key=key, asset_selection=[dg.AssetKey(list(n.step.key)) for n in stale], raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}, tags={DRIVER: str(os.getpid())},
        )  # fmt: skip
        where = f"{', '.join(n.step.name for n in stale)} [{partition_name(part)}]"
        stage_of = {n.step.key: n.step.stage for n in stale}
        for event in result.all_events:
            if event.is_step_materialization:
                metadata = event.step_materialization_data.materialization.metadata
                tally = self.log.stages[stage_of[tuple(event.asset_key.path)]]  # type: ignore[union-attr]
                tally.ran += 1
                for name in ("computed", "reused", "rejected"):
                    setattr(tally, name, getattr(tally, name) + int(str(metadata[name].value)))
            elif event.is_step_failure:
                self.log.failures.append(f"{where}: {_message(event.step_failure_data)}")
        seconds = time.perf_counter() - started
        for node in stale:  # a run's time is shared among its assets
            self.log.stages[node.step.stage].seconds += seconds / len(stale)
        for check in result.get_asset_check_evaluations():
            if not check.passed:
                details = "; ".join(f"{k}: {v.value}" for k, v in check.metadata.items())
                self.log.warnings.append(
                    f"check {check.check_name} of {check.asset_key.to_user_string()} [{partition_name(part)}] failed: {details}"
                )
        if not result.success and not self.log.failures:
            self.log.failures.append(f"{where}: a blocking check failed")


def _message(data: Any) -> str:
    if data.user_failure_data and data.user_failure_data.description:
        return str(data.user_failure_data.description)
    error = data.error
    while error is not None and error.cause is not None:
        error = error.cause
    return error.message.strip() if error is not None else "unknown failure"


def drive(settings: Settings, choice: Choice) -> bool:
    """Run what is not up to date and print what happened; True if something failed."""
    began = time.perf_counter()
    driver = Driver(settings, choice)

    def of(*stages: str, real: bool | None = None) -> list[Node]:
        return [n for n in driver.nodes if n.step.stage in stages and (real is None or (n.step.key[0] == REAL) == real)]

    by_dataset = [{"dataset": d} for d in choice.datasets]
    by_mode = [{"mode": m} for m in choice.modes]
    pairs = [{"mode": m, "dataset": d} for m, d in product(choice.modes, choice.datasets)]
    driver.group("profiles", of("profiles", "hosts"), by_dataset)
    driver.group("index", of("index"), [{}])
    driver.group("plan", of("plan"), by_mode)
    driver.group("trials", of("insert", "synthesise", "slice", "read", real=False), pairs)
    driver.group("real arm", of("slice", "read", real=True), by_dataset)
    driver.group("fidelity", of("fidelity"), [{}])
    driver.group("splits", of("splits"), [{}])
    reports = {n.step.key: [n] for n in of("report")}
    whole = [p for p in by_mode if not any(missing_pairs(settings, r.name, p["mode"]) for r in enabled(settings))]
    for part in by_mode:
        if part not in whole and "report" in choice.stages and not driver.log.failures:
            driver.log.warnings.append(
                f"mode_report [{part['mode']}] left out: some of its host datasets were not run; run all datasets"
            )
    driver.group("reports", reports.get(("mode_report",), []), whole)
    driver.group("reports", reports.get(("real_report",), []), by_dataset)
    driver.group("reports", reports.get(("study_report",), []), [{}])
    driver.group("catalogue", of("catalog"), [{}])
    driver.group("release", of("release"), [{}])
    driver.instance.dispose()
    _print(settings, driver.log, time.perf_counter() - began)
    return bool(driver.log.failures)


def _print(settings: Settings, log: Log, seconds: float) -> None:
    from rich.table import Table

    table = Table("stage", "partitions run", "up to date", "computed", "reused", "rejected", "seconds", title="Stages")
    for stage in STAGES:
        if stage in log.stages:
            t = log.stages[stage]
            table.add_row(
                stage, *(str(v) for v in (t.ran, t.current, t.computed, t.reused, t.rejected)), f"{t.seconds:.1f}"
            )
    CONSOLE.print(table)
    for warning in log.warnings:
        CONSOLE.print(f"Note: {warning}", markup=False, soft_wrap=True)
    if log.failures:
        Console(stderr=True).print(*(f"Error: {f}" for f in log.failures), sep="\n", markup=False, soft_wrap=True)
        return
    CONSOLE.print(f"Done in {seconds:.0f} s. Outputs: {settings.output}", markup=False, soft_wrap=True)
