"""Turns a ``Node`` of the graph into a Dagster asset.

A stage's ``assets.py`` says which function builds it; everything that all assets share (keys, edges, groups, kinds,
owners, schema, record of what was read, failure) is here.
"""

import inspect
import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import timedelta
from typing import Any

import dagster as dg
from pydantic import Field

from itrialspace_assets.base.logs import ASSETS, Facts
from itrialspace_assets.base.memory import peak_memory_mb
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Result, Step, partition_name, record
from itrialspace_assets.orchestration.lineage import reads_of
from itrialspace_assets.orchestration.metadata import column_schema, facts_of, materialized
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.observe import tags_of_reads
from itrialspace_assets.orchestration.partitions import Partitions, dep, mapping
from itrialspace_assets.resources.workspace import Workspace, failing

OWNERS = ["team:itrialspace"]
RETRY = dg.RetryPolicy(max_retries=1)
#: A schedule makes reports each week: Dagster's page warns after 8 days and fails after 15 (ours).
FRESH = dg.FreshnessPolicy.time_window(fail_window=timedelta(days=15), warn_window=timedelta(days=8))
#: Kinds that Dagster's web page has a picture for.
KINDS = {
    "table": {"polars", "parquet"},
    "volume": {"numpy", "parquet"},
    "ct": {"numpy", "parquet"},
    "image": {"scipy", "parquet"},
    "reader": {"python", "parquet"},
    "report": {"parquet", "python"},
    "duckdb": {"duckdb", "greatexpectations"},
    "files": {"python"},
}
_LOG = logging.getLogger(ASSETS)
Build = Callable[[Settings, dict[str, str], str], Result]


class TrialRun(dg.Config):
    """What one run may choose about a trial; what is left empty is as the settings say."""

    size: str = Field("", description="demo or paper; empty: the setting ITRIALSPACE_SIZE")
    set: list[str] = Field([], description="<path>=<value>, for example cohort.n_cases=1000 or twin.keep_native=true")
    relax: bool = Field(False, description="give up constraints of a trial that is infeasible, and record them")

    def chosen(self) -> dict[str, Any]:
        """The settings that this run overrides."""
        given = {"size": self.size, "overrides": ";".join(self.set), "relax": self.relax}
        return {name: value for name, value in given.items() if value}


def run_name(context: Any) -> str:
    """Short name of a run for its journals; a re-execution goes by its first run, whose shards it continues."""
    return str(context.run.root_run_id or context.run.run_id)[:8]


def partition_in(context: Any, step: Step) -> dict[str, str]:
    """The partition that a step of ``step``'s asset builds, by dimension."""
    if not step.dims:
        return {}
    key = context.partition_key
    if len(step.dims) == 1:
        return {step.dims[0]: str(key)}
    if not isinstance(key, dg.MultiPartitionKey):
        raise dg.DagsterInvariantViolationError(f"{step.name}: expected a key of two dimensions, got {key!r}")
    return {d: key.keys_by_dimension[d] for d in step.dims}


def _about(context: Any, step: Step) -> Facts:
    """What a record of a step of ``step``'s asset is about."""
    within = getattr(context, "op_execution_context", context)
    return Facts(
        asset=step.name,
        partition=partition_name(partition_in(context, step)),
        run=str(context.run.run_id),
        step=str(within.get_step_execution_context().step.key),
    )


@contextmanager
def _guarded(context: Any, step: Step, workspace: Workspace) -> Iterator[None]:
    """Log an error, and raise what a user can fix as a step failure."""
    try:
        with failing(workspace.settings().output):
            yield
    except Exception as error:
        what = error.description if isinstance(error, dg.Failure) else f"{type(error).__name__}: {error}"
        _LOG.error("%s", what, extra={"facts": _about(context, step)})
        raise


def _common(settings: Settings, node: Node, partitions: Partitions) -> dict[str, Any]:
    return {
        "group_name": node.step.stage,
        "kinds": KINDS[node.kind],
        "owners": OWNERS,
        "code_version": node.step.code_version(settings),
        "partitions_def": partitions.of(node.step.dims),
        "description": node.what,
        "metadata": column_schema(node.tables),
        "backfill_policy": dg.BackfillPolicy.multi_run(max_partitions_per_run=1) if node.step.dims else None,
        "tags": {"itrialspace/location": node.step.location},
    }


def _build(
    graph: Graph, node: Node, context: Any, workspace: Workspace, build: Build, chosen: dict[str, Any] | None = None
) -> "dg.MaterializeResult[Any]":
    """Build a partition, remember what it read and wrote, and say so to Dagster."""
    started = time.perf_counter()
    with _guarded(context, node.step, workspace):
        settings = workspace.settings(**chosen or {})
        partition = partition_in(context, node.step)
        reads = reads_of(graph, node, settings, partition)
        result = build(settings, partition, run_name(context))
        version = record(settings, node.step, partition, reads, result)
        took = facts_of(result, settings, _about(context, node.step), time.perf_counter() - started)
    _LOG.info("%s [%s] made", took.asset, took.partition, extra={"facts": took})
    tags = tags_of_reads(context.instance, graph, node, reads) | code_tag(node, settings, result)
    return materialized(result, version, settings, partition, took, tags)


