"""CT series as hospitals and programs write them: read as their positions say, or rejected by name."""

from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.profiles.dicom.series import is_ct_file, read_ct_series

from ...intake.dicom_files import FRAME, SERIES, write_multiframe, write_series


def small_ct() -> Volume:
    """An image without symmetry, 2 × 1.5 × 5 mm."""
    affine = np.diag([2.0, 1.5, 5.0, 1.0])
    affine[:3, 3] = (-20, -10, -300)
    hu = np.random.default_rng(1).integers(-1000, 500, (8, 7, 12)).astype(np.int16)
    return Volume(hu, affine)


def _set(data: Any, **values: Any) -> None:
    for name, value in values.items():
        setattr(data, name, value)


@pytest.mark.parametrize(
    "change",
    [
        lambda k, d: _set(d, SpacingBetweenSlices=-5),
        lambda k, d: _set(d, SliceThickness=10, SpacingBetweenSlices=2.5),
        lambda k, d: _set(d, SliceThickness=None),
        lambda k, d: _set(d, InstanceNumber=(7 * k) % 12),
        lambda k, d: _set(d, RescaleType="US"),
        lambda k, d: _set(
            d, ImagePositionPatient=[round(float(v) + 0.02 * (k % 2), 2) for v in d.ImagePositionPatient]
        ),
        lambda k, d: _set(d, ImageOrientationPatient=[1, 0, 1e-6 * k, 0, 1, 0]),
    ],
    ids=["negative", "thickness", "no-thickness", "numbers", "unspecified", "rounded", "rounded-directions"],
)
def test_what_positions_do_not_say_changes_nothing(tmp_path: Path, change: Any) -> None:
    write_series(tmp_path / "s", small_ct(), change=change)
    ct, _ = read_ct_series(tmp_path / "s")
    np.testing.assert_array_equal(ct.array, small_ct().array)
    np.testing.assert_allclose(ct.affine, small_ct().affine, atol=0.03)


def test_a_secondary_capture_keeps_its_headers_geometry(tmp_path: Path) -> None:
    def change(_: int, data: Any) -> None:
        data.SOPClassUID = data.file_meta.MediaStorageSOPClassUID = pydicom.uid.SecondaryCaptureImageStorage

    write_series(tmp_path / "s", small_ct(), change=change)
    ct, _ = read_ct_series(tmp_path / "s")
    np.testing.assert_array_equal(ct.array, small_ct().array)
    np.testing.assert_allclose(ct.affine, small_ct().affine)


@pytest.mark.parametrize("turn", ["feet-first", "prone"])
def test_images_that_run_another_way_lie_where_they_say(tmp_path: Path, turn: str) -> None:
    """Rows to the front (or columns to the right), first pixel at the other corner: the same voxels, in space."""

    def change(_: int, data: Any) -> None:
        pixels = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns)
        x, y, z = (float(v) for v in data.ImagePositionPatient)
        y += (data.Rows - 1) * 1.5
        data.ImageOrientationPatient = [1, 0, 0, 0, -1, 0]
        pixels = pixels[::-1]
        if turn == "prone":
            x += (data.Columns - 1) * 2.0
            data.ImageOrientationPatient = [-1, 0, 0, 0, -1, 0]
            pixels = pixels[:, ::-1]
        data.ImagePositionPatient = [x, y, z]
        data.PixelData = np.ascontiguousarray(pixels).tobytes()

    write_series(tmp_path / "s", small_ct(), change=change)
    ct, _ = read_ct_series(tmp_path / "s")
    np.testing.assert_array_equal(ct.array, small_ct().array)
    np.testing.assert_allclose(ct.affine, small_ct().affine)


