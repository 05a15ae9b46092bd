"""The assets ``<renderer>/synthetic_cts`` (graph-backed, one step a shard) and ``fidelity``."""

from functools import partial

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.factory import plain_asset, sharded_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.op_tags import shard_tags
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.synthesis import build, compare


def assets(settings: Settings, graph: Graph, partitions: Partitions) -> list[dg.AssetsDefinition]:
    """One asset for each renderer, and the comparison of their images with real CTs."""
    own = [n for n in graph.nodes if n.step.stage == "synthesise"]
    compared = [n for n in graph.nodes if n.step.stage == "fidelity"]
    return [plain_asset(settings, graph, n, partitions, compare.build) for n in compared] + [
        sharded_asset(
            settings,
            graph,
            n,
            partitions,
            plan=partial(_call, build.plan, n.step.key[0]),
            work=partial(_call, build.work, n.step.key[0]),
            collect=partial(_call, build.collect, n.step.key[0]),
            estimate=partial(_call, build.estimate, n.step.key[0]),
            op_tags=shard_tags(n.step, settings),
        )
        for n in own
    ]


def _call(part, source, settings, partition, *more):  # type: ignore[no-untyped-def]
    return part(settings, source, partition, *more)
