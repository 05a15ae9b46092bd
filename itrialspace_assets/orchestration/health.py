"""The state of every partition in use: up to date, out of date, missing or failed, with what it rejected.

Imports no Dagster; which partitions failed is told by the caller, who knows the runs.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Literal, get_args

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.steps import last_record, partition_name
from itrialspace_assets.orchestration.lineage import up_to_date, upstream_partitions
from itrialspace_assets.orchestration.nodes import Graph, Node
from itrialspace_assets.orchestration.staleness import datasets_with_profiles

Freshness = Literal["failed", "out of date", "missing", "up to date"]
STATES: tuple[Freshness, ...] = get_args(Freshness)
#: (asset, partition) -> why its last run failed.
Failures = Mapping[tuple[str, str], str]


@dataclass(frozen=True)
class Health:
    """A row of ``platform_health``."""

    asset: str
    stage: str
    partition: str
    state: Freshness
    done: int
    rejected: int
    retryable: int
    detail: str | None

    @property
    def is_well(self) -> bool:
        return self.state == "up to date" and not self.rejected


def watched(graph: Graph, settings: Settings) -> list[tuple[Node, dict[str, str]]]:
    """Every partition of the datasets with a profile table and of the modes that were planned."""
    planners = [n for n in graph.nodes if n.step.stage == "plan"]
    keys = {
        "dataset": tuple(sorted(datasets_with_profiles(graph, settings))),
        "mode": tuple(
            m for m in graph.keys["mode"] if any(last_record(settings, n.step, {"mode": m}) for n in planners)
        ),
    }
    return [(node, part) for node in graph.nodes for part in upstream_partitions(node.step.dims, {}, keys)]


def health(graph: Graph, settings: Settings, of: tuple[Node, dict[str, str]], failures: Failures) -> Health:
    """State of a partition.

    Args:
        graph: every asset.
        settings: where records and data lie.
        of: an asset and a partition of it.
        failures: partitions whose last run failed, and why.
    """
    node, part = of
    record = last_record(settings, node.step, part)
    fresh = record is not None and up_to_date(graph, node, settings, part)
    name = node.step.name, partition_name(part)
    why = None if fresh else failures.get(name)
    counts = {k: int((record or {}).get(k, 0)) for k in ("computed", "reused", "rejected", "retryable")}
    return Health(
        asset=name[0],
        stage=node.step.stage,
        partition=name[1],
        state="up to date" if fresh else "failed" if why else "missing" if record is None else "out of date",
        done=max(0, counts["computed"] + counts["reused"] - counts["rejected"]),
        rejected=counts["rejected"],
        retryable=counts["retryable"],
        detail=why,
    )


def in_words(rows: list[Health]) -> str:
    """How many partitions are in which state, in a sentence."""
    states = {
        state: sum(r.state == state for r in rows) for state in ("up to date", "out of date", "missing", "failed")
    }
    rejected, retryable = sum(r.rejected for r in rows), sum(r.retryable for r in rows)
    counts = ", ".join(f"{n} {state}" for state, n in states.items())
    return f"Of {len(rows)} partitions: {counts}. Cases rejected: {rejected}, of which {retryable} retryable."


def problems(rows: list[Health]) -> Iterator[Health]:
    """Partitions that need a look, failed ones first."""
    yield from sorted((r for r in rows if not r.is_well), key=lambda r: STATES.index(r.state))
