"""Runs the asset graph in this process: asks what is up to date and makes the rest through Dagster.

The same assets as in the web page, recorded in the same instance. A partition that is up to date starts no run.
"""

import logging
import socket
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from itertools import chain, product

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from itrialspace_assets.analysis.protocol.study import load_study, lock_study
from itrialspace_assets.analysis.splits import edited_lists, missing_pairs
from itrialspace_assets.base.disk import disk_failure
from itrialspace_assets.base.errors import ConfigError, PlatformError
from itrialspace_assets.base.logs import ROOT
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Partition, last_record, partition_name
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.history import history_failure
from itrialspace_assets.orchestration.instance import close_killed_runs, open_instance, shared_instance
from itrialspace_assets.orchestration.lineage import up_to_date
from itrialspace_assets.orchestration.nodes import STAGES, Key, Node
from itrialspace_assets.orchestration.observe import report_sources
from itrialspace_assets.profiles.registry import datasets as registered
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.layout import MODES, REAL
from itrialspace_assets.records.store import read_file, table_path
from itrialspace_assets.runner import Log, PartitionRun, Processes, Runner, start_processes
from itrialspace_assets.slices.wanted import require_planes
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial, mode_keys, trial_files

CONSOLE = Console()
_LOG = logging.getLogger(f"{ROOT}.run")
_WIDTH = 100  # of a table where there is no terminal
#: Stages that work case by case: what one took tells what a larger run will take.
BY_CASE = ("hosts", "insert", "synthesise", "slice", "read")
#: A partition of at most so many cases is made by one process, beside others; a larger one keeps all workers busy by
#: itself. Of fewer, where there are more workers than such processes (ours).
FEW_CASES = 64
#: Partitions that are worth the start of such processes, some seconds, and those that are worth their use once they
#: live; the most processes, since each holds all of Dagster (ours).
MANY, SOME, MOST = 4, 2, 4


@dataclass(frozen=True)
class RunChoice:
    """What the user asked to run."""

    modes: tuple[str, ...]
    datasets: tuple[str, ...]
    stages: tuple[str, ...]