def test_each_slice_has_its_own_rescale(tmp_path: Path) -> None:
    """Slopes 1, 2 and 0.5 with intercepts of their own, and padding far below air."""

    def change(k: int, data: Any) -> None:
        slope, intercept = [(1, -1024), (2, -1000), (0.5, -12.5)][k % 3]
        hu = small_ct().array[::-1, ::-1, k].T.astype(float)
        data.RescaleSlope, data.RescaleIntercept = slope, intercept
        data.PixelData = np.rint((hu - intercept) / slope).astype(np.int16).tobytes()

    write_series(tmp_path / "s", small_ct(), change=change)
    ct, _ = read_ct_series(tmp_path / "s")
    assert np.abs(ct.array.astype(int) - small_ct().array).max() <= 1


@pytest.mark.parametrize(("padding", "stored_as"), [(-2000, -3024), (32000, -1000)])
def test_padding_is_outside_the_body(tmp_path: Path, padding: int, stored_as: int) -> None:
    """Far below air it stays as it is; brighter than tissue it becomes air. The rest of the slice keeps its HU."""

    def change(_: int, data: Any) -> None:
        pixels = np.frombuffer(data.PixelData, np.int16).reshape(data.Rows, data.Columns).copy()
        pixels[0] = padding
        data.PixelData = pixels.tobytes()
        data.add_new(0x00280120, "SS", padding)

    write_series(tmp_path / "s", small_ct(), change=change)
    ct, _ = read_ct_series(tmp_path / "s")
    assert (ct.array[:, -1] == stored_as).all(), "the first row is the front of the patient"
    np.testing.assert_array_equal(ct.array[:, :-1], small_ct().array[:, :-1])


def test_bits_beside_the_stored_ones_are_no_hu(tmp_path: Path) -> None:
    """Graphics that old scanners keep in the bits above the image's twelve."""

    def change(_: int, data: Any) -> None:
        data.BitsStored, data.HighBit, data.PixelRepresentation = 12, 11, 0
        pixels = np.frombuffer(data.PixelData, np.uint16).reshape(data.Rows, data.Columns) | 0x1000
        data.PixelData = pixels.tobytes()

    write_series(tmp_path / "s", small_ct(), change=change)
    np.testing.assert_array_equal(read_ct_series(tmp_path / "s")[0].array, small_ct().array)


def test_slices_without_the_marker_of_dicom_count(tmp_path: Path) -> None:
    """Old archives leave out the preamble; such a file has no name that says so either."""
    write_series(tmp_path, small_ct())
    for k in (5, 11):
        data = pydicom.dcmread(tmp_path / f"{k:03d}.dcm")
        bare = pydicom.Dataset()
        bare.update(data)
        bare.save_as(tmp_path / f"IM{k}", implicit_vr=True, little_endian=True, enforce_file_format=False)
        (tmp_path / f"{k:03d}.dcm").unlink()
    np.testing.assert_array_equal(read_ct_series(tmp_path)[0].array, small_ct().array)


def test_a_missing_end_slice_is_no_fault_but_a_hole_is(tmp_path: Path) -> None:
    write_series(tmp_path / "end", small_ct(), skip=(11,))
    assert read_ct_series(tmp_path / "end")[0].array.shape == (8, 7, 11)
    write_series(tmp_path / "hole", small_ct(), skip=(10,))
    with pytest.raises(CaseRejected, match=r"step of 10\.000 mm after slice 10 of 11 \(009\.dcm\)"):
        read_ct_series(tmp_path / "hole")


def _first(k: int, data: Any, **values: Any) -> None:
    if k == 3:
        _set(data, **values)


def _drop(data: Any, *names: str) -> None:
    for name in names:
        delattr(data, name)


def _shift(axis: int, by: float, after: int = 0) -> Any:
    def change(k: int, data: Any) -> None:
        place = [float(v) for v in data.ImagePositionPatient]
        place[axis] += by * max(0, k - after)
        data.ImagePositionPatient = place

    return change


_TILT = [1, 0, 0, 0, float(np.cos(0.2)), float(-np.sin(0.2))]
_SKEW = [1, 0, 0, 0, 1, 0.005]  # below the limit of a direction, above half a voxel at the far corner of a wide image


