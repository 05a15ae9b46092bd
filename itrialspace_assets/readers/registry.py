"""What a reader is, and which ones are enabled, read from ``readers.yaml``."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Literal

import numpy as np
import numpy.typing as npt
from pydantic import Field, ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, read_yaml
from itrialspace_assets.base.validation import StrictModel, explain
from itrialspace_assets.imaging.anatomy import answer_size
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers import blob
from itrialspace_assets.readers.blob_scan import Mark, read_scan


@dataclass(frozen=True)
class Answer:
    """One answer; ``status`` is never folded into it."""

    task: str
    answer: str | None
    score: float | None
    status: str
    raw_text: str | None = None


@dataclass(frozen=True)
class Reader:
    """A reader ready to read.

    ``read_slice`` takes a grey (H, W) or colour (H, W, 3) image, and a pixel's height and width in mm. ``read_scan`` is
    None for readers of slices only; it takes HU and, to save time, the image of the same host without lesions, if any.
    """

    name: str
    location: str
    revision: str
    trained_on: str
    read_slice: Callable[[npt.NDArray[np.uint8], tuple[float, float]], list[Answer]]
    read_scan: Callable[[Volume, Volume | None], list[Mark]] | None


class ReaderEntry(StrictModel):
    """An entry of ``readers.yaml``."""

    name: str = Field(pattern=r"^[a-z0-9_]{1,40}$")
    kind: Literal["blob"]
    location: Literal["cpu", "gpu"] = "cpu"
    enabled: bool = True
    options: dict[str, Any] = Field(default_factory=dict)


class _BlobOptions(StrictModel):
    threshold_hu: float = Field(gt=0)
    marks: int = Field(ge=1, le=100)


def _blob(entry: ReaderEntry) -> Reader:
    options = _BlobOptions(**entry.options)

    def answers(image: npt.NDArray[np.uint8], pixel_mm: tuple[float, float]) -> list[Answer]:
        found = blob.read_slice(image, pixel_mm)
        seen = found.score >= options.threshold_hu
        return [
            Answer("presence", "present" if seen else "absent", found.score, "ok"),
            Answer("size", answer_size(found.diameter_mm), None, "ok", f"{found.diameter_mm:.1f} mm"),
            Answer("lobe", None, None, "unsupported"),
        ]

    revision = digest([entry.kind, blob.VERSION, entry.options], 16)
    return Reader(
        entry.name,
        entry.location,
        revision,
        blob.TRAINED_ON,
        answers,
        lambda ct, like: read_scan(ct, options.marks, like),
    )


_KINDS: dict[str, Callable[[ReaderEntry], Reader]] = {"blob": _blob}


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
