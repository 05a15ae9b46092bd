"""The Dagster instance of an output folder: its configuration, how it is opened, and runs whose process is gone.

Runs are started elsewhere (``drive``, ``runner``, the web page); what their history tells is in ``past_runs``.
"""

import os
import socket
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import dagster as dg
import yaml
from dagster._core.instance.ref import InstanceRef

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings, require_plain_path

#: Tag of a run that this program drives; its value is the host and the process that drives it.
DRIVER = "itrialspace/driver"
#: Runs with this tag wait for each other (``tag_concurrency_limits`` in dagster.yaml), highest priority first.
CHAIN = "itrialspace/chain"
#: Steps of one pool at once on a cluster, by executor (ours: as many as the executors let run).
POOL_LIMIT = {"slurm": 100, "k8s": 100}
#: Configuration of an instance that this program makes. Steps of one pool run one at a time: each already uses all
#: worker processes. On a cluster there are more (``configuration``). Runs that die without a word are found by run
#: monitoring and started again; one whose step failed is not.
INSTANCE = f"""telemetry:
  enabled: false
nux:
  enabled: false
storage:
  custom:
    module: itrialspace_assets.orchestration.history
    class: History
    config:
      base_dir:
        env: DAGSTER_HOME
concurrency:
  pools:
    granularity: op
    default_limit: 1
  runs:
    max_concurrent_runs: 2
    tag_concurrency_limits:
      - key: {CHAIN}
        limit: 1
run_retries:
  enabled: true
  max_retries: 2
  retry_on_asset_or_op_failure: false
run_monitoring:
  enabled: true
  start_timeout_seconds: 300
  free_slots_after_run_end_seconds: 60
"""
#: What steps print in this process goes where the process prints. Dagster would keep it by four processes a run.
_OWN_OUTPUT: Any = {
    "compute_logs": {"module": "dagster._core.storage.noop_compute_log_manager", "class": "NoOpComputeLogManager"}
}


#: What Dagster's addresses of SQLite files do not keep: it would write into another folder.
_NOT_IN_URL = r"\?|%[0-9a-fA-F]{2}"


def driver_tag() -> str:
    """Host and process that drive a run."""
    return f"{socket.gethostname()}:{os.getpid()}"


def configuration(settings: Settings) -> str:
    """``dagster.yaml`` of an instance that this program makes."""
    limit = POOL_LIMIT.get(settings.executor, 1)
    return INSTANCE.replace("default_limit: 1", f"default_limit: {limit}")


def open_instance(settings: Settings) -> dg.DagsterInstance:
    """The instance that the web page shows too; made below the outputs unless DAGSTER_HOME says where."""
    home = Path(os.environ.get("DAGSTER_HOME") or settings.output / "dagster").absolute()
    require_plain_path(
        home, "DAGSTER_HOME" if os.environ.get("DAGSTER_HOME") else "ITRIALSPACE_OUTPUT_DIR", _NOT_IN_URL
    )
    home.mkdir(parents=True, exist_ok=True)
    # runs that start at once on a new folder would each make the tables of the history, and leave it unusable
    with locked(home / "instance.lock") if os.access(home, os.W_OK) else nullcontext():
        config = home / "dagster.yaml"
        if not config.exists():
            replace_file(config, configuration(settings).encode())
        os.environ["DAGSTER_HOME"] = str(home)
        return dg.DagsterInstance.from_ref(InstanceRef.from_dir(str(home), overrides=_OWN_OUTPUT))


def shared_instance(number: int) -> InstanceRef:
    """The same instance for processes that share the workers: so many steps of one pool run at a time."""
    home = os.environ["DAGSTER_HOME"]
    overrides = dict(_OWN_OUTPUT)
    given = yaml.safe_load((Path(home) / "dagster.yaml").read_text()) or {}
    if not {"run_queue", "run_coordinator"} & set(given):  # Dagster takes pools beside neither; limits are the user's
        overrides["concurrency"] = {"pools": {"granularity": "op", "default_limit": number}}
    return InstanceRef.from_dir(home, overrides=overrides)


def _is_dead(driver: str) -> bool:
    """True if a driver was a process of this host and is none any more; another host's cannot be asked."""
    host, _, pid = driver.rpartition(":")
    if host != socket.gethostname() or not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:  # somebody else's process
        return False
    return False


def close_killed_runs(instance: dg.DagsterInstance, gone: str | None = None) -> list[str]:
    """Mark runs of drivers that were killed as failed; otherwise the web page shows them running for ever, and steps of
    the same pools wait for them.

    Args:
        instance: keeps the runs.
        gone: another host whose processes are gone, as the user says: nobody can tell here.

    Returns:
        The drivers that may be alive, ``<host>:<process>``, except this process.
    """
    alive = []
    for run in instance.get_runs(dg.RunsFilter(statuses=[dg.DagsterRunStatus.STARTED])):
        driver = run.tags.get(DRIVER, "")
        if _is_dead(driver) or (gone is not None and driver.rpartition(":")[0] == gone):
            instance.report_run_failed(run, f"the process that drove this run ({driver}) was killed; run it again")
            if instance.event_log_storage.supports_global_concurrency_limits:
                instance.event_log_storage.free_concurrency_slots_for_run(run.run_id)
        elif driver and driver != driver_tag():
            alive.append(driver)
    return alive