def choose(settings: Settings, modes: str | None, datasets: str | None, only: str | None, to: str | None) -> RunChoice:
    """Read what the user asked for.

    Args:
        settings: where trial files and datasets are.
        modes: numbers, ranges or keys, separated by commas; the default modes if unset.
        datasets: keys, separated by commas; those with a profile table if unset.
        only: one stage.
        to: last of the stages.

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
    if set(stages) & {"synthesise", "slice"}:
        require_planes(settings)
    enabled(settings)
    return RunChoice(keys, chosen, stages)


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


def is_small(settings: Settings, members: Sequence[Node], part: Partition) -> bool:
    """Whether one process is enough for a partition: it has few cases, or no step of it works case by case.

    A GPU is shared out among the workers of one partition.

    Args:
        settings: where data and planned cases lie, number of workers.
        members: the assets that are made.
        part: the partition.
    """
    if settings.workers == 1 or any(node.step.location == "gpu" for node in members):
        return False
    if not {node.step.stage for node in members} & {"profiles", *BY_CASE}:
        return True
    dataset, few = part["dataset"], FEW_CASES * MOST // max(MOST, settings.workers)
    if "mode" in part:
        path = table_path(settings.output, "cases", mode=part["mode"])
        hosts = read_file("cases", path, ["host_dataset"])["host_dataset"] if path.exists() else None
        return hosts is not None and (hosts == dataset).sum() <= few
    profiles = registered(settings)[dataset].profile_csv(settings.data)
    return profiles.exists() and len(profiles.read_bytes().splitlines()) <= few


@dataclass(frozen=True)
class Group:
    """Partitions of some assets of one shape.

    Attributes:
        title: what the bar or the lines are called.
        members: the assets, upstream before downstream; one run makes those of a partition that are out of date.
        parts: partitions of all of them, by dimension.
    """

    title: str
    members: list[Node]
    parts: list[dict[str, str]]


class Driver:
    """One call's graph, instance and log."""

    def __init__(self, settings: Settings, choice: RunChoice) -> None:
        self.settings, self.choice, self.log = settings, choice, Log()
        self.graph = build_graph(settings)
        self.instance = open_instance(settings)
        self.runner = Runner(settings, self.instance)
        self._say_others(close_killed_runs(self.instance))
        self.nodes = [n for n in self.graph.nodes if n.step.stage in choice.stages]
        if "read" in choice.stages and lock_study(settings, study := load_study(settings)):
            CONSOLE.print(
                f"study {study.study} locked for the split {settings.split}, before readers are asked: an edit from "
                "now on makes its reports exploratory",
                markup=False,
                highlight=False,
                soft_wrap=True,
            )
        read = {key for n in self.nodes for key in n.reads}
        report_sources(self.instance, self.graph, settings, read)

    def _say_others(self, drivers: Sequence[str]) -> None:
        """Say which other processes run steps: those of the same pools wait for them, perhaps for ever."""
        here = socket.gethostname()
        for driver in sorted(set(drivers)):
            host, _, process = driver.rpartition(":")
            hint = "" if host == here else f"; if that host is down, end its runs: its clean --gone-host {host}"
            said = f"process {process} on {host} runs steps on the same outputs; steps of one kind take turns{hint}"
            CONSOLE.print(said, markup=False, highlight=False, soft_wrap=True)

    def of(self, *stages: str, real: bool | None = None) -> list[Node]:
        """Chosen nodes of some stages; ``real`` keeps those of the real image source, or those of none."""
        return [n for n in self.nodes if n.step.stage in stages and real in (None, n.step.key[0] == REAL)]

    def of_tables(self) -> list[Node]:
        """Chosen nodes of readers that look answers up in a table and say which of its rows name no slice.

        They follow when every slice is cut, so that what they say does not depend on which partition came first.
        """
        names = {name for name, reader in readers(self.settings).items() if reader.unmatched is not None}
        return [node for node in self.of("read") if node.step.key[2] in names]

    def group(self, title: str, members: list[Node], partitions: Iterable[dict[str, str]]) -> None:
        """Bring every partition of some assets of one shape up to date; end the call at a failure.

        Args:
            title: what the bar or the lines are called.
            members: the assets, upstream before downstream.
            partitions: of all of them, by dimension.
        """
        self.groups(Group(title, members, list(partitions)))

    def groups(self, *given: Group) -> None:
        """Bring every partition of some groups up to date; end the call at a failure.

        Args:
            given: groups that do not read each other.
        """
        groups = [group for group in given if group.members and group.parts]
        if not groups or self.log.failures:
            return
        with Progress(
            TextColumn("{task.description:>12}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[now]}"),
            TimeElapsedColumn(),
            console=CONSOLE,
            transient=True,
            disable=not CONSOLE.is_terminal,
        ) as bar:
            tasks = {group.title: bar.add_task(group.title, total=len(group.parts), now="") for group in groups}
            left = Counter(_line_of(group.title, part) for group in groups for part in group.parts)
            of, made, began = left.copy(), Counter[str](), time.perf_counter()
            for one in self._made(groups, lambda one: bar.update(tasks[one.title], now=partition_name(one.part))):
                line = _line_of(one.title, one.part)
                left[line] -= 1
                made[line] += bool(one.keys)
                bar.advance(tasks[one.title])
                if not left[line]:
                    now = time.perf_counter()
                    if not CONSOLE.is_terminal:
                        _say(line, of[line], made[line], now - began)
                    began = now

    def _made(self, groups: list[Group], tell: Callable[[PartitionRun], None]) -> Iterator[PartitionRun]:
        """Bring partitions up to date: many small ones side by side, the others one after another.

        Args:
            groups: the assets and their partitions.
            tell: called with the one that is made now, or that was made side by side.

        Yields:
            Each when it is up to date; its keys are those that were made.
        """
        alone: list[PartitionRun] = []
        large: list[tuple[Group, dict[str, str]]] = []
        for group in groups:
            for part in group.parts:
                if is_small(self.settings, group.members, part):
                    alone.append(self._wanted(group, part))
                else:
                    large.append((group, part))
        together = [one for one in alone if one.keys]
        if len(together) >= (SOME if "processes" in vars(self) else MANY):
            alone = [one for one in alone if not one.keys]
            for one, log in self.processes.run(together):
                if log is None:
                    alone.append(one)
                    continue
                tell(one)
                self.log.add(log)
                yield one
            if any(one.keys for one in alone):
                close_killed_runs(self.instance)
                self.log.warnings.append(
                    "a process that made partitions side by side was killed, perhaps because memory was short; what it "
                    "made was made again by itself"
                )
        for one in chain(alone, (self._wanted(*found) for found in large)):
            if one.keys:
                tell(one)
                self.runner.run(one.keys, one.part, self.log)
            yield one

    @cached_property
    def processes(self) -> Processes:
        """What makes small partitions side by side; started when it is first asked for."""
        number = min(self.settings.workers, MOST)
        return start_processes(self.settings, shared_instance(number), number)

    def close(self) -> None:
        """End what was started."""
        if "processes" in vars(self):
            self.processes.close()
        self.instance.dispose()

    def _wanted(self, group: Group, part: dict[str, str]) -> PartitionRun:
        """Those of a group's assets that are out of date for a partition; the others are counted."""
        keys: list[Key] = []
        for node in group.members:
            if set(keys) & set(node.reads) or not up_to_date(self.graph, node, self.settings, part):
                keys.append(node.step.key)
            else:
                self._count_current(node, part)
        return PartitionRun(group.title, tuple(keys), part)

    def _count_current(self, node: Node, part: Partition) -> None:
        tally, record = self.log.stages[node.step.stage], last_record(self.settings, node.step, part) or {}
        tally.current += 1
        tally.reused += int(record.get("computed", 0)) + int(record.get("reused", 0))
        tally.rejected += int(record.get("rejected", 0))


