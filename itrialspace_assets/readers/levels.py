"""Which levels of a whole scan a reader is shown, and their pictures. Opens no file and asks nothing."""

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers.api import Picture
from itrialspace_assets.slices.planes import Plane
from itrialspace_assets.slices.windows import PreprocessProfile


def levels(count: int, most: int) -> list[int]:
    """Indices of the planes that are shown of a scan, rising: all of them, or ``most`` of them, evenly spaced.

    The i-th of ``most`` is round(i / most · (count − 1)), i from 1: as MedGemma's publisher does for 85
    (docs/facts/readers.md#medgemma).
    """
    if count <= most:
        return list(range(count))
    return [round(i / most * (count - 1)) for i in range(1, most + 1)]


def pictures(ct: Volume, profile: PreprocessProfile, most: int) -> tuple[Picture, ...]:
    """The pictures of a scan, in the order in which its planes lie.

    Args:
        ct: HU (X, Y, Z), canonical RAS+.
        profile: plane, windows and pixel size.
        most: most planes that are shown.
    """
    return tuple(profile.picture(Plane(ct, profile, i).hu()) for i in levels(ct.array.shape[profile.axis], most))
