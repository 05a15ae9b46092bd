"""What a reader's worker is given: a batch of requests, or a scan to mark."""

from typing import Literal

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.readers.api import Ids
from itrialspace_assets.slices.case import RenderedImage


class RealScan(StrictModel):
    """A real scan; ``key`` is a hash of all that decides its voxels."""

    image_uid: str
    key: str
    ct_path: str


class RenderedScan(StrictModel):
    """A rendered image; ``key`` is a hash of all that decides its voxels."""

    image_uid: str
    key: str
    image: RenderedImage


class RequestToRead(StrictModel):
    """A request whose pictures are files below the output folder, or levels of ``scan``.

    Pixel size in mm; null without pictures, and of a scan, which knows its own.
    """

    generation_key: str
    picture_sha256: str
    paths: tuple[str, ...]
    sha256s: tuple[str, ...]
    pixel_x_mm: float | None
    pixel_y_mm: float | None
    condition: str
    control: str
    task: str
    prompt_id: str
    prompt: str | None
    prompt_sha256: str | None
    options: tuple[str, ...]
    scan: RenderedScan | RealScan | None = None
    ids: Ids | None = None


class ReadBatch(StrictModel):
    """Requests that a reader is given at once."""

    what: Literal["requests"] = "requests"
    reader: str
    requests: tuple[RequestToRead, ...]


class MarkScan(StrictModel):
    """A scan that a reader marks."""

    what: Literal["scan"] = "scan"
    reader: str
    scan: RenderedScan | RealScan


class ReadWork(StrictModel):
    """One or the other."""

    job: ReadBatch | MarkScan
