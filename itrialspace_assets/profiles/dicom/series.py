"""CT series: a folder of slices, or one multi-frame file, as HU on a straight grid.

Geometry comes from positions and orientations alone, never from slice thickness or "spacing between slices", which
writers fill in wrongly. What does not make one straight, evenly spaced stack of HU is rejected.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume, canonical_volume
from itrialspace_assets.profiles.dicom.grid import LPS, TOLERANCE, SeriesIdentity, reading

#: Rescale types (PS3.3 C.11.1.1.2) that are HU or say nothing; writers of CT state US, "unspecified", for HU.
_HU_TYPES = ("", "HU", "US")
#: HU of air, and the brightest that 12 bits hold (-1024 + 4095); padding above it is no tissue.
_AIR_HU, _BRIGHTEST_HU = -1000, 3071
#: Names of files that hold DICOM and nothing else.
_DICOM_NAMES = (".dcm", ".dicom", ".ima")


@dataclass(frozen=True)
class _Slice:
    """Where a slice lies (mm, LPS): first pixel, directions of a row and a column (unit vectors), pixel size."""

    path: Path
    number: int | None  # of the frame, from 0, in a multi-frame file
    position: npt.NDArray[np.float64]
    axes: npt.NDArray[np.float64]  # (2, 3): along a row (columns rise), along a column (rows rise)
    spacing: npt.NDArray[np.float64]  # (2,): between columns, between rows
    shape: tuple[int, int]  # columns, rows

    @property
    def where(self) -> str:
        return f"{self.path}" if self.number is None else f"{self.path}: frame {self.number + 1}"


def is_ct_file(path: Path) -> bool:
    """True if a file is DICOM (it has the marker of PS3.10)."""
    from pydicom.misc import is_dicom

    return path.is_file() and bool(is_dicom(path))


def read_ct_series(source: Path) -> tuple[Volume, SeriesIdentity]:
    """One CT series as HU (int16), and its identity.

    Args:
        source: a folder with the slices of one series, or with one multi-frame CT, or that file.

    Returns:
        The volume (X, Y, Z; RAS+), and what its headers state.

    Raises:
        CaseRejected: no slices, several series or patients, a slice without place or of another size, uneven or
            tilted slices, values that are not HU, or not a CT; names folder or file.
    """
    with reading(source, "a CT series"):
        return _read(source)


def _read(source: Path) -> tuple[Volume, SeriesIdentity]:
    files = [source] if source.is_file() else sorted(p for p in source.iterdir() if p.is_file())
    headers = _headers(files, strict=source.is_dir())
    if not headers:
        inner = 0 if source.is_file() else sum(p.is_dir() for p in source.iterdir())
        raise _refused(
            source,
            f"expected the slices of a CT series, got 0 CT slices in {len(files)} files"
            + (f" and {inner} folders: give the folder of one series" if inner else ""),
        )
    for name, keyword in (("CT series", "SeriesInstanceUID"), ("patient", "PatientID")):
        if len(values := sorted({str(h.get(keyword, "")).strip() for _, h in headers})) > 1:
            raise _refused(source, f"expected one {name}, got {len(values)}: {', '.join(values[:3])}")
    frames = sorted({str(h.get("FrameOfReferenceUID", "")).strip() for _, h in headers})
    if len(frames) > 1:
        raise _refused(source, f"expected one frame of reference, got {len(frames)}: {', '.join(frames[:3])}")
    many = [path for path, header in headers if int(header.get("NumberOfFrames") or 1) > 1]
    if many and len(headers) > 1:
        raise _refused(
            source, f"expected slices or one multi-frame file, got {len(headers)} files, {many[0].name} of many frames"
        )
    slices = _frames(*headers[0]) if many else [_slice(path, header, header, None) for path, header in headers]
    if len(slices) < 2:
        raise _refused(source, f"expected the slices of a CT series, got 1 CT slice in {len(files)} files")
    _require_alike(slices)
    slices, affine = _stack(slices, source)
    array = _multiframe_hu(slices) if many else _hu(slices, dict(headers))
    first = headers[0][1]
    age = re.fullmatch(r"0*(\d+)Y", str(first.get("PatientAge", "")).strip())
    identity = SeriesIdentity(
        series=str(first.get("SeriesInstanceUID", "")).strip(),
        patient=str(first.get("PatientID", "")).strip(),
        age=age.group(1) if age else "",
        sex=str(first.get("PatientSex", "")).strip(),
        frame=frames[0],
        pixels=affine,
        places={} if many else {str(h.get("SOPInstanceUID", "")): tuple(_place(h)) for _, h in headers},
    )
    return canonical_volume(np.clip(np.rint(array), -32768, 32767).astype(np.int16), affine, str(source)), identity


def _refused(where: Any, detail: str) -> CaseRejected:
    return CaseRejected(Reason.UNREADABLE_VOLUME, f"{where}: {detail}")


def _headers(files: Sequence[Path], *, strict: bool) -> list[tuple[Path, Any]]:
    """Headers of the CT images among some files; hidden files and other objects of DICOM are passed over."""
    import pydicom

    found = []
    for path in files:
        if path.name.startswith("."):
            continue
        try:
            header = pydicom.dcmread(path, stop_before_pixels=True, force=True)
            modality = str(header.get("Modality", ""))
            directory = header.file_meta.get("MediaStorageSOPClassUID") == pydicom.uid.MediaStorageDirectoryStorage
        except Exception as error:  # damaged bytes raise what they like
            if is_ct_file(path) or path.suffix.lower() in _DICOM_NAMES or not strict:
                raise _refused(path, f"expected a whole DICOM file, got {type(error).__name__}: {error}") from None
            continue
        named = path.suffix.lower() in _DICOM_NAMES or not strict
        if not modality and not directory and (named or is_ct_file(path)):
            raise _refused(
                path, "expected a whole DICOM file, got one without modality: restore it, or move it out of the folder"
            )
        if modality == "CT":
            found.append((path, header))
    return found


def _numbers(source: Any, keyword: str, count: int, where: str) -> npt.NDArray[np.float64]:
    value = source.get(keyword) if source is not None else None
    try:
        numbers = np.array([float(v) for v in value or ()], np.float64)
    except (TypeError, ValueError):
        numbers = np.full(0, np.nan)
    if len(numbers) != count or not np.isfinite(numbers).all():
        raise _refused(
            where,
            f"{keyword}: expected {count} numbers, got {value!r}: without them the slice has no place; move a file "
            "that is no slice out of the folder",
        )
    return numbers


def _slice(path: Path, header: Any, groups: Any, number: int | None) -> _Slice:
    """A slice by its header; ``groups`` gives place and size, which a multi-frame file keeps by frame."""
    where = str(path) if number is None else f"{path}: frame {number + 1}"
    position = _numbers(groups, "ImagePositionPatient", 3, where)
    axes = _numbers(groups, "ImageOrientationPatient", 6, where).reshape(2, 3)
    rows, columns = _numbers(groups, "PixelSpacing", 2, where)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 0.01 or min(rows, columns) <= 0:
        raise _refused(
            where,
            f"expected two directions at right angles and pixels above 0 mm, got {axes.ravel().tolist()} and "
            f"{rows:g} x {columns:g} mm",
        )
    axes = axes / np.linalg.norm(axes, axis=1, keepdims=True)
    shape = (int(header.get("Columns") or 0), int(header.get("Rows") or 0))
    return _Slice(path, number, position, axes, np.array([columns, rows]), shape)


def _place(header: Any) -> list[float]:
    return [float(v) for v in header.ImagePositionPatient]


def _frames(path: Path, header: Any) -> list[_Slice]:
    """The frames of a multi-frame CT (PS3.3 A.38) in the order of the file."""
    from pydicom.dataset import Dataset

    shared = (header.get("SharedFunctionalGroupsSequence") or [Dataset()])[0]
    groups = header.get("PerFrameFunctionalGroupsSequence") or []
    if len(groups) != int(header.NumberOfFrames):
        raise _refused(path, f"expected a place for each of {header.NumberOfFrames} frames, got {len(groups)}")
    found = []
    for number, own in enumerate(groups):
        place = Dataset()
        for sequence in ("PlanePositionSequence", "PlaneOrientationSequence", "PixelMeasuresSequence"):
            items = own.get(sequence) or shared.get(sequence) or []
            place.update(items[0] if len(items) else Dataset())
        found.append(_slice(path, header, place, number))
    return found


def _require_alike(slices: Sequence[_Slice]) -> None:
    """Refuse slices whose size, pixel size or direction differs so much that a pixel moves by the tolerance."""
    first = slices[0]
    for other in slices:
        reach = max(*other.shape, 1)
        for name, differ, a, b in (
            ("rows and columns", other.shape != first.shape, first.shape, other.shape),
            (
                "a pixel size of",
                np.abs(other.spacing / first.spacing - 1).max() * reach > TOLERANCE,
                first.spacing.tolist(),
                other.spacing.tolist(),
            ),
            (
                "directions",
                np.abs(other.axes - first.axes).max() * reach > TOLERANCE,
                first.axes.ravel().tolist(),
                other.axes.ravel().tolist(),
            ),
        ):
            if differ:
                raise _refused(
                    other.where,
                    f"expected {name} {a} as in {first.path.name}, got {b}: keep the slices of one stack in the folder",
                )


def _stack(slices: Sequence[_Slice], source: Path) -> tuple[list[_Slice], npt.NDArray[np.float64]]:
    """Slices in order along their normal, and the affine (4×4) from column, row and slice to world mm (RAS)."""
    row, column = slices[0].axes
    normal = np.cross(row, column)
    places = np.array([s.position for s in slices])
    order = np.argsort(places @ normal, kind="stable")
    slices, places = [slices[i] for i in order], places[order]
    along = places @ normal
    steps = np.diff(along)
    usual, step = float(np.median(steps)), float((along[-1] - along[0]) / (len(slices) - 1))
    if (same := np.flatnonzero(steps <= TOLERANCE * max(usual, 1e-3))).size:
        a, b = slices[same[0]], slices[same[0] + 1]
        raise _refused(
            source,
            f"expected slices at {len(slices)} places, got a step of {steps[same[0]]:.3f} mm after slice {same[0] + 1} "
            f"of {len(slices)}: {a.where} and {b.where} lie at one place; {len(same)} slices are there twice or have "
            "no place of their own",
        )
    if np.abs(along - along[0] - step * np.arange(len(slices))).max() > TOLERANCE * step:
        worst = int(np.argmax(np.abs(steps - usual)))
        raise _refused(
            source,
            f"expected slices {usual:.3f} mm apart, got a step of {steps[worst]:.3f} mm after slice {worst + 1} of "
            f"{len(slices)} ({slices[worst].path.name}): a slice is missing or there twice",
        )
    sideways = (places - places[0]) @ np.column_stack([row, column]) / slices[0].spacing
    if np.abs(sideways).max() > TOLERANCE:
        drift = np.linalg.norm((places[-1] - places[0]) @ np.column_stack([row, column]))
        angle = np.degrees(np.arctan2(drift, along[-1] - along[0]))
        raise CaseRejected(
            Reason.OBLIQUE_VOLUME,
            f"{source}: expected slices stacked along their normal, got a stack tilted by {angle:.2f} degrees (its "
            f"last slice lies {drift:.1f} mm off its axis, as by a tilted gantry): resample it to straight axes and "
            "import the result",
        )
    affine = np.eye(4)
    affine[:3, :3] = np.column_stack([row * slices[0].spacing[0], column * slices[0].spacing[1], normal * step])
    affine[:3, 3] = places[0]
    return slices, LPS @ affine


def _require_hu(header: Any, where: str) -> None:
    """Refuse values that the header does not turn into HU."""
    if header.get("ModalityLUTSequence"):
        raise CaseRejected(
            Reason.IMPLAUSIBLE_HU, f"{where}: expected a rescale slope and intercept, got a lookup table"
        )
    if (kind := str(header.get("RescaleType", "") or "").strip()) not in _HU_TYPES:
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, f"{where}: RescaleType: expected HU, got {kind}")
    for keyword in ("RescaleSlope", "RescaleIntercept"):
        try:
            value = float(header[keyword].value)
        except (KeyError, TypeError, ValueError):
            value = np.nan
        if not np.isfinite(value) or (keyword == "RescaleSlope" and value == 0):
            raise CaseRejected(
                Reason.IMPLAUSIBLE_HU,
                f"{where}: {keyword}: expected the number that turns stored values into HU, got "
                f"{header.get(keyword, 'none')!r}: export the series again with its rescale",
            )


def _require_pixels(path: Path, header: Any) -> None:
    """Refuse stored pixels that are fewer than the header promises, which GDCM fills up without a word."""
    import pydicom

    syntax = header.file_meta.get("TransferSyntaxUID")
    if syntax is not None and syntax.is_encapsulated:
        return
    wanted = int(header.get("Rows") or 0) * int(header.get("Columns") or 0) * int(header.get("BitsAllocated") or 0) // 8
    got = len(pydicom.dcmread(path, specific_tags=["PixelData"], force=True).get("PixelData") or b"")
    if got < wanted:
        raise _refused(path, f"expected {wanted} bytes of pixels, got {got}: the file is not whole")


def _bright_padding(header: Any) -> float:
    """HU of the padding outside the scanned circle if it is brighter than tissue, else not a number.

    Padding far below air (-2000 stored) is kept: it is outside the body either way.
    """
    padding = header.get("PixelPaddingValue")
    level = float(padding) * float(header.RescaleSlope) + float(header.RescaleIntercept) if padding is not None else 0.0
    return level if level > _BRIGHTEST_HU else float("nan")


def _hu(slices: Sequence[_Slice], headers: dict[Path, Any]) -> npt.NDArray[Any]:
    """HU (columns, rows, slices); each slice by its own rescale."""
    import SimpleITK as sitk

    planes = []
    for item in slices:
        _require_hu(headers[item.path], item.where)
        _require_pixels(item.path, headers[item.path])
        try:
            plane = sitk.GetArrayFromImage(sitk.ReadImage(str(item.path)))
        except RuntimeError as error:
            raise _refused(
                item.where, f"expected a readable CT slice, got {str(error).strip().splitlines()[-1]}"
            ) from None
        if plane.shape != (1, *item.shape[::-1]):
            raise _refused(item.where, f"expected one grey image {item.shape[::-1]}, got {plane.shape}")
        plane = np.where(plane[0] == _bright_padding(headers[item.path]), _AIR_HU, plane[0])
        planes.append(np.clip(np.rint(plane), -32768, 32767).astype(np.int16))
    return np.stack(planes).T


def _multiframe_hu(slices: Sequence[_Slice]) -> npt.NDArray[Any]:
    """HU (columns, rows, slices) of a multi-frame file."""
    import highdicom as hd

    path = slices[0].path
    with reading(path, "a readable multi-frame CT in HU"):
        image = hd.imread(path)
        for own in (*image.PerFrameFunctionalGroupsSequence, *image.SharedFunctionalGroupsSequence):
            for item in own.get("PixelValueTransformationSequence", []):
                _require_hu(item, str(path))
        numbers = [s.number + 1 for s in slices if s.number is not None]
        frames = image.get_frames(numbers, apply_modality_transform=True, dtype=np.float32)
    return np.asarray(frames).T
