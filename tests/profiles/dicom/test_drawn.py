"""Segmentations, structure sets and LIDC readings as programs write them: the lesions drawn, or a rejection by name."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom.sr.codedict import codes

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.dicom import ct_series, segmentation
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.dicom.grid import SeriesIdentity
from itrialspace_assets.profiles.dicom.lidc import read_lidc_xml
from itrialspace_assets.profiles.dicom.regions import Region, RegionChoice, Regions, choose
from itrialspace_assets.profiles.dicom.rtstruct import read_rtstruct
from itrialspace_assets.profiles.dicom.seg import read_seg
from itrialspace_assets.profiles.dicom.series import read_ct_series
from itrialspace_assets.profiles.doubts import Doubt

from ...intake.dicom_files import FRAME, SERIES, lidc_xml, write_rtstruct, write_seg, write_series

OWN = SeriesIdentity(series=str(SERIES), patient="P7", frame=str(FRAME))


def grid(spacing: tuple[float, float, float] = (2.0, 2.0, 5.0)) -> Volume:
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = (-30, -20, -100)
    return Volume(np.full((24, 20, 12), -800, np.int16), affine)


def box(*at: tuple[int, int]) -> np.ndarray:
    mask = np.zeros(grid().array.shape, bool)
    mask[tuple(slice(a, b) for a, b in at)] = True
    return mask


NODULE, OTHER, LUNG = box((3, 6), (4, 8), (2, 4)), box((15, 18), (4, 6), (7, 9)), box((1, 12), (2, 18), (1, 11))


def square(low: float, high: float) -> np.ndarray:
    return np.array([[low, low], [high, low], [high, high], [low, high]], float)


def circle(radius: float, at: tuple[float, float] = (12, 10)) -> np.ndarray:
    angle = np.linspace(0, 2 * np.pi, 60, endpoint=False)
    return np.column_stack([at[0] + radius * np.cos(angle), at[1] + radius * np.sin(angle)])


def voxels(found: Regions) -> dict[str, int]:
    return {name: int(lesion.mask.sum()) for name, lesion in found.lesions}


# --- DICOM-SEG


@pytest.fixture
def slices(tmp_path: Path) -> list[Any]:
    return list(write_series(tmp_path / "s", grid()))


def test_organs_of_a_segmentation_are_no_nodules(tmp_path: Path, slices: list[Any]) -> None:
    path = tmp_path / "seg.dcm"
    masks = {"Lung-Left": LUNG, "Lungs-GTV": LUNG, "Segment 3": NODULE, "Neoplasm, Primary": OTHER, "Segment 5": LUNG}
    write_seg(path, slices, masks, types={"Segment 5": codes.SCT.Heart, "Neoplasm, Primary": codes.SCT.Heart})
    found = read_seg(path, grid(), OWN, RegionChoice())
    assert voxels(found) == {"Segment 3": 24, "Neoplasm, Primary": 12}, "one by its code, one by its name"
    assert "left out: 1 'Lung-Left' (Nodule), 2 'Lungs-GTV' (Nodule), 5 'Segment 5' (Heart)" in found.notes[0].text
    assert list(voxels(read_seg(path, grid(), OWN, RegionChoice("neoplasm")))) == ["Neoplasm, Primary"]
    for segments in (("3",), ("Segment 3",), ("3", "Segment 3")):
        assert voxels(read_seg(path, grid(), OWN, RegionChoice(segments=segments))) == {"Segment 3": 24}
    with pytest.raises(CaseRejected, match="--segment '9': expected the number or name of one region, got no such"):
        read_seg(path, grid(), OWN, RegionChoice(segments=("9",)))
    with pytest.raises(CaseRejected, match=r"expected a region that matches 'tumour', got 1 'Lung-Left' \(Nodule\)"):
        read_seg(path, grid(), OWN, RegionChoice("tumour"))


@pytest.mark.parametrize("kind", ["BINARY", "LABELMAP", "FRACTIONAL"])
def test_each_segment_has_its_own_voxels(tmp_path: Path, slices: list[Any], kind: str) -> None:
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE, "N2": OTHER}, kind=kind)
    found = dict(read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice()).lesions)
    for name, mask in (("N1", NODULE), ("N2", OTHER)):
        whole = np.zeros(mask.shape, bool)
        whole[found[name].box] = found[name].mask
        np.testing.assert_array_equal(whole, mask)


def test_probabilities_are_no_segment(tmp_path: Path, slices: list[Any]) -> None:
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE * 0.6}, kind="FRACTIONAL")
    with pytest.raises(
        CaseRejected, match=r"segment 1 'N1' \(Nodule\): expected .* BINARY or LABELMAP, got FRACTIONAL"
    ):
        read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice())
    with pytest.raises(CaseRejected, match="expected a share from 0 to 1 for a FRACTIONAL segmentation, got 128"):
        read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice(), 128)


@pytest.mark.parametrize(("threshold", "inside"), [(0.5, NODULE), (0.2, NODULE | OTHER)])
def test_a_threshold_takes_probabilities(
    tmp_path: Path, slices: list[Any], threshold: float, inside: np.ndarray
) -> None:
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE * 0.6 + OTHER * 0.3}, kind="FRACTIONAL")
    found = read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice(), threshold)
    whole = np.zeros(NODULE.shape, bool)
    for _, lesion in found.lesions:
        whole[lesion.box] |= lesion.mask
    np.testing.assert_array_equal(whole, inside)
    with pytest.raises(CaseRejected, match=r"expected a segment with voxels, got .*left out: it has no voxel"):
        read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice(), 0.9)


def _frame(number: int, change: Callable[[Any], None]) -> Callable[[Any], None]:
    return lambda data: change(data.PerFrameFunctionalGroupsSequence[number])


def _place(frame: Any) -> Any:
    return frame.PlanePositionSequence[0].ImagePositionPatient


def _two_places(data: Any) -> None:
    """The two frames of the first segment change their places."""
    first, second = (_place(frame) for frame in data.PerFrameFunctionalGroupsSequence[:2])
    first[:], second[:] = list(second), list(first)


def _without_the_last_frame(data: Any) -> None:
    data.PerFrameFunctionalGroupsSequence.pop()
    data.NumberOfFrames -= 1


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: None, ""),
        (_two_places, "frames 1, 2 lie elsewhere than the images they name"),
        (_two_places, "indices and places of the frames do not agree"),
        (
            _frame(0, lambda f: setattr(f.SegmentIdentificationSequence[0], "ReferencedSegmentNumber", 2)),
            "indices and segments of the frames do not agree",
        ),
        (_without_the_last_frame, "bytes of pixels beyond those of its 4 frames"),
    ],
)
def test_a_frame_that_its_file_describes_in_two_ways_is_a_doubt(
    tmp_path: Path, change: Callable[[Any], None], message: str
) -> None:
    """Moved within the grid of the CT, or given to another segment: nothing else would show it."""
    write_series(tmp_path / "s", grid())
    _, identity = read_ct_series(tmp_path / "s")
    slices = list(write_series(tmp_path / "s", grid()))
    write_seg(tmp_path / "seg.dcm", slices, {"N1": box((3, 6), (4, 8), (2, 5)), "N2": OTHER})
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    change(data)
    data.save_as(tmp_path / "seg.dcm")
    found = read_seg(tmp_path / "seg.dcm", grid(), identity, RegionChoice())
    told = [note.text for note in found.notes if note.doubt is Doubt.FRAMES_CONTRADICT]
    assert any(message in text for text in told) if message else not told


def test_pixels_of_a_segment_that_is_not_described_are_refused(tmp_path: Path, slices: list[Any]) -> None:
    """One byte of a segment's number: its voxels would be gone."""
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE, "N2": OTHER}, kind="LABELMAP")
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    data.SegmentSequence.pop()
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(CaseRejected, match=r"expected pixels of the segments that the file describes, got some of"):
        read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice())


