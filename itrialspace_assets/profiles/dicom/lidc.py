"""LIDC reading files: the marks of up to four readers as nodules in the grid of their CT."""

from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.dicom.contours import Contour, fill
from itrialspace_assets.profiles.dicom.grid import TOLERANCE, SeriesIdentity, from_indices, require_reference
from itrialspace_assets.profiles.dicom.regions import Regions
from itrialspace_assets.profiles.doubts import Doubt, Note
from itrialspace_assets.profiles.masks import cut_lesion_in, joined


def read_lidc_xml(path: Path, ct: Volume, identity: SeriesIdentity) -> Regions:
    """Nodules of a LIDC reading file, in the grid of its CT (RAS+); none where no reader outlined one.

    Readers' marks that overlap are one nodule: the voxels that at least half of the marks hold. Pixels are columns and
    rows of the CT's images, placed by their orientation; a CT without headers is taken for supine, columns to the
    patient's left and rows to the back. The pixels of an edge map lie just outside the nodule, and what an exclusion
    encloses is no part of it (the collection's definition).

    Args:
        path: the XML.
        ct: the CT (RAS+) that was read.
        identity: what the CT's headers state.

    Raises:
        CaseRejected: no LIDC reading, one of another series, a CT whose images are not axial, or marks outside it or
            between its slices.
    """
    from defusedxml import DefusedXmlException, ElementTree

    try:
        root = ElementTree.parse(path).getroot()
    except (ElementTree.ParseError, DefusedXmlException, OSError, ValueError, LookupError) as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected LIDC XML, got {error}") from None
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.rsplit("}", 1)[-1]
    if root.tag != "LidcReadMessage" or root.find("readingSession") is None:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected a LidcReadMessage with reading sessions of a CT, got {root.tag}",
        )
    series = next((_text(e, "SeriesInstanceUid") for e in root.iter("ResponseHeader")), "")
    found = Regions(notes=require_reference(identity, SeriesIdentity(series=series), str(path)))
    to_voxel = _pixel_to_voxel(ct, identity, str(path))
    marks: list[Lesion] = []
    small = 0
    for nodule in root.iter("unblindedReadNodule"):
        where = f"{path}: nodule {_text(nodule, 'noduleID')}"
        contours = _contours(nodule, ct, to_voxel, where)
        if len({c.level for c in contours}) > 1 or any(len(c.curve) > 2 for c in contours):
            lesion, notes = fill(contours, ct, 1.0, edge_outside=True, where=where)
            marks += [lesion] if lesion else []
            found.notes += notes
        else:
            small += 1  # a single point marks a nodule below 3 mm
    if small:
        found.notes.append(Note(f"{path}: {small} marks without an outline (nodules below 3 mm) left out"))
    groups = [(lesion, _parts(lesion, ct)) for lesion in _consensus(marks)]
    found.lesions += [(f"N{i}", part) for i, part in enumerate((p for _, parts in groups for p in parts), 1)]
    for lesion, parts in groups:
        if len(parts) > 1:
            at = ", ".join(f"{v:.1f}" for v in ct.to_world(lesion.centroid))
            text = f"{path}: nodule about ({at}) mm: {len(parts)} parts apart from each other are taken as nodules"
            found.notes.append(Note(text, Doubt.PARTS_APART))
    return found


def _pixel_to_voxel(ct: Volume, identity: SeriesIdentity, where: str) -> npt.NDArray[np.float64]:
    """Affine (2×3) from column, row and 1 of a stored image to the CT's indices along x and y."""
    if identity.pixels is None:
        nx, ny, _ = ct.array.shape
        return np.array([[-1.0, 0.0, nx - 1], [0.0, -1.0, ny - 1]])
    world = identity.pixels
    if int(np.argmax(np.abs(world[:3, 2]))) != 2:
        raise CaseRejected(
            Reason.OBLIQUE_VOLUME, f"{where}: expected a CT of axial images, got others: its pixels have no place"
        )
    origin = ct.to_voxel(world[:3, 3])
    steps = world[:3, :2] / ct.spacing[:, None]
    return np.column_stack([np.rint(steps[:2]), np.rint(origin[:2])])


def _contours(nodule: Any, ct: Volume, to_voxel: npt.NDArray[np.float64], where: str) -> list[Contour]:
    found = []
    for roi in nodule.iter("roi"):
        try:
            edge = np.array([[float(_text(e, "xCoord")), float(_text(e, "yCoord")), 1.0] for e in roi.iter("edgeMap")])
            level = float(ct.to_voxel([0.0, 0.0, float(_text(roi, "imageZposition"))])[2])
        except ValueError as error:
            raise CaseRejected(
                Reason.BAD_POSITION, f"{where}: expected numbers of pixels and mm, got {error}"
            ) from None
        if not len(edge):
            continue
        if not np.isfinite(level) or not np.isfinite(edge).all() or abs(level - np.rint(level)) > TOLERANCE:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{where}: expected outlines on the CT's slices, got z={_text(roi, 'imageZposition')} mm, "
                f"{abs(level - np.rint(level)):.2f} slices off",
            )
        hole = _text(roi, "inclusion").upper() == "FALSE"
        found.append(Contour(float(np.rint(level)), edge @ to_voxel.T, hole))
    return found


def _parts(lesion: Lesion, ct: Volume) -> list[Lesion]:
    """A lesion's voxels in parts more than two voxels apart; a part may lack a slice."""
    labelled = cc3d.connected_components(lesion.mask, connectivity=26)
    every = [cut_lesion_in(labelled == i, lesion.offset) for i in range(1, int(labelled.max()) + 1)]
    return joined(every, ct) if len(every) > 1 else [lesion]


def _text(element: Any, name: str) -> str:
    return (element.findtext(name) or "").strip()


def _consensus(marks: list[Lesion]) -> list[Lesion]:
    """Marks that share a voxel, joined; of each group the voxels that at least half of its marks hold.

    In a chain of marks no voxel may be held by half: then the voxels that most marks hold.
    """
    voxels = [set(map(tuple, mark.indices.tolist())) for mark in marks]
    groups: list[list[set[tuple[int, ...]]]] = []
    for own in voxels:
        touching = [g for g in groups if any(own & other for other in g)]
        groups = [g for g in groups if g not in touching]
        groups.append([own, *(other for g in touching for other in g)])
    found = []
    for group in groups:
        at, times = np.unique(np.concatenate([np.array(sorted(v)) for v in group]), axis=0, return_counts=True)
        found.append(from_indices(at[times >= min(len(group) / 2, times.max())]))
    return sorted(found, key=lambda lesion: lesion.offset)
