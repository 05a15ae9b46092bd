"""All assets, checks, jobs and schedules, for any choice of stages and of code location.

``build_definitions`` puts a stub with its partitions in the place of each asset that another
location makes, so that named mappings and partitioned checks load everywhere.
"""

import importlib.util
from collections.abc import Iterable
from dataclasses import dataclass
from functools import partial
from typing import Any

import dagster as dg

from itrialspace_assets.analysis import assets as analysis_assets
from itrialspace_assets.analysis import checks as analysis_checks
from itrialspace_assets.analysis.protocol.study import lock_configured
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.logs import configure
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog import assets as catalog_assets
from itrialspace_assets.catalog import checks as catalog_checks
from itrialspace_assets.explorer import assets as explorer_assets
from itrialspace_assets.explorer import checks as explorer_checks
from itrialspace_assets.graph import build_graph
from itrialspace_assets.hosts import assets as hosts_assets
from itrialspace_assets.hosts import checks as hosts_checks
from itrialspace_assets.index import assets as index_assets
from itrialspace_assets.index import checks as index_checks
from itrialspace_assets.insertion import assets as insertion_assets
from itrialspace_assets.insertion import checks as insertion_checks
from itrialspace_assets.orchestration.nodes import RELEASED, STAGES, Graph, Key, Node
from itrialspace_assets.orchestration.observe import observed_sources, released_sources
from itrialspace_assets.orchestration.op_tags import DOCKER, K8S_STEP
from itrialspace_assets.orchestration.partitions import Partitions, make_partitions
from itrialspace_assets.profiles import assets as profiles_assets
from itrialspace_assets.profiles import checks as profiles_checks
from itrialspace_assets.readers import assets as readers_assets
from itrialspace_assets.readers import checks as readers_checks
from itrialspace_assets.readers.registry import prepare_all
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.release import assets as release_assets
from itrialspace_assets.resources.slurm import slurm_of
from itrialspace_assets.resources.workspace import Workspace
from itrialspace_assets.sensors.failures import failure_sensor
from itrialspace_assets.sensors.health import hourly, platform_health
from itrialspace_assets.sensors.reevaluation import NIGHT, Fresh, nightly, sensors
from itrialspace_assets.sensors.schedules import schedules
from itrialspace_assets.slices import assets as slices_assets
from itrialspace_assets.slices import checks as slices_checks
from itrialspace_assets.synthesis import assets as synthesis_assets
from itrialspace_assets.synthesis import checks as synthesis_checks
from itrialspace_assets.trials import assets as trials_assets
from itrialspace_assets.trials import checks as trials_checks

_ASSETS = (
    profiles_assets.assets,
    hosts_assets.assets,
    index_assets.assets,
    explorer_assets.assets,
    trials_assets.assets,
    insertion_assets.assets,
    synthesis_assets.assets,
    slices_assets.assets,
    partial(readers_assets.assets, before=lock_configured),
    analysis_assets.assets,
    catalog_assets.assets,
    release_assets.assets,
)
_CHECKS = (
    profiles_checks,
    hosts_checks,
    index_checks,
    explorer_checks,
    trials_checks,
    insertion_checks,
    synthesis_checks,
    slices_checks,
    readers_checks,
    analysis_checks,
    catalog_checks,
)


@dataclass(frozen=True)
class Job:
    """A job: the assets of some stages that share one partition shape, as Dagster asks."""

    name: str
    what: str
    stages: tuple[str, ...]
    dims: tuple[str, ...]
    real: bool | None = None  # only the real image source, or only rendered ones; None: both


_PAIR = ("mode", "dataset")
JOBS = (
    Job("profiles", "Profiles and host store of a dataset.", ("profiles", "hosts"), ("dataset",)),
    Job("plan", "Manifest and feasibility of a mode.", ("plan",), ("mode",)),
    Job("insert", "Inserted masks of a mode and host dataset.", ("insert",), _PAIR),
    Job("synthesise", "CTs of a mode and host dataset, of every enabled renderer.", ("synthesise",), _PAIR),
    Job("slice", "Evaluation slices of a mode and host dataset.", ("slice",), _PAIR, False),
    Job("read", "Answers of every reader on a mode and host dataset.", ("read",), _PAIR, False),
    Job(
        "pair",
        "A mode and host dataset from insertion to answers.",
        ("insert", "synthesise", "slice", "read"),
        _PAIR,
        False,
    ),
    Job("real_arm", "Slices and answers on a dataset's real CTs.", ("slice", "read"), ("dataset",), True),
    Job("mode_reports", "The report of a mode.", ("report",), ("mode",)),
    Job("real_reports", "The report of a dataset's real slices.", ("report",), ("dataset",)),
    Job("index", "The nodule index, drawn donors and the nodule map.", ("index",), ()),
    Job("fidelity", "How far rendered CTs lie from real ones; reads many CTs.", ("fidelity",), ()),
    Job("splits", "Freeze the slice lists that are complete; never rewrite one.", ("splits",), ()),
    Job("catalog", "Study report, catalog and published layout.", ("report", "catalog", "release"), ()),
)


