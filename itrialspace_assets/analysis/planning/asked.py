"""What is planned for: a study, or a trial with the cases of its arms and the reuse that it allows."""

from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.analysis.planning.known import Pilot
from itrialspace_assets.analysis.protocol.files import find_study, read_study, study_files
from itrialspace_assets.analysis.protocol.study import Study, load_study
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.readers.registry import readers, slice_readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.files import load_trial, read_trial
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.resolve import resolve


@dataclass(frozen=True)
class Arms:
    """Cases of an arm at each size of a trial, and the most cases that a host and a donor may be used for in it."""

    cases: tuple[int, ...]
    per_host: float
    per_donor: float


def asked(settings: Settings, word: str) -> tuple[Study, Arms | None]:
    """The study that is planned; of a trial, the configured study and the trial's arms.

    Args:
        settings: where studies and trials are.
        word: a file, the name of a study, or the key of a trial.

    Raises:
        ConfigError: it is neither, or the file is wrong.
    """
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        tree = read_yaml(path)
        if isinstance(tree, dict) and "study" in tree:
            return read_study(path), None
        return load_study(settings), _arms(settings, read_trial(path))
    if word in study_files(settings):
        return find_study(settings, word), None
    try:
        return load_study(settings), _arms(settings, load_trial(settings, word))
    except ConfigError as error:
        known = ", ".join(sorted(study_files(settings)))
        raise ConfigError(f"{error}; and it is no study: expected one of {known}") from None


def _arms(settings: Settings, trial: Trial) -> Arms:
    found, names = set(), list(datasets(settings))
    for size in trial.sizes:
        found |= {arm.cases for arm in resolve(trial, size, (), names).arms if arm.cases}
    cohort = resolve(trial, next(iter(trial.sizes)), (), names).arms[0].cohort
    if trial.planner == "twin":
        return Arms(tuple(sorted(found)), 1.0, 1.0)
    return Arms(tuple(sorted(found)), float(cohort.hosts.max_uses or 1), float(cohort.donors.max_uses or 1))


def pilot_of(
    settings: Settings, study: Study, analysis: str, source: str | None, reader: str | None, against: str | None
) -> Pilot:
    """Which answers are the pilot; what is not said is taken from the study, else the first that is enabled.

    Args:
        settings: which readers and renderers are enabled.
        study: its primary reader.
        analysis: the mode, or real-<dataset>.
        source: image source.
        reader: whose answers.
        against: the second reader.

    Raises:
        ConfigError: a reader is not enabled, or both are one.
    """
    of = source or (REAL if analysis.startswith(f"{REAL}-") else next((r.name for r in enabled(settings)), REAL))
    names = slice_readers(settings, of)
    first = reader or study.primary.reader or next(iter(names), None)
    second = against or study.primary.against
    for name in (first, second):
        if name is not None and name not in names:
            raise ConfigError(f"reader {name!r}: expected one that reads slices of {of}: {', '.join(names) or 'none'}")
    if first is None:
        raise ConfigError(f"--pilot: expected a reader that is enabled and reads slices of {of}, found none")
    if first == second:
        raise ConfigError(f"--against {second!r}: expected another reader than --reader")
    return Pilot(analysis, of, first, second)


def readers_of(settings: Settings, study: Study) -> list[str]:
    """Readers that the study is about: those that it names, else those that are enabled."""
    of = study.populations.readers
    return list(readers(settings)) if of == "all" else list(of)
