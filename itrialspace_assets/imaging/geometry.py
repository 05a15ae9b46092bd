"""Volumes in one orientation: the only place where axes are flipped and voxels of NIfTI are read.

A ``Volume`` is an array with an affine in canonical RAS+: axis 0 runs left to right, axis 1 posterior to anterior,
axis 2 inferior to superior. Arrays keep the memory order of the file (Fortran), because to transpose a chest takes
ten times as long as to unpack it. Files are written in ``packing``. Nothing here knows labels, cases or stages.
"""

import zlib
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import numpy.typing as npt
from isal import igzip, isal_zlib
from nibabel.filebasedimages import ImageFileError
from nibabel.orientations import OrientationError
from nibabel.spatialimages import HeaderDataError
from nibabel.wrapstruct import WrapStructError

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.nifti import Trust, open_image, world_affine

Box = tuple[slice, slice, slice]
Array = npt.NDArray[Any]

#: An image is oblique if straight axes would move a corner by more than this share of its shortest voxel edge; ours.
OBLIQUE_TOLERANCE = 0.5
#: Grids are the same if their first and last voxels lie within this share of a voxel of each other; ours.
GRID_TOLERANCE = 0.1
#: Greatest distance of a label from a whole number: a scale factor of the header leaves a rounding error; ours.
LABEL_TOLERANCE = 1e-3
#: Bytes of the slices that are looked at together, or packed as one gzip member; ours: so few that a nodule touches one
#: or two members.
_SLAB_BYTES = 1 << 21
#: First bytes of a gzip file.
GZIP = b"\x1f\x8b"


