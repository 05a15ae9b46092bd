"""Damages files at random: their bytes, their fields, their geometry. Equal seeds give equal damage.

What is drawn (voxels, outlines, numbers of a list) has no check in any of these formats: another outline is as valid as
the first. Functions that may change it return False, and then only a crash counts.
"""

import gzip
import re
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pydicom
from nibabel.spatialimages import HeaderDataError

Random = np.random.Generator
#: Bytes of a NIfTI-1 file before its voxels.
_HEADER = 352
#: Elements of a DICOM file that hold what was drawn.
_DRAWN = ("PixelData", "ContourData")


#: What libraries raise where they do not write a damaged value.
NOT_WRITTEN = (TypeError, ValueError, AttributeError, OverflowError, HeaderDataError)


def damage_bytes(data: bytes, rng: Random, spared: tuple[tuple[int, int], ...] = ()) -> bytes:
    """Overwrite or delete some bytes, or cut the end off; ``spared``: spans that are kept, except by a cut."""
    raw = bytearray(data)
    free = np.ones(len(raw), bool)
    for start, stop in spared:
        free[start:stop] = False
    places = np.flatnonzero(free)
    kind = rng.integers(3)
    if kind == 0:
        for at in rng.choice(places, int(rng.integers(1, 10))):
            raw[at] = rng.integers(256)
    elif kind == 1:
        del raw[int(rng.integers(len(raw))) :]
    else:
        at = int(rng.choice(places))
        stop = min([at + int(rng.integers(1, 50)), *(start for start, _ in spared if start > at)])
        del raw[at:stop]
    return bytes(raw)


# --- NIfTI


def nifti(path: Path, rng: Random) -> bool:
    """A gzip-compressed NIfTI-1, in one of four ways; False where its voxels may have changed."""
    kind = rng.integers(4)
    if kind == 0:
        path.write_bytes(damage_bytes(path.read_bytes(), rng))
        return True  # the checksum of gzip
    if kind == 1:
        raw = gzip.decompress(path.read_bytes())
        cut = damage_bytes(raw, rng, ((_HEADER, len(raw)),))
        path.write_bytes(_packed(cut))
        return True
    if kind == 2:
        _nifti_field(path, rng)
        return True
    return _nifti_geometry(path, rng)


def _packed(raw: bytes) -> bytes:
    return gzip.compress(raw, 1, mtime=0)


def _nifti_field(path: Path, rng: Random) -> None:
    raw = bytearray(gzip.decompress(path.read_bytes()))
    layout = nib.Nifti1Header.template_dtype
    name = layout.names[rng.integers(len(layout.names))]
    dtype, offset = layout.fields[name]
    base = dtype.base
    values = np.frombuffer(bytes(raw[offset : offset + dtype.itemsize]), base).copy()
    at = rng.integers(len(values))
    if base.kind == "S":
        values[at] = rng.bytes(base.itemsize)
    else:
        choices = (0, 1, -1, 2, 0.5, float("nan"), float(rng.normal() * 100), float(values[at]) * 2, -float(values[at]))
        with np.errstate(all="ignore"):
            values[at] = np.array(choices[rng.integers(len(choices))]).astype(base)
    raw[offset : offset + dtype.itemsize] = values.tobytes()
    path.write_bytes(_packed(bytes(raw)))


