"""Cuts the slices of one case: of the lesion image, of its lesion-free twin, of a real scan."""

from typing import Any

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.anatomy import answer_size, equivalent_diameter, size_bucket
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.pictures import axial, lesion_plane, png
from itrialspace_assets.imaging.volumes import Lesion, unpack_bits
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase
from itrialspace_assets.slices.guidance import draw
from itrialspace_assets.slices.negatives import negative_plane
from itrialspace_assets.slices.rows import Picture, Target, negative_of, slice_row
from itrialspace_assets.slices.windows import DEFAULT, PROFILES
from itrialspace_assets.synthesis.images import open_plane

Plane = npt.NDArray[np.bool_]


def cut_case(case: SliceCase, settings: Settings) -> Output:
    """Slices of a rendered case: the primary nodule's largest plane, and that of an empty place on the twin.

    On the twin, guidance surrounds the case's empty place: same outline and lobe, about the same distance from the
    pleura, nothing there. Whether a native nodule was once cleared there is recorded.

    Raises:
        CaseRejected: an image is missing or on another grid, or the nodule misses its own slice.
    """
    about = case.nodules[0]
    lesions = [unpack_bits(nodule.lesion) for nodule in case.nodules]
    rows: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    for image in case.images:
        packed = about.empty if image.is_lesion_free else about.lesion
        if packed is None:
            raise CaseRejected(
                Reason.NO_TARGET_ON_SLICE, f"{case.case_uid}: expected an empty place for the twin's slice, got none"
            )
        outline = unpack_bits(packed)
        k = lesion_plane(outline)
        ct, at = open_plane(settings, image.model_dump(), k)
        mask = _plane_mask(outline, k, ct.array.shape)
        if not mask.any():
            raise CaseRejected(Reason.NO_TARGET_ON_SLICE, f"slice {k}: expected pixels of the target nodule, got none")
        others = any(
            nodule.present and _plane_mask(lesion, k, ct.array.shape).any()
            for nodule, lesion in zip(case.nodules[1:], lesions[1:], strict=True)
        )
        target = _rendered(case, image, int(mask.sum()), others)
        if image.is_lesion_free:
            target = negative_of(target, "twin", about.empty_site)
        made, paths = cut(settings, ct, at, mask, [image.image_uid, packed, 0], target, k)
        rows += made
        files |= paths
    return Output({"slices": rows}, files)


def _rendered(case: SliceCase, image: ImageToCut, pixels: int, others: bool) -> Target:
    about = case.nodules[0]
    return Target(
        source=image.source,
        mode=case.mode,
        dataset=case.dataset,
        case_uid=case.case_uid,
        image_uid=image.image_uid,
        published_id=case.published_id,
        presence="present",
        lobe=about.lobe,
        size_class=answer_size(about.diameter_mm),
        size_bucket=about.size_bucket,
        diameter_mm=about.diameter_mm,
        planned_lobe=about.asked_lobe,
        planned_diameter_mm=about.planned_diameter_mm,
        label=about.label,
        target_pixels=pixels,
        negative_type=None,
        guidance_site="lesion",
        pair_uid=case.case_uid,
        paired=all(i.paired for i in case.images if not i.is_lesion_free),
        other_lesions_in_slice=others,
        host_person_uid=about.host_person_uid,
        donor_person_uid=about.donor_person_uid,
        arm=case.arm,
        anatomy=case.anatomy,
    )


