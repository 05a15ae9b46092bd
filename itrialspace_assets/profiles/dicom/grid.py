"""What a CT series says of itself, and how far another object may lie from its grid."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.doubts import Doubt, Note

#: DICOM and ITK world axes (LPS) to RAS.
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])
#: Greatest distance, in voxels, of a slice, a voxel or a contour from its place on the CT's grid; ours.
TOLERANCE = 0.1


@dataclass(frozen=True)
class SeriesIdentity:
    """What the headers of a CT series state; empty text: not stated, as of every NIfTI file.

    ``series`` and ``frame``: UIDs of the series and of its frame of reference. ``age`` in years. ``pixels``: affine
    (4×4) from column, row and slice of the stored images to world mm (RAS); None without headers. ``places``: first
    pixel (mm, LPS) of each image by its SOP instance UID; none of a multi-frame file.
    """

    series: str = ""
    patient: str = ""
    age: str = ""
    sex: str = ""
    frame: str = ""
    pixels: npt.NDArray[np.float64] | None = None
    places: dict[str, tuple[float, ...]] = field(default_factory=dict)


@contextmanager
def reading(path: Path, what: str) -> Iterator[None]:
    """Turn whatever pydicom and highdicom raise on damaged bytes or headers into a rejection that names the file.

    Raises:
        CaseRejected: the file cannot be read as ``what``.
    """
    try:
        yield
    except (CaseRejected, MemoryError):
        raise
    except Exception as error:
        first = str(error).partition("\n")[0]  # pydicom adds a traceback of its own
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{path}: expected {what}, got {type(error).__name__}: {first}"
        ) from error


def require_reference(ct: SeriesIdentity, drawn: SeriesIdentity, where: str) -> list[Note]:
    """Compare what a segmentation was drawn on with the CT it is imported with.

    One frame of reference is one coordinate system (PS3.3 C.7.4.1.1.1), whatever the series.

    Args:
        ct: the CT.
        drawn: patient, series and frame of reference that the segmentation states.
        where: file of the segmentation, for messages.

    Returns:
        Notes on what could not be compared.

    Raises:
        CaseRejected: another patient, another frame of reference, or, where one of the two states no frame, another
            series.
    """
    for name, wanted, got in (
        ("patient", ct.patient, drawn.patient),
        ("frame of reference", ct.frame, drawn.frame),
        ("series", ct.series, drawn.series),
    ):
        if not (wanted and got):
            continue
        if name == "series" and ct.frame and drawn.frame:
            text = f"{where}: drawn on series {got} of the CT's frame of reference"
            return [] if wanted == got else [Note(text, Doubt.OTHER_SERIES)]
        if wanted != got:
            raise CaseRejected(
                Reason.GRID_MISMATCH,
                f"{where}: expected the {name} of its CT, {wanted}, got {got}: import it with the series it was drawn "
                "on",
            )
    if (ct.frame and drawn.frame) or (ct.series and drawn.series):
        return []
    missing = "the CT" if not (ct.frame or ct.series) else "the file"
    text = f"{where}: {missing} states no frame of reference and no series: not compared"
    return [Note(text, Doubt.REFERENCE_NOT_COMPARED)]


def lesion_at(world: npt.NDArray[np.float64], ct: Volume, where: str) -> Lesion:
    """The voxels of a CT whose centres lie at some world points.

    Args:
        world: the points (mm, RAS), shape (n, 3).
        ct: gives the grid.
        where: the file and region, for messages.

    Raises:
        CaseRejected: no point, or one that lies off the CT's grid or outside it; begins with ``where``.
    """
    if not len(world):
        raise CaseRejected(Reason.EMPTY_LESION, f"{where}: expected at least one voxel, got none")
    voxels = ct.to_voxel(world)
    at = np.rint(voxels).astype(int)
    off = float(np.abs(voxels - at).max())
    if off > TOLERANCE:
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{where}: expected voxels of its CT's grid (at most {TOLERANCE} voxels off), got some {off:.2f} off: "
            "resample it to the CT",
        )
    if at.min() < 0 or np.any(at >= ct.array.shape):
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{where}: expected voxels inside its CT {ct.array.shape}, got indices {at.min(axis=0)} to "
            f"{at.max(axis=0)}",
        )
    return from_indices(at)


def from_indices(at: npt.NDArray[np.int64]) -> Lesion:
    """The lesion of some voxel indices, shape (n, 3), at least one."""
    low = at.min(axis=0)
    mask = np.zeros(at.max(axis=0) - low + 1, bool)
    mask[tuple((at - low).T)] = True
    return Lesion((int(low[0]), int(low[1]), int(low[2])), mask)
