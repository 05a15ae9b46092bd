"""What a run of some modes would take: cases, hours and disk space for each stage, with where each rate is from.

A rate that was not measured in this root is as stated by the caller, else that of a benchmark that a renderer names,
else unknown; an unknown rate is never taken for none. Runs nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.care.rates import (
    NOTHING,
    MeasuredRate,
    bytes_a_unit,
    requests_a_case,
    seconds_of_answers,
    seconds_of_builds,
    seconds_of_cases,
)
from itrialspace_assets.graph import build_graph
from itrialspace_assets.orchestration.lineage import up_to_date
from itrialspace_assets.orchestration.nodes import STAGES, Graph, Node
from itrialspace_assets.readers.registry import entries_of
from itrialspace_assets.readers.registry import readers as readers_of
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import partition_of, read_table, table_files, table_path
from itrialspace_assets.synthesis.estimate import GIB, host_grids
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer, enabled
from itrialspace_assets.trials.build import resolved_trial

_HOUR = 3600
_NOT_MEASURED = "not measured here: run a small trial first (its run --modes 2)"
#: Stages that work case by case and keep a journal of seconds.
_JOURNALS = ("insert", "synthesise", "slice")
#: Stages of a mode, and of all modes together, whose seconds are in Dagster's history.
_WHOLE = ("plan", "fidelity", "splits", "report", "catalog", "release")


@dataclass(frozen=True)
class Planned:
    """Cases of a mode by host dataset (from its manifest), or their number alone (from its trial; None: not said)."""

    mode: str
    cases: int | None
    datasets: Mapping[str, int] | None

    @property
    def origin(self) -> str:
        if self.datasets is not None:
            return "manifest"
        why = f"number of cases not known before it is planned (its trials plan {self.mode})"
        return why if self.cases is None else "trial"


@dataclass(frozen=True)
class ForecastStage:
    """A stage of the forecast.

    Attributes:
        stage: the stage.
        asset: the asset; of a reader that is not enabled, the asset that it would have.
        cases: cases of the modes whose number is known.
        left: those whose partition is not up to date.
        units: what ``left`` comes to in units of the rate (cases or requests).
        unit: case or request.
        seconds: of one process (or one GPU) for a unit; None: not known.
        gpu: whether it needs a GPU.
        hours: for all units, of one GPU or one process.
        gib: disk space for all units; None: not known.
        base: where the rate is from.
    """

    stage: str
    asset: str
    cases: int
    left: int
    units: float | None
    unit: str
    seconds: float | None
    gpu: bool
    hours: float | None
    gib: float | None
    base: str


@dataclass(frozen=True)
class StatedRates:
    """Rates that the user states, for what was not measured here; seconds, None: nothing stated."""

    a_ct: float | None = None
    an_answer: float | None = None


@dataclass(frozen=True)
class Forecast:
    """What the modes have, the stages, and sums over the stages whose rate, and the modes whose cases, are known."""

    modes: tuple[Planned, ...]
    lines: tuple[ForecastStage, ...]

    def hours(self, gpu: bool) -> float:
        """Hours of one GPU, or of one process, where known."""
        return sum(line.hours for line in self.lines if line.hours is not None and line.gpu == gpu)

    @property
    def gib(self) -> float:
        """Disk space where known."""
        return sum(line.gib for line in self.lines if line.gib is not None)

    @property
    def unknown(self) -> tuple[str, ...]:
        """What the sums lack, and why."""
        modes = [f"{plan.mode}: {plan.origin}" for plan in self.modes if plan.cases is None]
        hours = [f"hours of {line.asset}: {line.base}" for line in self.lines if line.hours is None]
        size = [f"disk space of {line.asset}: {_NOT_MEASURED}" for line in self.lines if line.gib is None]
        return (*modes, *hours, *size)


def planned(settings: Settings, graph: Graph, mode: str) -> Planned:
    """Cases of a mode: of its manifest where that is up to date, else as its trial says at the configured size.

    Args:
        settings: where tables and trials are.
        graph: every asset.
        mode: key of the mode.
    """
    (node,) = (n for n in graph.nodes if n.step.key == ("cohort_manifests",))
    if table_path(settings.output, "cases", mode=mode).exists() and up_to_date(graph, node, settings, {"mode": mode}):
        counts = read_table(settings.output, "cases", mode=mode)["host_dataset"].value_counts()
        of = {str(dataset): int(n) for dataset, n in counts.iter_rows()}
        return Planned(mode, sum(of.values()), of)
    arms = [arm.cases for arm in resolved_trial(settings, mode).arms]
    known = [n for n in arms if n is not None]
    return Planned(mode, sum(known) if len(known) == len(arms) else None, None)


class _Left:
    """Which cases of the planned modes are left to each asset; what was made before it may be out of date too."""

    def __init__(self, settings: Settings, graph: Graph, plans: tuple[Planned, ...]) -> None:
        self.settings, self.graph, self.plans = settings, graph, plans
        self._nodes = {node.step.key: node for node in graph.nodes}
        self._known: dict[tuple[str, str, str], bool] = {}

    @property
    def total(self) -> int:
        """Cases of the modes whose number is known."""
        return sum(plan.cases or 0 for plan in self.plans)

    def of(self, node: Node | None) -> int:
        """Cases of the partitions of an asset of modes that are not up to date; all of an asset that is not there."""
        if node is None:
            return self.total
        left = 0
        for plan in self.plans:
            if plan.datasets is not None and "dataset" in node.step.dims:
                left += sum(n for dataset, n in plan.datasets.items() if self._stale(node, plan, dataset))
            elif plan.datasets is None or self._stale(node, plan, ""):
                left += plan.cases or 0
        return left

    def _stale(self, node: Node, plan: Planned, dataset: str) -> bool:
        """Whether a partition is out of date, or something of its mode that it reads is."""
        name = node.step.name, plan.mode, dataset
        if name not in self._known:
            part = {"mode": plan.mode, "dataset": dataset} if dataset else {"mode": plan.mode}
            above = [self._nodes[key] for key in node.reads if key in self._nodes]
            self._known[name] = not up_to_date(self.graph, node, self.settings, part) or any(
                self._stale(up, plan, of)
                for up in above
                if "mode" in up.step.dims
                for of in ([""] if "dataset" not in up.step.dims else [dataset] if dataset else plan.datasets or ())
            )
        return self._known[name]


def forecast(settings: Settings, modes: Sequence[str], readers: Sequence[str] | None, stated: StatedRates) -> Forecast:
    """Forecast a run of some modes.

    Args:
        settings: outputs, size and overrides of the trials, enabled renderers and readers.
        modes: keys of the modes.
        readers: names of readers, enabled or not; None: those that are enabled.
        stated: rates for what was not measured here.

    Raises:
        ConfigError: an unknown reader, or a trial file is wrong.
    """
    known = entries_of(settings)
    if unknown := [name for name in readers or () if name not in known]:
        raise ConfigError(f"--readers: expected names out of {', '.join(known)}, got {', '.join(unknown)}")
    graph = build_graph(settings)
    left = _Left(settings, graph, tuple(planned(settings, graph, mode) for mode in modes))
    cases = [n for n in graph.nodes if n.step.stage in _JOURNALS and n.step.key[0] != REAL]
    lines = [_by_journal(left, node, stated) for node in cases]
    asked = tuple(readers) if readers is not None else tuple(name for name, entry in known.items() if entry.enabled)
    on = readers_of(settings)
    for source in (renderer.name for renderer in enabled(settings)):
        lines += [_reading(left, source, name, stated) for name in asked if name not in on or on[name].reads(source)]
    whole = [n for n in graph.nodes if n.step.stage in _WHOLE and "dataset" not in n.step.dims]
    seconds = seconds_of_builds(settings, whole)
    anything = any(line.left != 0 for line in lines)
    lines += [_whole(left, node, seconds[node.step.name], anything) for node in whole]
    return Forecast(left.plans, tuple(sorted(lines, key=lambda line: STAGES.index(line.stage))))


def _line(node: Node, left: tuple[int, int], seconds: float | None, size: MeasuredRate, base: str) -> ForecastStage:
    """A line of a node that works case by case.

    Args:
        node: the asset.
        left: all its cases, and those that are left.
        seconds: of a case.
        size: bytes of a case.
        base: where the rate is from.
    """
    cases, todo = left
    hours, gib = _times(todo, seconds, _HOUR), _times(todo, size.mean, GIB)
    gpu = node.step.location == "gpu"
    return ForecastStage(node.step.stage, node.step.name, cases, todo, todo, "case", seconds, gpu, hours, gib, base)


def _times(units: float | None, rate: float | None, unit: int) -> float | None:
    """Units times rate in another unit; 0 of nothing, None where a factor is not known."""
    if units == 0:
        return 0.0
    return None if units is None or rate is None else units * rate / unit


def _pairs(graph: Graph) -> list[dict[str, str]]:
    """Every partition of an asset of modes and datasets."""
    return [{"mode": m, "dataset": d} for m in graph.keys["mode"] for d in graph.keys["dataset"]]


def _by_journal(left: _Left, node: Node, stated: StatedRates) -> ForecastStage:
    """Insertion, rendering or slicing."""
    settings, stage = left.settings, node.step.stage
    measured = seconds_of_cases(settings, "insert" if stage == "insert" else node.step.name)
    seconds, base = measured.mean, f"measured here on {measured.units} cases"
    if seconds is None and stage == "synthesise":
        seconds, base = _rendering(settings, RENDERERS[node.step.key[0]], stated)
    elif seconds is None:
        base = _NOT_MEASURED
    size = bytes_a_unit(settings, node, _pairs(left.graph))
    return _line(node, (left.total, left.of(node)), seconds, size, base)


def _rendering(settings: Settings, renderer: Renderer, stated: StatedRates) -> tuple[float | None, str]:
    """Seconds of a case of a renderer that was not run here, and where they are from."""
    if stated.a_ct is not None:
        return stated.a_ct, "as stated (--seconds-per-ct)"
    grids = list(host_grids(settings).values())
    if renderer.seconds_per_image is None or not grids:
        return None, "not measured here: state it with --seconds-per-ct"
    try:
        each = [renderer.seconds_per_image(settings, grid.shape, np.array(grid.spacing)) for grid in grids]
    except ConfigError as error:  # its weights say which grids it renders
        return None, f"not measured here: state it with --seconds-per-ct, or fix this: {error}"
    return 2 * float(np.mean(each)), (
        f"bench figure of {renderer.name} for the grids of {len(grids)} hosts (docs/facts/synthesis.md), with a twin "
        "for each case at most; not measured here"
    )


def _reading(left: _Left, source: str, reader: str, stated: StatedRates) -> ForecastStage:
    """Reading of one source by one reader, in requests; equal requests of two modes are asked once, so it is at most.

    Args:
        left: cases of the modes.
        source: name of the renderer.
        reader: name of the reader.
        stated: rates for what was not measured here.
    """
    settings, key = left.settings, (source, "predictions", reader)
    node = next((n for n in left.graph.nodes if n.step.key == key), None)
    cases = left.of(node)
    asked, like = _requests(settings, source, reader)
    answers = seconds_of_answers(settings, reader)
    seconds, base = answers.mean, f"measured here on {answers.units} answers"
    if seconds is None:
        seconds, base = stated.an_answer, "as stated (--seconds-per-answer)"
    if seconds is None:
        base = "not measured here: state it with --seconds-per-answer"
    units = 0.0 if cases == 0 else None if asked.mean is None else cases * asked.mean
    size = bytes_a_unit(settings, node, _pairs(left.graph)) if node is not None else NOTHING
    return ForecastStage(
        stage="read",
        asset="/".join(key),
        cases=left.total,
        left=cases,
        units=units,
        unit="request",
        seconds=seconds,
        gpu=entries_of(settings)[reader].location == "gpu",
        hours=_times(units, seconds, _HOUR),
        gib=_times(units, size.mean, GIB),
        base=f"{base}; {like}",
    )


def _requests(settings: Settings, source: str, reader: str) -> tuple[MeasuredRate, str]:
    """Requests to a reader for a case, and where their number is from: its own, else another reader's."""
    files = table_files(settings.output, "generations", source=source)
    others = sorted({partition_of("generations", path)["reader"] for path in files} - {reader})
    for name in (reader, *others):
        asked = requests_a_case(settings, source, name)
        if asked.mean:
            like = "" if name == reader else f", as of reader {name}"
            return asked, f"{asked.mean:.3g} requests a case, counted on {asked.units} cases{like}"
    return NOTHING, f"requests a case {_NOT_MEASURED}"


def _whole(left: _Left, node: Node, seconds: Mapping[str, float], anything: bool) -> ForecastStage:
    """A stage of a mode or of all modes, at the seconds of its last builds for each case that there was.

    Args:
        left: cases of the modes.
        node: the asset.
        seconds: of the last build of each partition.
        anything: whether anything that the asset reads is left.
    """
    root = left.settings.output
    there = {path.parent.name: path for path in table_files(root, "cases")}
    of = [mode for mode in there if mode in seconds or "all" in seconds]
    spent = seconds.get("all", sum(seconds.get(mode, 0.0) for mode in of))
    counted = sum(read_table(root, "cases", ["case_uid"], mode=mode).height for mode in of)
    base = f"last builds here, {spent:.3g} s for {counted} cases" if counted else _NOT_MEASURED
    if "mode" in node.step.dims:
        todo = left.of(node)
    else:
        todo = left.total if anything or not up_to_date(left.graph, node, left.settings, {}) else 0
    return _line(node, (left.total, todo), spent / counted if counted else None, MeasuredRate(0.0, counted), base)
