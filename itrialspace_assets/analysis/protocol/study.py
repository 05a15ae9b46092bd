"""The study that is configured, and whether it still is what was locked: what the rest of the platform asks of it."""

from itrialspace_assets.analysis.protocol.files import find_study, study_files
from itrialspace_assets.analysis.protocol.lock import LockState, lock_state, lock_study
from itrialspace_assets.analysis.protocol.model import Endpoint, Study
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings

__all__ = [
    "Endpoint",
    "LockState",
    "Study",
    "changed_since_lock",
    "load_study",
    "lock_configured",
    "lock_state",
    "lock_study",
]


def load_study(settings: Settings) -> Study:
    """The configured study, the user's folder first.

    Raises:
        ConfigError: no such study, or a wrong one; names file and key.
    """
    if settings.study not in (files := study_files(settings)):
        raise ConfigError(f"ITRIALSPACE_STUDY={settings.study}: expected one of {', '.join(sorted(files))}")
    return find_study(settings, settings.study)


def changed_since_lock(settings: Settings, study: Study) -> bool:
    """True if nothing may be called planned: see ``LockState.exploratory``."""
    return lock_state(settings, study).exploratory


def lock_configured(settings: Settings) -> bool:
    """Lock the configured study, unless it is locked; whether it was locked now. Called before readers are asked.

    Raises:
        ConfigError: no such study, or a wrong one.
    """
    return lock_study(settings, load_study(settings))
