"""DICOM segmentations (PS3.3 A.51): segments as lesions in the grid of their CT."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.dicom.frames import contradictions, require_frames
from itrialspace_assets.profiles.dicom.grid import LPS, TOLERANCE, SeriesIdentity, lesion_at, reading, require_reference
from itrialspace_assets.profiles.dicom.regions import LESION_NAMES, Region, RegionChoice, Regions, choose
from itrialspace_assets.profiles.doubts import Doubt, Note

#: Segmented properties that are a lesion: names in DICOM's context group 7159, "Lesion Segmentation Types" (PS3.16).
_LESION_TYPES = (
    "EnhancingLesion",
    "Lesion",
    "Mass",
    "Neoplasm",
    "NeoplasmPrimary",
    "NeoplasmSecondary",
    "Nodule",
    "NonEnhancingLesion",
)


def read_seg(
    path: Path, ct: Volume, identity: SeriesIdentity, choice: RegionChoice, threshold: float | None = None
) -> Regions:
    """The segments of a DICOM-SEG that are nodules, in the grid of its CT.

    Args:
        path: the DICOM-SEG: BINARY, LABELMAP, or FRACTIONAL; without a threshold, one of none and all only.
        ct: the CT (RAS+) that it was drawn on.
        identity: what the CT's headers state.
        choice: which segments are nodules.
        threshold: least value of a nodule in a FRACTIONAL one, as a share (0 to 1) of its MaximumFractionalValue.

    Raises:
        CaseRejected: no segmentation, one of another patient, frame of reference, series or grid, probabilities, no
            such segment (names those there), or only empty ones.
    """
    import highdicom as hd

    with reading(path, "a whole DICOM-SEG"):
        seg = hd.seg.segread(str(path))
        found = Regions(notes=require_reference(identity, _drawn_on(seg, identity), str(path)))
        require_frames(seg, path)
        found.notes += contradictions(seg, identity, str(path))
        chosen, notes = choose(_regions(seg), choice, str(path))
        found.notes += notes
        for region in chosen:
            where = f"{path}: segment {region}"
            if len(world := _world(seg, region.number, ct, where, threshold)):
                found.add(region.name or f"segment_{region.number}", lesion_at(world, ct, where), where)
            else:
                found.notes.append(Note(f"{where}: left out: it has no voxel", Doubt.PARTS_LEFT_OUT))
    if not found.lesions:
        raise CaseRejected(
            Reason.EMPTY_LESION, f"{path}: expected a segment with voxels, got {'; '.join(map(str, found.notes))}"
        )
    return found


def _drawn_on(seg: Any, ct: SeriesIdentity) -> SeriesIdentity:
    series = {str(r.get("SeriesInstanceUID", "")).strip() for r in seg.get("ReferencedSeriesSequence", [])}
    return SeriesIdentity(
        series=ct.series if ct.series in series else min(series, default=""),
        patient=str(seg.get("PatientID", "")).strip(),
        frame=str(seg.get("FrameOfReferenceUID", "")).strip(),
    )


def _regions(seg: Any) -> list[Region]:
    from pydicom.sr.codedict import codes

    lesions = [getattr(codes.cid7159, name) for name in _LESION_TYPES]
    found = []
    for number in seg.segment_numbers:
        description = seg.get_segment_description(number)
        kind = description.segmented_property_type
        meaning = str(kind.meaning)
        lesion = kind in lesions or bool(re.search(LESION_NAMES, meaning, re.IGNORECASE))
        found.append(Region(int(number), str(description.segment_label), meaning, lesion))
    return [region for region in found if region.number]  # segment 0 of a LABELMAP is its background


def _world(seg: Any, number: int, ct: Volume, where: str, threshold: float | None) -> npt.NDArray[np.float64]:
    """Centres (mm, RAS) of a segment's voxels, shape (n, 3)."""
    kind = str(seg.SegmentationType)
    if kind == "FRACTIONAL":
        volume = seg.get_volume(segment_numbers=[number], rescale_fractional=False)
        inside = _above(volume.array[..., 0], int(seg.MaximumFractionalValue), threshold, where)
    else:  # of a LABELMAP highdicom gives all segments, whichever is asked for
        volume = seg.get_volume(segment_numbers=[number], combine_segments=True)
        if unknown := sorted(set(np.unique(volume.array).tolist()) - {0, *map(int, seg.segment_numbers)}):
            raise CaseRejected(
                Reason.UNREADABLE_VOLUME,
                f"{where}: expected pixels of the segments that the file describes, got some of {unknown[:5]}",
            )
        inside = volume.array == number
    affine = LPS @ np.asarray(volume.affine, float)
    _require_size(affine, volume.array.shape, ct, where)
    _require_inside(affine, volume.array.shape, ct, where)
    return np.asarray(np.argwhere(inside) @ affine[:3, :3].T + affine[:3, 3], np.float64)


def _above(values: npt.NDArray[Any], full: int, threshold: float | None, where: str) -> npt.NDArray[np.bool_]:
    """The voxels of a fractional segment that are the nodule's."""
    if values.max() > full:
        raise CaseRejected(
            Reason.NOT_A_LABEL_MAP, f"{where}: expected values up to MaximumFractionalValue {full}, got {values.max()}"
        )
    if threshold is None:
        if np.any((values != 0) & (values != full)):
            raise CaseRejected(
                Reason.NOT_A_LABEL_MAP,
                f"{where}: expected a segmentation of type BINARY or LABELMAP, got FRACTIONAL with values between "
                "none and all: say --threshold with the least value of a nodule, from 0 to 1 (its import)",
            )
        return np.asarray(values == full)
    if threshold > 1:
        raise CaseRejected(
            Reason.NOT_A_LABEL_MAP,
            f"{where}: --threshold: expected a share from 0 to 1 for a FRACTIONAL segmentation, got {threshold:g}",
        )
    return np.asarray((values > 0) & (values >= threshold * full))


def _require_inside(affine: npt.NDArray[np.float64], shape: tuple[int, ...], ct: Volume, where: str) -> None:
    """Refuse frames that reach beyond the CT: they were drawn on another grid, or lie in the wrong place."""
    corners = np.array([[0, 0, 0], np.array(shape[:3]) - 1]) @ affine[:3, :3].T + affine[:3, 3]
    at = ct.to_voxel(corners)
    if at.min() < -TOLERANCE or np.any(at > np.array(ct.array.shape) - 1 + TOLERANCE):
        low, high = (", ".join(f"{v:.1f}" for v in edge) for edge in (at.min(axis=0), at.max(axis=0)))
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{where}: expected frames inside its CT {ct.array.shape}, got voxels from ({low}) to ({high})",
        )


def _require_size(affine: npt.NDArray[np.float64], shape: tuple[int, ...], ct: Volume, where: str) -> None:
    """Refuse voxels of another size than the CT's, whose centres may still all lie on its grid."""
    for column, count in zip(affine[:3, :3].T, shape, strict=False):
        axis, size = int(np.argmax(np.abs(column))), float(np.linalg.norm(column))
        if count > 1 and abs(size - ct.spacing[axis]) > TOLERANCE * ct.spacing[axis]:
            raise CaseRejected(
                Reason.GRID_MISMATCH,
                f"{where}: expected voxels of its CT's size, {ct.spacing[axis]:.3f} mm along {'xyz'[axis]}, got "
                f"{size:.3f} mm: resample it to the CT",
            )
