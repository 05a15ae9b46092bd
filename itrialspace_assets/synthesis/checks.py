"""Checks of the stage ``synthesis``."""

import dagster as dg
import polars as pl

from itrialspace_assets.graph import Node
from itrialspace_assets.partitions import Partitions
from itrialspace_assets.settings import Settings
from itrialspace_assets.steps import partition_name
from itrialspace_assets.store import read_all, read_table
from itrialspace_assets.synthesis.quality import HIGH_HU, LOW_HU
from resources.check_factory import REGISTRY, REJECTED, Outcome, Rule, checks_of, listing


def complete(settings: Settings, node: Node, partition: dict[str, str]) -> Outcome:
    """Every inserted case has its images, or is among those put aside."""
    inserted = set(read_table(settings.output, "insertions", **partition)["case_uid"])
    rendered = set(read_table(settings.output, "cts", source=node.step.key[0], **partition)["case_uid"])
    aside = read_all(settings.output, "rejected_cases", stage=node.step.name, partition=partition_name(partition))
    lost = sorted(inserted - rendered - set(aside["case_uid"]))
    return not lost, {"inserted": len(inserted), "rendered": len(rendered), "which": listing(lost)}


def gates(settings: Settings, node: Node, partition: dict[str, str]) -> Outcome:
    """HU range of every image; shows the least contrast of a lesion with what surrounds it."""
    rows = read_table(settings.output, "cts", source=node.step.key[0], **partition)
    bad = rows.filter((pl.col("low_hu") < LOW_HU) | (pl.col("high_hu") > HIGH_HU))
    least = rows.select((pl.col("lesion_hu") - pl.col("background_hu")).abs().min()).item()
    return bad.is_empty(), {"images": rows.height, "least_contrast_hu": least, "which": listing(bad["case_uid"].to_list())}  # fmt: skip


COMPLETE = Rule("complete", "Every inserted case was rendered or put aside with a reason.", complete)
GATES = Rule("gates", "HU of every image lies within -1000 to 1000.", gates)


def checks(nodes: list[Node], partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the share put aside, completeness, and the gates of an image."""
    return [
        checks_of(n, partitions, [REGISTRY, REJECTED, COMPLETE, GATES]) for n in nodes if n.step.stage == "synthesise"
    ]
