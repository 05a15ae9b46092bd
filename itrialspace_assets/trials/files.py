"""Finds, reads and copies trial files: their names, their limits, the user's folder, and the JSON Schema.

What a file may say is in ``model``; what it comes to at a run size is in ``resolve``. Reads no data.
"""

import difflib
import glob
import re
from pathlib import Path
from typing import Any

import yaml

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.plain_yaml import YAML_LOADER, NotPlain, load_yaml
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.yaml_files import copy_file, read_model
from itrialspace_assets.records.layout import MODES
from itrialspace_assets.trials.model import Trial
from itrialspace_assets.trials.resolve import resolve

_FOLDER = Path(__file__).parent / "modes"
_SCHEMA = Path(__file__).parent / "trial.schema.json"
#: Key of a mode of the user's: the stem of its file.
_KEY = re.compile(r"x_[A-Za-z0-9_-]{1,58}")
#: Bytes of a trial file, at most; ours.
LARGEST = 200_000


def trial_files(settings: Settings) -> dict[str, Path]:
    """Trial file by mode key: the thirteen, then those shipped beside them, then the user's ``x_<name>.yaml``.

    Raises:
        ConfigError: the user's folder is not there, or one of its files has the name of a shipped one or another
            suffix, or a name that is none for a mode.
    """
    found = {path.stem: path for path in sorted(_FOLDER.glob("m*.yaml"))}
    found |= {path.stem: path for path in sorted(_FOLDER.glob("x_*.yaml"))}
    if settings.trials_dir:
        if not settings.trials_dir.is_dir():
            raise ConfigError(
                f"ITRIALSPACE_TRIALS_DIR={settings.trials_dir}: expected a folder of trial files, found none"
            )
        if other := sorted(p for p in settings.trials_dir.glob("x_*") if p.suffix.lower() == ".yml"):
            raise ConfigError(f"{other[0]}: expected the suffix .yaml; rename it to {other[0].stem}.yaml")
        own = {path.stem: path for path in sorted(settings.trials_dir.glob("x_*.yaml"))}
        if odd := [path for key, path in own.items() if not _KEY.fullmatch(key)]:
            raise ConfigError(
                f"{odd[0]}: expected x_ and 1 to 58 letters (a to z), digits, _ and - as the name of a trial file, "
                "which names folders and partitions; rename it"
            )
        if twice := sorted(set(own) & set(found)):
            raise ConfigError(f"{own[twice[0]]}: the name {twice[0]} is that of a shipped trial; choose another")
        found |= own
    return found


def mode_keys(settings: Settings) -> tuple[str, ...]:
    """The thirteen frozen keys, then the others in the order of ``trial_files``."""
    return (*MODES, *(key for key in trial_files(settings) if key.startswith("x_")))


def load_trial(settings: Settings, mode: str) -> Trial:
    """The trial of a mode.

    Raises:
        ConfigError: no such mode, or a wrong file; names the key.
    """
    files = trial_files(settings)
    if mode not in files:
        near = difflib.get_close_matches(mode, list(files), 1, 0.4)
        hint = f"; did you mean {near[0]!r}" if near else ""
        unread = [p.name for p in sorted((settings.trials_dir or Path()).glob(f"{glob.escape(mode)}*.y*ml"))]
        hint += f"; {unread[0]} is not read: name it x_<name>.yaml" if settings.trials_dir and unread else ""
        raise ConfigError(f"mode {mode!r} is not a mode: expected one of {', '.join(files)}{hint}")
    trial = read_trial(files[mode])
    names: dict[str, str] = {}
    for key, path in files.items():
        name = trial.trial if key == mode else _name_in(path)
        if name == trial.trial and key != mode:
            raise ConfigError(
                f"{files[mode].name}: trial: the name {name!r} is also that of {path.name}; names tell cases apart"
            )
        names[name] = key
    return trial


def _name_in(path: Path) -> str:
    """The trial's name in a file, without reading the rest of it."""
    for line in path.read_text(encoding="utf-8-sig", errors="replace").splitlines():
        if line.startswith(("trial:", "trial ", "'trial'", '"trial"')):
            try:
                return str(load_yaml(line)["trial"])
            except (NotPlain, KeyError, TypeError):
                return ""  # whoever plans that trial is told
    return ""


def read_trial(path: Path) -> Trial:
    """Read and check one trial file; both sizes must resolve.

    Raises:
        ConfigError: a key or value is wrong; names the file and the path of the key.
    """
    if path.exists() and path.stat().st_size > LARGEST:
        raise ConfigError(f"{path.name}: expected a trial file below {LARGEST} bytes, got {path.stat().st_size}")
    _refuse_aliases(path)
    trial = read_model(path, Trial, "trial")
    if trial.mode != path.stem:
        raise ConfigError(f"{path.name}: mode: expected {path.stem!r} like the file's name, got {trial.mode!r}")
    for size in trial.sizes:
        try:
            resolve(trial, size, (), ("A", "B"))
        except ConfigError as error:
            raise ConfigError(f"{path.name}: {str(error).removeprefix(f'{trial.trial}: ')}") from None
    return trial


def _refuse_aliases(path: Path) -> None:
    """A trial file needs no YAML anchors or tags; with them a small file can stand for a huge one, or for code."""
    try:
        for token in yaml.scan(path.read_text(encoding="utf-8"), Loader=YAML_LOADER):
            if isinstance(token, yaml.AliasToken | yaml.AnchorToken | yaml.TagToken):
                what = {"AliasToken": "alias", "AnchorToken": "anchor", "TagToken": "tag"}[type(token).__name__]
                raise ConfigError(
                    f"{path.name}: line {token.start_mark.line + 1}: a YAML {what} is not allowed in a trial file"
                )
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a trial file, found none") from None
    except (OSError, yaml.YAMLError, UnicodeDecodeError):
        return  # whoever reads it says what is wrong


def copy_trial(settings: Settings, mode: str, name: str, folder: Path) -> Path:
    """Copy a trial file under a new name, to be edited; the path of the copy, ``x_<name>.yaml``.

    Args:
        settings: where the trial files are.
        mode: key of the trial to copy.
        name: of the new trial.
        folder: where the copy is written; made if it is missing.

    Raises:
        ConfigError: no such trial, the name is not allowed, the file exists, or the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,38}", name):
        raise ConfigError(f"{name!r}: expected 1 to 38 small letters, digits and _")
    load_trial(settings, mode)
    target = folder / f"x_{name}.yaml"
    copy_file(trial_files(settings)[mode], target, {"mode": f"x_{name}", "trial": name}, _SCHEMA)
    read_trial(target)
    return target


def json_schema() -> dict[str, Any]:
    """JSON Schema of a trial file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Trial.model_json_schema()}
