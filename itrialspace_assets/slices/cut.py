"""Cuts the slices of one case: of the lesion image, of its lesion-free twin, of a real scan.

An image is read once for all targets, neighbours, profiles, conditions and controls. Which of them are cut is decided
in ``wanted``, how a plane becomes a picture in ``windows`` and ``planes``, what is drawn on it in ``guidance``.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.anatomy import ANSWER_EDGES, answer_size, equivalent_diameter, size_bucket
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, pack_bits, unpack_bits
from itrialspace_assets.imaging.pictures import lesion_plane
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase
from itrialspace_assets.slices.compose import DrawnPicture, encode, pictures_of
from itrialspace_assets.slices.negatives import negative_place
from itrialspace_assets.slices.planes import Plane
from itrialspace_assets.slices.rows import LevelColumns, PictureColumns, TargetColumns, negative_of, slice_row
from itrialspace_assets.slices.wanted import WantedPictures, wanted
from itrialspace_assets.slices.windows import AXIAL
from itrialspace_assets.synthesis.images import open_ct, open_planes


@dataclass(frozen=True)
class Aim:
    """A target on an image: its voxels, what identifies it, and what is known of it.

    Attributes:
        identity: image and voxels; becomes ``target_uid``.
        outline: voxels that guidance surrounds, in the grid of the scan.
        columns: what all its pictures share.
        others: voxels of other nodules of the image.
        axial_only: whether planes across other axes show nodules of the image that the target is to be without.
    """

    identity: list[Any]
    outline: Lesion
    columns: TargetColumns
    others: Sequence[Lesion] = ()
    axial_only: bool = False


def cut_case(case: SliceCase, settings: Settings) -> Output:
    """Slices of a rendered case: of the primary nodule, of its place on the twin, and of an empty place there.

    The nodule and its place on the twin are a pair. The empty place has the same outline, lies in the same lobe, about
    as far from the pleura, and beside the nodule's own; whether a native nodule was once cleared there is recorded. Of
    a clean case there is the empty place alone.

    Raises:
        CaseRejected: an image is missing or on another grid, or there is nothing to point at.
    """
    asked = wanted(settings)
    done = Output({"slices": []})
    for image in case.images:
        aims = _aims(case, image)
        if not aims:
            continue
        part, first = _open(settings, image, [aim.outline for aim in aims], asked)
        for aim in aims:
            _add(done, cut(settings, asked, part, aim, first))
    if not done.rows["slices"]:
        raise CaseRejected(
            Reason.NO_TARGET_ON_SLICE,
            f"{case.case_uid}: expected a nodule or an empty place to point at, got neither: "
            "its outline fits nowhere in the lobe",
        )
    return done


def _aims(case: SliceCase, image: ImageToCut) -> list[Aim]:
    about = case.nodules[0]
    columns = _rendered(case, image)
    lesion = unpack_bits(about.lesion)
    if not image.is_lesion_free:
        others = [unpack_bits(nodule.lesion) for nodule in case.nodules[1:] if nodule.present]
        return [Aim([image.image_uid, about.lesion], lesion, columns, others)]
    found = []
    if about.present:
        target = negative_of(columns, "twin", "cleared_lesion")
        found.append(Aim([image.image_uid, about.lesion], lesion, target))
    if about.empty is not None and about.empty_site is not None:
        target = negative_of(columns, "twin", about.empty_site)
        found.append(Aim([image.image_uid, about.empty], unpack_bits(about.empty), target))
    return found


def _open(
    settings: Settings, image: ImageToCut, outlines: Sequence[Lesion], asked: WantedPictures
) -> tuple[Volume, int]:
    """What is needed of an image: the levels about its targets, or all of it where a profile cuts across them.

    Returns:
        HU, and the index along z of its first level in the scan.
    """
    row = image.model_dump()
    if any(profile.axis != AXIAL for profile in asked.profiles):
        return open_ct(settings, row), 0
    planes = [lesion_plane(outline) for outline in outlines]
    reach = slice(min(planes) + asked.z_offsets[0], max(planes) + asked.z_offsets[-1] + 1)
    return open_planes(settings, row, reach)


def _rendered(case: SliceCase, image: ImageToCut) -> TargetColumns:
    about = case.nodules[0]
    return TargetColumns(
        source=image.source,
        mode=case.mode,
        dataset=case.dataset,
        case_uid=case.case_uid,
        image_uid=image.image_uid,
        published_id=case.published_id,
        presence="present",
        lobe=about.lobe,
        lobe_share=about.lobe_share,
        size_class=answer_size(about.diameter_mm),
        size_bucket=about.size_bucket,
        diameter_mm=about.diameter_mm,
        size_near_edge=None,
        mask_grown=False,
        planned_lobe=about.asked_lobe,
        planned_diameter_mm=about.planned_diameter_mm,
        label=about.label,
        negative_type=None,
        guidance_site="lesion",
        pair_uid=case.case_uid,
        paired=any(i.paired for i in case.images),
        host_person_uid=about.host_person_uid,
        donor_person_uid=about.donor_person_uid,
        arm=case.arm,
        anatomy=case.anatomy,
    )


def cut_real(case: RealSliceCase, settings: Settings) -> Output:
    """Slices of one real finding, and of a negative place of its scan where annotation is complete.

    Only axial planes are cut of the negative place: across other axes it shows levels with nodules.

    Raises:
        CaseRejected: the CT is missing, damaged, or on another grid than its organ map.
    """
    asked = wanted(settings)
    ct = real_ct(settings.data, case.ct_path)
    affine = np.diag([*case.spacing, 1.0])
    affine[:3, 3] = case.origin
    if difference := Volume(np.broadcast_to(np.uint8(0), case.shape), affine).grid_difference(ct):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"{case.ct_path}: expected the grid of its organ map, got {difference}"
        )
    lesion, every = unpack_bits(case.lesion), list(case.all_lesions)
    every.remove(case.lesion)
    others = [unpack_bits(packed) for packed in every]
    diameter = round(equivalent_diameter(float(lesion.mask.sum()) * ct.voxel_mm3), 4)
    columns = _real(case, diameter)
    done = Output({"slices": []})
    _add(done, cut(settings, asked, ct, Aim([case.scan_uid, case.ct_sha256, case.lesion], lesion, columns, others)))
    if case.complete:
        host = load_host_map(settings.output, case.map_sha256)
        known = [lesion, *others, unpack_bits(case.cleared)]
        place = negative_place(host, known, case.extents, lesion, case.seed)
        if place is None:
            detail = "no lung level far enough from every nodule for a negative"
            done.rejected.append(Rejection(case.case_uid, Reason.DOES_NOT_FIT, detail, 1))
        else:
            identity = [case.scan_uid, case.ct_sha256, pack_bits(place)]
            negative = Aim(identity, place, negative_of(columns, "level", "never"), axial_only=True)
            _add(done, cut(settings, asked, ct, negative))
    return done


def _real(case: RealSliceCase, diameter: float) -> TargetColumns:
    return TargetColumns(
        source="real",
        mode="real",
        dataset=case.dataset,
        case_uid=case.case_uid,
        image_uid=case.scan_uid,
        published_id=case.published_id,
        presence="present",
        lobe=case.lobe,
        lobe_share=case.lobe_share,
        size_class=answer_size(diameter),
        size_bucket=size_bucket(diameter),
        diameter_mm=diameter,
        size_near_edge=None,
        mask_grown=case.mask_grown,
        planned_lobe=None,
        planned_diameter_mm=None,
        label=case.label,
        negative_type=None,
        guidance_site="lesion",
        pair_uid=case.case_uid,
        paired=False,
        host_person_uid=case.person_uid,
        donor_person_uid=case.person_uid,
        arm=None,
        anatomy=case.anatomy,
    )


def _add(done: Output, made: Output) -> None:
    done.rows["slices"] += made.rows["slices"]
    done.files.update(made.files)
    done.rejected.extend(made.rejected)


def near_edge(diameter_mm: float | None, voxel_mm3: float) -> bool | None:
    """Whether a diameter lies within a voxel, the edge of the cube of its volume, of an edge of the size classes."""
    if diameter_mm is None:
        return None
    return bool(np.min(np.abs(np.subtract(ANSWER_EDGES, diameter_mm))) <= voxel_mm3 ** (1 / 3))


def cut(settings: Settings, asked: WantedPictures, part: Volume, aim: Aim, first: int = 0) -> Output:
    """Rows and files of one target: every profile, neighbour, condition and control.

    Args:
        settings: where files go.
        asked: which pictures.
        part: HU (X, Y, Z), canonical RAS+; a scan, or all levels that are needed of one.
        aim: the target.
        first: index along z in the scan of the part's first level.

    Raises:
        CaseRejected: the target has no pixel on its own plane, or a scale bar does not fit the picture.
    """
    outline, others = _in_part(aim.outline, first), [_in_part(other, first) for other in aim.others]
    columns = replace(aim.columns, size_near_edge=near_edge(aim.columns.diameter_mm, part.voxel_mm3))
    target = digest(aim.identity, 32)
    rows: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for plane, z_offset in _planes(asked, part, outline, aim.axial_only):
        pointed_at = plane.mask(outline)
        if z_offset == 0 and not pointed_at.any():
            raise CaseRejected(
                Reason.NO_TARGET_ON_SLICE,
                f"{columns.case_uid}: slice {plane.index} of {plane.profile.name}: expected pixels of the target, got "
                "none",
            )
        level = LevelColumns(
            slice_uid=digest([target, z_offset, plane.profile.name], 32),
            target_uid=target,
            profile=plane.profile.name,
            slice_z=plane.index + (first if plane.profile.axis == AXIAL else 0),
            z_offset=z_offset,
            pixel_x_mm=round(plane.pixel[0], 6),
            pixel_y_mm=round(plane.pixel[1], 6),
            width=plane.size[0],
            height=plane.size[1],
            affine=plane.affine,
            target_pixels=int(pointed_at.sum()) if columns.presence == "present" else 0,
            other_lesions_in_slice=any(bool(plane.mask(other).any()) for other in others),
        )
        for drawn in pictures_of(plane, pointed_at, asked.pictures):
            data = encode(drawn.image, plane.profile)
            path = _path(level.slice_uid, drawn, plane.profile.encoding)
            replace_file(settings.output / path, data)
            files[path] = sha256_bytes(data)
            picture = PictureColumns(drawn.condition, drawn.control, path, files[path], drawn.covers)
            rows.append(slice_row(columns, level, picture))
    return Output({"slices": rows}, files)


def _planes(asked: WantedPictures, part: Volume, outline: Lesion, axial_only: bool) -> Iterator[tuple[Plane, int]]:
    """The planes of a target with their distance from its largest one; a neighbour beyond the scan's end is none."""
    for profile in asked.profiles:
        if profile.axis != AXIAL and axial_only:
            continue
        own = lesion_plane(outline, profile.axis)
        for z_offset in asked.z_offsets:
            if 0 <= own + z_offset < part.array.shape[profile.axis]:
                yield Plane(part, profile, own + z_offset), z_offset


def _in_part(lesion: Lesion, first: int) -> Lesion:
    """A lesion in the grid of a part that begins at a level of the scan."""
    x, y, z = lesion.offset
    return Lesion((x, y, z - first), lesion.mask)


def _path(slice_uid: str, drawn: DrawnPicture, ending: str) -> str:
    control = "" if drawn.control == "none" else f"_{drawn.control}"
    return f"store/slices/{slice_uid[:2]}/{slice_uid}_{drawn.condition}{control}.{ending}"