def build_definitions(
    stages: Iterable[str] | None = None,
    location: str | None = None,
    executor: dg.ExecutorDefinition | None = None,
    settings: Settings | None = None,
    **overrides: Any,
) -> dg.Definitions:
    """Definitions of some stages (all by default) for one code location (both by default).

    Args:
        stages: names out of ``STAGES``; the others become stubs.
        location: ``cpu`` or ``gpu``: assets of the other become stubs.
        executor: how steps run; as the settings say by default.
        settings: as they were loaded; from the environment if unset.
        overrides: settings that take precedence over the environment.

    Raises:
        ConfigError: a stage, location or setting is unknown.
    """
    wanted = tuple(STAGES if stages is None else stages)
    if unknown := [s for s in wanted if s not in STAGES]:
        raise ConfigError(f"stages: expected names out of {', '.join(STAGES)}, got {', '.join(unknown)}")
    if location not in (None, "cpu", "gpu"):
        raise ConfigError(f"location: expected cpu or gpu, got {location!r}")
    settings = settings or load_settings(**overrides)
    configure(settings.log)
    graph = build_graph(settings)
    partitions = make_partitions(graph)
    here = {n.step.key for n in graph.nodes if n.step.stage in wanted and location in (None, n.step.location)}
    made = [a for assets in _ASSETS for a in assets(settings, graph, partitions) if tuple(a.key.path) in here]
    checks = [
        c
        for module in _CHECKS
        for c in module.checks(graph, partitions)
        if all(tuple(k.asset_key.path) in here for k in c.check_keys)
    ]
    from_elsewhere = [_stub(n, partitions) for n in graph.nodes if n.step.key not in here]
    if location == "gpu":
        sources: list[Any] = _source_stubs(graph, partitions)
    else:
        sources = [*observed_sources(graph, partitions), *released_sources(partitions)]
    members = members_of(graph, here)
    jobs = _jobs(members)
    at_night = {job.name: jobs[job.name] for job in JOBS if job.name in jobs and set(job.stages) & set(NIGHT)}
    fresh = Fresh(build_graph, prepare_all, {key: name for name in reversed(members) for key in members[name]})
    told = (
        []
        if location == "gpu" or stages is not None
        else [platform_health(build_graph, {f"{name}_job": keys for name, keys in members.items()})]
    )
    return dg.Definitions(
        assets=[*made, *from_elsewhere, *sources, *told],
        asset_checks=checks,
        jobs=list(jobs.values()),
        schedules=[*schedules(jobs), *nightly(settings, fresh, at_night), *([hourly(settings)] if told else [])],
        sensors=[*sensors(settings, fresh, jobs), *([failure_sensor(settings)] if told else [])],
        resources={"workspace": Workspace.of(settings)},
        executor=executor or executor_of(settings),
    )


def executor_of(settings: Settings) -> dg.ExecutorDefinition:
    """How steps run: in process by default, because cases already run in worker processes."""
    if settings.executor == "slurm":
        return slurm_of(settings)
    if settings.executor == "docker":
        require_package("dagster_docker", settings.executor)
        from itrialspace_assets.resources.docker import docker_of

        return docker_of(settings, DOCKER)
    if settings.executor == "k8s":
        require_package("dagster_k8s", settings.executor)
        from itrialspace_assets.resources.k8s import k8s_of

        return k8s_of(K8S_STEP)
    return dg.multiprocess_executor if settings.executor == "multiprocess" else dg.in_process_executor


def require_package(package: str, executor: str) -> None:
    """
    Raises:
        ConfigError: the executor's package is not installed; it is an addition of the same name.
    """
    if importlib.util.find_spec(package) is None:
        raise ConfigError(
            f"ITRIALSPACE_EXECUTOR={executor}: expected the package {package}, found none; "
            f"pip install 'itrialspace-assets[{executor}]'"
        )


def _stub(node: Node, partitions: Partitions) -> dg.AssetSpec:
    return dg.AssetSpec(
        list(node.step.key),
        group_name=node.step.stage,
        partitions_def=partitions.of(node.step.dims),
        description=f"Made elsewhere (location {node.step.location}).",
    )


def _source_stubs(graph: Graph, partitions: Partitions) -> list[dg.AssetSpec]:
    named = [(s.key, s.dims) for s in graph.sources] + [(k, dims) for k, (_, dims) in RELEASED.items()]
    return [dg.AssetSpec(list(k), partitions_def=partitions.of(dims), group_name=k[0]) for k, dims in named]


def members_of(graph: Graph, here: set[Key]) -> dict[str, list[Key]]:
    """Assets of every job of which a location makes one, under the job's name in ``JOBS``."""
    members = {
        job.name: [
            n.step.key
            for n in graph.nodes
            if n.step.stage in job.stages
            and n.step.dims == job.dims
            and job.real in (None, n.step.key[0] == REAL)
            and n.step.key in here
        ]
        for job in JOBS
    }
    return {name: keys for name, keys in members.items() if keys}


def _jobs(members: dict[str, list[Key]]) -> "dict[str, dg.UnresolvedAssetJobDefinition]":
    """A job for each list of assets."""
    what = {job.name: job.what for job in JOBS}
    return {
        name: dg.define_asset_job(
            f"{name}_job",
            selection=dg.AssetSelection.assets(*(dg.AssetKey(list(key)) for key in keys)),
            description=what[name],
        )
        for name, keys in members.items()
    }
