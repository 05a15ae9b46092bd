"""Removes what ``orphans`` found, and only while nothing runs. Decides nothing about which files may go."""

import os
from collections.abc import Iterable
from pathlib import Path

from filelock import Timeout

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.care.orphans import OrphanKind
from itrialspace_assets.orchestration.instance import close_killed_runs, open_instance
from itrialspace_assets.orchestration.past_runs import active_runs


def require_idle(settings: Settings, gone_host: str | None = None) -> None:
    """Refuse to go on while a run is active: one that Dagster knows, or a process that holds a lock of the outputs.

    Args:
        settings: the outputs.
        gone_host: a host that is down, as the user says: its runs are ended.

    Raises:
        ConfigError: names the run or the lock.
    """
    home = Path(os.environ.get("DAGSTER_HOME") or settings.output / "dagster")
    if (home / "dagster.yaml").exists():
        with open_instance(settings) as instance:
            close_killed_runs(instance, gone_host)
            active = active_runs(instance)
        if active:
            raise ConfigError(
                f"{settings.output}: expected no run, got {len(active)} that are active (first: {active[0]}); "
                "wait for them or end them (its ui; of a host that is down: its clean --gone-host NAME)"
            )
    work = settings.output / "work"
    for path in (*work.glob("*.lock"), *work.glob("locks/*.lock"), *settings.output.glob("ledger/*/*/.*.lock")):
        try:
            with locked(path, timeout=0):
                pass
        except Timeout:
            raise ConfigError(f"{path}: expected no run, got a process that holds this lock; wait for it") from None


def remove(settings: Settings, kinds: Iterable[OrphanKind]) -> int:
    """Remove the files of some kinds; returns how many.

    Args:
        settings: the outputs that they belong to.
        kinds: from ``orphans.find``.

    Raises:
        ConfigError: a run is active.
    """
    require_idle(settings)
    files = [path for kind in kinds for path in kind.files]
    for path in files:
        path.unlink(missing_ok=True)
    return len(files)
