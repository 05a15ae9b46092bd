"""The weekly report chain: one schedule a job, all off until somebody turns them on."""

from collections.abc import Callable, Iterator, Mapping

import dagster as dg
from dagster._core.definitions.unresolved_asset_job_definition import UnresolvedAssetJobDefinition

from itrialspace_assets.orchestration.instance import CHAIN

#: Monday 05:00; reports cost seconds, so any quiet hour will do.
WEEKLY = "0 5 * * 1"
#: The jobs of the chain in order; those with an asset run once for each partition of it that was made before.
STEPS: tuple[tuple[str, str | None], ...] = (
    ("splits", None),
    ("mode_reports", "mode_report"),
    ("real_reports", "real_report"),
    ("catalog", None),
)


def schedules(jobs: "Mapping[str, UnresolvedAssetJobDefinition]") -> list[dg.ScheduleDefinition]:
    """A weekly schedule for each job of the chain that this location has."""
    return [
        dg.ScheduleDefinition(
            name=f"weekly_{name}",
            job=jobs[name],
            cron_schedule=WEEKLY,
            execution_fn=_requests(name, asset, len(STEPS) - place),
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description=(
                f"Every Monday, step {place + 1} of {len(STEPS)} of the report chain: {jobs[name].description} "
                "Runs of the chain go one after the other, in this order. Turn all on for the whole chain."
            ),
        )
        for place, (name, asset) in enumerate(STEPS)
        if name in jobs
    ]


def _requests(
    name: str, asset: str | None, priority: int
) -> Callable[[dg.ScheduleEvaluationContext], Iterator[dg.RunRequest]]:
    def requests(context: dg.ScheduleEvaluationContext) -> Iterator[dg.RunRequest]:
        tick = context.scheduled_execution_time.strftime("%Y-%m-%d")
        made = sorted(context.instance.get_materialized_partitions(dg.AssetKey(asset))) if asset else [None]
        tags = {CHAIN: "weekly", "dagster/priority": str(priority)}
        for part in made:  # a generator: Dagster refuses a list from a function that is not decorated
            yield dg.RunRequest(f"{tick}/{name}/{part or 'all'}", partition_key=part, tags=tags)

    return requests
