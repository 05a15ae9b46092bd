"""Saves a trial of a selection as a trial file of the user's folder; no file is ever replaced."""

import os
import tempfile
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError, TrialError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.trials.files import LARGEST, load_trial, trial_files
from itrialspace_assets.trials.model import Trial


def save_trial(settings: Settings, trial: Trial, text: str) -> Path:
    """Write ``x_<name>.yaml``; the path of the file.

    Args:
        settings: say where the user's trial files are.
        trial: what the text says.
        text: of the file.

    Raises:
        TrialError: no folder is set or there, or a trial of this name is there already.
        ConfigError: the text is too long for a trial file.
    """
    folder = settings.trials_dir
    if folder is None:
        raise TrialError(
            "expected a folder for your trial files, found none: end the explorer and start it with "
            "`ITRIALSPACE_TRIALS_DIR=trials its explore` (make the folder first)"
        )
    if not folder.is_dir():
        raise TrialError(f"ITRIALSPACE_TRIALS_DIR: expected a folder, found none; make it: `mkdir {folder.name}`")
    content = text.encode()
    if len(content) > LARGEST:
        raise ConfigError(
            f"selection: a trial file holds at most {LARGEST} bytes, and the ids of this selection take "
            f"{len(content)}; select fewer nodules, or write ranges into a copy of the trial (`its trials new`)"
        )
    taken = f"{trial.mode}: a trial of this name is there already; choose another name"
    files = trial_files(settings)
    if trial.mode in files or trial.trial in {load_trial(settings, key).trial for key in files}:
        raise TrialError(taken)
    target = folder / f"{trial.mode}.yaml"
    try:
        with tempfile.NamedTemporaryFile(dir=folder, prefix=".", suffix=".part") as part:
            part.write(content)
            part.flush()
            os.fsync(part.fileno())
            Path(part.name).chmod(0o644)
            os.link(part.name, target)  # whole or not at all, and never over another file
    except FileExistsError:
        raise TrialError(taken) from None
    except OSError as error:
        raise TrialError(f"ITRIALSPACE_TRIALS_DIR: expected a folder to write to, got: {error.strerror}") from None
    return target
