"""Checks of the stage ``synthesis``."""

import dagster as dg
import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import partition_name
from itrialspace_assets.orchestration.check_factory import REGISTRY, REJECTED, Check, CheckOutcome, checks_of, listing
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.partitions import Partitions
from itrialspace_assets.records.store import read_all, read_table
from itrialspace_assets.synthesis.compare import low_overlaps
from itrialspace_assets.synthesis.fidelity import LEAST_OVERLAP
from itrialspace_assets.synthesis.quality import HIGH_HU, LOW_HU


def complete(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Every inserted case has its images, or is among the rejected ones."""
    inserted = set(read_table(settings.output, "insertions", **partition)["case_uid"])
    rendered = set(read_table(settings.output, "cts", source=node.step.key[0], **partition)["case_uid"])
    rejected = read_all(settings.output, "rejected_cases", stage=node.step.name, partition=partition_name(partition))
    lost = sorted(inserted - rendered - set(rejected["case_uid"]))
    return not lost, {"inserted": len(inserted), "rendered": len(rendered), "which": listing(lost)}


def hu_range(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """HU range of every image; also shows the least contrast of a lesion and the number of unpaired images."""
    rows = read_table(settings.output, "cts", source=node.step.key[0], **partition)
    bad = rows.filter((pl.col("low_hu") < LOW_HU) | (pl.col("high_hu") > HIGH_HU))
    least = rows.select((pl.col("lesion_hu") - pl.col("background_hu")).abs().min()).item()
    return bad.is_empty(), {
        "images": rows.height,
        "least_contrast_hu": least,
        "not_paired": rows.filter(~pl.col("paired")).height,
        "which": listing(bad["case_uid"].to_list()),
    }


def like_their_hosts(settings: Settings, node: Node, partition: dict[str, str]) -> CheckOutcome:
    """Histograms of lesion-free twins and of their hosts' real CTs overlap; on procedural anatomy there are none."""
    rows, low = read_all(settings.output, "host_overlaps"), low_overlaps(settings)
    least = rows["whole"].min()
    return not low, {"hosts": rows.height, "least_overlap": least, "limit": LEAST_OVERLAP, "which": listing(low)}


HISTOGRAMS = Check(
    "histograms",
    "HU histograms of each lesion-free twin and of its host's real CT share more than 80 %.",
    like_their_hosts,
    warns=True,
)
COMPLETE = Check("complete", "Every inserted case was rendered or rejected with a reason.", complete)
HU_RANGE = Check("gates", "HU of every image lies within -1000 to 1000.", hu_range)


def checks(graph: Graph, partitions: Partitions) -> list[dg.AssetChecksDefinition]:
    """Registry rules, the share rejected, completeness, the HU range, and likeness to real hosts."""
    rendered = [n for n in graph.nodes if n.step.stage == "synthesise"]
    compared = [n for n in graph.nodes if n.step.stage == "fidelity"]
    return [checks_of(n, partitions, [REGISTRY, REJECTED, COMPLETE, HU_RANGE]) for n in rendered] + [
        checks_of(n, partitions, [REGISTRY, REJECTED, HISTOGRAMS]) for n in compared
    ]
