"""What an entry of ``readers.yaml`` holds, and what a kind of reader is. Loads no reader and opens no file."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import Discriminator, Field, Tag, field_validator, model_validator

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.api import Prompt, Read, Reader
from itrialspace_assets.readers.scorers import SCORERS
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.tables import TASK_OPTIONS
from itrialspace_assets.synthesis.renderers import RENDERERS

Task = Literal["presence", "lobe", "size", "malignancy"]


class PromptEntry(WrittenModel):
    """The words of one task; ``{options}`` becomes the options, joined with commas.

    ``options`` gives each option of the task its words, in the order in which they are asked.
    """

    id: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    text: str = Field(min_length=1)
    paraphrase: str = Field(min_length=1)
    options: dict[str, str] = Field(default_factory=dict)

    @field_validator("options")
    @classmethod
    def _of_a_task(cls, options: dict[str, str]) -> dict[str, str]:
        if options and not any(set(options) == set(known) for known in TASK_OPTIONS.values()):
            raise ValueError(f"expected every option of a task once, got {', '.join(options)}")
        if len(set(options.values())) < len(options):
            raise ValueError("expected other words for each option")
        return options


class ReaderEntry(WrittenModel):
    """An entry of ``readers.yaml``. What is not given is as the reader's kind has it.

    ``prompts`` names a version (``readers/prompts``) or gives words. ``options`` are checked by the kind.
    ``trained_on`` names the datasets that the weights have seen, or ``unknown``. ``sources``: image sources that it
    reads (``real``, or names of renderers); all where none is given. ``folder``: where relative paths in its options
    start; the folder of the file that states them.
    """

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    kind: str
    location: Literal["cpu", "gpu"] = "cpu"
    enabled: bool = True
    options: dict[str, Any] = Field(default_factory=dict)
    profile: str = "lung_axial"
    z_offsets: tuple[Annotated[int, Field(ge=-1000, le=1000)], ...] = (0,)
    tasks: tuple[Task, ...] | None = None
    controls: tuple[Literal["text_only", "options_rotated", "prompt_paraphrase"], ...] = ()
    scorer: str | None = None
    prompts: Annotated[
        Annotated[str, Tag("str")] | Annotated[dict[Task, PromptEntry], Tag("dict[task]")],
        Discriminator(lambda given: "str" if isinstance(given, str) else "dict[task]"),
    ] = Field(default_factory=dict)
    trained_on: str | None = None
    licence: str | None = None
    sources: tuple[str, ...] = ()
    folder: Path = Path()

    @field_validator("scorer")
    @classmethod
    def _known(cls, name: str | None) -> str | None:
        if name is not None and name not in SCORERS:
            raise ValueError(f"expected one of {', '.join(SCORERS)}")
        return name

    @field_validator("prompts")
    @classmethod
    def _asks_its_task(cls, prompts: str | dict[Task, PromptEntry]) -> str | dict[Task, PromptEntry]:
        for task, prompt in ({} if isinstance(prompts, str) else prompts).items():
            if prompt.options and set(prompt.options) != set(TASK_OPTIONS[task]):
                raise ValueError(f"{task}.options: expected {', '.join(TASK_OPTIONS[task])}")
        return prompts

    @field_validator("sources")
    @classmethod
    def _are_sources(cls, names: tuple[str, ...]) -> tuple[str, ...]:
        if unknown := sorted(set(names) - {REAL, *RENDERERS}):
            raise ValueError(f"expected some of {', '.join((REAL, *RENDERERS))}, got {', '.join(unknown)}")
        return names

    @model_validator(mode="after")
    def _has_centre(self) -> "ReaderEntry":
        if sorted(set(self.z_offsets)) != list(self.z_offsets) or 0 not in self.z_offsets:
            raise ValueError(f"z_offsets: expected rising numbers with 0 among them, got {list(self.z_offsets)}")
        return self


@dataclass(frozen=True)
class ReaderEnvironment:
    """Where a reader finds its files and computes.

    Attributes:
        weights_dir: folder of weights; None: not set.
        fingerprints: where hashes of files are remembered.
        device: where readers whose location is ``gpu`` compute: ``cuda`` or ``cpu``.
        output: folder of the tables, for a simulated reader that knows the truth; None: not set.
    """

    weights_dir: Path | None
    fingerprints: Path
    device: str = "cpu"
    output: Path | None = None

    @classmethod
    def of(cls, settings: Settings) -> "ReaderEnvironment":
        return cls(
            settings.weights_dir, settings.output / "work" / "fingerprints.sqlite", settings.device, settings.output
        )


@dataclass(frozen=True)
class ReaderKind:
    """A kind of reader.

    Attributes:
        name: value of ``kind`` in ``readers.yaml``.
        options: model of the key ``options`` of its entries.
        build: makes the reader of an entry, its checked options and where its files lie; must be quick, open no
            weights, and not fail because files are missing (``Reader.needs`` says so).
    """

    name: str
    options: type[WrittenModel]
    build: Callable[[ReaderEntry, Any, ReaderEnvironment], Reader]


def reader_of(
    entry: ReaderEntry,
    code: str,
    load: Callable[[], Read],
    *,
    scorer: str,
    tasks: tuple[str, ...] = (),
    prompts: Mapping[str, Prompt] | None = None,
    trained_on: str = "unknown",
    licence: str = "unknown",
) -> Reader:
    """The reader of an entry; what only its kind has is put on it by ``dataclasses.replace``.

    Args:
        entry: what the user says.
        code: hash of kind, code version and options.
        load: gives what reads.
        scorer: where the entry names none.
        tasks: that it answers.
        prompts: words of each task.
        trained_on: where the entry does not say.
        licence: where the entry does not say.
    """
    return Reader(
        name=entry.name,
        location=entry.location,
        code=code,
        trained_on=entry.trained_on or trained_on,
        licence=entry.licence or licence,
        tasks=tasks,
        prompts=prompts or {},
        profile=entry.profile,
        z_offsets=entry.z_offsets,
        controls=entry.controls,
        scorer=entry.scorer or scorer,
        seed=None,
        load=load,
    )
