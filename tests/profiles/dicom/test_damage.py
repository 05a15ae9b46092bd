"""Valid DICOM and XML damaged at random: rejected, read as before, or read with a note; never another error."""

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.profiles.dicom.lidc import read_lidc_xml
from itrialspace_assets.profiles.dicom.regions import Choice, Regions
from itrialspace_assets.profiles.dicom.rtstruct import read_rtstruct
from itrialspace_assets.profiles.dicom.seg import read_seg
from itrialspace_assets.profiles.dicom.series import read_ct_series

from ...intake.dicom_files import lidc_xml, write_multiframe, write_rtstruct, write_seg, write_series
from .test_drawn import EDGE, NODULE, OTHER, OWN, grid, square
from .test_series import small_ct

TRIES = 200


def damage_bytes(path: Path, rng: np.random.Generator) -> None:
    data = bytearray(path.read_bytes())
    kind, at = rng.integers(3), int(rng.integers(len(data)))
    if kind == 0:
        for _ in range(int(rng.integers(1, 10))):
            data[rng.integers(len(data))] = rng.integers(256)
    elif kind == 1:
        del data[at:]
    else:
        del data[at : at + int(rng.integers(1, 50))]
    path.write_bytes(data)


def _elements(data: Any) -> list[tuple[Any, Any]]:
    inner = [pair for element in data if element.VR == "SQ" for item in element.value for pair in _elements(item)]
    return [(data, element) for element in data] + inner


def damage_field(path: Path, rng: np.random.Generator) -> None:
    """Delete or empty one element, or scale or shorten its numbers."""
    data = pydicom.dcmread(path)
    elements = _elements(data)
    owner, element = elements[rng.integers(len(elements))]
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


def _kinds(folder: Path) -> dict[str, Callable[[Path], Regions]]:
    """A file of each kind, and its reader."""
    slices = list(write_series(folder / "g", grid()))
    for name, kind in (("seg.dcm", "BINARY"), ("labelmap.dcm", "LABELMAP")):
        write_seg(folder / name, slices, {"N1": NODULE, "N2": OTHER}, kind=kind)
    ring = [square(3.5, 8.5)]
    write_rtstruct(folder / "rt.dcm", grid(), {"GTV-1": {4: ring, 5: ring}, "GTV-2": {7: ring}})
    (folder / "r.xml").write_text(lidc_xml(grid(), [{4: EDGE, 5: EDGE}, {4: EDGE, 5: EDGE}]))
    return {
        "seg.dcm": lambda p: read_seg(p, grid(), OWN, Choice()),
        "labelmap.dcm": lambda p: read_seg(p, grid(), OWN, Choice()),
        "rt.dcm": lambda p: read_rtstruct(p, grid(), OWN, Choice()),
        "r.xml": lambda p: read_lidc_xml(p, grid(), OWN),
    }


def _content(found: Regions) -> list[Any]:
    return sorted((lesion.offset, lesion.mask.tobytes()) for _, lesion in found.lesions)


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", ["seg.dcm", "labelmap.dcm", "rt.dcm", "r.xml"])
def test_a_damaged_drawing_is_rejected_or_noted(tmp_path: Path, name: str) -> None:
    """Changed bytes may be another valid drawing, so of those only errors count."""
    rng = np.random.default_rng(7)
    read = _kinds(tmp_path)[name]
    truth, rejected = read(tmp_path / name), 0
    fields = () if name == "r.xml" else (damage_field,)
    for number in range(TRIES):
        path = tmp_path / f"damaged_{name}"
        shutil.copyfile(tmp_path / name, path)
        damage = (damage_bytes, *fields)[number % (1 + len(fields))]
        try:
            damage(path, rng)
        except (TypeError, ValueError, AttributeError):  # pydicom does not write such a value
            continue
        try:
            found = read(path)
        except CaseRejected as told:
            rejected += 1
            assert str(path) in str(told), number
            continue
        new = set(found.notes) - set(truth.notes)
        same = _content(found) == _content(truth)
        assert same or new or damage is damage_bytes, f"try {number}: {found}"
    assert rejected > TRIES / 10


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("multiframe", [False, True])
def test_a_damaged_series_is_rejected_or_lies_where_it_did(tmp_path: Path, multiframe: bool) -> None:
    rng = np.random.default_rng(8)
    write_series(tmp_path / "s", small_ct())
    (tmp_path / "m").mkdir()
    write_multiframe(tmp_path / "m" / "000.dcm", small_ct())
    rejected = 0
    for number in range(TRIES):
        shutil.rmtree(tmp_path / "x", ignore_errors=True)
        shutil.copytree(tmp_path / ("m" if multiframe else "s"), tmp_path / "x")
        path = tmp_path / "x" / f"{0 if multiframe else rng.integers(12):03d}.dcm"
        try:
            (damage_bytes, damage_field)[number % 2](path, rng)
        except (TypeError, ValueError, AttributeError):
            continue
        try:
            ct, _ = read_ct_series(tmp_path / "x")
        except CaseRejected as told:
            rejected += 1
            assert str(tmp_path / "x") in str(told), number
            continue
        assert ct.array.shape == small_ct().array.shape, number
        np.testing.assert_allclose(ct.affine, small_ct().affine, atol=0.2, err_msg=str(number))
    assert rejected > TRIES / 10