def test_frames_beyond_the_ct_are_refused(tmp_path: Path, slices: list[Any]) -> None:
    """The whole frame moved by one pixel: each voxel still lies on the CT's grid."""
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE})
    data = pydicom.dcmread(tmp_path / "seg.dcm")
    for frame in data.PerFrameFunctionalGroupsSequence:
        _place(frame)[0] += float(grid().spacing[0])
    data.save_as(tmp_path / "seg.dcm")
    with pytest.raises(CaseRejected, match=r"expected frames inside its CT .*, got voxels from \(-1\.0, "):
        read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice())


def test_lesions_of_one_segment_are_counted(tmp_path: Path, slices: list[Any]) -> None:
    speck = box((20, 21), (10, 11), (5, 6))
    write_seg(tmp_path / "seg.dcm", slices, {"Nodules": NODULE | OTHER | speck, "N2": box((9, 12), (9, 12), (5, 6))})
    found = read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice())
    assert [(name, int(lesion.mask.sum())) for name, lesion in found.lesions] == [
        ("Nodules", 24),
        ("Nodules", 12),
        ("N2", 9),
    ]
    assert found.lesions[1][1].offset == (15, 4, 7)
    assert "3 separate parts: 2 nodules, 1 specks of fewer than 3 voxels left out" in found.notes[0].text


