"""Checks of the stage ``trials``."""

import dagster as dg

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.store import read_table
from itrialspace_assets.trials.verify import broken_rules
from resources.check_factory import REGISTRY, Outcome, Rule, checks_of, listing


def manifest(settings: Settings, node: Node, partition: dict[str, str]) -> Outcome:
    """The finished manifest against the rules of a manifest."""
    cases, plan, nodules, arms = (
        read_table(settings.output, t, **partition) for t in ("cases", "case_nodules", "nodules", "arms")
    )
    problems = broken_rules(cases, plan, nodules, arms)
    return not problems, {"cases": cases.height, "problems": listing(problems)}


MANIFEST = Rule("manifest", "Labels, persons, counts and prevalence are as the trial says.", manifest, blocking=True)


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, and the rules of a manifest."""
    return [checks_of(n, partitions, [REGISTRY, MANIFEST]) for n in nodes if n.step.stage == "plan"]
