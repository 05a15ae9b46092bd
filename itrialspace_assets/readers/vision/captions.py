"""Captions as the words of a task: one line an option, ``option: caption``, so that one text holds them all."""

from collections.abc import Sequence
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.readers.api import Prompt
from itrialspace_assets.readers.entry import PromptEntry, ReaderEntry
from itrialspace_assets.records.tables import TASK_OPTIONS


def captions_in(words: str) -> dict[str, str]:
    """The caption of each option in a text of lines ``option: caption``; blank lines do not count.

    Raises:
        ConfigError: a line has another form, or an option has two captions.
    """
    found: dict[str, str] = {}
    for line in filter(None, map(str.strip, words.splitlines())):
        option, colon, caption = (part.strip() for part in line.partition(":"))
        if not (option and colon and caption) or option in found:
            raise ConfigError(f"expected one line `option: caption` an option, got {line[:80]!r}")
        found[option] = caption
    return found


def captions_of(entry: ReaderEntry, tasks: Sequence[str]) -> dict[str, Prompt]:
    """The captions of each task as its prompt: the entry's own, else those of ``captions.yaml``.

    Args:
        entry: whose own captions come first.
        tasks: which tasks need captions.

    Raises:
        ConfigError: an option of a task has no caption, there is one for what is no option, or the entry names a
            version of questions.
    """
    shipped = read_yaml(Path(__file__).with_name("captions.yaml"))["prompts"]
    if isinstance(entry.prompts, str):
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: prompts: expected a caption for each option of a task, got the "
            f"version {entry.prompts!r}, whose questions are for language models"
        )
    own = {str(task): prompt for task, prompt in entry.prompts.items()}
    found = {}
    for task in tasks:
        words = own.get(task) or PromptEntry(**shipped[task])
        for key, text in (("text", words.text), ("paraphrase", words.paraphrase)):
            where = f"readers.yaml: readers.{entry.name}: prompts.{task}.{key}"
            try:
                given = captions_in(text)
            except ConfigError as error:
                raise ConfigError(f"{where}: {error}") from None
            if set(given) != set(TASK_OPTIONS[task]):
                raise ConfigError(
                    f"{where}: expected a caption for each of {', '.join(TASK_OPTIONS[task])}, got {', '.join(given)}"
                )
        found[task] = Prompt(words.id, words.text, words.paraphrase)
    return found