def _nifti_geometry(path: Path, rng: Random) -> bool:
    """Another array, affine or type: the same volume told otherwise, or another one."""
    image = nib.Nifti1Image.from_bytes(gzip.decompress(path.read_bytes()))
    array, affine = np.asanyarray(image.dataobj), image.affine.copy()
    kind, axis = int(rng.integers(12)), int(rng.integers(3))
    if kind == 0:  # the same volume with an axis turned round
        ends = [pair[rng.integers(2)] for pair in ("RL", "AP", "SI")]
        turned = nib.orientations.axcodes2ornt("".join(rng.permutation(ends)))
        moved = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(affine), turned))
        array, affine = np.asanyarray(moved.dataobj), moved.affine
    elif kind == 1:
        affine[:, axis] *= -1
    elif kind == 2:
        affine[axis, 3] += float(rng.normal() * 20)
    elif kind == 3:
        affine[:3, axis] *= float(rng.choice([0.5, 0.9, 1.02, 1.1, 2.0]))
    elif kind == 4:
        angle, turn = float(rng.choice([0.001, 0.01, 0.1, 1.0])), np.eye(4)
        turn[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
        affine = turn @ affine
    elif kind == 5:
        affine[axis, (axis + 1) % 3] += float(rng.normal())
    elif kind == 6:
        affine[int(rng.integers(3)), int(rng.integers(4))] = float(rng.choice([0.0, np.nan, np.inf, 1e6]))
    elif kind == 7:
        array = np.delete(array, int(rng.integers(array.shape[axis])), axis)
    elif kind == 8:
        array = np.swapaxes(array, axis, (axis + 1) % 3)
    elif kind == 9:
        array = array[..., None] if rng.integers(2) else np.stack([array, array], -1)
    elif kind == 10:
        array = array.astype(rng.choice(["int8", "uint16", "int32", "float32", "float64"]))
    else:
        array = array.astype(np.float32)
        array.flat[rng.integers(array.size)] = rng.choice([np.nan, np.inf, 0.5])
    moved = nib.Nifti1Image(array, None if kind == 6 and not np.isfinite(affine).all() else affine)
    if int(rng.integers(3)) == 0:
        moved.header["qform_code"] = 0
    path.write_bytes(_packed(moved.to_bytes()))
    return True


# --- DICOM


def dicom_bytes(path: Path, rng: Random, drawn: tuple[str, ...] = _DRAWN) -> bool:
    """Bytes of a DICOM file outside what is drawn."""
    raw = path.read_bytes()
    spans = tuple(
        (at, at + len(value)) for value in _values(pydicom.dcmread(path), drawn) if (at := raw.find(value)) >= 0
    )
    path.write_bytes(damage_bytes(raw, rng, spans))
    return True


def _values(data: Any, drawn: tuple[str, ...]) -> list[bytes]:
    """The stored bytes of some elements, inner ones too."""
    found = []
    for _, element in elements(data):
        if element.keyword in drawn:
            value = element.value
            found.append(value if isinstance(value, bytes) else "\\".join(map(str, value)).encode())
    return found


def elements(data: Any) -> list[tuple[Any, Any]]:
    """Each element of a data set with the data set that holds it, inner ones too."""
    inner = [pair for element in data if element.VR == "SQ" for item in element.value for pair in elements(item)]
    return [(data, element) for element in data] + inner


def dicom_field(path: Path, rng: Random) -> bool:
    """Delete or empty one element, or scale or shorten its numbers; False where that may be what is drawn."""
    data = pydicom.dcmread(path)
    every = elements(data)
    owner, element = every[rng.integers(len(every))]
    kind = rng.integers(4)
    numbers = element.VR in ("DS", "IS", "FD", "FL", "US", "SS", "UL") and element.value is not None
    if kind == 1:
        element.value = [] if element.VR == "SQ" else None
    elif kind == 2 and numbers:
        factor = (-1, 2, 0.5, 0)[rng.integers(4)]
        values = list(element.value) if element.VM > 1 else [element.value]
        scaled = [type(v)(v * factor) if element.VR in ("DS", "FD", "FL") else abs(int(v * factor)) for v in values]
        element.value = scaled if element.VM > 1 else scaled[0]
    elif kind == 3 and element.VM > 1:
        element.value = list(element.value)[:-1]
    else:
        del owner[element.tag]
    data.save_as(path)
    return element.keyword not in _DRAWN or kind != 2


def series_geometry(folder: Path, rng: Random) -> bool:
    """The slices of a folder: one moved, gone, twice or turned, all tilted, or all under other names."""
    files = sorted(folder.glob("*.dcm"))
    path = files[rng.integers(len(files))]
    kind = int(rng.integers(8))
    if kind == 0:
        path.unlink()
        return True
    if kind == 1:
        (folder / "copy.dcm").write_bytes(path.read_bytes())
        return True
    if kind == 2:  # the order of the names means nothing
        for name, file in zip(rng.permutation(len(files)), files, strict=True):
            file.rename(folder / f"IM{name}")
        return True
    slope = rng.normal(size=2) * 0.3
    for number, file in enumerate(files if kind in (3, 4) else [path]):
        data = pydicom.dcmread(file)
        place = [float(v) for v in data.ImagePositionPatient]
        if kind == 3:  # a tilted gantry
            place[1] += float(slope[0]) * number * 5
        elif kind == 4:  # slices farther apart
            place[2] += float(slope[1]) * number * 5
        elif kind == 5:
            place[rng.integers(3)] += float(rng.normal() * 5)
        elif kind == 6:
            data.ImageOrientationPatient = [[-1, 0, 0, 0, 1, 0], [1, 0, 0, 0, 0.8, 0.6], [0, 1, 0, 1, 0, 0]][
                rng.integers(3)
            ]
        else:
            data.Rows, data.Columns = data.Columns, data.Rows
        data.ImagePositionPatient = [round(v, 6) for v in place]
        data.save_as(file)
    return True


def seg_geometry(path: Path, rng: Random) -> bool:
    """Frames of a segmentation moved, turned, given to another segment or taken out."""
    data = pydicom.dcmread(path)
    frames = list(data.PerFrameFunctionalGroupsSequence)
    number = int(rng.integers(len(frames)))
    frame, kind = frames[number], int(rng.integers(6))
    if kind == 0:
        at = [float(v) for v in frame.PlanePositionSequence[0].ImagePositionPatient]
        at[rng.integers(3)] += float(rng.choice([3.0, 4.0, 5.0, -5.0, 10.0, 0.7]))
        frame.PlanePositionSequence[0].ImagePositionPatient = at
    elif kind == 1:
        for each in frames:
            at = [float(v) for v in each.PlanePositionSequence[0].ImagePositionPatient]
            at[0] += 3.0
            each.PlanePositionSequence[0].ImagePositionPatient = at
    elif kind == 2 and "SegmentIdentificationSequence" in frame:
        item = frame.SegmentIdentificationSequence[0]
        item.ReferencedSegmentNumber = 3 - int(item.ReferencedSegmentNumber)
    elif kind == 3:
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.PlaneOrientationSequence[0].ImageOrientationPatient = [[-1, 0, 0, 0, 1, 0], [0, 1, 0, 1, 0, 0]][
            rng.integers(2)
        ]
    elif kind == 4:
        shared = data.SharedFunctionalGroupsSequence[0]
        shared.PixelMeasuresSequence[0].PixelSpacing = [2.0, 2.0]
    else:
        del data.PerFrameFunctionalGroupsSequence[number]
        data.NumberOfFrames = len(frames) - 1
    data.save_as(path)
    return True


# --- text


def text(path: Path, rng: Random, numbers: str) -> bool:
    """A text file: bytes outside its drawn numbers, its encoding, its lines; ``numbers``: pattern of what is drawn."""
    raw = path.read_bytes()
    kind = int(rng.integers(6))
    if kind < 3:
        spans = tuple(m.span() for m in re.finditer(numbers.encode(), raw))
        left = damage_bytes(raw, rng, spans)
        path.write_bytes(left)
        return not (left.endswith(b"\n") and set(left.split(b"\n")) <= set(raw.split(b"\n")))  # a shorter list is one
    elif kind == 3:
        path.write_bytes(raw.decode().encode(str(rng.choice(["utf-16", "utf-16-le", "utf-8-sig", "cp037", "utf-32"]))))
    elif kind == 4:
        lines = raw.split(b"\n")
        at = int(rng.integers(len(lines)))
        cut = lines[at][: int(rng.integers(1 + len(lines[at])))]
        path.write_bytes(b"\n".join([*lines[:at], cut, *lines[at + 1 :]]))
        return re.search(numbers.encode() + rb"$", cut) is None
    else:
        old, new = ((b",", b";"), (b"\n", b"\r\n"), (b".", b","), (b'"', b"'"), (b"\n", b"\n\n"))[rng.integers(5)]
        path.write_bytes(raw.replace(old, new))
    return True
