"""The assets ``<source>/predictions/<reader>``: graph-backed, one step a shard."""

from collections.abc import Callable
from functools import partial

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.factory import sharded_asset
from itrialspace_assets.orchestration.nodes import Graph
from itrialspace_assets.orchestration.op_tags import shard_tags
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.readers import build


def assets(
    settings: Settings, graph: Graph, partitions: Partitions, before: Callable[[Settings], object]
) -> list[dg.AssetsDefinition]:
    """One asset a source and reader.

    Args:
        settings: of the code location.
        graph: every asset.
        partitions: partition definitions.
        before: called before a partition is read: the study is locked then.
    """
    own = [n for n in graph.nodes if n.step.stage == "read"]
    return [
        sharded_asset(
            settings,
            graph,
            n,
            partitions,
            plan=partial(_plan, before, n.step.key[0], n.step.key[2]),
            work=partial(_call, build.work, n.step.key[0], n.step.key[2]),
            collect=partial(_call, build.collect, n.step.key[0], n.step.key[2]),
            estimate=partial(_call, build.estimate, n.step.key[0], n.step.key[2]),
            op_tags=shard_tags(n.step, settings),
        )
        for n in own
    ]


def _plan(before, source, reader, settings, partition, run_id):  # type: ignore[no-untyped-def]
    before(settings)
    return build.plan(settings, source, reader, partition, run_id)


def _call(part, source, reader, settings, partition, *more):  # type: ignore[no-untyped-def]
    return part(settings, source, reader, partition, *more)
