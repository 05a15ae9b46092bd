"""The weekly report chain, off until somebody turns it on."""

import dagster as dg

#: Monday 05:00; reports cost seconds, so any quiet hour will do.
WEEKLY = "0 5 * * 1"


def schedules(jobs: "dict[str, dg.UnresolvedAssetJobDefinition]") -> list[dg.ScheduleDefinition]:
    """One schedule, stopped by default, over the unpartitioned end of the chain."""
    if "catalogue" not in jobs:
        return []
    return [
        dg.ScheduleDefinition(
            name="weekly_reports",
            job=jobs["catalogue"],
            cron_schedule=WEEKLY,
            default_status=dg.DefaultScheduleStatus.STOPPED,
            description="Splits, study report, catalogue and published layout.",
        )
    ]
