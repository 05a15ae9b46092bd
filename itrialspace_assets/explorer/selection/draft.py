"""Makes a trial of a selection: a trial that there is, with the selected nodules as its only donors, or their scans as
its only hosts. Reads the trial that it starts from and writes nothing.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import polars as pl
import yaml
from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import explain
from itrialspace_assets.trials.files import load_trial
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.resolve import lay_over

Pool = Literal["donors", "hosts"]


@dataclass(frozen=True)
class Draft:
    """What is asked of a trial of a selection.

    Attributes:
        base: key of the mode that gives question, arms and planner.
        name: of the new trial; its mode is ``x_<name>``.
        pool: what the selection becomes.
        size: run size whose number of cases is set.
        n_cases: cases of each arm at that size; None: as in the base.
    """

    base: str
    name: str
    pool: Pool
    size: Literal["demo", "paper"]
    n_cases: int | None = None


def draft_trial(settings: Settings, draft: Draft, selected: pl.DataFrame) -> Trial:
    """The trial of a selection.

    Args:
        settings: say where trial files are.
        draft: what is asked.
        selected: the nodules, with ``nodule_uid`` and ``scan_uid``.

    Raises:
        ConfigError: no such base, a name that is not allowed or taken, nothing selected, or a number of cases for a
            twin trial, which takes all that its pools hold.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,38}", draft.name):
        raise ConfigError(f"name {draft.name!r}: expected 1 to 38 small letters, digits and _")
    if selected.is_empty():
        raise ConfigError("selection: expected at least one nodule, got none")
    base = load_trial(settings, draft.base)
    if draft.size not in base.sizes:
        raise ConfigError(f"size {draft.size!r}: expected one of {', '.join(base.sizes)}")
    if draft.n_cases is not None and base.planner == "twin":
        raise ConfigError(f"{draft.base}: a twin trial takes all that its pools hold; give no number of cases")
    column, key = ("nodule_uid", "nodules") if draft.pool == "donors" else ("scan_uid", "scans")
    listed = selected[column].drop_nulls().unique().sort().to_list()
    content = base.model_dump(mode="json", exclude_unset=True)
    content |= {"mode": f"x_{draft.name}", "trial": draft.name}
    content["cohort"] = lay_over(content["cohort"], {draft.pool: {key: listed}})
    if draft.n_cases is not None:
        sizes: dict[str, dict[str, Any]] = content["sizes"]
        content["sizes"] = sizes | {draft.size: sizes[draft.size] | {"n_cases": draft.n_cases}}
    try:
        return Trial.model_validate(content)
    except ValidationError as error:
        raise ConfigError(f"x_{draft.name}: {explain(error, Trial)}") from None


def trial_text(trial: Trial, draft: Draft, words: Sequence[str]) -> str:
    """The trial as the text of its file.

    Args:
        trial: of ``draft_trial``.
        draft: what was asked.
        words: how the nodules were selected, a line each; they stand in the heading as comments.
    """
    ids = trial.cohort.donors.nodules if draft.pool == "donors" else trial.cohort.hosts.scans
    what = "donors are the nodules" if draft.pool == "donors" else "hosts are the scans"
    head = [f"Made by the explorer from {draft.base}: its {what} of a selection ({len(ids or ())}).", *words]
    comments = "".join(f"# {' '.join(line.split())[:110]}\n" for line in head)
    content = trial.model_dump(mode="json", exclude_unset=True)
    return comments + yaml.safe_dump(content, sort_keys=False, allow_unicode=True, width=120)
