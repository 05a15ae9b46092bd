"""Runs the stages that a command needs and that have not run yet.

Stages that take minutes for many cases (insert and later) are named, never started by another command.
"""

from typing import TYPE_CHECKING

import typer

from itrialspace_assets.base.settings import require_data_root
from itrialspace_assets.records.store import table_files, table_path

if TYPE_CHECKING:
    from itrialspace_assets.base.settings import Settings


def index_first(settings: "Settings") -> None:
    """Make the index, from profiles, where there is none."""
    if not table_path(settings.output, "nodules").exists():
        _run(settings, ("profiles", "index"))


def candidates_first(settings: "Settings") -> None:
    """Make the index and the host and donor stores, which planning draws from, where there are none."""
    stored = all(table_files(settings.output, name) for name in ("hosts", "donors"))
    if not (stored and table_path(settings.output, "nodules").exists()):
        _run(settings, ("profiles", "hosts", "index"))


def _run(settings: "Settings", stages: tuple[str, ...]) -> None:
    from itrialspace_assets.drive import (  # 150 MiB, which a server of a finished root never needs
        RunChoice,
        choose,
        drive,
    )

    require_data_root(settings)
    asked = choose(settings, None, None, None, stages[-1])
    if drive(settings, RunChoice(asked.modes, asked.datasets, stages)):
        raise typer.Exit(1)
