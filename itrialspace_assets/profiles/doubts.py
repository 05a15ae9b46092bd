"""What is doubtful in inputs that are taken all the same; the column ``doubts`` of a profile holds the codes.

A doubt is one of an enumeration, so that rows can be chosen by it; the text beside it is for the user who imports.
Nothing here reads a file.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class Doubt(StrEnum):
    """A reason to look at a nodule again. The first three are taken under an option only."""

    TRUSTED_ORIENTATION = "trusted_orientation"
    THRESHOLD = "threshold"
    UNUSUAL_ANATOMY = "unusual_anatomy"
    SPECKS_LEFT_OUT = "specks_left_out"
    REFERENCE_NOT_COMPARED = "reference_not_compared"
    OTHER_SERIES = "other_series"
    FRAMES_CONTRADICT = "frames_contradict"
    LENGTHS_CONTRADICT = "lengths_contradict"
    LIST_CUT_OFF = "list_cut_off"
    PARTS_APART = "parts_apart"
    PARTS_LEFT_OUT = "parts_left_out"
    CROSSING_CONTOURS = "crossing_contours"
    CONTOURS_BETWEEN_SLICES = "contours_between_slices"
    VOLUME_BY_CONTOURS_DIFFERS = "volume_by_contours_differs"
    SHARED_VOXELS = "shared_voxels"


@dataclass(frozen=True)
class Note:
    """What a user should know of a file; ``doubt``: its code, null where nothing that was taken is doubtful."""

    text: str
    doubt: Doubt | None = None

    def __str__(self) -> str:
        """The text."""
        return self.text


def codes_of(doubts: Iterable[Doubt | None]) -> str | None:
    """Codes of some doubts, sorted and joined with ``;``; null if there are none."""
    return ";".join(sorted({doubt.value for doubt in doubts if doubt is not None})) or None


def unknown_codes(text: str) -> list[str]:
    """The codes of a column's value that are none."""
    return sorted(set(text.split(";")) - {doubt.value for doubt in Doubt})
