"""Reads CT series, DICOM-SEG, RTSTRUCT and LIDC XML as canonical RAS+ volumes, or lesions in the CT's grid.

Libraries read the files (SimpleITK, highdicom, pydicom, defusedxml); this module checks geometry and fills contours.
"""

import re
from collections import defaultdict
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume, canonical_volume
from itrialspace_assets.imaging.volumes import Lesion, cut_lesion

_LPS = np.diag([-1.0, -1.0, 1.0, 1.0])  # DICOM and ITK world axes to RAS
#: A step between slices that differs from the median step by more than this share is a gap (a missing slice); ours.
GAP_TOLERANCE = 0.05
#: Greatest distance, in voxels, of a segmentation's voxels from those of its CT; ours.
GRID_TOLERANCE = 0.1


def read_ct_series(folder: Path) -> tuple[Volume, dict[str, str]]:
    """A folder with the slices of one CT series as HU (int16), and its identity.

    Returns:
        The volume (X, Y, Z; RAS+), and ``series`` (UID), ``patient`` (id), ``age`` (years) and ``sex``, each empty if
        the headers do not state it.

    Raises:
        CaseRejected: no slices, slices of several series, a missing slice, or not a CT; names the folder.
    """
    import pydicom
    import SimpleITK as sitk

    files = sorted(p for p in folder.iterdir() if p.is_file())
    headers = []
    for path in files:
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True)
        except (pydicom.errors.InvalidDicomError, OSError):
            continue
        if header.get("Modality") == "CT" and "ImagePositionPatient" in header:
            headers.append((path, header))
    if len(headers) < 2:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{folder}: expected the slices of a CT series, got {len(headers)} CT slices in {len(files)} files",
        )
    series = sorted({str(h.get("SeriesInstanceUID", "")) for _, h in headers})
    if len(series) > 1:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{folder}: expected one CT series, got {len(series)}: {', '.join(series[:3])}"
        )
    first = headers[0][1]
    row, column = np.array(first.ImageOrientationPatient, float).reshape(2, 3)
    normal = np.cross(row, column)
    along = [float(np.dot(np.array(h.ImagePositionPatient, float), normal)) for _, h in headers]
    order = np.argsort(along)
    steps = np.diff(np.array(along)[order])
    if not np.all(np.abs(steps - np.median(steps)) <= GAP_TOLERANCE * np.median(steps)):
        worst = int(np.argmax(np.abs(steps - np.median(steps))))
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{folder}: expected slices {np.median(steps):.3f} mm apart, got a step of {steps[worst]:.3f} mm "
            f"after slice {worst + 1} of {len(headers)}: a slice is missing or there twice",
        )
    try:
        image = sitk.ReadImage([str(headers[i][0]) for i in order])
    except RuntimeError as error:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{folder}: expected readable CT slices, got {str(error).strip().splitlines()[-1]}",
        ) from None
    affine = np.eye(4)
    affine[:3, :3] = np.array(image.GetDirection()).reshape(3, 3) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    array = np.clip(sitk.GetArrayFromImage(image).T, -32768, 32767).astype(np.int16)
    age = re.fullmatch(r"0*(\d+)Y", str(first.get("PatientAge", "")).strip())
    identity = {
        "series": series[0].strip(),
        "patient": str(first.get("PatientID", "")).strip(),
        "age": age.group(1) if age else "",
        "sex": str(first.get("PatientSex", "")).strip(),
    }
    return canonical_volume(array, _LPS @ affine, str(folder)), identity


def read_seg(path: Path, ct: Volume) -> dict[str, Lesion]:
    """Segments of a DICOM-SEG by label, in the grid of its CT (RAS+).

    Raises:
        CaseRejected: no segmentation, another grid, or an empty segment.
    """
    import highdicom as hd

    try:
        seg = hd.seg.segread(str(path))
        found = {}
        for number in seg.segment_numbers:
            label = str(seg.get_segment_description(number).segment_label)
            volume = seg.get_volume(segment_numbers=[number], combine_segments=True)
            world = np.asarray(volume.affine, float) @ np.vstack(
                [np.argwhere(volume.array > 0).T, np.ones(int((volume.array > 0).sum()))]
            )
            name = label if label not in found else f"{label}_{number}"
            found[name] = _lesion_at((_LPS @ world)[:3].T, ct, f"{path}: segment {label}")
    except (ValueError, TypeError, AttributeError, KeyError, OSError, RuntimeError) as error:
        if isinstance(error, CaseRejected):
            raise
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{path}: expected a DICOM-SEG, got {type(error).__name__}: {error}"
        ) from None
    return found


