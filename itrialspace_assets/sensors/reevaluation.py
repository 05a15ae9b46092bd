"""Sensors and a nightly schedule that make again what is out of date, and only that.

What is out of date is told by the same records as ``its status``. A sensor asks for a partition once for each state of
what it reads; one that failed for good is asked for again when something that it reads has changed. All are off unless
``ITRIALSPACE_AUTOMATION=on``.
"""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from itertools import groupby

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from itrialspace_assets.base.errors import PlatformError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.nodes import Graph, Key
from itrialspace_assets.orchestration.observe import report_sources
from itrialspace_assets.orchestration.staleness import Stale, datasets_with_profiles, ready

#: Seconds between two looks of a sensor (ours).
INTERVAL_S = 120
#: Most runs that one look asks for; the next look asks for more (ours).
MOST_RUNS = 50
#: Stages that are re-evaluated at night.
NIGHT = ("read", "fidelity", "splits", "report", "catalog", "release")
#: Every quarter of an hour from 01:00 to 05:45: each tick makes what the last one made possible.
NIGHTLY = "*/15 1-5 * * *"


@dataclass(frozen=True)
class Watch:
    """A sensor: the stages that it keeps up to date, and why they go out of date."""

    name: str
    stages: tuple[str, ...]
    what: str


WATCHES = (
    Watch(
        "data_root",
        ("profiles", "hosts", "index", "plan", "insert", "synthesise", "slice"),
        "a profile table, mask, CT or trial file was added or changed, by content",
    ),
    Watch(
        "readers",
        ("read",),
        "a reader's weights, options, prompts or served model changed; only that reader is asked again",
    ),
    Watch(
        "conclusions",
        ("fidelity", "splits", "report", "catalog", "release"),
        "answers, a frozen list or the study file changed",
    ),
)


@dataclass(frozen=True)
class Fresh:
    """Where sensors look: the graph as it is now, and what must be asked before (servers for their revision).

    Attributes:
        graph: gives the graph of the present files; the one that the location loaded may be older.
        prepare: asks running services what they serve; yields what to say of those that do not answer.
        jobs: name of a job that makes an asset.
    """

    graph: Callable[[Settings], Graph]
    prepare: Callable[[Settings], Iterator[str]]
    jobs: Mapping[Key, str]

    def ready(self, graph: Graph, settings: Settings, stages: tuple[str, ...], added: set[str]) -> list[Stale]:
        """Partitions of some stages that this location makes and that can be made now.

        Args:
            graph: of the present files.
            settings: of the code location.
            stages: which are looked for.
            added: datasets that join the others.
        """
        return [s for s in ready(graph, settings, stages, added) if s.node.step.key in self.jobs]


@dataclass(frozen=True)
class Cursor:
    """What a sensor remembers: the state of each partition that it asked for, and the datasets of its first look."""

    asked: dict[str, str]
    known: list[str]

    @classmethod
    def of(cls, text: str | None, there: set[str]) -> "Cursor":
        return cls(**json.loads(text)) if text else cls({}, sorted(there))

    def kept(self, found: list[Stale]) -> dict[str, str]:
        """What was asked for and is still as it was then."""
        return {s.label: s.state for s in found if self.asked.get(s.label) == s.state}


def sensors(
    settings: Settings, fresh: Fresh, jobs: "Mapping[str, UnresolvedAssetJobDefinition]"
) -> list[dg.SensorDefinition]:
    """A sensor for each of ``WATCHES`` of which this location makes an asset.

    Args:
        settings: of the code location.
        fresh: where sensors look.
        jobs: of this location, by name.
    """
    on = settings.automation == "on"
    return [
        dg.SensorDefinition(
            name=f"{watch.name}_changed",
            evaluation_fn=_looking(settings, fresh, watch),
            jobs=list(jobs.values()),
            minimum_interval_seconds=INTERVAL_S,
            default_status=dg.DefaultSensorStatus.RUNNING if on else dg.DefaultSensorStatus.STOPPED,
            description=f"Makes {', '.join(watch.stages)} again where {watch.what}.",
        )
        for watch in WATCHES
        if jobs
    ]


def nightly(
    settings: Settings, fresh: Fresh, jobs: "Mapping[str, UnresolvedAssetJobDefinition]"
) -> list[dg.ScheduleDefinition]:
    """The nightly re-evaluation: from answers to release, what is out of date.

    Args:
        settings: of the code location.
        fresh: where the schedule looks.
        jobs: those of this location with an asset of ``NIGHT``, by name; one schedule a job, as Dagster asks.
    """
    on = settings.automation == "on"
    return [
        dg.ScheduleDefinition(
            name=f"nightly_{name}",
            job=jobs[name],
            cron_schedule=NIGHTLY,
            execution_fn=_at_night(settings, fresh, name),
            default_status=dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED,
            description="Each night, makes again what is out of date of answers, lists, reports, catalog and release.",
        )
        for name in jobs
        if name in fresh.jobs.values()
    ]


def _looking(
    settings: Settings, fresh: Fresh, watch: Watch
) -> Callable[[dg.SensorEvaluationContext], "dg.SensorResult | dg.SkipReason"]:
    def look(context: dg.SensorEvaluationContext) -> "dg.SensorResult | dg.SkipReason":
        said = list(fresh.prepare(settings)) if "read" in watch.stages else []
        for line in said:
            context.log.warning(line)
        try:
            graph = fresh.graph(settings)
            report_sources(context.instance, graph, settings, [s.key for s in graph.sources])
            there = datasets_with_profiles(graph, settings)
            cursor = Cursor.of(context.cursor, there)
            found = fresh.ready(graph, settings, watch.stages, there - set(cursor.known))
        except PlatformError as error:  # a file of the user is wrong: said at each look until it is fixed
            return dg.SkipReason(str(error))
        asked = cursor.kept(found)
        new = list(_requests([s for s in found if s.label not in asked], fresh.jobs))[:MOST_RUNS]
        asked |= {s.label: s.state for _, members in new for s in members}
        text = json.dumps(asdict(Cursor(asked, cursor.known)), sort_keys=True)
        return dg.SensorResult(run_requests=[request for request, _ in new], cursor=text)

    return look


def _at_night(
    settings: Settings, fresh: Fresh, job: str
) -> Callable[[dg.ScheduleEvaluationContext], Iterator[dg.RunRequest]]:
    def requests(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        night = context.scheduled_execution_time.strftime("%Y-%m-%d")
        found = fresh.ready(fresh.graph(settings), settings, NIGHT, set())
        of_job = [s for s in found if fresh.jobs[s.node.step.key] == job]
        for request, _ in _requests(of_job, fresh.jobs):
            yield request.with_replaced_attrs(run_key=f"{night}/{request.run_key}")

    return requests


def _requests(found: list[Stale], jobs: Mapping[Key, str]) -> Iterator[tuple[dg.RunRequest, list[Stale]]]:
    """One run for the assets of one job that share a partition."""

    def where(stale: Stale) -> tuple[str, str]:
        return jobs[stale.node.step.key], stale.label.partition("|")[2]

    for (job, partition), of in groupby(sorted(found, key=where), where):
        members = list(of)
        parts = members[0].partition
        key = dg.MultiPartitionKey(dict(parts)) if len(parts) == 2 else next(iter(parts.values()), None)
        yield (
            dg.RunRequest(
                run_key="/".join([job, partition, *(s.state for s in members)]),
                job_name=f"{job}_job",
                partition_key=key,
                asset_selection=[dg.AssetKey(list(s.node.step.key)) for s in members],
            ),
            members,
        )
