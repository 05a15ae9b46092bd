"""The words of a reader's tasks: its own, else those of ``prompts.yaml``."""

from collections.abc import Sequence
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import read_yaml
from itrialspace_assets.readers.api import Prompt
from itrialspace_assets.readers.entry import PromptEntry, ReaderEntry


def prompts_of(entry: ReaderEntry, tasks: Sequence[str]) -> dict[str, Prompt]:
    """The prompt of each task.

    Args:
        entry: whose own prompts come first.
        tasks: which tasks need words.

    Raises:
        ConfigError: a task has no words.
    """
    shipped = read_yaml(Path(__file__).with_name("prompts.yaml"))["prompts"]
    own = {str(task): prompt for task, prompt in entry.prompts.items()}
    words = {t: own.get(t) or PromptEntry(**shipped[t]) for t in tasks if t in own or t in shipped}
    if missing := [t for t in tasks if t not in words]:
        raise ConfigError(f"readers.yaml: readers.{entry.name}: prompts: expected words for {', '.join(missing)}")
    return {task: Prompt(p.id, p.text, p.paraphrase) for task, p in words.items()}