def _lesion_at(world: npt.NDArray[np.float64], ct: Volume, where: str) -> Lesion:
    """The voxels whose centres lie at some world points (mm, RAS), shape (n, 3)."""
    if not len(world):
        raise CaseRejected(Reason.EMPTY_LESION, f"{where}: expected at least one voxel, got none")
    voxels = ct.to_voxel(world)
    at = np.rint(voxels).astype(int)
    if np.abs(voxels - at).max() > GRID_TOLERANCE or at.min() < 0 or np.any(at >= ct.array.shape):
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{where}: expected voxels of its CT's grid, got some {np.abs(voxels - at).max():.2f} voxels off "
            "it or outside",
        )
    return _from_indices(at)


def _from_indices(at: npt.NDArray[np.int64]) -> Lesion:
    low = at.min(axis=0)
    mask = np.zeros(at.max(axis=0) - low + 1, bool)
    mask[tuple((at - low).T)] = True
    return Lesion(tuple(int(v) for v in low), mask)  # type: ignore[arg-type]


def _fill(planes: dict[int, list[npt.NDArray[np.float64]]], ct: Volume, *, edge_outside: bool, where: str) -> Lesion:
    """Closed contours (voxel indices along x and y) of axial planes as a lesion; a contour in a contour is a hole.

    ``edge_outside``: the contour's own pixels do not belong to the nodule (LIDC's definition).
    """
    from skimage.draw import polygon2mask, polygon_perimeter

    nx, ny, nz = ct.array.shape
    points = np.concatenate([p for contours in planes.values() for p in contours])
    if points.min() < -0.5 or np.any(points > [nx - 0.5, ny - 0.5]):
        raise CaseRejected(
            Reason.BAD_POSITION, f"{where}: expected contours inside the CT ({nx} x {ny} pixels), got some outside"
        )
    lo = np.clip(np.floor(points.min(axis=0)).astype(int) - 1, 0, [nx - 1, ny - 1])
    hi = np.clip(np.ceil(points.max(axis=0)).astype(int) + 2, 1, [nx, ny])
    size = tuple(int(v) for v in hi - lo)
    low_z, high_z = min(planes), max(planes)
    if low_z < 0 or high_z >= nz or min(size) < 1:
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"{where}: expected contours inside the CT ({nx} x {ny} x {nz}), got planes {low_z} to {high_z}",
        )
    block = np.zeros((*size, high_z - low_z + 1), bool)
    for k, contours in planes.items():
        for contour in contours:
            if len(contour) < 3:  # a point or a line marks the voxels it touches
                inside = np.zeros(size, bool)
                inside[tuple((np.rint(contour).astype(int) - lo).T)] = True
            else:
                inside = polygon2mask(size, contour - lo)
                if edge_outside:
                    rows, columns = polygon_perimeter(*(np.rint(contour).astype(int) - lo).T, shape=size, clip=True)
                    inside[rows, columns] = False
            block[..., k - low_z] ^= inside
    if not block.any():
        raise CaseRejected(Reason.EMPTY_LESION, f"{where}: expected a contour around at least one voxel, got none")
    tight = cut_lesion(block)
    offset = np.add(tight.offset, [lo[0], lo[1], low_z])
    return Lesion((int(offset[0]), int(offset[1]), int(offset[2])), tight.mask)