def cut_real(case: RealSliceCase, settings: Settings) -> Output:
    """Slices of one real finding, and of a negative plane of its scan where annotation is complete.

    Raises:
        CaseRejected: the CT is missing, damaged, or on another grid than its organ map.
    """
    ct = real_ct(settings.data, case.ct_path)
    host = load_host_map(settings.output, case.map_sha256)
    if not host.same_grid(ct):
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{case.ct_path}: expected the grid of its organ map {host.array.shape}, got {ct.array.shape}",
        )
    lesion, every = unpack_bits(case.lesion), [unpack_bits(packed) for packed in case.all_lesions]
    k = lesion_plane(lesion)
    mask = _plane_mask(lesion, k, ct.array.shape)
    others = sum(_plane_mask(other, k, ct.array.shape).any() for other in every) > 1
    diameter = round(equivalent_diameter(float(lesion.mask.sum()) * ct.voxel_mm3), 4)
    identity = [case.scan_uid, case.ct_sha256, case.lesion]
    positive = _real(case, diameter, int(mask.sum()), bool(others))
    rows, files = cut(settings, ct, k, mask, [*identity, 0], positive)
    if not case.complete:
        return Output({"slices": rows}, files)
    found = negative_plane(host, [*every, unpack_bits(case.cleared)], case.extents, mask, case.seed)
    if found is None:
        detail = "no lung level far enough from every nodule for a negative"
        return Output({"slices": rows}, files, [Rejection(case.case_uid, Reason.DOES_NOT_FIT, detail, 1)])
    made, paths = cut(settings, ct, *found, [*identity, "level"], negative_of(positive, "level", "never"))
    return Output({"slices": rows + made}, files | paths)


def _real(case: RealSliceCase, diameter: float, pixels: int, others: bool) -> Target:
    return Target(
        source="real",
        mode="real",
        dataset=case.dataset,
        case_uid=case.case_uid,
        image_uid=case.scan_uid,
        published_id=case.published_id,
        presence="present",
        lobe=case.lobe,
        size_class=answer_size(diameter),
        size_bucket=size_bucket(diameter),
        diameter_mm=diameter,
        planned_lobe=None,
        planned_diameter_mm=None,
        label=case.label,
        target_pixels=pixels,
        negative_type=None,
        guidance_site="lesion",
        pair_uid=case.case_uid,
        paired=False,
        other_lesions_in_slice=others,
        host_person_uid=case.person_uid,
        donor_person_uid=case.person_uid,
        arm=None,
        anatomy=case.anatomy,
    )


def _plane_mask(lesion: Lesion, k: int, shape: tuple[int, ...]) -> Plane:
    """A lesion on the plane (X, Y) at index ``k`` along z of a scan of a shape."""
    mask = np.zeros(shape[:2], bool)
    local = k - lesion.offset[2]
    if 0 <= local < lesion.mask.shape[2]:
        mask[lesion.box[0], lesion.box[1]] = lesion.mask[..., local]
    return mask


def cut(
    settings: Settings,
    ct: Volume,
    k: int,
    pointed_at: Plane,
    identity: list[Any],
    target: Target,
    slice_z: int | None = None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows and files of one slice under all conditions.

    Args:
        settings: where files go.
        ct: HU (X, Y, Z), canonical RAS+.
        k: index along z in ``ct``.
        pointed_at: plane (X, Y) that guidance surrounds.
        identity: what makes the slice what it is (image, target, offset), without the condition.
        target: the columns that do not depend on the condition.
        slice_z: index along z in the scan, where ``ct`` is a part of it.
    """
    grey = axial(PROFILES[DEFAULT].grey(ct.array[..., k])).astype(np.uint8)
    mask = axial(pointed_at).astype(bool)
    z = k if slice_z is None else slice_z
    uid = digest([*identity, z, DEFAULT], 32)
    rows, files = [], {}
    for condition in CONDITIONS:
        data = png(draw(grey, mask, condition))
        path = f"store/slices/{uid[:2]}/{uid}_{condition}.png"
        replace_file(settings.output / path, data)
        files[path] = sha256_bytes(data)
        picture = Picture(
            slice_uid=uid,
            target_uid=digest(identity, 32),
            condition=condition,
            control="none",
            path=path,
            sha256=files[path],
            profile=DEFAULT,
            slice_z=z,
            z_offset=0,
            pixel_x_mm=round(float(ct.spacing[0]), 6),
            pixel_y_mm=round(float(ct.spacing[1]), 6),
            width=grey.shape[1],
            height=grey.shape[0],
        )
        rows.append(slice_row(target, picture))
    return rows, files
