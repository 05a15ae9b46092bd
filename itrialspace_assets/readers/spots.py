"""The blob reader as a reader: turns the strongest spot of a picture into a generation for each task.

Requests about one picture are answered together, and pictures of one plane come one after another, because ``blob``
remembers what it filtered last.
"""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pydantic import Field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers import blob
from itrialspace_assets.readers.api import Generation, Mark, Read, Reader, Request, Scan
from itrialspace_assets.readers.blob_scan import read_scan
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of

TASKS = ("presence", "size")


class BlobOptions(WrittenModel):
    """HU from which a spot is a nodule, and most marks of a scan."""

    threshold_hu: float = Field(gt=0)
    marks: int = Field(ge=1, le=100)


def load(options: BlobOptions) -> Read:
    """What reads with these options."""

    def read(requests: Sequence[Request]) -> list[Generation]:
        found: dict[int, blob.Finding] = {}
        for request in requests:
            picture = request.pictures[0]
            if id(picture) not in found:
                assert request.pixel_mm is not None
                found[id(picture)] = blob.read_slice(picture, request.pixel_mm)
        return [_generation(found[id(r.pictures[0])], r, options.threshold_hu) for r in requests]

    return read


def _generation(spot: blob.Finding, request: Request, threshold_hu: float) -> Generation:
    """Presence: the spot's response against the threshold, HU. Size: its diameter in words."""
    if request.task == "size":
        return Generation(f"{spot.diameter_mm:.1f} mm")
    scores = {"present": spot.score, "absent": threshold_hu}
    return Generation(option_scores=tuple(scores[option] for option in request.options))


def mark(scan: Scan, options: BlobOptions) -> list[Mark]:
    """The strongest spots of a scan."""
    return read_scan(scan.ct(), options.marks, scan.twin())


def build(entry: ReaderEntry, options: BlobOptions, place: ReaderEnvironment) -> Reader:
    """The blob reader of an entry.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: not used; the reader has no files.

    Raises:
        ConfigError: the entry asks for neighbours, controls or prompts.
    """
    if entry.z_offsets != (0,) or entry.controls or entry.prompts:
        raise ConfigError(
            f"readers.yaml: readers.{entry.name}: blob reads the pixels of one slice: expected z_offsets [0], no "
            "controls and no prompts"
        )
    return replace(
        reader_of(
            entry,
            digest([entry.kind, blob.VERSION, entry.options], 16),
            partial(load, options),
            scorer="spot",
            tasks=tuple(t for t in entry.tasks or TASKS if t in TASKS),
            trained_on=blob.TRAINED_ON,
            licence="Apache-2.0",
        ),
        mark=partial(mark, options=options),
    )


KIND = ReaderKind("blob", BlobOptions, build)