@dataclass(frozen=True, repr=False)
class Volume:
    """An array (X, Y, Z) and its 4×4 voxel-to-world affine (mm), both RAS+, axes not oblique.

    Raises:
        ValueError: the array has not three dimensions, or the affine is not 4×4.
    """

    array: Array
    affine: npt.NDArray[np.float64]

    def __post_init__(self) -> None:
        if self.array.ndim != 3:
            raise ValueError(f"Volume: expected an array with 3 dimensions (X, Y, Z), got shape {self.array.shape}")
        if self.affine.shape != (4, 4):
            raise ValueError(f"Volume: expected a 4×4 affine, got shape {self.affine.shape}")

    def __repr__(self) -> str:
        """Shape, voxel size, type and frame; no voxels."""
        shape = "×".join(map(str, self.array.shape))
        spacing = "×".join(f"{s:g}" for s in self.spacing)
        first = ", ".join(f"{v:g}" for v in self.affine[:3, 3])
        return f"Volume({shape} voxels of {spacing} mm, {self.array.dtype}, RAS+, voxel 0 at ({first}) mm)"

    @cached_property
    def spacing(self) -> npt.NDArray[np.float64]:
        """Voxel size (mm) along the three axes."""
        return np.asarray(np.diag(self.affine)[:3], dtype=np.float64)

    @cached_property
    def voxel_mm3(self) -> float:
        """Volume of a voxel (mm³)."""
        return float(np.prod(self.spacing))

    def to_world(self, ijk: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """World coordinates (mm, RAS) of voxel indices, shape (..., 3)."""
        return np.asarray(ijk, dtype=np.float64) * self.spacing + self.affine[:3, 3]

    def to_voxel(self, xyz: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Fractional voxel indices of world coordinates (mm, RAS), shape (..., 3)."""
        return (np.asarray(xyz, dtype=np.float64) - self.affine[:3, 3]) / self.spacing

    def crop(self, box: Box) -> "Volume":
        """The part in ``box`` (three slices with explicit bounds), its affine moved along."""
        affine = self.affine.copy()
        affine[:3, 3] = self.to_world([s.start for s in box])
        return Volume(self.array[box], affine)

    def same_grid(self, other: "Volume") -> bool:
        """True if both have the same shape, and first and last voxels within a tenth of a voxel of each other."""
        return not self.grid_difference(other)

    def grid_difference(self, other: "Volume") -> str:
        """What sets the grid of ``other`` apart, with its values first; empty if both are the same."""
        told = []
        if self.array.shape != other.array.shape:
            told.append(f"shape {_by(other.array.shape)} instead of {_by(self.array.shape)}")
        last = np.array(self.array.shape) - 1
        limit = GRID_TOLERANCE * float(self.spacing.min())
        if np.abs((other.spacing - self.spacing) * last).max() > limit:
            told.append(f"voxels of {_by(other.spacing)} mm instead of {_by(self.spacing)} mm")
        shift = other.affine[:3, 3] - self.affine[:3, 3]
        if np.abs(shift).max() > limit:
            told.append(
                f"voxel 0 at ({_by(other.affine[:3, 3], ', ')}) mm instead of ({_by(self.affine[:3, 3], ', ')}) mm, "
                f"{np.linalg.norm(shift):.2f} mm away"
            )
        return "; ".join(told)


def _by(values: Any, sign: str = "×") -> str:
    return sign.join(f"{v:g}" for v in values)


def place_of(part: Volume, whole: Volume) -> Box:
    """Box (voxel indices) of ``part`` in ``whole``; ``part`` is a crop on its grid."""
    low = np.rint(whole.to_voxel(part.affine[:3, 3])).astype(int)
    x, y, z = (slice(int(a), int(a) + n) for a, n in zip(low, part.array.shape, strict=True))
    return x, y, z


def box_around(centre: npt.ArrayLike, half: npt.ArrayLike, shape: tuple[int, ...]) -> Box:
    """Box of ``half`` voxels on each side of a centre, cut at the volume's edge.

    Args:
        centre: voxel indices, shape (3,); truncated to whole numbers.
        half: voxels on each side, one number or one an axis.
        shape: shape of the volume (X, Y, Z).
    """
    middle = np.asarray(centre, dtype=int)
    reach = np.broadcast_to(np.asarray(half, dtype=int), (3,))
    low = np.clip(middle - reach, 0, np.asarray(shape) - 1)
    high = np.clip(middle + reach + 1, 1, np.asarray(shape))
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2]))


def bounding_box(mask: Array, pad: int = 0) -> Box:
    """Smallest box (voxel indices) around the true voxels of a mask (X, Y, Z), cut at the volume's edge.

    Args:
        mask: boolean (X, Y, Z).
        pad: voxels that are added on each side.

    Raises:
        ValueError: the mask is empty.
    """
    bounds = [slice(0, n) for n in mask.shape]
    for axis in (2, 1, 0):  # slices along z lie together in memory, and each axis looks only where the last one left
        hit = np.flatnonzero(mask[tuple(bounds)].any(axis=tuple(a for a in range(3) if a != axis)))
        if not len(hit):
            raise ValueError("expected a mask with at least one true voxel, got none")
        bounds[axis] = slice(int(hit[0]), int(hit[-1]) + 1)
    x, y, z = (slice(max(0, s.start - pad), min(n, s.stop + pad)) for s, n in zip(bounds, mask.shape, strict=True))
    return x, y, z


def slab_depth(array: Array) -> int:
    """Slices along z of an array (X, Y, Z) that are looked at, or packed, together."""
    return max(1, _SLAB_BYTES // max(1, array[..., 0].nbytes))


def box_where(array: Array, holds: Callable[[Array], npt.NDArray[np.bool_]]) -> Box | None:
    """``bounding_box`` of the voxels for which something holds; None without any.

    A few slices are looked at a time: a mask of the whole would cost more memory and time than the test.

    Args:
        array: voxels (X, Y, Z).
        holds: takes some slices (z, y, x), gives booleans of their shape.
    """
    depth = slab_depth(array)
    hits = [np.zeros(n, bool) for n in array.shape]
    for first in range(0, array.shape[2], depth):
        part = holds(array[..., first : first + depth].T)
        rows = np.asarray(part.any(axis=2))
        if rows.any():
            hits[2][first : first + depth] = rows.any(axis=1)
            hits[1] |= rows.any(axis=0)
            hits[0] |= part.any(axis=(0, 1))
    if not hits[2].any():
        return None
    x, y, z = (slice(int(hit.argmax()), len(hit) - int(hit[::-1].argmax())) for hit in hits)
    return x, y, z


def read_volume(path: Path, trust: Trust | None = None, unpack: Callable[[bytes], bytes] = igzip.decompress) -> Volume:
    """Read a NIfTI file into canonical RAS+; dtype as stored, scaling applied if the file has any, lengths in mm.

    Args:
        path: a NIfTI-1 or NIfTI-2 file; whether it is compressed is read off its content.
        trust: which orientation to use where the file states none, or two that differ.
        unpack: decompresses the bytes of a gzip file.

    Raises:
        CaseRejected: the file is missing, unreadable or truncated, states no orientation or two, is not
            three-dimensional, is oblique, or holds NaN or infinity; the message names the file.
    """
    try:
        raw = path.read_bytes()
        if raw.startswith(GZIP):
            raw = unpack(raw)
        image = open_image(raw)
        canonical = nib.as_closest_canonical(_in_place(raw, image, world_affine(image, str(path), trust)))
        array = np.asanyarray(canonical.dataobj)
    except FileNotFoundError:
        raise CaseRejected(Reason.MISSING_FILE, f"{path}: expected a NIfTI file, found none") from None
    except (
        OSError,
        EOFError,
        ValueError,
        zlib.error,
        isal_zlib.error,
        ImageFileError,
        WrapStructError,
        HeaderDataError,
        OrientationError,
    ) as error:  # type: ignore[misc]
        got = getattr(error, "strerror", None) or error  # without the path once more
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected a whole NIfTI file, got {got}") from None
    if not _finite(array):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected a number in every voxel, got {np.count_nonzero(~np.isfinite(array))} NaN or infinite of "
            f"{array.size}; write air (-1000 HU) there in a CT, 0 in a mask",
        )
    return _straight(array, np.asarray(canonical.affine, dtype=np.float64), str(path))


def _finite(array: Array) -> bool:
    """True if every voxel holds a number; the sum tells in one pass without a copy, except where it overflows."""
    if array.dtype.kind != "f":
        return True
    with np.errstate(all="ignore"):
        return bool(np.isfinite(array.sum())) or bool(np.isfinite(array).all())


def _in_place(raw: bytes, image: Any, affine: npt.NDArray[np.float64]) -> Any:
    """The image over the very bytes that were read, where no value has to be scaled: half the memory.

    Raises:
        ValueError: there are fewer bytes than the header promises.
    """
    proxy = image.dataobj
    if (proxy.slope, proxy.inter) != (1.0, 0.0):
        return nib.Nifti1Image(proxy, affine, dtype=proxy.dtype)
    wanted = proxy.offset + int(np.prod(proxy.shape)) * proxy.dtype.itemsize
    if len(raw) < wanted:
        raise ValueError(f"{len(raw)} of {wanted} bytes")
    array: Array = np.ndarray(proxy.shape, proxy.dtype, raw, proxy.offset, order="F")
    return nib.Nifti1Image(array, affine, dtype=array.dtype)


def canonical_volume(array: Array, affine: npt.NDArray[np.float64], where: str) -> Volume:
    """Any array with its affine as a canonical RAS+ volume; axes are permuted and flipped.

    Args:
        array: voxels; one dimension more of length 1 is dropped.
        affine: 4×4, from voxel indices to world mm (RAS).
        where: name of the image in messages.

    Raises:
        CaseRejected: not three-dimensional, an unusable affine, or oblique; the message begins with ``where``.
    """
    try:
        image = nib.as_closest_canonical(nib.Nifti1Image(array, affine))
    except OrientationError as error:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{where}: expected an affine with three axes, got {error}"
        ) from None
    return _straight(np.asanyarray(image.dataobj), np.asarray(image.affine, dtype=np.float64), where)


def _straight(array: Array, affine: npt.NDArray[np.float64], where: str) -> Volume:
    while array.ndim > 3 and array.shape[-1] == 1:
        array = array[..., 0]
    if array.ndim != 3 or not array.size:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{where}: expected 3 dimensions and a voxel or more, got shape {array.shape}"
        )
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not np.all(np.isfinite(affine)) or np.any(spacing <= 0):
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{where}: expected a finite affine, got spacing {spacing}")
    drift = float((np.abs(affine[:3, :3] - np.diag(spacing)) @ (np.array(array.shape) - 1)).max())  # mm
    if drift > OBLIQUE_TOLERANCE * spacing.min():
        angle = np.degrees(np.arccos(np.clip(np.diag(affine)[:3] / spacing, -1, 1))).max()
        raise CaseRejected(
            Reason.OBLIQUE_VOLUME,
            f"{where}: expected axes along the patient's, got a direction off by {angle:.2f} degrees, which straight "
            f"axes would move by {drift:.1f} mm at the far corner (at most {OBLIQUE_TOLERANCE:g} voxels): resample it "
            "to straight axes and import the result",
        )
    straight = np.diag([*spacing, 1.0])
    straight[:3, 3] = affine[:3, 3]
    return Volume(np.asfortranarray(array), straight)


def read_labels(path: Path, trust: Trust | None = None) -> Volume:
    """Read a label map as uint8; ``trust`` as in ``read_volume``.

    Raises:
        CaseRejected: as ``read_volume``, or a value is not a whole number from 0 to 255.
    """
    volume = read_volume(path, trust)
    array = volume.array
    if array.dtype != np.uint8:
        with np.errstate(invalid="ignore"):  # values beyond 255 are found below
            labels = array.astype(np.uint8)
        if not np.array_equal(labels, array):
            whole = whole_numbers(array)
            if whole is None or whole.min() < 0 or whole.max() > 255:
                raise CaseRejected(
                    Reason.NOT_A_LABEL_MAP,
                    f"{path}: expected whole numbers 0-255, got {array.dtype} from {array.min()} to {array.max()}",
                )
            labels = whole.astype(np.uint8)
        volume = Volume(labels, volume.affine)
    return volume


def require_same_grid(volume: Volume, like: Volume, path: Path, owner: str) -> None:
    """Refuse a volume on another grid than it should have.

    Args:
        volume: what was read.
        like: a volume on the grid that is expected.
        path: file of ``volume``, for the message.
        owner: what ``like`` is, for the message: ``CT`` or ``organ map``.

    Raises:
        CaseRejected: another shape, voxel size or place; names both.
    """
    if difference := like.grid_difference(volume):
        raise CaseRejected(Reason.GRID_MISMATCH, f"{path}: expected the grid of its {owner}, got {difference}")


def whole_numbers(array: Array) -> Array | None:
    """An array whose values are all within a thousandth of a whole number, rounded; None if one is not."""
    if array.dtype.kind != "f":
        return array
    rounded: Array = np.rint(array)
    return rounded if bool(np.all(np.abs(array - rounded) <= LABEL_TOLERANCE)) else None
