"""Checks of the stage ``analysis``."""

import dagster as dg

from itrialspace_assets.analysis.splits import STEP as SPLITS
from itrialspace_assets.analysis.splits import broken_lists, unfrozen_slices
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.check_factory import REGISTRY, Check, CheckOutcome, checks_of, listing
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.partitions import Partitions


def frozen(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Frozen lists against the slices there are."""
    problems = broken_lists(settings)
    problems += [] if problems else unfrozen_slices(settings)
    return not problems, {"problems": listing(problems)}


FROZEN = Check("frozen", "Every frozen list equals the slices there are.", frozen)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and that frozen lists still name the slices there are."""
    rules = {SPLITS.key: [REGISTRY, FROZEN], ("mode_report",): [REGISTRY], ("real_report",): [REGISTRY]}
    return [checks_of(n, partitions, rules[n.step.key]) for n in graph.nodes if n.step.key in rules]
