"""What a reader is given and what it returns, and what a reader is. Opens no file and asks nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.imaging.geometry import Volume

#: Most characters of an answer in words (ours).
MOST_CHARACTERS = 100_000
#: A grey (H, W) or colour (H, W, 3) picture: front on top, the patient's right on the left.
Picture = npt.NDArray[np.uint8]


class Ids(StrictModel):
    """Names of what a request is about; a slice can belong to several cases. Names can tell the truth."""

    slice_uid: str
    image_uid: str
    picture_sha256: str
    published_ids: tuple[str, ...]
    case_uids: tuple[str, ...]


@dataclass(frozen=True)
class Request:
    """One question about one target.

    ``key`` names the request and what it is asked of. ``pictures`` are in z order; without any it is asked of the
    text alone. ``pixel_mm`` is a pixel's height and width. ``prompt`` is None for a reader that needs no words.
    ``ids`` is None but for a reader that answers by id (``Reader.by_id``).
    """

    key: str
    pictures: tuple[Picture, ...]
    pixel_mm: tuple[float, float] | None
    condition: str
    control: str
    task: str
    prompt_id: str
    prompt: str | None
    options: tuple[str, ...]
    ids: Ids | None = None


@dataclass(frozen=True)
class Generation:
    """What a reader returned for a request, unscored.

    ``option_scores`` run in parallel to the request's options. ``failure`` says why the reader, for example a server,
    gave nothing for this request; it is asked again another time. ``reason`` is its kind; of one that another try may
    fix, the partition is not up to date.
    """

    raw_text: str | None = None
    option_scores: tuple[float, ...] | None = None
    outside_log_mass: float | None = None
    failure: str | None = None
    reason: Reason = Reason.UNEXPECTED


@dataclass(frozen=True)
class Mark:
    """A spot of a scan: world position (mm, RAS), diameter in mm, score (higher means more likely a nodule).

    ``diameter_mm`` is None where the reader gives positions alone.
    """

    world: tuple[float, float, float]
    diameter_mm: float | None
    score: float


@dataclass(frozen=True)
class Prompt:
    """The words of a task: an id, the text, and the same in other words for the control ``prompt_paraphrase``.

    ``options`` pairs each option with how it is written in the text, in the order in which they are asked; empty: as
    the tables name and order them.
    """

    id: str
    text: str
    paraphrase: str
    options: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True)
class Scan:
    """A scan to mark.

    ``image_uid`` names it in the tables. ``ct`` gives HU (X, Y, Z), canonical RAS+. ``twin`` gives the image of the
    same host without lesions, or None; it saves time and changes no mark.
    """

    image_uid: str
    ct: Callable[[], Volume]
    twin: Callable[[], Volume | None]


@dataclass(frozen=True)
class Need:
    """Something that a reader lacks: what was expected and got, and how to fix it."""

    what: str
    fix: str


#: One generation for each request, in their order.
Read = Callable[[Sequence[Request]], list[Generation]]


def no_files() -> None:
    """Of a reader without files."""
    return


def no_needs() -> list[Need]:
    """Of a reader that is always ready."""
    return []


def nothing_to_prepare() -> None:
    """Of a reader that needs nothing before its first request."""


@dataclass(frozen=True)
class Reader:
    """A reader, not yet loaded.

    ``load`` is called once a worker and gives what reads; what that returns for a request depends on the request
    alone, not on what it is asked with. ``mark`` is None for readers of slices only.

    Attributes:
        code: hash of kind, code version and options.
        files: hash over the files of its weights, None without any; hashes them where they are new, so it can take
            minutes; raises ConfigError where they are missing.
        scan_levels: most levels of a whole scan that it is shown at once; None: it is shown slices.
        needs: what it lacks on this machine; quick, reads no weights. Empty: it is ready.
        device: where its network computes in the worker's own process, ``cuda`` or ``cpu``; None: it has none there.
        prepare: called before requests are planned, never when the graph is built: takes what only a running service
            can tell, such as a server's revision; raises ConfigError where it cannot.
        by_id: it answers by the names of what it is asked about, so two slices with equal pictures may get different
            answers; only such a reader is told names.
        sees: it is shown pictures; a table of answers is not.
        unverified: its revision rests on what somebody else says, not on hashes of files that are here.
        sources: image sources that it reads; empty: all.
        unmatched: of a reader with a table of its own, given the ids of all slices that are cut (``slice_uid``,
            ``image_uid``, ``published_id``, ``case_uid``): a line for each row of it that names none of them.
    """

    name: str
    location: str
    code: str
    trained_on: str
    licence: str
    tasks: tuple[str, ...]
    prompts: Mapping[str, Prompt]
    profile: str
    z_offsets: tuple[int, ...]
    controls: tuple[str, ...]
    scorer: str
    seed: int | None
    load: Callable[[], Read]
    scan_levels: int | None = None
    mark: Callable[[Scan], list[Mark]] | None = None
    files: Callable[[], str | None] = no_files
    needs: Callable[[], list[Need]] = no_needs
    device: str | None = None
    prepare: Callable[[], None] = nothing_to_prepare
    by_id: bool = False
    sees: bool = True
    unverified: bool = False
    sources: tuple[str, ...] = ()
    unmatched: Callable[[pl.DataFrame], list[str]] | None = None

    @property
    def revision(self) -> str:
        """Hash of code, options and weights, without prompts.

        Answers are kept under it, so that another prompt asks its own task again and no other.

        Raises:
            ConfigError: files of weights are missing.
        """
        weights = self.files()
        revision = self.code if weights is None else digest([self.code, weights], 16)
        return f"{revision}-unverified" if self.unverified else revision

    def reads(self, source: str) -> bool:
        """Whether it reads the images of a source: ``real``, or a renderer's name."""
        return not self.sources or source in self.sources

    @property
    def asked(self) -> str:
        """Hash of all that decides which requests there are and what they say, but the files of weights."""
        words = {task: [p.id, p.text, p.paraphrase, *p.options] for task, p in self.prompts.items()}
        shown = [self.profile, self.z_offsets, self.scan_levels]
        return digest([self.code, self.tasks, words, *shown, self.controls], 16)