def _line_of(title: str, part: Partition) -> str:
    """The line that a partition is said in where there is no terminal: pairs are said by mode."""
    return f"{title} {part['mode']}" if len(part) == 2 else title


def _say(what: str, done: int, ran: int, seconds: float) -> None:
    """One line for a finished group of partitions, where there is no terminal to draw a bar on."""
    of = f"{done} partition{'s' if done > 1 else ''}"
    state = "up to date" if not ran else f"{ran} made" if ran < done else "made"
    CONSOLE.print(f"{what}: {of} {state} in {seconds:.1f} s", markup=False, highlight=False, soft_wrap=True)


@contextmanager
def _told(settings: Settings) -> Iterator[None]:
    """Raise what a disk or the database of the history did as a message.

    Raises:
        PlatformError: says how to fix it.
    """
    try:
        yield
    except PlatformError:
        raise
    except Exception as error:
        if said := disk_failure(error, settings.output) or history_failure(error):
            raise PlatformError(said) from error
        raise


def drive(settings: Settings, choice: RunChoice) -> bool:
    """Make what is not up to date and print what happened; True if something failed.

    Raises:
        PlatformError: Ctrl-C or SIGTERM came, a disk is full or failed, or the database of Dagster's history did.
    """
    with _told(settings):
        return _drive(settings, choice)


def _drive(settings: Settings, choice: RunChoice) -> bool:
    began = time.perf_counter()
    driver = Driver(settings, choice)
    by_dataset = [{"dataset": d} for d in choice.datasets]
    by_mode = [{"mode": m} for m in choice.modes]
    pairs = [{"mode": m, "dataset": d} for m, d in product(choice.modes, choice.datasets)]
    driver.group("profiles", driver.of("profiles", "hosts"), by_dataset)
    driver.group("index", driver.of("index"), [{}])
    driver.group("plan", driver.of("plan"), by_mode)
    tables = driver.of_tables()
    cases, real = (
        [n for n in driver.of("insert", "synthesise", "slice", "read", real=is_real) if n not in tables]
        for is_real in (False, True)
    )
    driver.groups(Group("cases", cases, pairs), Group("real arm", real, by_dataset))
    cases, real = ([n for n in tables if (n.step.key[0] == REAL) == is_real] for is_real in (False, True))
    driver.groups(Group("answer tables", cases, pairs), Group("real answer tables", real, by_dataset))
    driver.group("fidelity", driver.of("fidelity"), [{}])
    driver.group("splits", driver.of("splits"), [{}])
    reports = {n.step.key: [n] for n in driver.of("report")}
    if reports and not driver.log.failures:  # a report that was made before the list was edited counts as up to date
        driver.log.failures += edited_lists(settings)
    driver.groups(
        Group("reports", reports.get(("mode_report",), []), list(_whole(driver, by_mode))),
        Group("real reports", reports.get(("real_report",), []), by_dataset),
    )
    driver.group("study report", reports.get(("study_report",), []), [{}])
    driver.groups(Group("catalog", driver.of("catalog"), [{}]), Group("release", driver.of("release"), [{}]))
    driver.close()
    _print(settings, driver.log, time.perf_counter() - began)
    return bool(driver.log.failures)


