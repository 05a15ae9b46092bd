"""Turns a ``Node`` of the graph into a Dagster asset: the one place that knows how.

A stage's ``assets.py`` says which function builds it; everything that all assets share (keys,
edges, groups, kinds, owners, schema, failure) is here.
"""

import time
from collections.abc import Callable
from typing import Any

import dagster as dg

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import Result, Step
from itrialspace_assets.orchestration.metadata import column_schema, materialized
from itrialspace_assets.orchestration.nodes import RAW, Node
from itrialspace_assets.orchestration.partitions import Partitions, dep, mapping
from itrialspace_assets.resources.workspace import Workspace, failure

OWNERS = ["team:itrialspace"]
RETRY = dg.RetryPolicy(max_retries=1)
Dims = dict[tuple[str, ...], tuple[str, ...]]


def dims_of(nodes: list[Node]) -> Dims:
    """Partition dimensions of every key that the graph names."""
    return dict.fromkeys(RAW, ("dataset",)) | {n.step.key: n.step.dims for n in nodes}


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


def _common(node: Node, partitions: Partitions) -> dict[str, Any]:
    return {
        "group_name": node.step.stage,
        "kinds": {"python", node.kind},
        "owners": OWNERS,
        "code_version": node.step.version,
        "partitions_def": partitions.of(node.step.dims),
        "description": node.what,
        "metadata": column_schema(node.tables),
        "backfill_policy": dg.BackfillPolicy.multi_run(max_partitions_per_run=1) if node.step.dims else None,
        "tags": {"itrialspace/location": node.step.location},
    }


def _uri(settings: Settings, node: Node) -> str:
    return f"tables/{node.tables[0]}" if node.tables else settings.output.name


def plain_asset(
    node: Node,
    nodes: list[Node],
    partitions: Partitions,
    build: Callable[[Settings, dict[str, str], str], Result],
    *,
    sized: bool = False,
) -> dg.AssetsDefinition:
    """An asset built by one call. ``sized`` lets run configuration choose size, overrides and relaxation of a trial."""
    dims, step = dims_of(nodes), node.step

    def compute(context: dg.AssetExecutionContext, workspace: Workspace) -> Any:
        chosen = context.op_execution_context.op_config if sized else {}
        given = {
            "size": chosen.get("size"),
            "overrides": ";".join(chosen.get("set") or ()),
            "relax": chosen.get("relax") or None,
        }
        started = time.perf_counter()
        try:
            settings = workspace.settings(**{k: v for k, v in given.items() if v})
            result = build(settings, partition_in(context, step), run_name(context))
        except PlatformError as error:
            raise failure(error) from error
        return materialized(result, _uri(settings, node), time.perf_counter() - started, settings.anatomy)

    decorate = dg.asset(
        key=list(step.key),
        deps=[dep(k, dims[k], step.dims, every=k in node.every) for k in node.reads],
        config_schema={
            "size": dg.Field(str, default_value="", description="demo or paper; empty: the setting ITRIALSPACE_SIZE"),
            "set": dg.Field(
                [str], default_value=[], description="cohort.<field>=<value>, for example cohort.n_cases=1000"
            ),
            "relax": dg.Field(
                bool, default_value=False, description="give up constraints of a trial that cannot be had"
            ),
        }
        if sized
        else None,
        op_tags={"itrialspace/stage": step.stage},
        **_common(node, partitions),
    )
    return decorate(compute)


def sharded_asset(
    node: Node,
    nodes: list[Node],
    partitions: Partitions,
    plan: Callable[[Settings, dict[str, str], str], list[str]],
    work: Callable[[Settings, dict[str, str], str, str], None],
    collect: Callable[[Settings, dict[str, str], str], Result],
    op_tags: dict[str, Any] | None = None,
    estimate: Callable[[Settings, dict[str, str], str, list[str]], dict[str, float | str]] | None = None,
) -> dg.AssetsDefinition:
    """A graph-backed asset: plan assigns shards, one step works on each, collect gathers.

    No value passes between the steps; a shard's key names the file that ``plan`` wrote. A cluster's
    executor runs each shard in its own container, pod or job. What ``estimate`` says of the shards is observed on the
    asset before the first of them starts.
    """
    dims, step = dims_of(nodes), node.step
    name = "__".join(step.key)

    def guarded(call: Callable[..., Any], context: Any, workspace: Workspace, *more: Any) -> tuple[Any, Settings]:
        try:
            settings = workspace.settings()
            return call(settings, partition_in(context, step), run_name(context), *more), settings
        except PlatformError as error:
            raise failure(error) from error

    (upstream,) = node.reads

    @dg.op(name=f"{name}__plan", ins={"after": dg.In(dg.Nothing)}, out=dg.DynamicOut(dg.Nothing))
    def plan_op(context: dg.OpExecutionContext, workspace: Workspace) -> Any:
        shards = guarded(plan, context, workspace)[0]
        facts = guarded(estimate, context, workspace, shards)[0] if estimate and shards else {}
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
        pool=f"{step.stage}_shards",
    )
    def shard_op(context: dg.OpExecutionContext, workspace: Workspace) -> None:
        guarded(work, context, workspace, str(context.get_mapping_key()))

    @dg.op(name=f"{name}__collect", ins={"done": dg.In(dg.Nothing)}, out=dg.Out(dg.Nothing))
    def collect_op(context: dg.OpExecutionContext, workspace: Workspace) -> Any:
        started = time.perf_counter()
        result, settings = guarded(collect, context, workspace)
        return materialized(result, _uri(settings, node), time.perf_counter() - started, settings.anatomy)

    def compose(after: Any) -> Any:
        return collect_op(plan_op(after).map(shard_op).collect())

    compose.__name__ = name
    edge = mapping(dims[upstream], step.dims, every=upstream in node.every)
    ins = {"after": dg.AssetIn(dg.AssetKey(list(upstream)), dagster_type=dg.Nothing, partition_mapping=edge)}
    return dg.graph_asset(key=list(step.key), ins=ins, **_common(node, partitions))(compose)  # type: ignore[no-any-return]