@pytest.mark.parametrize(
    ("change", "reason", "message"),
    [
        (
            _shift(1, 1.0),
            Reason.OBLIQUE_VOLUME,
            r"tilted by 11\.31 degrees \(its last slice lies 11\.0 mm off",
        ),
        (_shift(0, 0.05), Reason.OBLIQUE_VOLUME, r"tilted by 0\.57 degrees"),
        (lambda k, d: _set(d, ImageOrientationPatient=_TILT), Reason.OBLIQUE_VOLUME, r"tilted by 11\.46 degrees"),
        (_shift(2, 5.0, after=6), Reason.UNREADABLE_VOLUME, r"expected slices 10\.000 mm apart|5\.000 mm apart"),
        (lambda k, d: _set(d, ImagePositionPatient=[0, 0, 0]), Reason.UNREADABLE_VOLUME, "11 slices are there twice"),
        (
            lambda k, d: _first(k, d, ImagePositionPatient=[-6, -1, -290]),
            Reason.UNREADABLE_VOLUME,
            r"002\.dcm and .*003\.dcm lie at one place; 1 slices",
        ),
        (
            lambda k, d: _first(k, d, PixelSpacing=[1.5, 2.2]),
            Reason.UNREADABLE_VOLUME,
            r"003\.dcm: expected a pixel size",
        ),
        (
            lambda k, d: _first(k, d, ImageOrientationPatient=[1, 0, 0, 0, 0, -1]),
            Reason.UNREADABLE_VOLUME,
            r"003\.dcm: expected directions",
        ),
        (
            lambda k, d: _first(k, d, Rows=d.Columns, Columns=d.Rows),
            Reason.UNREADABLE_VOLUME,
            r"003\.dcm: expected rows and columns \(8, 7\)",
        ),
        (
            lambda k, d: _drop(d, "ImagePositionPatient") if k == 3 else None,
            Reason.UNREADABLE_VOLUME,
            r"003\.dcm: ImagePositionPatient: expected 3 numbers, got None",
        ),
        (
            lambda k, d: _drop(d, "ImageOrientationPatient"),
            Reason.UNREADABLE_VOLUME,
            r"000\.dcm: ImageOrientationPatient: expected 6 numbers",
        ),
        (lambda k, d: _drop(d, "PixelSpacing"), Reason.UNREADABLE_VOLUME, "PixelSpacing: expected 2 numbers"),
        (lambda k, d: _set(d, PixelSpacing=[0, 2]), Reason.UNREADABLE_VOLUME, "pixels above 0 mm"),
        (
            lambda k, d: _set(d, ImageOrientationPatient=[1, 0, 0, 1, 0, 0]),
            Reason.UNREADABLE_VOLUME,
            "two directions at right angles",
        ),
        (
            lambda k, d: _drop(d, "RescaleSlope", "RescaleIntercept"),
            Reason.IMPLAUSIBLE_HU,
            r"000\.dcm: RescaleSlope: expected the number .* got 'none'",
        ),
        (
            lambda k, d: _drop(d, "RescaleIntercept") if k == 3 else None,
            Reason.IMPLAUSIBLE_HU,
            r"003\.dcm: RescaleIntercept",
        ),
        (lambda k, d: _set(d, RescaleSlope=0), Reason.IMPLAUSIBLE_HU, "RescaleSlope"),
        (lambda k, d: _set(d, RescaleType="Z_EFF"), Reason.IMPLAUSIBLE_HU, "RescaleType: expected HU, got Z_EFF"),
        (lambda k, d: _first(k, d, PatientID="P8"), Reason.UNREADABLE_VOLUME, "expected one patient, got 2: P7, P8"),
        (
            lambda k, d: _first(k, d, FrameOfReferenceUID="1.2.3"),
            Reason.UNREADABLE_VOLUME,
            "expected one frame of reference, got 2",
        ),
        (
            lambda k, d: _first(k, d, PixelData=d.PixelData[:40]),
            Reason.UNREADABLE_VOLUME,
            r"003\.dcm: expected 112 bytes of pixels, got 40",
        ),
    ],
)
def test_what_is_no_straight_stack_of_hu_is_named(tmp_path: Path, change: Any, reason: Reason, message: str) -> None:
    write_series(tmp_path / "s", small_ct(), change=change)
    with pytest.raises(CaseRejected, match=message) as told:
        read_ct_series(tmp_path / "s")
    assert told.value.reason is reason
    assert str(tmp_path / "s") in str(told.value)


