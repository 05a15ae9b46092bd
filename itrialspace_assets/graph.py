"""The asset graph, as data: every node with what it reads, and every source. Read by Dagster, the command line and
the picture in the README; imports no Dagster.
"""

import itrialspace_assets.hosts.build as hosts
import itrialspace_assets.index.build as index
import itrialspace_assets.insertion.build as insertion
import itrialspace_assets.profiles.build as profiles
import itrialspace_assets.readers.build as reading
import itrialspace_assets.slices.build as slicing
import itrialspace_assets.synthesis.build as synthesis
import itrialspace_assets.trials.build as trials
from itrialspace_assets.analysis import splits
from itrialspace_assets.analysis import steps as reports
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog import rebuild
from itrialspace_assets.explorer.layouts import build as layouts
from itrialspace_assets.hosts import procedural
from itrialspace_assets.orchestration.nodes import Graph, Key, Node, Source
from itrialspace_assets.profiles.raw import version_of
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.release import write as release
from itrialspace_assets.synthesis import compare
from itrialspace_assets.synthesis.renderers import enabled, weights_version
from itrialspace_assets.trials.files import mode_keys

RAW_PROFILES, RAW_MASKS, RAW_CTS, RAW_TRIALS = (("raw", kind) for kind in ("profiles", "masks", "cts", "trials"))
PROFILES, HOSTS, INDEX, DRAWN = profiles.STEP.key, hosts.STEP.key, index.STEP.key, procedural.STEP.key
PLAN, INSERT, FIDELITY, SPLITS = trials.STEP.key, insertion.STEP.key, compare.STEP.key, splits.STEP.key
MODE_REPORT, REAL_REPORT, STUDY_REPORT = reports.MODE_STEP.key, reports.REAL_STEP.key, reports.STUDY_STEP.key


def sources(settings: Settings) -> tuple[Source, ...]:
    """What the graph rests on: the data root, the trial files, the weights of renderers that have any."""
    raw = (
        Source(
            RAW_PROFILES,
            "Profile table of a dataset as published.",
            ("dataset",),
            lambda s, p: version_of(s, "profiles", p["dataset"]),
        ),
        Source(
            RAW_MASKS,
            "Organ maps and nodule masks of a dataset.",
            ("dataset",),
            lambda s, p: version_of(s, "masks", p["dataset"]),
        ),
        Source(RAW_CTS, "CTs of a dataset.", ("dataset",), lambda s, p: version_of(s, "cts", p["dataset"])),
        Source(
            RAW_TRIALS,
            "Trial file of a mode, with the run's size, overrides, relaxation and seed.",
            ("mode",),
            trials.declared_version,
        ),
    )
    weights = tuple(
        Source(
            ("weights", r.name),
            f"Weights of renderer '{r.name}'.",
            (),
            lambda s, p, name=r.name: _weights(s, name),  # type: ignore[misc]
        )
        for r in enabled(settings)
        if r.has_weights
    )
    return raw + weights


def _weights(settings: Settings, name: str) -> str:
    """Hash of the locked weights of a renderer; empty where they are missing or not locked."""
    try:
        return weights_version(settings, name) or ""
    except ConfigError:
        return ""


def build_graph(settings: Settings) -> Graph:
    """Every node of the enabled renderers and readers, the sources, and the partition keys known now."""
    keys = {"dataset": tuple(datasets(settings)), "mode": mode_keys(settings)}
    nodes = (*_cohort(), *_images(settings), *_answers(settings), *_conclusions(settings))
    tables = tuple(n.step.key for n in nodes if n.tables)
    images = (*_keys(settings, "synthetic_cts"), *_slices(settings))
    released = (RAW_PROFILES, PROFILES, HOSTS, PLAN, INSERT, *images, *_answered(settings), MODE_REPORT, REAL_REPORT)
    whole = (
        Node(
            step=rebuild.STEP,
            reads=(*tables, STUDY_REPORT),
            every=tables,
            kind="duckdb",
            what="itrialspace.duckdb: every table, with views.",
        ),
        Node(
            step=release.STEP,
            reads=(*released, INDEX, DRAWN, SPLITS, FIDELITY, STUDY_REPORT),
            every=released,
            kind="files",
            what="The published layout: manifests, masks, CTs, slice sets, splits.",
        ),
    )
    return Graph((*nodes, *whole), sources(settings), keys)