@pytest.mark.parametrize(
    ("spacing", "message"),
    [
        ((2.0, 2.0, 2.5), r"expected voxels of its CT's size, 2\.500 mm along z, got 5\.000 mm"),
        ((2.0, 2.0, 10.0), r"expected voxels of its CT's size, 10\.000 mm along z, got 5\.000 mm"),
        ((1.0, 1.0, 5.0), r"size, 1\.000 mm along [xy], got 2\.000 mm"),
    ],
)
def test_voxels_of_another_size_do_not_pass_as_the_cts(
    tmp_path: Path, slices: list[Any], spacing: tuple[float, float, float], message: str
) -> None:
    """Centres of coarse voxels may all lie on a finer grid: a striped lesion of a part of its volume."""
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE})
    size = (60, 60, 40)
    finer = Volume(np.zeros(size, np.int16), grid(spacing).affine)
    with pytest.raises(CaseRejected, match=message):
        read_seg(tmp_path / "seg.dcm", finer, OWN, RegionChoice())


def test_a_segmentation_beside_the_grid_is_refused(tmp_path: Path, slices: list[Any]) -> None:
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE})
    for shift, message in (
        ((0.0, 0.0, 1.0), r"got some 0\.20 off"),
        ((8.0, 0.0, 0.0), "expected frames inside its CT"),
    ):
        affine = grid().affine.copy()
        affine[:3, 3] += shift
        with pytest.raises(CaseRejected, match=message) as told:
            read_seg(
                tmp_path / "seg.dcm",
                Volume(grid().array[:, :, :3] if shift[0] else grid().array, affine),
                OWN,
                RegionChoice(),
            )
        assert told.value.reason is Reason.GRID_MISMATCH


def test_an_empty_segment_does_not_lose_the_others(tmp_path: Path, slices: list[Any]) -> None:
    write_seg(tmp_path / "seg.dcm", slices, {"N1": NODULE, "N2": NODULE & OTHER})
    found = read_seg(tmp_path / "seg.dcm", grid(), OWN, RegionChoice())
    assert list(voxels(found)) == ["N1"]
    assert "segment 2 'N2' (Nodule): left out: it has no voxel" in found.notes[0].text


def test_what_this_platform_exports_reads_back(tmp_path: Path) -> None:
    for name, data in ct_series(grid(), "image", "anatomy", "P1", "synthetic"):
        (tmp_path / "s").mkdir(exist_ok=True)
        (tmp_path / "s" / name).write_bytes(data)
    args = ("image", "anatomy", "P1", False)
    (tmp_path / "seg.dcm").write_bytes(segmentation(grid(), [NODULE, OTHER], ["A", "B"], *args))
    ct, identity = read_ct_series(tmp_path / "s")
    np.testing.assert_array_equal(ct.array, grid().array)
    found = read_seg(tmp_path / "seg.dcm", ct, identity, RegionChoice())
    assert voxels(found) == {"A": 24, "B": 12}
    assert not found.notes


# --- what was it drawn on?


def _seg(path: Path, ct: Volume) -> Callable[[SeriesIdentity], Regions]:
    write_seg(path, list(write_series(path.with_suffix(""), ct)), {"N1": NODULE})
    return lambda identity: read_seg(path, ct, identity, RegionChoice())


def _rtstruct(path: Path, ct: Volume) -> Callable[[SeriesIdentity], Regions]:
    data = write_rtstruct(path, ct, {"GTV": {4: [square(3, 7)]}})
    frame, study, series = pydicom.Dataset(), pydicom.Dataset(), pydicom.Dataset()
    frame.FrameOfReferenceUID, series.SeriesInstanceUID = FRAME, SERIES
    study.RTReferencedSeriesSequence, frame.RTReferencedStudySequence = [series], [study]
    data.ReferencedFrameOfReferenceSequence = [frame]
    data.save_as(path)
    return lambda identity: read_rtstruct(path, ct, identity, RegionChoice())


