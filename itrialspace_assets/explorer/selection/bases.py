"""The trials that a trial of a selection can start from."""

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.trials.files import load_trial, trial_files
from itrialspace_assets.trials.resolve import resolve


class BaseSize(StrictModel):
    """A run size of a trial; ``n_cases`` of each arm, null where its pools decide."""

    size: str
    arms: int
    n_cases: int | None


class BaseTrial(StrictModel):
    """A trial that there is."""

    mode: str
    question: str
    planner: str
    sizes: list[BaseSize]


def base_trials(settings: Settings) -> list[BaseTrial]:
    """Every trial, the thirteen first.

    Raises:
        ConfigError: a trial file is wrong.
    """
    known = list(datasets(settings))
    found = []
    for mode in trial_files(settings):
        trial = load_trial(settings, mode)
        at = {size: resolve(trial, size, (), known) for size in trial.sizes}
        sizes = [BaseSize(size=s, arms=len(r.arms), n_cases=r.cohort.n_cases) for s, r in at.items()]
        found.append(BaseTrial(mode=mode, question=trial.question, planner=trial.planner, sizes=sizes))
    return found