def read_rtstruct(path: Path, ct: Volume, roi: str) -> dict[str, Lesion]:
    """Regions of an RTSTRUCT by name, in the grid of its CT.

    Args:
        path: the RTSTRUCT.
        ct: the CT (RAS+) that it was drawn on.
        roi: regular expression; regions whose name matches it, in upper or lower case, are read.

    Raises:
        CaseRejected: no RTSTRUCT, no such region (names those there), or contours outside the CT.
    """
    import pydicom

    try:
        data = pydicom.dcmread(path)
        names = {int(r.ROINumber): str(r.ROIName) for r in data.StructureSetROISequence}
        contours = {int(r.ReferencedROINumber): r.get("ContourSequence", []) for r in data.ROIContourSequence}
    except (pydicom.errors.InvalidDicomError, AttributeError, OSError) as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected an RTSTRUCT, got {error}") from None
    chosen = {number: name for number, name in names.items() if re.search(roi, name, re.IGNORECASE)}
    if not chosen:
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{path}: expected a region that matches {roi!r}, got {', '.join(names.values()) or 'none'}",
        )
    found = {}
    for number, name in chosen.items():
        planes: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
        for contour in contours.get(number, []):
            world = np.array(contour.ContourData, float).reshape(-1, 3) * [-1.0, -1.0, 1.0]
            voxels = ct.to_voxel(world)
            planes[int(np.rint(voxels[:, 2].mean()))].append(voxels[:, :2])
        if not planes:
            raise CaseRejected(Reason.EMPTY_LESION, f"{path}: region {name}: expected contours, got none")
        unique = name if name not in found else f"{name}_{number}"
        found[unique] = _fill(planes, ct, edge_outside=False, where=f"{path}: region {name}")
    return found


def read_lidc_xml(path: Path, ct: Volume) -> dict[str, Lesion]:
    """Nodules of a LIDC reading file, in the grid of its CT (RAS+).

    Readers' marks that overlap are one nodule: the voxels that at least half of the marks hold. Pixels are columns and
    rows of axial images; columns run to the patient's left, rows to the back. The pixels of an edge map lie just
    outside the nodule (the collection's definition).

    Raises:
        CaseRejected: no LIDC XML, or no nodule with a contour in it.
    """
    from defusedxml import ElementTree

    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, OSError, ValueError) as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected LIDC XML, got {error}") from None
    for element in root.iter():
        element.tag = element.tag.rsplit("}", 1)[-1]
    marks: list[Lesion] = []
    for nodule in root.iter("unblindedReadNodule"):
        planes: dict[int, list[npt.NDArray[np.float64]]] = defaultdict(list)
        for roi in nodule.iter("roi"):
            edge = np.array([[float(_text(e, "xCoord")), float(_text(e, "yCoord"))] for e in roi.iter("edgeMap")])
            if len(edge):
                k = int(np.rint(ct.to_voxel([0.0, 0.0, float(_text(roi, "imageZposition"))])[2]))
                planes[k].append(np.array(ct.array.shape[:2]) - 1 - edge)
        if planes and (
            len(planes) > 1 or len(next(iter(planes.values()))[0]) > 2
        ):  # a single point marks a nodule below 3 mm
            marks.append(_fill(planes, ct, edge_outside=True, where=f"{path}: nodule {_text(nodule, 'noduleID')}"))
    if not marks:
        raise CaseRejected(Reason.EMPTY_LESION, f"{path}: expected a nodule with contours, got none")
    return {f"N{i}": lesion for i, lesion in enumerate(_consensus(marks), 1)}


def _text(element: Any, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _consensus(marks: list[Lesion]) -> list[Lesion]:
    """Marks that share a voxel, joined; of each group the voxels that at least half of its marks hold."""
    voxels = [set(map(tuple, mark.indices.tolist())) for mark in marks]
    groups: list[list[set[tuple[int, ...]]]] = []
    for own in voxels:
        touching = [g for g in groups if any(own & other for other in g)]
        groups = [g for g in groups if g not in touching]
        groups.append([own, *(other for g in touching for other in g)])
    found = []
    for group in groups:
        at, times = np.unique(np.concatenate([np.array(sorted(v)) for v in group]), axis=0, return_counts=True)
        found.append(_from_indices(at[2 * times >= len(group)]))
    return sorted(found, key=lambda lesion: lesion.offset)
