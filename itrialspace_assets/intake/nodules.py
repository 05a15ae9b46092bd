"""The nodules of a user's scan, from masks, DICOM, XML or a list, in the grid of its CT.

A nodule of which only a place and a diameter are known becomes a sphere.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.anatomy import lung_mask
from itrialspace_assets.imaging.geometry import Volume, read_volume, require_same_grid
from itrialspace_assets.imaging.lesions import Lesion, shared_voxels
from itrialspace_assets.intake.case import ImportCase
from itrialspace_assets.intake.listing import is_cut_off, read_nodules, stem
from itrialspace_assets.intake.own_files import is_hidden
from itrialspace_assets.profiles.dicom.grid import SeriesIdentity, reading
from itrialspace_assets.profiles.dicom.lidc import read_lidc_xml
from itrialspace_assets.profiles.dicom.regions import RegionChoice
from itrialspace_assets.profiles.dicom.rtstruct import read_rtstruct
from itrialspace_assets.profiles.dicom.seg import read_seg
from itrialspace_assets.profiles.doubts import Doubt, Note
from itrialspace_assets.profiles.masks import instances, joined, sphere
from itrialspace_assets.profiles.measure import MIN_VOXELS

#: Two nodules that share more of the smaller one's voxels than this are one nodule, given twice; ours.
MOST_SHARED = 0.5
#: Nodules that together hold more of the lungs than this are no nodules but a map of lungs or organs; ours.
MOST_OF_LUNGS = 0.5
#: Least share of a nodule's voxels that lie in the body; ours: a mask drawn beyond the skin of a pleural lesion passes.
LEAST_INSIDE = 0.5


@dataclass(frozen=True)
class ScanNodule:
    """A nodule of a scan: its name, voxels (in the grid of the CT), label (1 malignant, 0 benign, null unknown).

    ``drawn``: only a point and a diameter were known, and the voxels are a sphere.
    """

    name: str
    lesion: Lesion
    label: int | None = None
    drawn: bool = False


@dataclass(frozen=True)
class NodulesOfScan:
    """The nodules of a scan, under names that differ.

    ``mask_source``: how their masks were made (of the registry). ``notes``: for the user, on what was left out of a
    file, could not be checked, or is doubtful.
    """

    nodules: list[ScanNodule] = field(default_factory=list)
    mask_source: str = "unknown"
    notes: list[Note] = field(default_factory=list)


def read_scan_nodules(case: ImportCase, ct: Volume, identity: SeriesIdentity, organs: Volume) -> NodulesOfScan:
    """The nodules that a case names.

    Args:
        case: names their file or folder, and how it is read.
        ct: its CT (X, Y, Z; HU), RAS+.
        identity: what the headers of the CT state; files that refer to a series are compared with it.
        organs: its organ map on the grid of the CT, body as 200.

    Raises:
        CaseRejected: no readable file, another grid or series, no nodule in it, or a nodule that is there twice or
            outside the body.
    """
    path = case.nodules
    if path is None:
        return NodulesOfScan()
    if files := _mask_files(path):
        masks = [_masked(f, ct, case, alone=path.is_dir()) for f in files]
        found = NodulesOfScan(
            [nodule for nodules, _ in masks for nodule in nodules], notes=[n for _, notes in masks for n in notes]
        )
    elif path.suffix == ".csv":
        text = f"{path}: its last line has no line end: is the file whole?"
        notes = [Note(text, Doubt.LIST_CUT_OFF)] if is_cut_off(path) else []
        found = NodulesOfScan(_drawn(path, str(case.frame), ct), "procedural", notes)
    elif path.suffix == ".xml":
        read = read_lidc_xml(path, ct, identity)
        found = NodulesOfScan(
            [ScanNodule(name, lesion) for name, lesion in read.lesions], "consensus", notes=read.notes
        )
    else:
        found = _dicom(path, ct, identity, case)
    shared = _check_places(found.nodules, organs, path)
    return replace(found, nodules=_numbered(found.nodules), notes=[*found.notes, *shared])


def _mask_files(path: Path) -> list[Path]:
    """The NIfTI masks that a path names: itself, or those of a folder.

    Raises:
        CaseRejected: a folder without a mask.
    """
    if not path.is_dir():
        return [path] if path.name.endswith((".nii.gz", ".nii")) else []
    files = sorted(p for p in path.iterdir() if p.name.endswith((".nii.gz", ".nii")) and not is_hidden(p))
    if not files:
        raise CaseRejected(Reason.MISSING_FILE, f"{path}: expected nodule masks (*.nii.gz), found none")
    return files


def _dicom(path: Path, ct: Volume, identity: SeriesIdentity, case: ImportCase) -> NodulesOfScan:
    """The nodules of a DICOM-SEG or RTSTRUCT.

    Raises:
        CaseRejected: neither of them, or as their readers.
    """
    import pydicom

    with reading(path, "NIfTI, CSV, XML or DICOM"):
        modality = str(pydicom.dcmread(path, stop_before_pixels=True).get("Modality"))
    choice = RegionChoice(case.roi, case.segments)
    if modality == "SEG":
        regions = read_seg(path, ct, identity, choice, case.allowed.threshold)
    elif modality == "RTSTRUCT":
        regions = read_rtstruct(path, ct, identity, choice)
    else:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected modality SEG or RTSTRUCT, got {modality}")
    named = [ScanNodule("".join(c if c.isalnum() else "_" for c in name), lesion) for name, lesion in regions.lesions]
    return NodulesOfScan(named, "manual", notes=regions.notes)


def _masked(path: Path, ct: Volume, case: ImportCase, *, alone: bool) -> tuple[list[ScanNodule], list[Note]]:
    """The nodules of a mask, and a note on its specks; ``alone``: the file holds one nodule and names it."""
    mask = read_volume(path, case.allowed.trust)
    require_same_grid(mask, ct, path, "CT")
    found, specks = instances(mask, path, case.allowed.threshold)
    if not found:
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{path}: expected at least one nodule of {MIN_VOXELS} connected voxels, got values from "
            f"{mask.array.min():g} to {mask.array.max():g}",
        )
    text = f"{path}: {specks} voxels in pieces below {MIN_VOXELS} voxels left out"
    notes = [Note(text, Doubt.SPECKS_LEFT_OUT)] if specks else []
    values = sorted({value for value, _ in found})
    if alone:
        whole = [lesion for v in values for lesion in joined([part for value, part in found if value == v], ct)]
        return [ScanNodule(stem(path), lesion) for lesion in whole], notes
    if len(values) == 1:
        return [ScanNodule(f"N{i}", lesion) for i, (_, lesion) in enumerate(found, 1)], notes
    return [ScanNodule(f"N{value}", lesion) for value, lesion in sorted(found, key=lambda f: f[0])], notes


def _drawn(path: Path, frame: str, ct: Volume) -> list[ScanNodule]:
    """A sphere for each nodule of a list.

    Raises:
        CaseRejected: as ``read_nodules``, or a place outside the CT; names the row.
    """
    found = []
    for listed in read_nodules(path):
        x, y, z = listed.place
        at = ct.to_voxel([-x, -y, z] if frame == "LPS" else [x, y, z])
        inside = np.all(np.isfinite(at)) and np.all((at >= 0) & (at <= np.array(ct.array.shape) - 1))
        if not (inside and 0 < listed.diameter < 200):
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: row {listed.row}: expected a place inside the CT and a diameter of 0-200 mm, got "
                f"x {x:g}, y {y:g}, z {z:g} ({frame}) and diameter_mm {listed.diameter:g}",
            )
        found.append(ScanNodule(listed.name, sphere(ct, at, listed.diameter), listed.label, drawn=True))
    return found


def _check_places(found: Sequence[ScanNodule], organs: Volume, path: Path) -> list[Note]:
    """Refuse nodules that share most voxels, those of which most voxels lie outside the body, and whole lungs.

    Returns:
        A note on each pair that shares some voxels: one nodule drawn twice, or two neighbours.

    Raises:
        CaseRejected: names the nodules and their file.
    """
    lungs = int(np.count_nonzero(lung_mask(organs.array)))
    notes: list[Note] = []
    taken = sum(int(lung_mask(organs.array[n.lesion.box][n.lesion.mask]).sum()) for n in found)
    if taken > MOST_OF_LUNGS * lungs:
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"{path}: expected nodules, got {len(found)} regions that hold {100 * taken / lungs:.0f} % of the "
            "lungs; is it a map of lungs or organs?",
        )
    for n, nodule in enumerate(found):
        size = int(nodule.lesion.mask.sum())
        inside = int((organs.array[nodule.lesion.box][nodule.lesion.mask] != 0).sum())
        at = ", ".join(f"{v:.1f}" for v in organs.to_world(nodule.lesion.centroid))
        if inside < LEAST_INSIDE * size:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: nodule {nodule.name} at ({at}) mm: expected a nodule inside the body, got "
                f"{inside} of {size} voxels inside; do the mask and the CT belong together?",
            )
        for other in found[:n]:
            least = min(size, int(other.lesion.mask.sum()))
            if (shared := shared_voxels(nodule.lesion, other.lesion)) > MOST_SHARED * least:
                raise CaseRejected(
                    Reason.BAD_POSITION,
                    f"{path}: expected each nodule once, got {other.name} and {nodule.name} at ({at}) mm with "
                    f"{shared} of {least} voxels in common; keep one of them",
                )
            if shared:
                text = f"{path}: {other.name} and {nodule.name} have {shared} of {least} voxels in common: one nodule?"
                notes.append(Note(text, Doubt.SHARED_VOXELS))
    return notes


def _numbered(found: Sequence[ScanNodule]) -> list[ScanNodule]:
    """The nodules of a scan under names that differ: a second GTV_1 becomes GTV_1_2."""
    taken: set[str] = set()
    out = []
    for nodule in found:
        free, number = nodule.name, 1
        while free in taken:
            number += 1
            free = f"{nodule.name}_{number}"
        taken.add(free)
        out.append(replace(nodule, name=free))
    return out