def code_tag(node: Node, settings: Settings, result: Result) -> dict[str, str]:
    """Tag with the code version as it was run.

    It differs from the definition's if the run chose settings, or if a cause of rejection may pass; Dagster then shows
    the partition as out of date.

    Args:
        node: the asset.
        settings: as the run had them, with what it chose.
        result: what the build gave; tells how many rejections may pass.
    """
    version = node.step.code_version(settings)
    return {"dagster/code_version": f"{version}, to be tried again" if result.retryable else version}


def plain_asset(
    settings: Settings, graph: Graph, node: Node, partitions: Partitions, build: Build, *, sized: bool = False
) -> dg.AssetsDefinition:
    """An asset built by one call.

    Args:
        settings: of the code location.
        graph: everything that the node may read.
        node: the asset.
        partitions: partition definitions.
        build: (settings, partition, run) -> result.
        sized: run configuration may choose size, overrides and relaxation of a trial.
    """
    step = node.step

    def of_trial(context: dg.AssetExecutionContext, config: TrialRun, workspace: Workspace) -> Any:
        return _build(graph, node, context, workspace, build, config.chosen())

    def plain(context: dg.AssetExecutionContext, workspace: Workspace) -> Any:
        return _build(graph, node, context, workspace, build)

    decorate = dg.asset(
        key=list(step.key),
        deps=[dep(k, graph.dims(k), step.dims, every=k in node.every) for k in node.reads],
        op_tags={"itrialspace/stage": step.stage},
        freshness_policy=FRESH if step.stage == "report" else None,
        **_common(settings, node, partitions),
    )
    made: dg.AssetsDefinition = decorate(of_trial if sized else plain)
    return made


def sharded_asset(
    settings: Settings,
    graph: Graph,
    node: Node,
    partitions: Partitions,
    plan: Callable[[Settings, dict[str, str], str], list[str]],
    work: Callable[[Settings, dict[str, str], str, str], None],
    collect: Build,
    op_tags: dict[str, Any] | None = None,
    estimate: Callable[[Settings, dict[str, str], str, list[str]], dict[str, float | str]] | None = None,
) -> dg.AssetsDefinition:
    """A graph-backed asset: plan assigns shards, one step works on each, collect gathers.

    No value passes between the steps; a shard's key names the file that ``plan`` wrote. A cluster's executor runs each
    shard in its own container, pod or job.

    Args:
        settings: of the code location.
        graph: everything that the node may read.
        node: the asset.
        partitions: partition definitions.
        plan: (settings, partition, run) -> keys of the shards that have cases left.
        work: (settings, partition, run, shard) -> nothing; commits each case.
        collect: (settings, partition, run) -> result.
        op_tags: what a shard needs of a cluster.
        estimate: (settings, partition, run, shards) -> what the shards will take; observed on the asset before the
            first of them starts.
    """
    step = node.step
    name = "__".join(step.key)

    def guarded(call: Callable[..., Any], context: Any, workspace: Workspace, *more: Any) -> Any:
        with _guarded(context, step, workspace):
            return call(workspace.settings(), partition_in(context, step), run_name(context), *more)

    upstream = {f"reads_{i}": key for i, key in enumerate(node.reads)}

    @dg.op(name=f"{name}__plan", ins={i: dg.In(dg.Nothing) for i in upstream}, out=dg.DynamicOut(dg.Nothing))
    def plan_op(context: dg.OpExecutionContext, workspace: Workspace) -> Any:
        shards = guarded(plan, context, workspace)
        facts = guarded(estimate, context, workspace, shards) if estimate and shards else {}
        if facts:
            partition = context.partition_key if context.has_partition_key else None
            context.log_event(dg.AssetObservation(dg.AssetKey(list(step.key)), metadata=facts, partition=partition))
        for key in shards:
            yield dg.DynamicOutput(None, mapping_key=key)

    @dg.op(
        name=f"{name}__shard",
        ins={"planned": dg.In(dg.Nothing)},
        out=dg.Out(dg.Nothing),
        tags=op_tags,
        retry_policy=RETRY,
        pool=f"{'gpu' if step.location == 'gpu' else step.stage}_shards",  # GPUs are shared by all stages
    )
    def shard_op(context: dg.OpExecutionContext, workspace: Workspace) -> None:
        started = time.perf_counter()
        guarded(work, context, workspace, str(context.get_mapping_key()))
        seconds = round(time.perf_counter() - started, 3)
        took = replace(_about(context, step), seconds=seconds, peak_memory_mb=peak_memory_mb())
        _LOG.info("a shard of %s [%s] is done", took.asset, took.partition, extra={"facts": took})

    @dg.op(name=f"{name}__collect", ins={"done": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def collect_op(context: dg.OpExecutionContext, workspace: Workspace) -> Any:
        return _build(graph, node, context, workspace, collect)

    def compose(**reads: Any) -> Any:
        return collect_op(plan_op(**reads).map(shard_op).collect())

    compose.__name__ = name
    named = [inspect.Parameter(i, inspect.Parameter.POSITIONAL_OR_KEYWORD) for i in upstream]
    compose.__signature__ = inspect.Signature(named)  # type: ignore[attr-defined]
    ins = {
        i: dg.AssetIn(
            dg.AssetKey(list(key)),
            dagster_type=dg.Nothing,
            partition_mapping=mapping(graph.dims(key), step.dims, every=key in node.every),
        )
        for i, key in upstream.items()
    }
    return dg.graph_asset(key=list(step.key), ins=ins, **_common(settings, node, partitions))(compose)
