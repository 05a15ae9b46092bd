"""Frames of a DICOM segmentation: whether they are all there, and whether the file tells one story of each."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.profiles.dicom.grid import LPS, SeriesIdentity
from itrialspace_assets.profiles.doubts import Doubt, Note

_Place = tuple[float, ...]

#: Elements that a dimension index counts.
_SEGMENT_NUMBER, _IMAGE_POSITION = 0x0062000B, 0x00200032
#: A frame lies in the plane of its source image if it lies at most this (mm) from it; ours.
_SAME_MM = 0.1


def require_frames(seg: Any, path: Path) -> None:
    """Refuse frames that are more or fewer than promised, or that belong to no segment: their voxels would be lost."""
    groups, numbers = seg.PerFrameFunctionalGroupsSequence, [int(n) for n in seg.segment_numbers]
    if len(groups) != int(seg.NumberOfFrames) or len(set(numbers)) != len(numbers):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected a place for each of {seg.NumberOfFrames} frames and a number for each segment, got "
            f"{len(groups)} places and the numbers {numbers}",
        )
    if (spare := _spare_bytes(seg)) < 0:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected pixels of {seg.NumberOfFrames} frames, got {-spare} bytes too few",
        )
    if seg.SegmentationType == "LABELMAP":  # a frame holds all segments
        return
    shared = seg.SharedFunctionalGroupsSequence[0].get("SegmentIdentificationSequence")
    for number, group in enumerate(groups, 1):
        segment = int((shared or group.SegmentIdentificationSequence)[0].ReferencedSegmentNumber)
        if segment not in numbers:
            raise CaseRejected(
                Reason.UNREADABLE_VOLUME, f"{path}: frame {number}: expected a segment of {numbers}, got {segment}"
            )


def _spare_bytes(seg: Any) -> int:
    """Bytes of pixels beyond those of the frames; 0 where frames are compressed, each with its own length."""
    if seg.file_meta.TransferSyntaxUID.is_encapsulated:
        return 0
    bits = int(seg.NumberOfFrames) * int(seg.Rows) * int(seg.Columns) * int(seg.BitsAllocated)
    return len(seg.PixelData) - -(-bits // 16) * 2  # padded to an even length


def contradictions(seg: Any, ct: SeriesIdentity, where: str) -> list[Note]:
    """Notes on frames that the file describes in two ways that differ: by place or segment, and by reference or index.

    A frame names the images it was drawn on (PS3.3 C.7.6.16.2.6), and an index for each of its dimensions (PS3.3
    C.7.6.17), so that a frame that was moved, or given to another segment, shows.

    Args:
        seg: the segmentation (highdicom).
        ct: what the headers of its CT state.
        where: the file, for notes.
    """
    groups = seg.PerFrameFunctionalGroupsSequence
    shared = seg.SharedFunctionalGroupsSequence[0]
    places = [_position(group, shared) for group in groups]
    told = _moved(groups, places, ct)
    if spare := _spare_bytes(seg):
        told.append(f"there are {spare} bytes of pixels beyond those of its {seg.NumberOfFrames} frames")
    pointers = [int(item.DimensionIndexPointer) for item in seg.get("DimensionIndexSequence") or []]
    indices = zip(*(np.atleast_1d(g.FrameContentSequence[0].DimensionIndexValues) for g in groups), strict=True)
    columns = dict(zip(pointers, indices, strict=True))
    segments = [_segment(group, shared) for group in groups]
    if _SEGMENT_NUMBER in columns and not _one_to_one(columns[_SEGMENT_NUMBER], segments):
        told.append("indices and segments of the frames do not agree")
    if _IMAGE_POSITION in columns and not _in_order(columns[_IMAGE_POSITION], places, segments):
        told.append("indices and places of the frames do not agree")
    return [Note(f"{where}: {text}", Doubt.FRAMES_CONTRADICT) for text in told]


def _moved(groups: Sequence[Any], places: Sequence[_Place | None], ct: SeriesIdentity) -> list[str]:
    """Which frames lie in another plane than every image that they name."""
    normal = np.zeros(3) if ct.pixels is None else (LPS @ ct.pixels)[:3, 2] / np.linalg.norm(ct.pixels[:3, 2])
    moved = []
    for number, (group, place) in enumerate(zip(groups, places, strict=True), 1):
        named = [
            str(image.get("ReferencedSOPInstanceUID", ""))
            for derived in group.get("DerivationImageSequence") or []
            for image in derived.get("SourceImageSequence") or []
        ]
        drawn_on = [ct.places[uid] for uid in named if uid in ct.places]
        away = [abs(float(np.subtract(place, at) @ normal)) for at in drawn_on if place is not None]
        if away and min(away) > _SAME_MM:  # in plane a frame may be a part of its image
            moved.append(number)
    more = f" and {len(moved) - 5} more" if len(moved) > 5 else ""
    text = f"frames {', '.join(map(str, moved[:5]))}{more} lie elsewhere than the images they name"
    return [text] if moved else []


def _position(group: Any, shared: Any) -> _Place | None:
    items = group.get("PlanePositionSequence") or shared.get("PlanePositionSequence") or []
    return tuple(round(float(v), 3) for v in items[0].ImagePositionPatient) if len(items) else None


def _segment(group: Any, shared: Any) -> int | None:
    items = group.get("SegmentIdentificationSequence") or shared.get("SegmentIdentificationSequence") or []
    return int(items[0].ReferencedSegmentNumber) if len(items) else None


def _one_to_one(indices: Sequence[int], values: Sequence[Any]) -> bool:
    pairs = set(zip(indices, values, strict=True))
    return len(pairs) == len(set(indices)) == len(set(values))


def _in_order(indices: Sequence[int], places: Sequence[_Place | None], segments: Sequence[int | None]) -> bool:
    """True if, in each segment, places move along one direction as the index rises."""
    for segment in set(segments):
        rows = [(i, p) for i, p, s in zip(indices, places, segments, strict=True) if s == segment]
        own, there = zip(*rows, strict=True)
        if None in there or not _one_to_one(own, there):
            return False
        at = np.array([place for _, place in sorted(set(rows))], np.float64)
        if not np.all(np.diff((at - at[0]) @ (at[-1] - at[0])) > 0):
            return False
    return True
