"""Says when a run has failed: in Dagster's log and, where one is set, to a webhook. Starts no run again.

A platform error (wrong input, wrong setting) is permanent: the same run fails again. All else may pass, and Dagster
starts a run whose process died again (``run_retries`` in dagster.yaml).
"""

import logging

import dagster as dg

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.orchestration.runs import cause_of

#: Seconds that a webhook may take (ours).
PATIENCE_S = 10.0
#: Characters of a message that are sent (ours).
LONGEST = 2000


def failure_sensor(settings: Settings) -> dg.SensorDefinition:
    """A sensor that says each failed run once."""

    @dg.run_failure_sensor(
        name="run_failed",
        description="Logs each failed run with its cause, and posts it to ITRIALSPACE_WEBHOOK if that is set.",
        default_status=(
            dg.DefaultSensorStatus.RUNNING if settings.automation == "on" else dg.DefaultSensorStatus.STOPPED
        ),
    )
    def run_failed(context: dg.RunFailureSensorContext) -> None:
        said = message_of(context)
        context.log.error(f"{said['job']} [{said['partition']}] failed, {said['kind']}: {said['error']}")
        if settings.webhook is not None:
            post(settings.webhook.get_secret_value(), said, context.log)

    return run_failed


def message_of(context: dg.RunFailureSensorContext) -> dict[str, str]:
    """Job, partition, cause and kind of a failed run; no path, no setting."""
    run = context.dagster_run
    steps = [e.step_failure_data for e in context.get_step_failure_events()]
    permanent = bool(steps) and all(s.user_failure_data is not None for s in steps)
    return {
        "job": run.job_name,
        "partition": run.tags.get("dagster/partition", "all"),
        "run_id": run.run_id,
        "kind": "permanent" if permanent else "may pass",
        "error": (cause_of(steps[0]) if steps else context.failure_event.message or "no message")[:LONGEST],
    }


def post(url: str, said: dict[str, str], log: logging.Logger) -> None:
    """Send a message as JSON; one that cannot be sent is a warning, which does not name the address: it is a secret.

    Args:
        url: where it goes.
        said: the message.
        log: takes the warning.
    """
    import httpx

    try:
        httpx.post(
            url, json=said | {"text": f"{said['job']} [{said['partition']}]: {said['error']}"}, timeout=PATIENCE_S
        )
    except httpx.HTTPError as error:
        log.warning(f"the webhook was not reached: {type(error).__name__}")
