"""What NIfTI headers state, or fail to state, of orientation and unit: read right, or refused by name."""

import gzip
import struct
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.imaging.packing import write_volume

from ..conftest import small_chest

#: Offsets in a NIfTI-1 header.
UNITS, QFORM_CODE, SFORM_CODE, QUATERN_B, DATATYPE = 123, 252, 254, 256, 70


def written(path: Path) -> Path:
    """The small chest as an uncompressed NIfTI-1."""
    write_volume(path.with_suffix(".nii.gz"), small_chest())
    path.write_bytes(gzip.decompress(path.with_suffix(".nii.gz").read_bytes()))
    return path


def patched(path: Path, layout: str, offset: int, value: float | bytes) -> Path:
    raw = bytearray(path.read_bytes())
    struct.pack_into(layout, raw, offset, value)
    path.write_bytes(raw)
    return path


def mirrored_qform(path: Path) -> Path:
    """A file whose qform says that axis 0 runs to the left, its sform to the right."""
    chest = small_chest()
    image = nib.Nifti1Image(chest.array, chest.affine)
    image.set_qform(np.diag([-1.0, 1, 1, 1]) @ chest.affine, code=1)
    image.set_sform(chest.affine, code=1)
    nib.save(image, path)
    return path


def test_a_file_without_orientation_is_refused_and_names_both_codes(tmp_path: Path) -> None:
    path = written(tmp_path / "a.nii")
    patched(patched(path, "<h", QFORM_CODE, 0), "<h", SFORM_CODE, 0)
    with pytest.raises(CaseRejected, match=r"a\.nii: .*sform_code 0 and qform_code 0: left and right") as told:
        read_volume(path)
    assert told.value.reason is Reason.UNREADABLE_VOLUME
    np.testing.assert_array_equal(read_labels(path, "sform").array, small_chest().array)


@pytest.mark.parametrize("other", [QFORM_CODE, SFORM_CODE])
def test_one_orientation_is_enough(tmp_path: Path, other: int) -> None:
    path = patched(written(tmp_path / "a.nii"), "<h", other, 0)
    np.testing.assert_array_equal(read_labels(path).array, small_chest().array)
    np.testing.assert_allclose(read_labels(path).affine, small_chest().affine, atol=1e-5)


def test_two_orientations_that_differ_need_a_word(tmp_path: Path) -> None:
    path = mirrored_qform(tmp_path / "a.nii.gz")
    with pytest.raises(
        CaseRejected, match=r"got two that differ by up to 60\.0 mm: sform \(code 1\) RAS.*qform \(code 1\) LAS"
    ):
        read_volume(path)
    np.testing.assert_array_equal(read_volume(path, "sform").array, small_chest().array)
    np.testing.assert_array_equal(read_volume(path, "qform").array, small_chest().array[::-1])


def test_an_orientation_that_is_none_is_named(tmp_path: Path) -> None:
    path = patched(written(tmp_path / "a.nii"), "<f", QUATERN_B, 3.0)
    with pytest.raises(CaseRejected, match=r"qform \(code 1\) unusable"):
        read_volume(path)
    with pytest.raises(CaseRejected, match="expected a usable qform"):
        read_volume(path, "qform")
    np.testing.assert_array_equal(read_volume(path, "sform").array, small_chest().array)


@pytest.mark.parametrize(("unit", "factor"), [("micron", 1000.0), ("meter", 0.001), ("mm", 1.0), ("unknown", 1.0)])
def test_lengths_are_read_in_the_unit_of_the_file(tmp_path: Path, unit: str, factor: float) -> None:
    chest = small_chest()
    image = nib.Nifti1Image(chest.array, np.diag([factor] * 3 + [1.0]) @ chest.affine)
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    np.testing.assert_allclose(read_volume(tmp_path / "a.nii.gz").affine, chest.affine, rtol=1e-5)


def test_a_unit_that_cannot_be_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CaseRejected, match=r"expected voxels of 0\.05 to 50 mm, got \(1500, 2000, 2500\) mm"):
        read_volume(patched(written(tmp_path / "a.nii"), "<b", UNITS, 1))
    with pytest.raises(CaseRejected, match="got unit code 5 in xyzt_units"):
        read_volume(patched(written(tmp_path / "b.nii"), "<b", UNITS, 5))


def test_other_forms_of_nifti(tmp_path: Path) -> None:
    chest = small_chest()
    nib.save(nib.Nifti2Image(chest.array, chest.affine), tmp_path / "two.nii.gz")
    nib.save(nib.Nifti1Image(chest.array, chest.affine, header=nib.Nifti1Header(endianness=">")), tmp_path / "big.nii")
    (tmp_path / "plain.nii.gz").write_bytes(written(tmp_path / "a.nii").read_bytes())
    (tmp_path / "packed.nii").write_bytes(gzip.compress((tmp_path / "a.nii").read_bytes()))
    for name in ("two.nii.gz", "big.nii", "plain.nii.gz", "packed.nii"):
        np.testing.assert_array_equal(read_labels(tmp_path / name).array, chest.array, err_msg=name)


