"""The words of a reader's tasks: of a version, a YAML file of this folder, or the reader's own.

A version is never changed once it is published: other words are another file with other ids, so that two results with
one prompt id were asked the same. Opens no other file and asks nobody.
"""

import difflib
from collections.abc import Sequence
from pathlib import Path

from pydantic import Field, ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.validation import WrittenModel, explain
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.readers.api import Prompt
from itrialspace_assets.readers.entry import PromptEntry, ReaderEntry, Task

#: The version of an entry that names none.
DEFAULT = "plain_1"


class PromptVersion(WrittenModel):
    """A file of this folder: what its words are for, and the words of each task."""

    about: str = Field(min_length=1)
    prompts: dict[Task, PromptEntry]


def versions() -> dict[str, Path]:
    """The file of every version by its name."""
    return {path.stem: path for path in sorted(Path(__file__).parent.glob("*.yaml"))}


def read_version(name: str) -> PromptVersion:
    """The words of a version.

    Raises:
        ConfigError: there is no such version, or its file is wrong.
    """
    known = versions()
    if name not in known:
        near = difflib.get_close_matches(name, known, 1)
        raise ConfigError(
            f"prompts: expected a version out of {', '.join(known)}, or words for each task, got {name!r}"
            + (f"; did you mean {near[0]!r}?" if near else "")
        )
    try:
        return PromptVersion(**read_yaml(known[name]))
    except ValidationError as error:
        raise ConfigError(f"{known[name].name}: {explain(error, PromptVersion)}") from None


def version_sha256(name: str) -> str:
    """SHA-256 of a version's file."""
    return hash_file(versions()[name])


def version_of(entry: ReaderEntry) -> str:
    """The version that an entry takes its words from, where they are not its own."""
    return entry.prompts if isinstance(entry.prompts, str) else DEFAULT


def prompts_of(entry: ReaderEntry, tasks: Sequence[str]) -> dict[str, Prompt]:
    """The prompt of each task.

    Args:
        entry: whose own prompts come first, then those of its version.
        tasks: which tasks need words.

    Raises:
        ConfigError: a task has no words, or the version is unknown.
    """
    own = {} if isinstance(entry.prompts, str) else {str(task): prompt for task, prompt in entry.prompts.items()}
    try:
        shipped = {str(task): prompt for task, prompt in read_version(version_of(entry)).prompts.items()}
    except ConfigError as error:
        raise ConfigError(f"readers.yaml: readers.{entry.name}: {error}") from None
    words = {t: own.get(t) or shipped[t] for t in tasks if t in own or t in shipped}
    if missing := [t for t in tasks if t not in words]:
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: prompts: expected words for {', '.join(missing)}; the version "
            f"{version_of(entry)} has words for {', '.join(shipped)}"
        )
    return {task: Prompt(p.id, p.text, p.paraphrase, tuple(p.options.items())) for task, p in words.items()}
