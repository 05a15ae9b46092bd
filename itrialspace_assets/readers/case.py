"""What the reading of one case is given: its slices, and the scans they were cut of."""

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.slices.case import RenderedImage


class SliceToRead(StrictModel):
    """A PNG below the output folder, with its pixel size in mm."""

    slice_uid: str
    sha256: str
    condition: str
    path: str
    pixel_x_mm: float
    pixel_y_mm: float


class RealScan(StrictModel):
    """A real scan to mark; ``key`` is a hash of all that decides its voxels."""

    image_uid: str
    key: str
    ct_path: str


class RenderedScan(StrictModel):
    """A rendered image to mark; ``key`` is a hash of all that decides its voxels."""

    image_uid: str
    key: str
    image: RenderedImage


class ReadCase(StrictModel):
    """The slices of a case and the scans behind them, for one reader; scans in the order of the slices."""

    case_uid: str
    reader: str
    source: str
    mode: str
    dataset: str
    slices: tuple[SliceToRead, ...]
    scans: tuple[RenderedScan | RealScan, ...]
