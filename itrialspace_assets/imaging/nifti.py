"""What a NIfTI file says of itself: its version, its two orientations and its unit of length.

A file can state its orientation twice (sform and qform) or not at all. No default is right for a study of left and
right lungs, so a file that states none, or two that differ, is refused unless the caller says which to trust.
"""

from typing import Any, Literal

import nibabel as nib
import numpy as np
import numpy.typing as npt
from nibabel.spatialimages import HeaderDataError

from itrialspace_assets.base.errors import CaseRejected, Reason

Affine = npt.NDArray[np.float64]
#: Which orientation of a file to use where it states none, or two that differ.
Trust = Literal["sform", "qform"]

#: Two orientations differ if they place a corner of the volume more than this share of a voxel apart; ours.
ORIENTATION_TOLERANCE = 0.5
#: Millimetres of each unit of length, by the low three bits of ``xyzt_units`` (docs/facts/datasets.md#nifti-headers).
#: A file without a unit (0) holds millimetres, as every reader takes it.
UNIT_MM = {0: 1.0, 1: 1000.0, 2: 1.0, 3: 0.001}
#: Smallest and largest voxel edge (mm) of a CT or of a mask on its grid; ours.
SPACING_MM = (0.05, 50.0)


def open_image(raw: bytes) -> Any:
    """The image in the bytes of a single-file NIfTI-1 or NIfTI-2.

    Raises:
        ValueError: another format, a pair of files (.hdr and .img), or voxels that are not real numbers.
    """
    second = 540 in (int.from_bytes(raw[:4], "little"), int.from_bytes(raw[:4], "big"))
    magic = raw[4:8] if second else raw[344:348]
    if magic in (b"ni1\0", b"ni2\0"):
        raise ValueError("the header of a pair of files; convert .hdr and .img to one .nii")
    if magic not in (b"n+1\0", b"n+2\0"):
        raise ValueError(f"no NIfTI: its magic number is {magic!r}, not 'n+1' or 'n+2'")
    image = (nib.Nifti2Image if second else nib.Nifti1Image).from_bytes(raw)
    if image.get_data_dtype().kind not in "biuf":
        raise ValueError(f"voxels of type {image.get_data_dtype()}, which are not single real numbers")
    return image


def world_affine(image: Any, where: str, trust: Trust | None = None) -> Affine:
    """The affine of an image, from voxel indices (as stored) to world mm (RAS), in the orientation it states.

    Args:
        image: a nibabel NIfTI image.
        where: its file, for messages.
        trust: which orientation to use where the header states none, or two that differ.

    Raises:
        CaseRejected: no orientation, or two that differ, and ``trust`` is None; an unknown unit; or a voxel size
            that no CT has.
    """
    unit = int(image.header["xyzt_units"]) & 7
    if unit not in UNIT_MM:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{where}: expected a length in mm, m or µm, got unit code {unit} in xyzt_units"
        )
    affine = np.diag([UNIT_MM[unit]] * 3 + [1.0]) @ _stated(image, where, trust)
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if np.all(np.isfinite(affine)) and not np.all((spacing >= SPACING_MM[0]) & (spacing <= SPACING_MM[1])):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{where}: expected voxels of {SPACING_MM[0]:g} to {SPACING_MM[1]:g} mm, got {_numbers(spacing)} mm "
            f"(unit code {unit} in xyzt_units); correct the unit or the affine of the header",
        )
    return affine


def _stated(image: Any, where: str, trust: Trust | None) -> Affine:
    forms = {name: _form(image.header, name) for name in ("sform", "qform")}
    codes = {name: int(image.header[f"{name}_code"]) for name in forms}
    coded = [name for name in forms if codes[name] > 0]
    if len(coded) == 1 and forms[coded[0]] is not None:
        return _known(forms[coded[0]])
    if len(coded) == 2 and _apart(forms["sform"], forms["qform"], image.shape) == 0.0:
        return _known(forms["sform"])
    if trust is not None and forms[trust] is not None:
        return _known(forms[trust])
    told = "; ".join(f"{name} (code {codes[name]}) {_shown(forms[name])}" for name in forms)
    if trust is not None or (coded and not any(forms[name] is not None for name in coded)):
        wanted = trust or " or ".join(coded)
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{where}: expected a usable {wanted}, got {told}")
    if len(coded) == 2:
        apart = _apart(forms["sform"], forms["qform"], image.shape)
        by = f" that differ by up to {apart:.1f} mm" if np.isfinite(apart) else ""
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{where}: expected one orientation, got two{by}: {told}. Say --trust sform or --trust qform (its "
            "import), or write the right one into both",
        )
    raise CaseRejected(
        Reason.UNREADABLE_VOLUME,
        f"{where}: expected an orientation, got sform_code {codes['sform']} and qform_code {codes['qform']}: "
        "left and right are not known. Convert the scan again from its source; if the matrix of the file is known to "
        "be right, say --trust sform or --trust qform (its import)",
    )


def _form(header: Any, name: str) -> Affine | None:
    """The matrix of one orientation whatever its code; None where it is no orientation."""
    try:
        affine = np.asarray(header.get_sform() if name == "sform" else header.get_qform(), dtype=np.float64)
    except (HeaderDataError, ValueError):
        return None
    return affine if np.all(np.isfinite(affine)) and abs(np.linalg.det(affine[:3, :3])) > 0 else None


def _known(affine: Affine | None) -> Affine:
    assert affine is not None
    return affine


def _apart(one: Affine | None, other: Affine | None, shape: tuple[int, ...]) -> float:
    """Largest distance (header's unit) between a corner in two orientations; 0 where it is within the tolerance."""
    if one is None or other is None:
        return float("inf")
    ends = [(0, n - 1) for n in (*shape, 1, 1, 1)[:3]]
    corners = np.array([[i, j, k, 1] for i in ends[0] for j in ends[1] for k in ends[2]], dtype=np.float64)
    apart = float(np.linalg.norm(((one - other) @ corners.T)[:3], axis=0).max())
    limit = ORIENTATION_TOLERANCE * float(np.linalg.norm(one[:3, :3], axis=0).min())
    return apart if apart > limit else 0.0


def _shown(affine: Affine | None) -> str:
    if affine is None:
        return "unusable"
    axes = "".join(str(a) for a in nib.aff2axcodes(affine))
    return f"{axes}, voxels of {_numbers(np.linalg.norm(affine[:3, :3], axis=0))}, first at {_numbers(affine[:3, 3])}"


def _numbers(values: npt.NDArray[np.float64]) -> str:
    return "(" + ", ".join(f"{v:g}" for v in np.round(values, 3)) + ")"