def _keys(settings: Settings, name: str) -> tuple[Key, ...]:
    """One key a renderer."""
    return tuple((r.name, name) for r in enabled(settings))


def _slices(settings: Settings) -> tuple[Key, ...]:
    return ((REAL, "eval_slices"), *_keys(settings, "eval_slices"))


def _answered(settings: Settings) -> tuple[Key, ...]:
    """One key a source and reader."""
    every = readers(settings).values()
    return tuple((source, "predictions", r.name) for source, _ in _slices(settings) for r in every if r.reads(source))


def _cohort() -> list[Node]:
    """From published tables to inserted masks."""
    pool = (INDEX, HOSTS, DRAWN, RAW_TRIALS)
    return [
        Node(
            step=profiles.STEP,
            reads=(RAW_PROFILES,),
            tables=profiles.TABLES,
            kind="table",
            what="Profiles of one dataset: the 53 published columns with harmonised ids.",
        ),
        Node(
            step=hosts.STEP,
            reads=(PROFILES, RAW_MASKS),
            tables=hosts.TABLES,
            kind="volume",
            what="Canonical nodule-free host maps with their geometry, and the lesions cut from them.",
        ),
        Node(
            step=index.STEP,
            reads=(PROFILES, RAW_MASKS, RAW_CTS),
            every=(PROFILES, RAW_MASKS, RAW_CTS),
            tables=("nodules", "scans", "patients"),
            kind="table",
            what="The harmonised nodule index over all datasets.",
        ),
        Node(
            step=procedural.STEP,
            reads=(),
            tables=("donors",),
            kind="table",
            what="Drawn nodules of every size, marked procedural, for trials that ask for them.",
        ),
        Node(
            step=layouts.STEP,
            reads=(INDEX,),
            tables=("nodule_map",),
            kind="table",
            what="Two-dimensional map of the index.",
        ),
        Node(
            step=trials.STEP,
            reads=pool,
            every=(HOSTS,),
            tables=trials.TABLES,
            kind="table",
            what="The manifest of a mode: which donor goes into which host, and why.",
        ),
        Node(
            step=trials.FEASIBILITY,
            reads=pool,
            every=(HOSTS,),
            tables=("feasibility",),
            kind="table",
            what="What a mode's arms can draw from, which constraint binds, and what relaxing it costs.",
        ),
        Node(
            step=insertion.STEP,
            reads=(PLAN, HOSTS, DRAWN),
            every=(HOSTS,),
            tables=("insertions",),
            kind="volume",
            what="Donor nodules stamped into host anatomy as label 23.",
        ),
    ]


def _images(settings: Settings) -> list[Node]:
    """CTs of every renderer, and slices of every image source."""
    found = [
        Node(
            step=synthesis.make_step(renderer),
            reads=(
                INSERT,
                PLAN,
                HOSTS,
                PROFILES,
                RAW_CTS,
                *([("weights", renderer.name)] if renderer.has_weights else []),
            ),
            tables=("cts",),
            kind="ct",
            what=f"CTs that '{renderer.name}' renders from inserted masks, with their lesion-free twins.",
        )
        for renderer in enabled(settings)
    ]
    for source in (REAL, *(r.name for r in enabled(settings))):
        real = (HOSTS, PROFILES, RAW_CTS)
        reads = real if source == REAL else ((source, "synthetic_cts"), INSERT, PLAN)
        found.append(
            Node(
                step=slicing.make_step(source),
                reads=reads,
                tables=("slices",),
                kind="image",
                what=f"Evaluation slices of source '{source}' under four kinds of guidance.",
            )
        )
    return found


