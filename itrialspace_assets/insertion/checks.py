"""Checks of the stage ``insertion``."""

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.insertion.verify import broken_insertions, changed_elsewhere, colliding
from itrialspace_assets.orchestration.check_factory import REGISTRY, REJECTED, Check, CheckOutcome, checks_of, listing
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.store import read_table


def as_planned(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Containment, side, lobe and size of every nodule against what was planned."""
    rows = read_table(settings.output, "insertions", **partition)
    hosts = read_table(settings.output, "hosts", dataset=partition["dataset"])
    broken = {rule: frame for rule, frame in broken_insertions(rows, hosts).items() if frame.height}
    which = {rule: frame["case_uid"].head(3).to_list() for rule, frame in broken.items()}
    return not broken, {
        "nodules": rows.height,
        "broken": str({r: f.height for r, f in broken.items()}),
        "which": str(which),
    }


def unchanged(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """The first masks of a partition on disk against host and deltas, voxel by voxel."""
    rows = read_table(settings.output, "insertions", **partition)
    wrong, seen = changed_elsewhere(settings.output, rows, LOOKED_AT)
    kept = rows["mask_uid"].drop_nulls().n_unique()
    return not wrong, {"masks": kept, "looked_at": seen, "which": listing(wrong)}


def apart(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Placed nodules of one case share no voxel."""
    found = colliding(read_table(settings.output, "insertions", **partition))
    return not found, {"cases": len(found), "which": listing(found)}


#: Masks that the check reads; its metadata say how many there are. Ours.
LOOKED_AT = 8
AS_PLANNED = Check(
    "as_planned", "Containment, side, lobe, size and recorded relaxations of every nodule are as planned.", as_planned
)
UNCHANGED = Check(
    "unchanged_voxels", "A mask is its host with label 23 where its deltas say, and nothing else.", unchanged
)
APART = Check("collisions", "Placed nodules of a case share no voxel.", apart)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the share rejected, and that nodules lie where and are as large as planned."""
    return [
        checks_of(n, partitions, [REGISTRY, REJECTED, AS_PLANNED, UNCHANGED, APART])
        for n in graph.nodes
        if n.step.stage == "insert"
    ]
