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
    """A spot of a scan: world position (mm, RAS), diameter in mm, response in HU."""

    world: tuple[float, float, float]
    diameter_mm: float
    score: float


@dataclass(frozen=True)
class Prompt:
    """The words of a task: an id, the text, and the same in other words for the control ``prompt_paraphrase``."""

    id: str
    text: str
    paraphrase: str


#: One generation for each request, in their order.
Read = Callable[[Sequence[Request]], list[Generation]]


@dataclass(frozen=True)
class Reader:
    """A reader, not yet loaded.

    ``load`` is called once a worker and gives what reads; what that returns for a request depends on the request
    alone, not on what it is asked with. ``mark`` is None for readers of slices only; it takes HU and, to save time, the
    image of the same host without lesions, if any. ``revision`` is a hash of code, options and weights, without
    prompts: answers are kept under it, so that another prompt asks its own task again and no other.
    """

    name: str
    location: str
    revision: str
    trained_on: str
    tasks: tuple[str, ...]
    prompts: Mapping[str, Prompt]
    profile: str
    z_offsets: tuple[int, ...]
    controls: tuple[str, ...]
    scorer: str
    seed: int | None
    load: Callable[[], Read]
    mark: Callable[[Volume, Volume | None], list[Mark]] | None = None

    @property
    def asked(self) -> str:
        """Hash of all that decides which requests there are and what they say."""
        words = {task: [p.id, p.text, p.paraphrase] for task, p in self.prompts.items()}
        return digest([self.revision, self.tasks, words, self.profile, self.z_offsets, self.controls], 16)