def test_a_small_angle_counts_by_the_voxels_it_moves(tmp_path: Path) -> None:
    wide = Volume(np.zeros((8, 300, 4), np.int16), small_ct().affine)

    def tilt(k: int, data: Any) -> None:
        """The whole stack turned by 0.005 rad about x: its slices stay on their normal."""
        data.ImageOrientationPatient = _SKEW
        first = [float(v) for v in data.ImagePositionPatient]
        data.ImagePositionPatient = [first[0], first[1] - 0.005 * 5 * k, first[2]]

    write_series(tmp_path / "s", wide, change=tilt)
    with pytest.raises(
        CaseRejected, match=r"off by 0\.29 degrees, .* by 2\.2 mm at the far corner \(at most 0\.5 voxels\)"
    ):
        read_ct_series(tmp_path / "s")


def test_other_files_of_the_folder_are_passed_over_or_named(tmp_path: Path) -> None:
    write_series(tmp_path, small_ct())
    (tmp_path / "._000.dcm").write_bytes(b"\0\5\26\7 AppleDouble")
    (tmp_path / "LICENSE").write_text("terms")
    data = pydicom.dcmread(tmp_path / "000.dcm")
    data.Modality, data.SeriesInstanceUID = "PR", "1.2.3"
    data.save_as(tmp_path / "state.dcm")
    np.testing.assert_array_equal(read_ct_series(tmp_path)[0].array, small_ct().array)
    (tmp_path / "011.dcm").write_bytes((tmp_path / "011.dcm").read_bytes()[100:])
    with pytest.raises(CaseRejected, match=r"011\.dcm: expected a whole DICOM file, got one without modality"):
        read_ct_series(tmp_path)


def test_a_multi_frame_file_reads_as_its_slices(tmp_path: Path) -> None:
    path = tmp_path / "s" / "ct.dcm"
    path.parent.mkdir()
    data = write_multiframe(path, small_ct())
    assert is_ct_file(path)
    for source in (path, path.parent):
        ct, identity = read_ct_series(source)
        np.testing.assert_array_equal(ct.array, small_ct().array)
        np.testing.assert_allclose(ct.affine, small_ct().affine)
        assert (identity.series, identity.frame, identity.patient) == (str(SERIES), str(FRAME), "P7")
    del data.PerFrameFunctionalGroupsSequence[2].PlanePositionSequence
    data.save_as(path)
    with pytest.raises(CaseRejected, match=r"ct\.dcm: frame 3: ImagePositionPatient: expected 3 numbers"):
        read_ct_series(path)
    data = write_multiframe(path, small_ct())
    for own in data.PerFrameFunctionalGroupsSequence:
        del own.PixelValueTransformationSequence
    data.save_as(path)
    with pytest.raises(CaseRejected, match=r"ct\.dcm: expected a readable multi-frame CT in HU"):
        read_ct_series(path)


def test_one_slice_is_no_scan(tmp_path: Path) -> None:
    write_series(tmp_path, small_ct(), skip=tuple(range(1, 12)))
    for source in (tmp_path, tmp_path / "000.dcm"):
        with pytest.raises(CaseRejected, match="expected the slices of a CT series, got 1 CT slice in 1 files"):
            read_ct_series(source)
