"""Files of YAML that people write: read with ``${VAR}`` replaced, checked by a strict model, copied under a new name.

What a file may say is in the model of its own package; what the environment says as a whole is in ``settings``.
"""

import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.plain_yaml import NotPlain, load_yaml
from itrialspace_assets.base.validation import StrictModel, explain

Model = TypeVar("Model", bound=StrictModel)

_VARIABLE = re.compile(r"\$\{([A-Za-z_][A-Za-z0-9_]*)\}")


def load_yaml_file(path: Path) -> Any:
    """A YAML file as it stands.

    Raises:
        ConfigError: the file is missing, cannot be read, or is no YAML; names it.
    """
    try:
        return load_yaml(path.read_text(encoding="utf-8-sig"))
    except FileNotFoundError:
        raise ConfigError(f"{path}: expected a YAML file, found none") from None
    except OSError as error:
        raise ConfigError(f"{path}: expected a YAML file that can be read, got: {error.strerror}") from None
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise ConfigError(
            f"{path}: line {line}: expected YAML in UTF-8, got the byte 0x{error.object[error.start]:02X}; save the "
            "file as UTF-8"
        ) from None
    except NotPlain as error:
        raise ConfigError(f"{path}: expected YAML, got {error}") from None


def read_yaml(path: Path, environment: Mapping[str, str] | None = None) -> Any:
    """A YAML file with ``${VAR}`` in its values replaced.

    Raises:
        ConfigError: the file is missing or no YAML, or a variable is unset or empty; the message
            names the file and the key.
    """
    env = os.environ if environment is None else environment
    tree = load_yaml_file(path)

    def fill(value: Any, key: str) -> Any:
        if isinstance(value, dict):
            return {k: fill(v, f"{key}.{k}" if key else str(k)) for k, v in value.items()}
        if isinstance(value, list):
            return [fill(v, f"{key}[{i}]") for i, v in enumerate(value)]
        if not isinstance(value, str):
            return value
        for name in _VARIABLE.findall(value):
            if not env.get(name):
                raise ConfigError(f"{path}: key {key}: variable {name} is unset or empty")
        return _VARIABLE.sub(lambda m: env[m.group(1)], value)

    return fill(tree, "")


def read_model(path: Path, model: type[Model], what: str) -> Model:
    """A YAML file as a model.

    Args:
        path: the file.
        model: what it may say.
        what: the file is of, for messages: ``trial``.

    Raises:
        ConfigError: the file is missing or no YAML, or a key or value is wrong; names the file and the path of the key.
    """
    tree = read_yaml(path)
    if not isinstance(tree, dict):
        raise ConfigError(f"{path.name}: expected the keys of a {what}, got {type(tree).__name__}")
    try:
        return model.model_validate(tree)
    except ValidationError as error:
        raise ConfigError(f"{path.name}: {explain(error, model)}") from None


def copy_file(source: Path, target: Path, values: Mapping[str, str], schema: Path) -> None:
    """Copy a file with its comments, to be edited under a new name.

    Args:
        source: the file that is copied.
        target: the copy; its folder is made if it is missing.
        values: of keys at the top of the file, in the copy.
        schema: JSON Schema by which an editor checks the copy.

    Raises:
        ConfigError: the copy is already there, or cannot be written.
    """
    if target.exists():
        raise ConfigError(f"{target}: is already there; choose another name")
    text = source.read_text(encoding="utf-8")
    for key, value in {**values, "# yaml-language-server": f"$schema={schema.as_uri()}"}.items():
        line = f"{key}: {value}".replace("\\", r"\\")  # a template of re.sub
        text = re.sub(rf"(?m)^{key}: .*$", line, text, count=1)
    try:
        replace_file(target, text.encode())
    except OSError as error:
        raise ConfigError(f"{target}: expected a folder that can be written, got {error.strerror}") from None