@pytest.mark.parametrize("make", [_seg, _rtstruct])
def test_what_was_drawn_on_another_image_is_refused(tmp_path: Path, make: Any) -> None:
    read = make(tmp_path / "x.dcm", grid())
    assert not read(OWN).notes
    for other, word in (
        (replace(OWN, frame="1.2.3"), "frame of reference"),
        (replace(OWN, patient="P8"), "patient"),
        (replace(OWN, frame="", series="1.2.3"), "series"),
    ):
        with pytest.raises(CaseRejected, match=rf"x\.dcm: expected the {word} of its CT, .* got"):
            read(other)
    (note,) = read(replace(OWN, series="1.2.3")).notes
    assert "drawn on series" in note.text, "the same frame of reference is the same place"
    (note,) = read(SeriesIdentity()).notes
    assert "the CT states no frame of reference and no series: not compared" in note.text


def test_a_reading_of_another_series_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "r.xml"
    path.write_text(lidc_xml(grid(), [{4: EDGE}]))
    (note,) = read_lidc_xml(path, grid(), OWN).notes
    assert "the file states no frame of reference and no series: not compared" in note.text
    head = "<ResponseHeader><SeriesInstanceUid>1.2.3</SeriesInstanceUid></ResponseHeader><readingSession>"
    path.write_text(path.read_text().replace("<readingSession>", head, 1))
    with pytest.raises(CaseRejected, match=rf"r\.xml: expected the series of its CT, {SERIES}, got 1\.2\.3"):
        read_lidc_xml(path, grid(), OWN)


# --- RTSTRUCT


def _region(path: Path, planes: dict[float, list[np.ndarray]], ct: Volume | None = None) -> Regions:
    write_rtstruct(path, ct or grid(), {"GTV": planes})
    return read_rtstruct(path, ct or grid(), OWN, RegionChoice())


@pytest.mark.parametrize(
    "levels",
    [
        [3.5, 4.5, 5.5, 6.5],
        [3.3, 4.3, 5.3, 6.3],
        [4.04, 4.96, 6.02, 7.0],
        [3.75, 4.25, 4.75, 5.25, 5.75, 6.25, 6.75, 7.25],
        [3.5, 3.7, 3.9, 4.1, 4.3, 4.5, 4.7, 4.9, 5.1, 5.3, 5.5, 5.7, 5.9, 6.1, 6.3, 6.5, 6.7, 6.9, 7.1, 7.3],
        [4, 6],
    ],
    ids=["half", "third", "rounded", "denser", "much-denser", "every-second"],
)
def test_a_stack_of_contours_keeps_its_volume(tmp_path: Path, levels: list[float]) -> None:
    found = _region(tmp_path / "rt.dcm", {level: [square(3.5, 8.5)] for level in levels})
    assert voxels(found) == {"GTV": 25 * 4}
    (_, lesion) = found.lesions[0]
    assert abs(lesion.centroid[2] - np.mean(levels)) <= 0.5


def test_a_ball_of_contours_keeps_its_volume_on_any_slices(tmp_path: Path) -> None:
    """A ball of 16 mm drawn on 2.5 mm planes that lie anywhere between slices of 5 mm."""
    truth = 4 / 3 * np.pi * 16**3
    for shift in (0.0, 0.1, 0.25, 0.4):
        levels = np.arange(2, 9, 0.5) + shift
        radius = np.sqrt(np.maximum(0, 16**2 - ((levels - 5) * 5) ** 2)) / 2
        found = _region(
            tmp_path / "rt.dcm", {float(k): [circle(r)] for k, r in zip(levels, radius, strict=True) if r > 0.3}
        )
        ((_, lesion),) = found.lesions
        assert lesion.mask.sum() * grid().voxel_mm3 == pytest.approx(truth, rel=0.15)
        np.testing.assert_allclose(lesion.centroid, [12, 10, 5], atol=0.5)


def test_a_contour_written_twice_counts_once(tmp_path: Path) -> None:
    twice = [square(3.5, 8.5), np.roll(square(3.5, 8.5), 2, axis=0)[::-1] + 0.01]
    assert voxels(_region(tmp_path / "rt.dcm", {4: twice, 5: twice})) == {"GTV": 50}


