"""What a reader is given and what it returns, and what a reader is. Opens no file and asks nothing."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.imaging.geometry import Volume

#: A grey (H, W) or colour (H, W, 3) picture: front on top, the patient's right on the left.
Picture = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Request:
    """One question about one target.

    ``key`` names the request and what it is asked of. ``pictures`` are in z order; without any it is asked of the
    text alone. ``pixel_mm`` is a pixel's height and width. ``prompt`` is None for a reader that needs no words.
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


@dataclass(frozen=True)
class Generation:
    """What a reader returned for a request, unscored.

    ``option_scores`` run in parallel to the request's options. ``failure`` says why the reader, for example a server,
    gave nothing for this request; it is asked again another time.
    """

    raw_text: str | None = None
    option_scores: tuple[float, ...] | None = None
    outside_log_mass: float | None = None
    failure: str | None = None


@dataclass(frozen=True)
class Mark:
    """A spot of a scan: world position (mm, RAS), diameter in mm, score (higher means more likely a nodule)."""

    world: tuple[float, float, float]
    diameter_mm: float
    score: float


@dataclass(frozen=True)
class Prompt:
    """The words of a task: an id, the text, and the same in other words for the control ``prompt_paraphrase``."""

    id: str
    text: str
    paraphrase: str


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
    """Something that a reader lacks: what was expected and got, and how to mend it."""

    what: str
    mend: str


#: One generation for each request, in their order.
Read = Callable[[Sequence[Request]], list[Generation]]


def no_files() -> None:
    """Of a reader without files."""
    return


def no_needs() -> list[Need]:
    """Of a reader that is always ready."""
    return []


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

    @property
    def revision(self) -> str:
        """Hash of code, options and weights, without prompts.

        Answers are kept under it, so that another prompt asks its own task again and no other.

        Raises:
            ConfigError: files of weights are missing.
        """
        weights = self.files()
        return self.code if weights is None else digest([self.code, weights], 16)

    @property
    def asked(self) -> str:
        """Hash of all that decides which requests there are and what they say, but the files of weights."""
        words = {task: [p.id, p.text, p.paraphrase] for task, p in self.prompts.items()}
        shown = [self.profile, self.z_offsets, self.scan_levels]
        return digest([self.code, self.tasks, words, *shown, self.controls], 16)
