"""CLIP models as readers: ``biomedclip``, and ``clip`` for any other model of open_clip."""

from dataclasses import dataclass, replace
from functools import partial
from typing import Literal

from pydantic import Field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.api import Need, Read, Reader
from itrialspace_assets.readers.compute import Precision, device_of
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.vision import clip
from itrialspace_assets.readers.vision.captions import captions_of
from itrialspace_assets.readers.weights import FOLDER_NAME, ExpectedFiles, ReaderWeights, missing_packages, weights_of

VERSION = "1"
PACKAGES = ("torch", "torchvision", "open_clip", "transformers")
#: Names of a file of weights that open_clip looks for, the preferred first.
WEIGHTS = (
    "open_clip_model.safetensors",
    "open_clip_pytorch_model.safetensors",
    "open_clip_pytorch_model.bin",
    "open_clip_pytorch_model.pth",
    "model.safetensors",
    "pytorch_model.bin",
)
#: Names of a file with the words of a text tower's tokenizer.
TOKENIZERS = ("tokenizer.json", "vocab.txt", "tokenizer.model", "spiece.model")


class ClipOptions(WrittenModel):
    """Options of a CLIP model.

    ``weights`` names its folder below ITRIALSPACE_WEIGHTS_DIR, by default as the reader. ``batch`` pictures are encoded
    at once. ``over_slices`` says how the scores of several slices (``z_offsets``) become one.
    """

    weights: str | None = Field(None, pattern=FOLDER_NAME)
    batch: int = Field(64, ge=1, le=4096)
    dtype: Precision = "float32"
    over_slices: Literal["mean", "max"] = "mean"


@dataclass(frozen=True)
class _About:
    """What is known of a model before its files are there: where they come from, terms, training data, text tower."""

    source: str
    licence: str
    step: str
    trained_on: str
    text_tower: str | None


#: docs/facts/readers.md#clip
_BIOMEDCLIP = _About(
    "microsoft/BiomedCLIP-PubMedBERT_256-vit_base_patch16_224",
    "MIT",
    "MIT licence, nothing to accept",
    "PMC-15M (figures of PubMed Central)",
    "microsoft/BiomedNLP-BiomedBERT-base-uncased-abstract",
)
_ANY = _About(
    "a model of open_clip", "unknown", "read its licence and set `licence` of the entry", "unknown", text_tower=None
)


def _weights(entry: ReaderEntry, options: ClipOptions, place: ReaderEnvironment, about: _About) -> ReaderWeights:
    """The files that a model needs; which they are is read from its configuration where that is there."""
    base = ExpectedFiles(((clip.CONFIG,), WEIGHTS), about.source, about.step)
    found = weights_of(entry, options.weights, place, base)
    tower = about.text_tower
    if found.folder is not None and (found.folder / clip.CONFIG).is_file():
        tower = clip.text_tower_of(found.folder)
    if tower is None:
        return found
    config = f"{clip.TEXT_TOWER}/config.json"
    source = f"{about.source}, and config.json of {tower} as {config}"
    return replace(found, expected=ExpectedFiles((*base.files, TOKENIZERS, (config,)), source, about.step))


def _needs(entry: ReaderEntry, options: ClipOptions, place: ReaderEnvironment, about: _About) -> list[Need]:
    try:
        weights = _weights(entry, options, place, about)
    except ConfigError as error:
        return [Need(str(error), f"put the files of {about.source} there ({about.step})")]
    return missing_packages(PACKAGES) + weights.needs()


def _files(entry: ReaderEntry, options: ClipOptions, place: ReaderEnvironment, about: _About) -> str:
    return _weights(entry, options, place, about).sha256()


def _load(entry: ReaderEntry, options: ClipOptions, place: ReaderEnvironment, about: _About) -> Read:
    weights = _weights(entry, options, place, about)
    assert weights.folder is not None
    return clip.load(
        weights.folder,
        batch=options.batch,
        precision=options.dtype,
        over_slices=options.over_slices,
        device=device_of(entry, place),
    )


def _build(about: _About, entry: ReaderEntry, options: ClipOptions, place: ReaderEnvironment) -> Reader:
    """The reader of an entry; raises ConfigError where captions are missing or a control takes the picture away."""
    if "text_only" in entry.controls:
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: controls: a CLIP model compares pictures with captions and cannot be "
            "asked without a picture; take text_only out"
        )
    tasks = entry.tasks or ("presence", "lobe", "size")
    device = device_of(entry, place)
    given = (entry, options, place, about)
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, options.model_dump(exclude={"weights"}), device], 16),
            partial(_load, *given),
            scorer="option_scores",
            tasks=tasks,
            prompts=captions_of(entry, tasks),
            trained_on=about.trained_on,
            licence=about.licence,
        ),
        files=partial(_files, *given),
        needs=partial(_needs, *given),
        device=device,
    )


CLIP = ReaderKind("clip", ClipOptions, partial(_build, _ANY))
BIOMEDCLIP = ReaderKind("biomedclip", ClipOptions, partial(_build, _BIOMEDCLIP))