def test_holes_islands_and_parts_side_by_side(tmp_path: Path) -> None:
    rings = [square(5.5, 6.5), square(1.5, 10.5), square(3.5, 8.5), square(12.5, 15.5)]
    found = _region(tmp_path / "rt.dcm", {4: rings})
    assert sorted(int(lesion.mask.sum()) for _, lesion in found.lesions) == [9, 81 - 25]
    assert "specks of fewer than 3 voxels left out" in found.notes[0].text, "the island of one voxel"
    crossing = _region(tmp_path / "rt.dcm", {4: [square(1.5, 8.5), square(6.5, 11.5)]})
    assert voxels(crossing) == {"GTV": 49 + 25 - 4}
    assert "contours cross each other at z=-80.00 mm" in crossing.notes[0].text


def test_a_cavity_as_a_keyhole_is_a_hole(tmp_path: Path) -> None:
    """One curve: round the lesion, by a cut into it, round the cavity the other way, and back."""
    outer, inner = square(1.5, 10.5), square(4.5, 7.5)[::-1]
    keyhole = np.concatenate([outer, outer[:1], inner, inner[:1]])
    expected = _region(tmp_path / "rt.dcm", {4: [outer, inner]}).lesions[0][1]
    found = _region(tmp_path / "rt.dcm", {4: [keyhole]}).lesions[0][1]
    assert expected.mask.sum() == 81 - 9
    assert found.offset == expected.offset
    assert (found.mask != expected.mask).sum() <= 3, "voxels on the cut"


def test_a_contour_between_slices_is_not_lost(tmp_path: Path) -> None:
    """Two planes 1 mm apart, both between two slices: thinner than any slice."""
    found = _region(tmp_path / "rt.dcm", {4.35: [square(3.5, 8.5)], 4.45: [square(3.5, 8.5)]})
    assert voxels(found) == {"GTV": 25}
    assert "100 mm³ by its contours became 500 mm³ in voxels of the CT" in found.notes[0].text


def test_two_lesions_far_apart_are_not_joined(tmp_path: Path) -> None:
    found = _region(tmp_path / "rt.dcm", {2: [square(3.5, 8.5)], 9: [square(3.5, 8.5)]})
    assert [int(lesion.mask.sum()) for _, lesion in found.lesions] == [25, 25]
    assert "2 separate parts: 2 nodules" in "; ".join(map(str, found.notes))


def test_points_and_empty_regions_are_left_out_and_named(tmp_path: Path) -> None:
    path = tmp_path / "rt.dcm"
    data = write_rtstruct(
        path, grid(), {"GTV-1": {4: [square(3.5, 8.5)]}, "GTV-2": {}, "Nodule mark": {5: [square(3, 4)[:1]]}}
    )
    found = read_rtstruct(path, grid(), OWN, RegionChoice())
    assert voxels(found) == {"GTV-1": 25}
    assert "region 2 'GTV-2': left out: it has no closed contour" in found.notes[0].text
    data.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "OPEN_PLANAR"
    data.save_as(path)
    with pytest.raises(CaseRejected, match=r"expected a region with closed contours, got .*GTV-1.*; .*GTV-2"):
        read_rtstruct(path, grid(), OWN, RegionChoice())
    del data.ROIContourSequence[1].ContourSequence
    data.ROIContourSequence[0].ContourSequence[0].ContourGeometricType = "CLOSED_PLANAR"
    data.save_as(path)
    assert voxels(read_rtstruct(path, grid(), OWN, RegionChoice())) == {"GTV-1": 25}


def test_contours_in_other_planes_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "rt.dcm"
    data = write_rtstruct(path, grid(), {"GTV": {4: [square(3.5, 8.5)]}})
    points = data.ROIContourSequence[0].ContourSequence[0]
    flat = np.array(points.ContourData, float).reshape(-1, 3)
    flat[2:, 2] += 15
    points.ContourData = flat.ravel().tolist()
    data.save_as(path)
    with pytest.raises(CaseRejected, match=r"expected contours in axial planes, got one from z=-80\.00 to -65\.00 mm"):
        read_rtstruct(path, grid(), OWN, RegionChoice())
    for planes in ({14.0: [square(3, 6)]}, {4.0: [square(-3, 6)]}):
        with pytest.raises(CaseRejected, match=r"expected contours inside the CT \(24 x 20 x 12 voxels\)"):
            _region(path, planes)


