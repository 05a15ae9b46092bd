"""Which readers there are and which are enabled, read from ``readers.yaml``. Loads none of them."""

from collections.abc import Callable
from functools import lru_cache, partial
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError, field_validator, model_validator

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, read_yaml
from itrialspace_assets.base.validation import StrictModel, explain
from itrialspace_assets.readers import blob, mock, spots
from itrialspace_assets.readers.api import Prompt, Read, Reader
from itrialspace_assets.readers.scorers import SCORERS

_Task = Literal["presence", "lobe", "size", "malignancy"]


class PromptEntry(StrictModel):
    """The words of one task; ``{options}`` becomes the options, joined with commas."""

    id: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    text: str = Field(min_length=1)
    paraphrase: str = Field(min_length=1)


class ReaderEntry(StrictModel):
    """An entry of ``readers.yaml``. ``tasks`` and ``scorer`` are those of its kind where they are not given."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    kind: Literal["blob", "mock"]
    location: Literal["cpu", "gpu"] = "cpu"
    enabled: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    profile: str = "lung_axial"
    z_offsets: tuple[int, ...] = (0,)
    tasks: tuple[_Task, ...] | None = None
    controls: tuple[Literal["text_only", "options_rotated", "prompt_paraphrase"], ...] = ()
    scorer: str | None = None
    prompts: dict[_Task, PromptEntry] = Field(default_factory=dict)

    @field_validator("scorer")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in SCORERS:
            raise ValueError(f"expected one of {', '.join(SCORERS)}")
        return name

    @model_validator(mode="after")
    def _has_centre(self) -> "ReaderEntry":
        if sorted(set(self.z_offsets)) != list(self.z_offsets) or 0 not in self.z_offsets:
            raise ValueError(f"z_offsets: expected rising numbers with 0 among them, got {list(self.z_offsets)}")
        if self.kind == "blob" and (self.z_offsets != (0,) or self.controls or self.prompts):
            raise ValueError("blob reads the pixels of one slice: expected z_offsets [0], no controls and no prompts")
        return self


def _blob(entry: ReaderEntry) -> Reader:
    options = spots.BlobOptions(**entry.options)
    return Reader(
        name=entry.name,
        location=entry.location,
        revision=digest([entry.kind, blob.VERSION, entry.options], 16),
        trained_on=blob.TRAINED_ON,
        tasks=tuple(t for t in entry.tasks or spots.TASKS if t in spots.TASKS),
        prompts={},
        profile=entry.profile,
        z_offsets=entry.z_offsets,
        controls=entry.controls,
        scorer=entry.scorer or "spot",
        seed=None,
        load=partial(spots.load, options),
        mark=partial(spots.mark, options=options),
    )


def _mock(entry: ReaderEntry) -> Reader:
    options = mock.MockOptions(**entry.options)
    tasks = entry.tasks or ("presence", "lobe", "size")
    shipped = read_yaml(Path(__file__).with_name("prompts.yaml"))["prompts"]
    words = {t: entry.prompts.get(t) or PromptEntry(**shipped[t]) for t in tasks if t in entry.prompts or t in shipped}
    if missing := [t for t in tasks if t not in words]:
        raise ConfigError(f"readers.yaml: readers.{entry.name}: prompts: expected words for {', '.join(missing)}")
    return Reader(
        name=entry.name,
        location=entry.location,
        revision=digest([entry.kind, mock.VERSION, entry.options], 16),
        trained_on=mock.TRAINED_ON,
        tasks=tasks,
        prompts={t: Prompt(p.id, p.text, p.paraphrase) for t, p in words.items()},
        profile=entry.profile,
        z_offsets=entry.z_offsets,
        controls=entry.controls,
        scorer=entry.scorer or "words",
        seed=options.seed,
        load=partial(mock.load, options),
    )


_KINDS: dict[str, Callable[[ReaderEntry], Reader]] = {"blob": _blob, "mock": _mock}


@lru_cache(maxsize=8)
def _readers(config: Path | None) -> dict[str, Reader]:
    entries: dict[str, dict[str, Any]] = {}
    for path in (Path(__file__).with_name("readers.yaml"), config):
        if path is None:
            continue
        tree = read_yaml(path)
        if not isinstance(tree, dict) or not isinstance(tree.get("readers"), dict):
            raise ConfigError(f"{path}: expected a mapping with the key 'readers', got {type(tree).__name__}")
        for name, entry in tree["readers"].items():
            entries[name] = {**entries.get(name, {}), **(entry or {})}
    found = {}
    for name, entry in entries.items():
        try:
            checked = ReaderEntry(name=name, **entry)
            if checked.enabled:
                found[name] = _KINDS[checked.kind](checked)
        except ValidationError as error:
            raise ConfigError(f"readers.yaml: readers.{name}: {explain(error, ReaderEntry)}") from None
    return found


def readers(settings: Settings) -> dict[str, Reader]:
    """The enabled readers by name.

    Raises:
        ConfigError: an entry is wrong; names the key and what is allowed.
    """
    return _readers(settings.readers_config)


@lru_cache(maxsize=4)
def _loaded(config: Path | None, name: str) -> Read:
    return _readers(config)[name].load()


def loaded(settings: Settings, name: str) -> Read:
    """What an enabled reader reads with; loaded once in a process."""
    return _loaded(settings.readers_config, name)
