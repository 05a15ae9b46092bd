"""The asset ``platform_health``: what is missing, out of date, failed or rejected now, made every hour where it is on.

It is about the platform and not about data: it is in no lineage, and its table holds the states at the time of its run.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict

import dagster as dg
import polars as pl

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.pictures import markdown
from itrialspace_assets.orchestration.health import Failures, health, in_words, problems, watched
from itrialspace_assets.orchestration.nodes import Graph, Key
from itrialspace_assets.records.store import write_table
from itrialspace_assets.records.tables import TABLES
from itrialspace_assets.resources.workspace import Workspace

#: Name of a job in Dagster -> keys of its assets.
Jobs = Mapping[str, Sequence[Key]]
KEY = "platform_health"
HOURLY = "7 * * * *"
#: Runs that are looked through for failures, newest first (ours); older ones are history.
LOOKED_AT = 2000
#: Problems that the page of the asset lists (ours); the table holds all.
LISTED = 50


def platform_health(graph_of: Callable[[Settings], Graph], jobs: Jobs) -> dg.AssetsDefinition:
    """The asset with its check.

    Args:
        graph_of: gives the graph of the present files.
        jobs: assets of each job.
    """

    @dg.asset(
        key=KEY,
        group_name="platform",
        description="What is missing, out of date, failed or rejected now, a row a partition.",
        check_specs=[dg.AssetCheckSpec("none_failed", asset=KEY, description="The last run of no partition failed.")],
        kinds={"polars", "parquet"},
    )
    def made(context: dg.AssetExecutionContext, workspace: Workspace) -> dg.MaterializeResult:  # type: ignore[type-arg]
        settings = workspace.settings()
        graph, failed_runs = graph_of(settings), failures(context.instance, jobs)
        rows = [health(graph, settings, of, failed_runs) for of in watched(graph, settings)]
        frame = pl.DataFrame([asdict(r) for r in rows], schema=dict(TABLES[KEY].schema))
        write_table(settings.output, KEY, frame)
        listed = pl.DataFrame([asdict(r) for r in list(problems(rows))[:LISTED]], schema=frame.schema)
        failed = [r for r in rows if r.state == "failed"]
        return dg.MaterializeResult(
            metadata={
                "dagster/row_count": frame.height,
                "summary": in_words(rows),
                "problems": dg.MetadataValue.md(markdown(listed) if listed.height else "none"),
                **{s.replace(" ", "_"): int((frame["state"] == s).sum()) for s in frame["state"].unique().sort()},
            },
            check_results=[
                dg.AssetCheckResult(
                    check_name="none_failed",
                    passed=not failed,
                    metadata={"failed": ", ".join(f"{r.asset} [{r.partition}]" for r in failed[:LISTED]) or "none"},
                )
            ],
        )

    return made


def hourly(settings: Settings) -> dg.ScheduleDefinition:
    """Every hour, where it is on."""
    on = settings.automation == "on"
    return dg.ScheduleDefinition(
        name=f"hourly_{KEY}",
        target=dg.AssetSelection.assets(KEY),
        cron_schedule=HOURLY,
        default_status=dg.DefaultScheduleStatus.RUNNING if on else dg.DefaultScheduleStatus.STOPPED,
        description="Every hour, what is missing, out of date, failed or rejected.",
    )


def failures(instance: dg.DagsterInstance, jobs: Jobs) -> Failures:
    """Partitions of assets whose newest run failed, with its name.

    Args:
        instance: knows the runs.
        jobs: assets of each job; a run of a whole job does not name them.
    """
    newest: dict[tuple[str, str], str | None] = {}
    for run in instance.get_runs(limit=LOOKED_AT):
        if not run.is_finished or run.status == dg.DagsterRunStatus.CANCELED:
            continue
        why = f"run {run.run_id[:8]} failed" if run.status == dg.DagsterRunStatus.FAILURE else None
        keys = [tuple(key.path) for key in run.asset_selection or ()] or jobs.get(run.job_name, ())
        for key in keys:
            newest.setdefault(("/".join(key), _partition(run.tags)), why)
    return {where: why for where, why in newest.items() if why is not None}


def _partition(tags: Mapping[str, str]) -> str:
    """Name of a run's partition as the records call it."""
    of = [tags[f"dagster/partition/{dim}"] for dim in ("mode", "dataset") if f"dagster/partition/{dim}" in tags]
    return "/".join(of) or tags.get("dagster/partition", "all")
