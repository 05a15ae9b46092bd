"""DICOM structure sets (PS3.3 A.19): closed contours of regions as lesions in the grid of their CT."""

import io
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.dicom.contours import Contour, fill, levels_of, plane_distance
from itrialspace_assets.profiles.dicom.grid import TOLERANCE, SeriesIdentity, reading, require_reference
from itrialspace_assets.profiles.dicom.regions import Region, RegionChoice, Regions, choose
from itrialspace_assets.profiles.doubts import Doubt, Note

#: Kinds of contours that enclose an area (PS3.3 C.8.8.6.3); empty: the file does not say.
_CLOSED = ("CLOSED_PLANAR", "CLOSEDPLANAR_XOR", "")


def read_rtstruct(path: Path, ct: Volume, identity: SeriesIdentity, choice: RegionChoice) -> Regions:
    """The regions of an RTSTRUCT that are nodules, in the grid of its CT.

    Args:
        path: the RTSTRUCT.
        ct: the CT (RAS+) that it was drawn on.
        identity: what the CT's headers state.
        choice: which regions are nodules.

    Raises:
        CaseRejected: no RTSTRUCT, one of another patient, frame of reference or series, no such region (names those
            there), none with a closed contour, or contours outside the CT or not in axial planes.
    """
    import pydicom

    with reading(path, "a whole RTSTRUCT"):
        data = pydicom.dcmread(path)
        regions = [Region(int(r.ROINumber), str(r.get("ROIName", ""))) for r in data.StructureSetROISequence]
        items: dict[int, list[Any]] = defaultdict(list)
        for item in data.ROIContourSequence:
            items[int(item.ReferencedROINumber)] += item.get("ContourSequence") or []
        chosen, notes = choose(regions, choice, str(path))
        drawn_on = _drawn_on(data, {region.number for region in chosen}, identity)
        notes += _lengths(data, path)
    found = Regions(notes=[*require_reference(identity, drawn_on, str(path)), *notes])
    drawn = {}
    for region in chosen:
        with reading(path, "a whole RTSTRUCT"):
            contours, notes = _contours(items[region.number], ct, f"{path}: region {region}")
        found.notes += notes
        if contours:
            drawn[region] = contours
    gaps = {region: plane_distance(levels_of(contours, ct), ct) for region, contours in drawn.items()}
    every = [gap for own in gaps.values() for gap in own]
    usual = float(np.median(every)) if every else 1.0
    for region, contours in drawn.items():
        where = f"{path}: region {region}"
        thickness = float(np.median(gaps[region])) if gaps[region] else usual
        lesion, notes = fill(contours, ct, thickness, edge_outside=False, where=where)
        found.notes += notes
        if lesion:
            found.add(region.name or f"region_{region.number}", lesion, where)
    if not found.lesions:
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{path}: expected a region with closed contours, got {'; '.join(map(str, found.notes))}",
        )
    return found


def _lengths(data: Any, path: Path) -> list[Note]:
    """A note where the parts of a file, as they were read, are not as long as the file: some were read as another."""
    written = io.BytesIO()
    data.save_as(written)
    read, there = len(written.getvalue()), path.stat().st_size
    text = f"{path}: its parts are {read} bytes long, the file {there}: lengths that it states may be wrong"
    return [] if read == there else [Note(text, Doubt.LENGTHS_CONTRADICT)]


def _drawn_on(data: Any, regions: set[int], ct: SeriesIdentity) -> SeriesIdentity:
    """What some regions were drawn on; of several frames of reference one that is not the CT's."""
    rois = [r for r in data.StructureSetROISequence if int(r.ROINumber) in regions]
    frames = {str(r.get("ReferencedFrameOfReferenceUID", "")).strip() for r in rois} - {""}
    series = set()
    for frame in data.get("ReferencedFrameOfReferenceSequence") or []:
        if not frames:
            frames |= {str(frame.get("FrameOfReferenceUID", "")).strip()} - {""}
        for study in frame.get("RTReferencedStudySequence") or []:
            series |= {
                str(s.get("SeriesInstanceUID", "")).strip() for s in study.get("RTReferencedSeriesSequence") or []
            }
    return SeriesIdentity(
        series=ct.series if ct.series in series else min(series, default=""),
        patient=str(data.get("PatientID", "")).strip(),
        frame=min(frames - {ct.frame} or frames, default=""),
    )


def _contours(items: list[Any], ct: Volume, where: str) -> tuple[list[Contour], list[Note]]:
    """The closed contours of a region, and notes on what else it holds."""
    found, other = [], 0
    for item in items:
        kind = str(item.get("ContourGeometricType", "") or "").strip()
        try:
            world = np.array([float(v) for v in item.get("ContourData") or []]).reshape(-1, 3) * [-1.0, -1.0, 1.0]
        except (TypeError, ValueError):
            world = np.full((1, 3), np.nan)
        if not np.isfinite(world).all():
            raise CaseRejected(
                Reason.BAD_POSITION, f"{where}: ContourData: expected three numbers a point, got another text"
            )
        if kind not in _CLOSED or len(world) < 3:
            other += 1
            continue
        voxels = ct.to_voxel(world)
        level = float(voxels[:, 2].mean())
        if np.abs(voxels[:, 2] - level).max() > TOLERANCE:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{where}: expected contours in axial planes, got one from z={world[:, 2].min():.2f} to "
                f"{world[:, 2].max():.2f} mm",
            )
        found.append(Contour(level, voxels[:, :2]))
    left = [] if found else [f"{where}: left out: it has no closed contour"]
    if other:
        left.append(f"{where}: {other} points, open or empty contours left out")
    return found, [Note(text, Doubt.PARTS_LEFT_OUT) for text in left]