@pytest.mark.parametrize(("byte", "value", "refused"), [(2, 0x45, True), (0, 1, False)])
def test_lengths_that_do_not_add_up_show(tmp_path: Path, byte: int, value: int, refused: bool) -> None:
    """One byte of the length of a contour's item: what comes after it is read as part of it, or lost."""
    path = tmp_path / "rt.dcm"
    ring = [square(3.5, 8.5)]
    write_rtstruct(path, grid(), {"GTV-1": {4: ring, 5: ring}, "GTV-2": {7: ring, 8: ring}})
    assert not read_rtstruct(path, grid(), OWN, RegionChoice()).notes
    raw = bytearray(path.read_bytes())
    item = raw.index(b"CLOSED_PLANAR") - 12
    assert raw[item - 4 : item] == b"\xfe\xff\x00\xe0"
    raw[item + byte] = value
    path.write_bytes(raw)
    if refused:
        with pytest.raises(CaseRejected, match=r"rt\.dcm: expected a whole RTSTRUCT, got \w+: .*") as told:
            read_rtstruct(path, grid(), OWN, RegionChoice())
        assert "\n" not in told.value.detail
    else:
        found = read_rtstruct(path, grid(), OWN, RegionChoice())
        assert Doubt.LENGTHS_CONTRADICT in {note.doubt for note in found.notes}, voxels(found)


# --- LIDC XML

EDGE = [(x, y) for x in range(8, 12) for y in (5, 9)] + [(x, y) for x in (8, 12) for y in range(5, 10)]
EDGE = sorted(set(EDGE), key=lambda p: np.arctan2(p[1] - 7.0, p[0] - 10.0))


def _reading(sessions: str, series: str = str(SERIES)) -> str:
    head = f"<ResponseHeader><SeriesInstanceUid>{series}</SeriesInstanceUid></ResponseHeader>"
    return f'<LidcReadMessage xmlns="http://www.nih.gov">{head}{sessions}</LidcReadMessage>'


def test_a_mark_in_two_places_is_two_nodules_and_a_doubt(tmp_path: Path) -> None:
    """Two outlines under one nodule, as of a reading whose middle is missing; a slice that was left out is none."""
    moved = [(x + 8, y + 6) for x, y in EDGE]
    both = lidc_xml(grid(), [{4: EDGE, 5: EDGE}, {4: moved, 5: moved}]).replace(
        "</unblindedReadNodule></readingSession><readingSession><unblindedReadNodule><noduleID>R1</noduleID>", ""
    )
    path = tmp_path / "r.xml"
    path.write_text(both)
    found = read_lidc_xml(path, grid(), OWN)
    assert [int(lesion.mask.sum()) for _, lesion in found.lesions] == [18, 18]
    assert Doubt.PARTS_APART in {note.doubt for note in found.notes}
    path.write_text(lidc_xml(grid(), [{4: EDGE, 6: EDGE}]))
    found = read_lidc_xml(path, grid(), OWN)
    assert len(found.lesions) == 1
    assert Doubt.PARTS_APART not in {note.doubt for note in found.notes}


def test_a_reading_without_a_nodule_is_a_negative(tmp_path: Path) -> None:
    path = tmp_path / "r.xml"
    path.write_text(_reading("<readingSession/><readingSession><nonNodule/></readingSession>"))
    assert not read_lidc_xml(path, grid(), OWN).lesions
    small = lidc_xml(grid(), [{4: [(8, 8)]}])
    path.write_text(small)
    found = read_lidc_xml(path, grid(), SeriesIdentity())
    assert not found.lesions
    assert "1 marks without an outline (nodules below 3 mm) left out" in found.notes[-1].text
    for text, got in (
        ("<IdriReadMessage><CXRreadingSession/></IdriReadMessage>", "IdriReadMessage"),
        ("<html/>", "html"),
    ):
        path.write_text(text)
        with pytest.raises(CaseRejected, match=f"expected a LidcReadMessage with reading sessions of a CT, got {got}"):
            read_lidc_xml(path, grid(), OWN)
    path.write_text('<!DOCTYPE x [<!ENTITY a "b">]><LidcReadMessage>&a;</LidcReadMessage>')
    with pytest.raises(CaseRejected, match=r"r\.xml: expected LIDC XML"):
        read_lidc_xml(path, grid(), OWN)