@pytest.mark.parametrize(
    ("dtype", "message"), [("complex64", "voxels of type complex64"), ("rgb", "which are not single real numbers")]
)
def test_voxels_are_single_real_numbers(tmp_path: Path, dtype: str, message: str) -> None:
    kind = np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]) if dtype == "rgb" else np.dtype(dtype)
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), kind), np.eye(4)), tmp_path / "a.nii")
    with pytest.raises(CaseRejected, match=message):
        read_volume(tmp_path / "a.nii")


def test_a_file_of_another_kind_is_named(tmp_path: Path) -> None:
    chest = small_chest()
    nib.save(nib.Nifti1Pair(chest.array, chest.affine), tmp_path / "pair.img")
    with pytest.raises(CaseRejected, match=r"pair\.hdr: .*convert \.hdr and \.img to one \.nii"):
        read_volume(tmp_path / "pair.hdr")
    with pytest.raises(CaseRejected, match=r"a\.nii: .*data code 0"):
        read_volume(patched(written(tmp_path / "a.nii"), "<h", DATATYPE, 0))


def test_a_voxel_without_a_number_is_refused(tmp_path: Path) -> None:
    array = np.zeros((4, 5, 6), np.float32)
    array[1, 2, 3], array[0, 0, 0] = np.nan, np.inf
    write_volume(tmp_path / "a.nii.gz", Volume(array, np.eye(4)))
    with pytest.raises(
        CaseRejected, match=r"a\.nii\.gz: expected a number in every voxel, got 2 NaN or infinite of 120"
    ):
        read_volume(tmp_path / "a.nii.gz")


def test_labels_kept_with_a_scale_factor_are_read(tmp_path: Path) -> None:
    chest = small_chest()
    image = nib.Nifti1Image(chest.array.astype(np.int16) * 10, chest.affine)
    image.header.set_slope_inter(0.1, 0)
    nib.save(image, tmp_path / "a.nii.gz")
    assert not np.array_equal(nib.load(tmp_path / "a.nii.gz").get_fdata(), chest.array), "the rounding error is there"
    np.testing.assert_array_equal(read_labels(tmp_path / "a.nii.gz").array, chest.array)
    for value in (300, -1):
        write_volume(tmp_path / "b.nii.gz", Volume(np.full((4, 5, 6), value, np.int16), np.eye(4)))
        with pytest.raises(CaseRejected, match=f"expected whole numbers 0-255, got int16 from {value} to {value}"):
            read_labels(tmp_path / "b.nii.gz")


def test_a_grid_says_how_it_differs() -> None:
    chest = small_chest()
    assert chest.grid_difference(Volume(chest.array, chest.affine + 1e-4)) == ""
    moved = chest.affine.copy()
    moved[:3, 3] += [3.0, 0.0, 4.0]
    assert chest.grid_difference(Volume(chest.array, moved)) == (
        "voxel 0 at (-27, -36, 11) mm instead of (-30, -36, 7) mm, 5.00 mm away"
    )
    identity = chest.grid_difference(Volume(chest.array[:-1], np.eye(4)))
    assert identity.startswith(
        "shape 39×36×30 instead of 40×36×30; voxels of 1×1×1 mm instead of 1.5×2×2.5 mm; voxel 0"
    )


def test_a_small_error_of_spacing_adds_up_over_the_grid() -> None:
    """1 % of a voxel a slice is 4 mm after 512 slices of 0.7 mm."""
    grid = Volume(np.zeros((2, 2, 512), np.uint8), np.diag([0.7, 0.7, 0.7, 1.0]))
    longer = Volume(grid.array, np.diag([0.7, 0.7, 0.706, 1.0]))
    assert not grid.same_grid(longer)


@pytest.mark.parametrize(("degrees", "taken"), [(0.57, False), (0.057, False), (0.05, True)])
def test_a_small_rotation_counts_by_what_it_moves_at_the_corner(tmp_path: Path, degrees: float, taken: bool) -> None:
    """Turned about z, the far end of an edge of 512 voxels moves by 511 times the sine of the angle."""
    angle, array = np.radians(degrees), np.zeros((512, 512, 2), np.uint8)
    affine = np.diag([0.7, 0.7, 2.5, 1.0])
    affine[:2, :2] = 0.7 * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    nib.save(nib.Nifti1Image(array, affine), tmp_path / "a.nii")
    if taken:
        assert read_volume(tmp_path / "a.nii").array.shape == array.shape
        return
    moved = 0.7 * 511 * np.sin(angle)
    with pytest.raises(
        CaseRejected, match=rf"off by {degrees:.2f} degrees, .* by {moved:.1f} mm at the far corner"
    ) as told:
        read_volume(tmp_path / "a.nii")
    assert told.value.reason is Reason.OBLIQUE_VOLUME
