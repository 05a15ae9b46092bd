"""``/api/selection/...``: a selection of nodules becomes a trial file; whether it is feasible is said first."""

import socket
from typing import Annotated, Literal

import numpy as np
from fastapi import APIRouter, Query
from pydantic import Field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search.filters import rows_of
from itrialspace_assets.explorer.search.find import NoduleQuery
from itrialspace_assets.explorer.selection.bases import BaseTrial, base_trials
from itrialspace_assets.explorer.selection.draft import Draft, draft_trial, trial_text
from itrialspace_assets.explorer.selection.enough import Feasibility, feasible
from itrialspace_assets.explorer.selection.saved import save_trial
from itrialspace_assets.explorer.server.state import OpenRoot, RootOf
from itrialspace_assets.trials.model import Trial

router = APIRouter(prefix="/api", tags=["selection"])

#: Cases that the page may ask feasibility for: it counts up to twice as many, in under a second; ours.
MAX_CASES = 2000
#: Seconds that a web page on this computer has to take a connection; ours.
_PATIENCE_S = 0.3


class TrialAsked(NoduleQuery):
    """A trial of the nodules that meet every filter and hold the text; what is left out is as in the base."""

    base: str = Field(min_length=1, max_length=60)
    pool: Literal["donors", "hosts"] = "donors"
    size: Literal["demo", "paper"] = "demo"
    n_cases: int | None = Field(None, ge=1, le=MAX_CASES)


class NamedTrial(TrialAsked):
    """A trial to be saved; ``words`` say how the nodules were selected and stand in the file's heading."""

    name: str = Field(max_length=60)
    words: tuple[Annotated[str, Field(max_length=300)], ...] = Field((), max_length=50)


class Drafted(StrictModel):
    """A trial that is not saved yet: nodules and scans selected, its file's text, and what is feasible."""

    nodules: int
    scans: int
    text: str
    feasibility: Feasibility


class Saved(StrictModel):
    """A trial file that was written; ``mode`` is its key in every command."""

    mode: str
    file: str
    text: str


class Bases(StrictModel):
    """Trials to start from, the run size that is set, and whether there is a folder for trial files."""

    trials: list[BaseTrial]
    size: str
    has_folder: bool


class Listening(StrictModel):
    """Whether a web page of this computer takes connections at a port."""

    port: int
    listening: bool


@router.get("/selection/bases")
def get_bases(root: RootOf) -> Bases:
    """Every trial that a trial of a selection can start from."""
    folder = root.settings.trials_dir
    return Bases(
        trials=base_trials(root.settings),
        size=root.settings.size,
        has_folder=folder is not None and folder.is_dir(),
    )


@router.post("/selection/feasibility")
def post_feasibility(root: RootOf, asked: TrialAsked) -> Drafted:
    """The trial of a selection before it is saved: what is feasible, the constraint that binds, what would help."""
    trial, text, nodules, scans = _drafted(root, asked, "unnamed", ())
    return Drafted(nodules=nodules, scans=scans, text=text, feasibility=feasible(root.settings, trial, asked.size))


@router.post("/selection/trial", status_code=201)
def post_trial(root: RootOf, asked: NamedTrial) -> Saved:
    """Save the trial of a selection as ``x_<name>.yaml``; a file that is there is never replaced."""
    trial, text, _, _ = _drafted(root, asked, asked.name, asked.words)
    file = save_trial(root.settings, trial, text)
    return Saved(mode=trial.mode, file=file.name, text=text)


@router.get("/selection/ui")
def get_ui(port: Annotated[int, Query(ge=1024, le=65535, description="port on this computer")] = 3000) -> Listening:
    """Whether the Dagster UI, or anything else, listens at a port of the computer that the explorer runs on."""
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=_PATIENCE_S):
            return Listening(port=port, listening=True)
    except OSError:
        return Listening(port=port, listening=False)


def _drafted(root: OpenRoot, asked: TrialAsked, name: str, words: tuple[str, ...]) -> tuple[Trial, str, int, int]:
    """The trial, its file's text, and how many nodules and scans are selected."""
    columns = root.columns
    rows = np.flatnonzero(rows_of(columns, asked.filters, asked.text))
    if not len(rows):
        raise ConfigError("selection: expected at least one nodule, got none; remove a filter")
    selected = columns.frame(["nodule_uid", "scan_uid"], rows)
    draft = Draft(asked.base, name, asked.pool, asked.size, asked.n_cases)
    trial = draft_trial(root.settings, draft, selected)
    return trial, trial_text(trial, draft, words), selected.height, selected["scan_uid"].n_unique()
