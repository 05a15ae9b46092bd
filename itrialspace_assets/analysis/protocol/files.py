"""Finds, reads and copies study files: those shipped and the user's. What they may say is in ``model``."""

import difflib
import re
from pathlib import Path
from typing import Any

from itrialspace_assets.analysis.protocol.model import Study
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.yaml_files import copy_file, read_model

_FOLDER = Path(__file__).parent / "studies"
_SCHEMA = Path(__file__).parent / "study.schema.json"


def study_files(settings: Settings) -> dict[str, Path]:
    """Study file by name: those shipped, then the user's, which take the place of a shipped one of the same name.

    Raises:
        ConfigError: the user's folder is not there.
    """
    own = settings.studies_dir
    if own and not own.is_dir():
        raise ConfigError(f"ITRIALSPACE_STUDIES_DIR={own}: expected a folder of study files, found none")
    return {path.stem: path for folder in (_FOLDER, own) if folder for path in sorted(folder.glob("*.yaml"))}


def find_study(settings: Settings, name: str) -> Study:
    """The study of a name.

    Raises:
        ConfigError: no such study, or a wrong one; names file and key.
    """
    files = study_files(settings)
    if name not in files:
        near = difflib.get_close_matches(name, list(files), 1, 0.4)
        hint = f"; did you mean {near[0]!r}" if near else ""
        raise ConfigError(f"study {name!r} is not there: expected one of {', '.join(sorted(files))}{hint}")
    return read_study(files[name])


def read_study(path: Path) -> Study:
    """Read and check one study file.

    Raises:
        ConfigError: a key or value is wrong; names the file and the path of the key.
    """
    study = read_model(path, Study, "study")
    if study.study != path.stem:
        raise ConfigError(f"{path.name}: study: expected {path.stem!r} like the file's name, got {study.study!r}")
    return study


def copy_study(settings: Settings, source: str, name: str, folder: Path) -> Path:
    """Copy a study file with its comments under a new name, to be edited; the path of the copy.

    Args:
        settings: where study files are.
        source: name of the study that is copied.
        name: of the new one.
        folder: where the copy is written; made if it is missing.

    Raises:
        ConfigError: no such study, the name is not allowed, the file exists, or the folder cannot be written.
    """
    if not re.fullmatch(r"[a-z0-9_]{1,40}", name):
        raise ConfigError(f"{name!r}: expected 1 to 40 small letters, digits and _")
    find_study(settings, source)
    target = folder / f"{name}.yaml"
    copy_file(study_files(settings)[source], target, {"study": name}, _SCHEMA)
    read_study(target)
    return target


def json_schema() -> dict[str, Any]:
    """JSON Schema of a study file, for editors."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Study.model_json_schema()}
