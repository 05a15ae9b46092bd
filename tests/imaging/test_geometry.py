from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import SimpleITK as sitk

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import (
    Volume,
    bounding_box,
    box_around,
    box_where,
    read_labels,
    read_volume,
    slab_depth,
)
from itrialspace_assets.imaging.packing import pack_volume, write_volume

from ..conftest import small_chest


@pytest.mark.parametrize("orientation", ["RAS", "LAS", "LPS", "RSA", "PIR"])
def test_any_axis_order_reads_back_as_ras(tmp_path: Path, orientation: str) -> None:
    chest = small_chest()
    path = tmp_path / "map.nii.gz"
    write_volume(path, chest, orientation=orientation)
    assert nib.aff2axcodes(nib.load(path).affine) == tuple(orientation)
    back = read_labels(path)
    np.testing.assert_array_equal(back.array, chest.array)
    np.testing.assert_allclose(back.affine, chest.affine, atol=1e-5)


def test_world_and_voxel_are_inverse_and_left_is_negative() -> None:
    chest = small_chest()
    np.testing.assert_allclose(chest.to_voxel(chest.to_world([3, 5, 7])), [3, 5, 7])
    assert chest.to_world([0, 0, 0])[0] < 0 < chest.to_world([39, 0, 0])[0]


def test_crop_keeps_world_positions() -> None:
    chest = small_chest()
    part = chest.crop((slice(4, 9), slice(6, 20), slice(2, 5)))
    np.testing.assert_allclose(part.to_world([1, 1, 1]), chest.to_world([5, 7, 3]))


def test_equal_volumes_give_equal_bytes(tmp_path: Path) -> None:
    one = write_volume(tmp_path / "a.nii.gz", small_chest(), "note")
    two = write_volume(tmp_path / "deeper" / "b.nii.gz", small_chest(), "note")
    assert one == two
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "deeper" / "b.nii.gz").read_bytes()


def test_missing_truncated_oblique_and_flat_files_name_the_file(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    with pytest.raises(CaseRejected, match=r"map\.nii\.gz") as missing:
        read_volume(path)
    assert missing.value.reason is Reason.MISSING_FILE
    write_volume(path, small_chest())
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(CaseRejected, match=r"map\.nii\.gz") as cut:
        read_volume(path)
    assert cut.value.reason is Reason.UNREADABLE_VOLUME
    path.write_bytes(b"this is no image")
    with pytest.raises(CaseRejected):
        read_volume(path)
    turned = np.eye(4)
    turned[:2, :2] = [[0.97, -0.24], [0.24, 0.97]]
    nib.save(nib.Nifti1Image(np.zeros((4, 5, 6), np.uint8), turned), path)
    with pytest.raises(CaseRejected) as oblique:
        read_volume(path)
    assert oblique.value.reason is Reason.OBLIQUE_VOLUME
    nib.save(nib.Nifti1Image(np.zeros((4, 5), np.uint8), np.eye(4)), path)
    with pytest.raises(CaseRejected, match="3 dimensions"):
        read_volume(path)


def test_a_float_map_of_whole_numbers_is_a_label_map_and_another_is_not(tmp_path: Path) -> None:
    path = tmp_path / "map.nii.gz"
    chest = small_chest()
    write_volume(path, Volume(chest.array.astype(np.float32), chest.affine))
    assert read_labels(path).array.dtype == np.uint8
    write_volume(path, Volume(chest.array.astype(np.float32) + 0.5, chest.affine))
    with pytest.raises(CaseRejected) as wrong:
        read_labels(path)
    assert wrong.value.reason is Reason.NOT_A_LABEL_MAP


def test_boxes() -> None:
    mask = np.zeros((6, 7, 8), bool)
    mask[2:4, 5, 1:6] = True
    assert bounding_box(mask) == (slice(2, 4), slice(5, 6), slice(1, 6))
    assert bounding_box(mask, pad=2) == (slice(0, 6), slice(3, 7), slice(0, 8))
    assert box_around([0, 6, 4], 2, mask.shape) == (slice(0, 3), slice(4, 7), slice(2, 7))
    with pytest.raises(ValueError, match="at least one"):
        bounding_box(np.zeros((2, 2, 2), bool))


def test_a_box_over_many_slabs_is_that_of_the_whole_mask() -> None:
    array = np.zeros((300, 280, 70), np.uint8, order="F")
    assert slab_depth(array) < 30
    assert box_where(array, lambda part: part > 0) is None
    array[5, 200, 24:26] = array[77, 9, 66] = 4
    assert box_where(array, lambda part: part == 4) == bounding_box(array > 0)


def test_a_file_cut_between_its_parts_is_refused(tmp_path: Path) -> None:
    """Each part is a whole gzip member, so unpacking alone would not notice."""
    volume = Volume(np.arange(512 * 512 * 20, dtype=np.uint32).astype(np.uint8).reshape(512, 512, 20), np.eye(4))
    packed = pack_volume(volume)
    assert len(packed.slabs) == 3
    path = tmp_path / "x.nii.gz"
    for parts in ((packed.header,), (packed.header, packed.slabs[0]), (packed.header, *packed.slabs[:2])):
        path.write_bytes(b"".join(parts))
        with pytest.raises(CaseRejected) as error:
            read_volume(path)
        assert error.value.reason is Reason.UNREADABLE_VOLUME
    path.write_bytes(packed.data)
    np.testing.assert_array_equal(read_volume(path).array, volume.array)
    np.testing.assert_array_equal(np.asarray(nib.load(path).dataobj), volume.array)  # another reader
    np.testing.assert_array_equal(sitk.GetArrayFromImage(sitk.ReadImage(str(path))), volume.array.T)  # and a third


def test_a_volume_shows_its_grid_and_not_its_voxels() -> None:
    affine = np.diag([0.7, 0.7, 1.25, 1.0])
    affine[:3, 3] = -173, -130, 20.5
    text = repr(Volume(np.zeros((512, 512, 256), np.int16), affine))
    assert text == "Volume(512×512×256 voxels of 0.7×0.7×1.25 mm, int16, RAS+, voxel 0 at (-173, -130, 20.5) mm)"


@pytest.mark.parametrize("shape", [(), (4,), (4, 5), (4, 5, 6, 1)])
def test_a_volume_has_three_dimensions(shape: tuple[int, ...]) -> None:
    with pytest.raises(ValueError, match=r"expected an array with 3 dimensions \(X, Y, Z\), got shape") as caught:
        Volume(np.zeros(shape), np.eye(4))
    assert str(shape) in str(caught.value)


def test_a_volume_has_a_whole_affine() -> None:
    with pytest.raises(ValueError, match=r"expected a 4×4 affine, got shape \(3, 3\)"):
        Volume(np.zeros((2, 2, 2)), np.eye(3))
