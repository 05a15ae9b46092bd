"""MONAI's lung-nodule detector as a reader: it marks scans and answers no question about a slice."""

from collections.abc import Sequence
from dataclasses import replace
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from pydantic import Field, PositiveInt

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.api import Generation, Mark, Need, Read, Reader, Request, Scan
from itrialspace_assets.readers.compute import Precision, device_of, start
from itrialspace_assets.readers.detector import network
from itrialspace_assets.readers.detector.marks import marks_of
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.weights import FOLDER_NAME, ExpectedFiles, ReaderWeights, missing_packages, weights_of

VERSION = "1"
PACKAGES = ("torch", "torchvision", "monai")
CHECKPOINT = "models/model.pt"
#: docs/facts/readers.md#detector
EXPECTED = ExpectedFiles(
    ((CHECKPOINT,),), "MONAI's bundle lung_nodule_ct_detection", "Apache-2.0 licence, nothing to accept"
)


class DetectorOptions(WrittenModel):
    """Options of a detector.

    ``weights`` names the bundle's folder below ITRIALSPACE_WEIGHTS_DIR, by default as the reader. Scans with more
    voxels than ``window`` are read window by window. ``dtype``: by default float16 on a GPU, float32 on a processor.
    """

    weights: str | None = Field(None, pattern=FOLDER_NAME)
    window: tuple[PositiveInt, PositiveInt, PositiveInt] = network.WINDOW
    dtype: Precision | None = None


@lru_cache(maxsize=1)
def _loaded(path: Path, sha256: str, window: tuple[int, int, int], device: str) -> Any:
    return network.load(path, window, device)  # sha256: other weights are loaded again


def _mark(scan: Scan, weights: ReaderWeights, options: DetectorOptions, wanted: str) -> list[Mark]:
    device = start(wanted)
    sha256 = weights.sha256()
    assert weights.folder is not None
    detector = _loaded(weights.folder / CHECKPOINT, sha256, options.window, device)
    return marks_of(detector, scan.ct(), options.window, _precision(options, device), device)


def _precision(options: DetectorOptions, device: str) -> Precision:
    return options.dtype or ("float32" if device == "cpu" else "float16")


def _answer_nothing() -> Read:
    def read(requests: Sequence[Request]) -> list[Generation]:
        raise ValueError("a detector marks scans: expected no requests about slices")

    return read


def _needs(weights: ReaderWeights) -> list[Need]:
    return missing_packages(PACKAGES) + weights.needs()


def build(entry: ReaderEntry, options: DetectorOptions, place: ReaderEnvironment) -> Reader:
    """The detector of an entry.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where its weights lie and where it computes.

    Raises:
        ConfigError: the entry asks for what only readers of slices do.
    """
    if entry.tasks or entry.controls or entry.prompts:
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: a detector marks whole scans: expected no tasks, controls and prompts"
        )
    if any(size % by for size, by in zip(options.window, network.DIVISIBLE, strict=True)):
        by = " x ".join(map(str, network.DIVISIBLE))
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: options: window: expected multiples of {by} voxels, got "
            f"{' x '.join(map(str, options.window))}"
        )
    weights, device = weights_of(entry, options.weights, place, EXPECTED), device_of(entry, place)
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, options.model_dump(exclude={"weights"}), device], 16),
            _answer_nothing,
            scorer="option_scores",
            trained_on="LUNA16",
            licence="Apache-2.0",
        ),
        mark=partial(_mark, weights=weights, options=options, wanted=device),
        files=weights.sha256,
        needs=partial(_needs, weights),
        device=device,
        controls=(),
    )


KIND = ReaderKind("detector", DetectorOptions, build)
