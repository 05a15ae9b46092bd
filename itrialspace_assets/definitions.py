"""All assets, checks, jobs and schedules, for any choice of stages and of code location.

``build_definitions`` puts a stub with its partitions in the place of each asset that another
location makes, so that named mappings and partitioned checks load everywhere.
"""

import warnings
from collections.abc import Iterable
from typing import Any

import dagster as dg

from itrialspace_assets.analysis import assets as analysis_assets
from itrialspace_assets.analysis import checks as analysis_checks
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.catalog import assets as catalog_assets
from itrialspace_assets.catalog import checks as catalog_checks
from itrialspace_assets.explorer import assets as explorer_assets
from itrialspace_assets.explorer import checks as explorer_checks
from itrialspace_assets.graph import nodes
from itrialspace_assets.hosts import assets as hosts_assets
from itrialspace_assets.hosts import checks as hosts_checks
from itrialspace_assets.index import assets as index_assets
from itrialspace_assets.index import checks as index_checks
from itrialspace_assets.insertion import assets as insertion_assets
from itrialspace_assets.insertion import checks as insertion_checks
from itrialspace_assets.orchestration.nodes import RAW, RELEASED, STAGES, Node
from itrialspace_assets.orchestration.observe import raw_sources, released_sources
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.profiles import assets as profiles_assets
from itrialspace_assets.profiles import checks as profiles_checks
from itrialspace_assets.profiles.raw import version_of
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers import assets as readers_assets
from itrialspace_assets.readers import checks as readers_checks
from itrialspace_assets.resources.workspace import Workspace
from itrialspace_assets.sensors.schedules import schedules
from itrialspace_assets.slices import assets as slices_assets
from itrialspace_assets.slices import checks as slices_checks
from itrialspace_assets.synthesis import assets as synthesis_assets
from itrialspace_assets.synthesis import checks as synthesis_checks
from itrialspace_assets.trials import assets as trials_assets
from itrialspace_assets.trials import checks as trials_checks
from itrialspace_assets.trials.files import mode_keys

# Partitioned checks, backfill policies and named mappings are marked beta or preview; Dagster's exact
# version is pinned, and the graph snapshot test notices a change.
for _kind in (dg.BetaWarning, dg.PreviewWarning, dg.SupersessionWarning):
    warnings.filterwarnings("ignore", category=_kind)

_ASSETS = (profiles_assets, hosts_assets, index_assets, explorer_assets, trials_assets, insertion_assets, synthesis_assets, slices_assets, readers_assets, analysis_assets, catalog_assets)  # fmt: skip
_CHECKS = (profiles_checks, hosts_checks, index_checks, explorer_checks, trials_checks, insertion_checks, synthesis_checks, slices_checks, readers_checks, analysis_checks, catalog_checks)  # fmt: skip
#: Job name -> stages; each job's assets share one partition shape, as Dagster asks.
JOBS: dict[str, tuple[str, ...]] = {
    "profiles": ("profiles", "hosts"),
    "plan": ("plan",),
    "insert": ("insert",),
    "synthesise": ("synthesise",),
    "slice": ("slice",),
    "read": ("read",),
}


def build_definitions(
    stages: Iterable[str] | None = None,
    location: str | None = None,
    executor: dg.ExecutorDefinition = dg.in_process_executor,
    **overrides: Any,
) -> dg.Definitions:
    """Definitions of some stages (all by default) for one code location (both by default).

    Args:
        stages: names out of ``graph.STAGES``; the others become stubs.
        location: ``cpu`` or ``gpu``: assets of the other become stubs.
        executor: how steps run; in process by default, because cases already run in worker processes.
        overrides: settings that take precedence over the environment.

    Raises:
        ConfigError: a stage, location or setting is unknown.
    """
    wanted = tuple(STAGES if stages is None else stages)
    if unknown := [s for s in wanted if s not in STAGES]:
        raise ConfigError(f"stages: expected names out of {', '.join(STAGES)}, got {', '.join(unknown)}")
    if location not in (None, "cpu", "gpu"):
        raise ConfigError(f"location: expected cpu or gpu, got {location!r}")
    settings = load_settings(**overrides)
    graph = nodes(settings)
    partitions = make_partitions(settings)
    here = {n.step.key for n in graph if n.step.stage in wanted and location in (None, n.step.location)}
    made = [a for module in _ASSETS for a in module.assets(settings, graph, partitions) if tuple(a.key.path) in here]
    checks = [
        c
        for module in _CHECKS
        for c in module.checks(graph, partitions)
        if all(tuple(k.asset_key.path) in here for k in c.check_keys)
    ]
    from_elsewhere = [_stub(n, partitions) for n in graph if n.step.key not in here]
    observed = [*raw_sources(partitions, version_of), *released_sources(partitions)]
    elsewhere = [(k, ("dataset",)) for k in RAW] + [(k, dims) for k, (_, dims) in RELEASED.items()]
    sources = (
        observed
        if location != "gpu"
        else [dg.AssetSpec(list(k), partitions_def=partitions.of(d), group_name=k[0]) for k, d in elsewhere]
    )
    jobs = _jobs(graph, here)
    paths: dict[str, Any] = {k: str(v) for k, v in overrides.items() if k in ("data_dir", "output_dir", "size")}
    workspace = Workspace(
        **paths, **{k: overrides.get(k) for k in ("workers", "seed", "overrides", "relax", "per_gpu")}
    )
    return dg.Definitions(
        assets=[*made, *from_elsewhere, *sources],
        asset_checks=checks,
        jobs=list(jobs.values()),
        schedules=schedules(jobs),
        resources={"workspace": workspace},
        executor=executor,
    )


def _stub(node: Node, partitions: Partitions) -> dg.AssetSpec:
    return dg.AssetSpec(
        list(node.step.key),
        group_name=node.step.stage,
        partitions_def=partitions.of(node.step.dims),
        description=f"Made elsewhere (location {node.step.location}).",
    )


def _jobs(graph: list[Node], here: set[tuple[str, ...]]) -> "dict[str, dg.UnresolvedAssetJobDefinition]":
    """Jobs by partition shape over the assets that this location makes."""
    chosen = {
        name: [n for n in graph if n.step.stage in stages and n.step.key[0] != "real"] for name, stages in JOBS.items()
    }
    chosen["real_arm"] = [n for n in graph if n.step.key[0] == "real"]
    chosen["reports"] = [n for n in graph if n.step.key == ("mode_report",)]
    chosen["real_reports"] = [n for n in graph if n.step.key == ("real_report",)]
    chosen["catalogue"] = [
        n
        for n in graph
        if n.step.stage in ("index", "fidelity", "splits", "catalog", "release") or n.step.key == ("study_report",)
    ]
    jobs = {}
    for name, members in chosen.items():
        keys = [dg.AssetKey(list(n.step.key)) for n in members if n.step.key in here]
        if keys:
            jobs[name] = dg.define_asset_job(f"{name}_job", selection=dg.AssetSelection.assets(*keys))
    return jobs


def make_partitions(settings: Settings) -> Partitions:
    """The keys known now: registered datasets, the thirteen modes and the user's trial files."""
    dataset = dg.StaticPartitionsDefinition(list(datasets(settings)))
    mode = dg.StaticPartitionsDefinition(list(mode_keys(settings)))
    return Partitions(dataset, mode, dg.MultiPartitionsDefinition({"mode": mode, "dataset": dataset}))