def _answers(settings: Settings) -> list[Node]:
    """Predictions of every reader on every image source."""
    return [
        Node(
            step=reading.make_step(source, reader),
            reads=((source, "eval_slices"), *((PROFILES, RAW_CTS) if source == REAL else ((source, "synthetic_cts"),))),
            tables=("generations", "answers", "detections"),
            kind="reader",
            what=f"Answers and marks of reader '{reader.name}' on source '{source}'.",
        )
        for source in (REAL, *(r.name for r in enabled(settings)))
        for reader in readers(settings).values()
        if reader.reads(source)
    ]


def _conclusions(settings: Settings) -> list[Node]:
    """Fidelity, frozen lists and reports."""
    cts, slices = _keys(settings, "synthetic_cts"), _slices(settings)
    answers = _answered(settings)
    real = tuple(key for key in answers if key[0] == REAL)
    rendered = tuple(key for key in answers if key[0] != REAL)
    twins = tuple(key for key in real if key[2] in {reader for _, _, reader in rendered})
    return [
        Node(
            step=compare.STEP,
            reads=(PROFILES, HOSTS, DRAWN, PLAN, INSERT, RAW_CTS, *cts),
            every=(PROFILES, HOSTS, PLAN, INSERT, RAW_CTS, *cts),
            tables=("fidelity", "host_overlaps", "nodule_fidelity"),
            kind="table",
            what="How far rendered CTs lie from real ones, beside how far real datasets lie from each other.",
        ),
        Node(
            step=splits.STEP,
            reads=(PLAN, *slices),
            every=(PLAN, *slices),
            tables=("splits",),
            kind="table",
            what="Frozen lists of slices and their hashes.",
        ),
        Node(
            step=reports.MODE_STEP,
            reads=(RAW_TRIALS, PROFILES, PLAN, INSERT, *cts, *slices, *rendered, *twins, SPLITS),
            every=(PROFILES, slices[0], *twins),  # twins of single scans are paired with the real findings
            tables=("metrics", "metric_cases"),
            kind="report",
            what="Estimates with intervals, figure and page of a mode.",
        ),
        Node(
            step=reports.REAL_STEP,
            reads=(PROFILES, HOSTS, slices[0], *real, SPLITS),
            tables=("metrics", "metric_cases"),
            kind="report",
            what="Estimates with intervals, figure and page of a dataset's real slices.",
        ),
        Node(
            step=reports.STUDY_STEP,
            reads=(PROFILES, HOSTS, PLAN, INSERT, *cts, *slices, *answers, SPLITS, MODE_REPORT, REAL_REPORT, FIDELITY),
            every=(PROFILES, HOSTS, PLAN, INSERT, *cts, *slices, *answers, MODE_REPORT, REAL_REPORT),
            tables=("metrics",),
            kind="report",
            what="One page over all modes and datasets.",
        ),
    ]


def command_for(settings: Settings, table: str) -> str:
    """The ``its run`` that makes a table."""
    stage = next(n.step.stage for n in build_graph(settings).nodes if table in n.tables)
    return f"its run --to {stage}"


def mermaid(settings: Settings) -> str:
    """The graph as a Mermaid flow chart: one box an asset, dashed boxes what is observed and never made."""
    graph = build_graph(settings)
    name = {key: "__".join(key) for key in (*(s.key for s in graph.sources), *(n.step.key for n in graph.nodes))}
    lines = ["flowchart LR"]
    lines += [f'  {name[s.key]}["{s.name}"]:::raw' for s in graph.sources]
    for node in graph.nodes:
        dims = f"<br><small>{' | '.join(node.step.dims)}</small>" if node.step.dims else ""
        lines.append(f'  {name[node.step.key]}["{node.step.name}{dims}"]')
    lines += [f"  {name[read]} --> {name[node.step.key]}" for node in graph.nodes for read in _shown(graph, node)]
    return "\n".join([*lines, "  classDef raw stroke-dasharray: 4 3"])


def _shown(graph: Graph, node: Node) -> list[Key]:
    """Edges of the picture: without those that a longer way already shows."""

    def above(key: Key) -> set[Key]:
        made = {n.step.key: n.reads for n in graph.nodes}
        found: set[Key] = set()
        for read in made.get(key, ()):
            found |= {read} | above(read)
        return found

    return [read for read in node.reads if not any(read in above(other) for other in node.reads if other != read)]
