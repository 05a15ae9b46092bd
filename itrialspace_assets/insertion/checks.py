"""Checks of the stage ``insertion``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.insertion.verify import broken_insertions
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import read_table
from resources.check_factory import REGISTRY, REJECTED, Outcome, Rule, checks_of


def as_planned(settings: Settings, node: Node, partition: dict[str, str]) -> Outcome:
    """Side, lobe and size of every nodule against what was planned."""
    rows = read_table(settings.output, "insertions", **partition)
    hosts = read_table(settings.output, "hosts", dataset=partition["dataset"])
    broken = {rule: frame for rule, frame in broken_insertions(rows, hosts).items() if frame.height}
    which = {rule: frame["case_uid"].head(3).to_list() for rule, frame in broken.items()}
    return not broken, {
        "nodules": rows.height,
        "broken": str({r: f.height for r, f in broken.items()}),
        "which": str(which),
    }


AS_PLANNED = Rule("as_planned", "Side, lobe and size of every nodule are as planned.", as_planned)


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the share put aside, and that nodules came out where and as large as planned."""
    return [checks_of(n, partitions, [REGISTRY, REJECTED, AS_PLANNED]) for n in nodes if n.step.stage == "insert"]
