"""A file that shares gzip members with another reads as it would alone."""

from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.imaging import members
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.members import read_beside, read_members
from itrialspace_assets.imaging.packing import pack_volume, paste, repack, write_packed

BOX = (slice(30, 60), slice(10, 40), slice(20, 33))


@pytest.fixture
def files(tmp_path: Path) -> tuple[Path, Path]:
    """A volume's file, and that of the volume with a changed box."""
    array = np.random.default_rng(0).integers(-1024, 600, (200, 180, 90)).astype(np.int16, order="F")
    volume = Volume(array, np.diag([0.7, 0.7, 1.25, 1.0]))
    packed = pack_volume(volume)
    assert len(packed.slabs) > 2
    slabs = paste(packed, volume, np.full([s.stop - s.start for s in BOX], 40, np.int16), BOX)
    write_packed(tmp_path / "a.nii.gz", packed)
    write_packed(tmp_path / "b.nii.gz", repack(packed, volume, "", slabs))
    return tmp_path / "a.nii.gz", tmp_path / "b.nii.gz"


def test_only_members_that_differ_are_unpacked(files: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    like = read_members(files[0])
    unpacked: list[int] = []
    real = members._unpack

    def counted(data: bytes, at: int) -> tuple[list[bytes], int]:
        unpacked.append(at)
        return real(data, at)

    monkeypatch.setattr(members, "_unpack", counted)
    found, alone = read_beside(files[1], like), read_volume(files[1])
    np.testing.assert_array_equal(found.array, alone.array)
    np.testing.assert_array_equal(found.affine, alone.affine)
    assert (found.array[BOX] == 40).all()
    assert found.array.dtype == alone.array.dtype
    assert 0 < len(unpacked) < len(like.members) - 2
    np.testing.assert_array_equal(like.volume.array, read_volume(files[0]).array)  # the like itself is untouched


@pytest.mark.parametrize("levels", [slice(0, 3), slice(19, 22), slice(27, 40), slice(60, 90), slice(0, 90)])
def test_some_levels_are_those_of_the_whole_file(files: tuple[Path, Path], levels: slice) -> None:
    alone = read_volume(files[1]).array
    for like in (read_members(files[0]), members.Members(read_volume(files[0]), (), ())):
        found = read_beside(files[1], like, levels)
        np.testing.assert_array_equal(found.array, alone[..., levels])
        assert found.affine[2, 3] == levels.start * 1.25


def test_a_damaged_member_of_other_levels_rejects_the_file_too(files: tuple[Path, Path]) -> None:
    like = read_members(files[0])
    data = bytearray(files[1].read_bytes())
    data[-20] ^= 255
    files[1].write_bytes(bytes(data))
    with pytest.raises(CaseRejected, match=r"b\.nii\.gz"):
        read_beside(files[1], like, slice(0, 2))


@pytest.mark.parametrize("how", ["other grid", "one member", "flipped"])
def test_a_file_of_another_make_reads_as_alone(files: tuple[Path, Path], how: str) -> None:
    import nibabel as nib

    volume = read_volume(files[1])
    affine = np.diag([0.7, 0.7, 1.5, 1.0]) if how == "other grid" else volume.affine
    array = volume.array[::-1] if how == "flipped" else volume.array
    path = files[1].with_name("c.nii.gz")
    if how == "other grid":
        write_packed(path, pack_volume(Volume(array, affine)))
    else:
        nib.save(nib.Nifti1Image(array, np.diag([-0.7, 0.7, 1.25, 1.0]) if how == "flipped" else affine), path)
    found = read_beside(path, read_members(files[0]))
    packed = read_members(path).packed
    assert packed == (pack_volume(Volume(array, affine)) if how == "other grid" else None)
    np.testing.assert_array_equal(found.array, volume.array)
    np.testing.assert_allclose(found.spacing, read_volume(path).spacing)
    other = read_beside(files[1], read_members(path))  # and such a file is no like of use
    np.testing.assert_array_equal(other.array, volume.array)


@pytest.mark.parametrize("keep", [0.3, 0.999])
def test_a_file_that_is_cut_off_is_rejected_by_name(files: tuple[Path, Path], keep: float) -> None:
    data = files[1].read_bytes()
    files[1].write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(CaseRejected, match=r"b\.nii\.gz"):
        read_beside(files[1], read_members(files[0]))


def test_a_missing_file_is_rejected_by_name(files: tuple[Path, Path]) -> None:
    with pytest.raises(CaseRejected, match=r"c\.nii\.gz"):
        read_beside(files[0].with_name("c.nii.gz"), read_members(files[0]))


def test_a_file_that_is_not_packed_has_no_members(files: tuple[Path, Path]) -> None:
    import gzip

    plain = files[0].with_name("plain.nii")
    plain.write_bytes(gzip.decompress(files[0].read_bytes()))
    like = read_members(plain)
    assert like.members == ()
    np.testing.assert_array_equal(read_beside(files[1], like).array, read_volume(files[1]).array)