@pytest.mark.parametrize("prone", [False, True])
def test_pixels_lie_where_the_series_orientation_says(tmp_path: Path, prone: bool) -> None:
    """Image columns and rows of one outline, under images that run to the left and back, or the other way."""

    def turn(_: int, data: Any) -> None:
        if prone:  # the same pixels, both directions reversed
            x, y, z = (float(v) for v in data.ImagePositionPatient)
            data.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
            data.ImagePositionPatient = [x + 23 * 2.0, y + 19 * 2.0, z]

    write_series(tmp_path / "s", grid(), change=turn)
    ct, identity = read_ct_series(tmp_path / "s")
    (tmp_path / "r.xml").write_text(lidc_xml(grid(), [{4: EDGE, 5: EDGE}]))
    ((_, lesion),) = read_lidc_xml(tmp_path / "r.xml", ct, identity).lesions
    supine = np.array([10.0, 7.0, 4.5])
    np.testing.assert_allclose(lesion.centroid, [23 - 10, 19 - 7, 4.5] if prone else supine)
    assert lesion.mask.sum() == 3 * 3 * 2


def test_an_exclusion_is_a_hole_and_an_outline_in_another_is_none(tmp_path: Path) -> None:
    outer = [(x, y) for x in range(4, 17) for y in range(2, 15) if x in (4, 16) or y in (2, 14)]
    outer = sorted(outer, key=lambda p: np.arctan2(p[1] - 8.0, p[0] - 10.0))
    text = lidc_xml(grid(), [{4: outer}])
    inner = lidc_xml(grid(), [{4: EDGE}])
    roi = inner[inner.index("<roi>") : inner.index("</roi>") + 6]
    for inclusion, count in (("TRUE", 121), ("FALSE", 121 - 9)):
        inside = roi.replace("TRUE", inclusion)
        (tmp_path / "r.xml").write_text(text.replace("</roi>", "</roi>" + inside))
        ((_, lesion),) = read_lidc_xml(tmp_path / "r.xml", grid(), SeriesIdentity()).lesions
        assert lesion.mask.sum() == count


def test_an_outline_between_slices_is_refused(tmp_path: Path) -> None:
    (tmp_path / "r.xml").write_text(lidc_xml(grid(), [{4: EDGE}]).replace("-80.0", "-77.5"))
    with pytest.raises(CaseRejected, match=r"expected outlines on the CT's slices, got z=-77\.5 mm, 0\.50 slices off"):
        read_lidc_xml(tmp_path / "r.xml", grid(), SeriesIdentity())


def test_a_chain_of_marks_is_one_nodule_and_not_empty(tmp_path: Path) -> None:
    """Five readers' outlines of which only neighbours overlap: no voxel is held by half of them."""
    edges = [{4: [(x - 7 + 2 * k, y) for x, y in EDGE]} for k in range(5)]
    (tmp_path / "r.xml").write_text(lidc_xml(grid(), edges))
    ((_, lesion),) = read_lidc_xml(tmp_path / "r.xml", grid(), SeriesIdentity()).lesions
    assert lesion.mask.sum() > 0


# --- names


@pytest.mark.parametrize(
    ("name", "code", "taken"),
    [
        ("GTV-1", False, True),
        ("Lung nodule", False, True),
        ("nodule - left lung", False, True),
        ("Lungs-GTV", False, False),
        ("lung_minus_gtv", False, False),
        ("Normal lung without tumour", False, False),
        ("Left Lung", True, False),
        ("Segment_1", True, True),
        ("Segment_1", False, False),
        ("Mass", False, False),
        ("Spinal cord", True, False),
    ],
)
def test_a_name_or_a_code_makes_a_nodule(name: str, code: bool, taken: bool) -> None:
    regions = [Region(1, name, "", code), Region(2, "GTV")]
    chosen, notes = choose(regions, RegionChoice(), "f")
    assert (regions[0] in chosen, len(notes)) == (taken, int(not taken))


def test_a_number_that_is_a_name_means_the_name() -> None:
    regions = [Region(1, "2"), Region(2, "1")]
    assert choose(regions, RegionChoice(segments=("2",)), "f")[0] == [regions[0]]
    with pytest.raises(CaseRejected, match="got 2 such"):
        choose([Region(1, "a"), Region(2, "a")], RegionChoice(segments=("a",)), "f")