def partitions_with(
    settings: Settings, choice: RunChoice, table: str, readers: Sequence[str], sources: Sequence[str]
) -> dict[Key, list[dict[str, str]]]:
    """Of each asset that reads, the chosen partitions of which a table is there.

    Args:
        settings: where tables lie.
        choice: modes and datasets.
        table: a table with the partition columns source, mode and dataset, perhaps reader.
        readers: names of enabled readers.
        sources: image sources.
    """
    found: dict[Key, list[dict[str, str]]] = {}
    for node in build_graph(settings).nodes:
        key = node.step.key
        if node.step.stage != "read" or key[0] not in sources or key[2] not in readers:
            continue
        every = [dict(zip(node.step.dims, part, strict=True)) for part in _parts(choice, node.step.dims)]
        where = {"source": key[0], "reader": key[2], "mode": REAL}
        found[key] = [p for p in every if table_path(settings.output, table, **(where | p)).exists()]
    return found


def partitions_to_cut(settings: Settings, choice: RunChoice, sources: Sequence[str]) -> dict[Key, list[dict[str, str]]]:
    """Of each asset that cuts slices, the chosen partitions whose images are there: rendered CTs, or prepared scans.

    Args:
        settings: where tables lie.
        choice: modes and datasets.
        sources: image sources.
    """
    found: dict[Key, list[dict[str, str]]] = {}
    for node in build_graph(settings).nodes:
        source = node.step.key[0]
        if node.step.stage != "slice" or source not in sources:
            continue
        every = [dict(zip(node.step.dims, part, strict=True)) for part in _parts(choice, node.step.dims)]
        table, where = ("donors", {}) if source == REAL else ("cts", {"source": source})
        found[node.step.key] = [p for p in every if table_path(settings.output, table, **(where | p)).exists()]
    return found


def _parts(choice: RunChoice, dims: Sequence[str]) -> Iterator[tuple[str, ...]]:
    of = {"mode": choice.modes, "dataset": choice.datasets}
    return product(*(of[d] for d in dims))


def drive_nodes(settings: Settings, choice: RunChoice, wanted: Mapping[Key, Sequence[dict[str, str]]]) -> bool:
    """Make what is not up to date of some partitions of some assets; True if something failed.

    Args:
        settings: of this call.
        choice: what the call is about; its stages hold the assets.
        wanted: partitions by asset.

    Raises:
        PlatformError: Ctrl-C or SIGTERM came, a disk is full or failed, or the database of Dagster's history did.
    """
    began = time.perf_counter()
    with _told(settings):
        driver = Driver(settings, choice)
        for node in driver.nodes:
            driver.group(node.step.name, [node], wanted.get(node.step.key, ()))
        driver.close()
        _print(settings, driver.log, time.perf_counter() - began)
        return bool(driver.log.failures)


def _whole(driver: Driver, by_mode: list[dict[str, str]]) -> Iterator[dict[str, str]]:
    """Modes all of whose host datasets were run; the others are said to be left out."""
    sources = [r.name for r in enabled(driver.settings)]
    for part in by_mode:
        if not any(missing_pairs(driver.settings, source, part["mode"]) for source in sources):
            yield part
        elif "report" in driver.choice.stages and not driver.log.failures:
            driver.log.warnings.append(
                f"mode_report [{part['mode']}] left out: some of its host datasets were not run; run all datasets"
            )


def _print(settings: Settings, log: Log, seconds: float) -> None:
    from rich.table import Table

    columns = ("made", "up to date", "computed", "reused", "rejected", "seconds", "s a case")
    table = Table("stage", *columns)
    for stage in STAGES:
        if stage in log.stages:
            t = log.stages[stage]
            each = f"{t.seconds / t.cases:.2f}" if t.cases and stage in BY_CASE else ""
            counts = (str(v) for v in (t.ran, t.current, t.computed, t.reused, t.rejected))
            table.add_row(stage, *counts, f"{t.seconds:.1f}", each)
    (CONSOLE if CONSOLE.is_terminal else Console(width=_WIDTH)).print(table)
    for warning in log.warnings:
        CONSOLE.print(f"Note: {warning}", markup=False, soft_wrap=True)
    if log.failures and settings.log == "json":
        for failure in log.failures:
            _LOG.error("%s", failure)
    elif log.failures:
        Console(stderr=True).print(*(f"Error: {f}" for f in log.failures), sep="\n", markup=False, soft_wrap=True)
    else:
        CONSOLE.print(f"Done in {seconds:.0f} s. Outputs: {settings.output}", markup=False, soft_wrap=True)
