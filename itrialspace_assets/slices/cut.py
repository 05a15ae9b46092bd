"""Cuts the slices of one case: of the lesion image, of its lesion-free twin, of a real scan."""

from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.anatomy import answer_size, equivalent_diameter, lung_mask, size_bucket
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.pictures import axial, lesion_plane, png
from itrialspace_assets.imaging.volumes import Lesion, unpack_bits
from itrialspace_assets.profiles.cts import real_ct
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.slices.guidance import draw
from itrialspace_assets.slices.windows import DEFAULT, PROFILES
from itrialspace_assets.synthesis.images import open_plane

#: A negative level keeps this far (mm) from every annotated nodule's extent (docs/facts/evaluation.md#negative-levels).
CLEAR_MM = 15.0
#: Least share of the body's area that is lung on a negative level (docs/facts/evaluation.md#negative-levels).
LUNG_SHARE = 0.05


def _plane_mask(lesion: Lesion, k: int, shape: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    mask = np.zeros(shape[:2], bool)
    local = k - lesion.offset[2]
    if 0 <= local < lesion.mask.shape[2]:
        mask[lesion.box[0], lesion.box[1]] = lesion.mask[..., local]
    return mask


def cut(
    settings: Settings,
    ct: Volume,
    k: int,
    pointed_at: npt.NDArray[np.bool_],
    identity: list[Any],
    common: dict[str, Any],
    slice_z: int | None = None,
) -> tuple[list[dict[str, Any]], dict[str, str]]:
    """Rows and files of one slice under all conditions.

    Args:
        ct: CT in HU (RAS+).
        k: index along z in ``ct``.
        pointed_at: plane (X, Y) that guidance surrounds.
        identity: what makes the slice what it is (image, target, offset), without the condition.
        common: the columns that do not depend on the condition.
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
        rows.append(
            common
            | {
                "slice_uid": uid,
                "condition": condition,
                "path": path,
                "sha256": files[path],
                "profile": DEFAULT,
                "slice_z": z,
                "z_offset": 0,
                "pixel_x_mm": round(float(ct.spacing[0]), 6),
                "pixel_y_mm": round(float(ct.spacing[1]), 6),
                "width": grey.shape[1],
                "height": grey.shape[0],
            }
        )
    return rows, files


def cut_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Slices of a rendered case: the primary nodule's largest plane, and that of an empty place on the twin.

    On the twin, guidance surrounds the case's empty place: same outline and lobe, about the same
    distance from the pleura, nothing there. Whether a native nodule was once cleared there is recorded.

    Raises:
        CaseRejected: an image is missing or on another grid, or the nodule misses its own slice.
    """
    nodules = payload["nodules"]
    lesions = [unpack_bits(n["lesion"]) for n in nodules]
    about = nodules[0]
    rows: list[dict[str, Any]] = []
    files: dict[str, str] = {}
    paired = all(row["paired"] for row in payload["cts"] if not row["is_lesion_free"])
    for row in payload["cts"]:
        free = row["is_lesion_free"]
        target = unpack_bits(about["empty"]) if free else lesions[0]
        k = lesion_plane(target)
        ct, at = open_plane(settings, row, k)
        mask = _plane_mask(target, k, ct.array.shape)
        if not mask.any():
            raise CaseRejected(Reason.NO_TARGET_ON_SLICE, f"slice {k}: expected pixels of the target nodule, got none")
        others = (
            any(
                _plane_mask(x, k, ct.array.shape).any()
                for x, n in zip(lesions[1:], nodules[1:], strict=True)
                if n["present"]
            )
            and not free
        )
        common = {
            "source": row["source"],
            "mode": payload["mode"],
            "dataset": payload["dataset"],
            "case_uid": payload["case_uid"],
            "image_uid": row["image_uid"],
            "published_id": payload["published_id"] + ("_neg" if free else ""),
            "presence": "absent" if free else "present",
            "lobe": None if free else about["lobe"],
            "size_class": None if free else answer_size(about["diameter_mm"]),
            "size_bucket": None if free else about["size_bucket"],
            "diameter_mm": None if free else about["diameter_mm"],
            "planned_lobe": None if free else about["asked_lobe"],
            "planned_diameter_mm": None if free else about["planned_diameter_mm"],
            "label": None if free else about["label"],
            "target_pixels": 0 if free else int(mask.sum()),
            "negative_type": "twin" if free else None,
            "guidance_site": about["empty_site"] if free else "lesion",
            "pair_uid": payload["case_uid"],
            "paired": paired,
            "other_lesions_in_slice": others,
            "host_person_uid": about["host_person_uid"],
            "donor_person_uid": about["donor_person_uid"],
            "arm": payload["arm"],
            "anatomy": payload["anatomy"],
        }
        made, paths = cut(
            settings, ct, at, mask, [row["image_uid"], about["empty"] if free else about["lesion"], 0], common, k
        )
        rows += made
        files |= paths
    return Output({"slices": rows}, files)


def cut_real(payload: dict[str, Any], settings: Settings) -> Output:
    """Slices of one real finding, and of another level of its scan where annotation is complete.

    Raises:
        CaseRejected: the CT is missing, damaged, or on another grid than its organ map.
    """
    ct = real_ct(settings.data, payload["ct_path"])
    host = load_host_map(settings.output, payload["map_sha256"])
    if not host.same_grid(ct):
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{payload['ct_path']}: expected the grid of its organ map {host.array.shape}, got {ct.array.shape}",
        )
    target = unpack_bits(payload["lesion"])
    everything = [unpack_bits(x) for x in payload["all_lesions"]]
    k = lesion_plane(target)
    mask = _plane_mask(target, k, ct.array.shape)
    volume = float(target.mask.sum()) * ct.voxel_mm3
    diameter = round(equivalent_diameter(volume), 4)
    base = {
        "source": "real",
        "mode": "real",
        "dataset": payload["dataset"],
        "case_uid": payload["case_uid"],
        "image_uid": payload["scan_uid"],
        "planned_lobe": None,
        "planned_diameter_mm": None,
        "pair_uid": payload["case_uid"],
        "paired": False,
        "host_person_uid": payload["person_uid"],
        "donor_person_uid": payload["person_uid"],
        "arm": None,
        "anatomy": payload["anatomy"],
    }
    others = sum(_plane_mask(x, k, ct.array.shape).any() for x in everything) > 1
    positive = base | {
        "published_id": payload["published_id"],
        "presence": "present",
        "lobe": payload["lobe"],
        "size_class": answer_size(diameter),
        "size_bucket": size_bucket(diameter),
        "diameter_mm": diameter,
        "label": payload["label"],
        "target_pixels": int(mask.sum()),
        "negative_type": None,
        "guidance_site": "lesion",
        "other_lesions_in_slice": bool(others),
    }
    rows, files = cut(
        settings, ct, k, mask, [payload["scan_uid"], payload["ct_sha256"], payload["lesion"], 0], positive
    )
    aside = []
    if payload["complete"]:
        near = [*everything, unpack_bits(payload["cleared"])]
        level = _empty_level(host, near, payload["extents"], mask, payload["seed"])
        if level is None:
            aside.append(
                Rejection(
                    payload["case_uid"],
                    Reason.DOES_NOT_FIT,
                    "no lung level far enough from every nodule for a negative",
                    1,
                )
            )
        else:
            negative = base | {
                "published_id": payload["published_id"] + "_neg",
                "presence": "absent",
                "lobe": None,
                "size_class": None,
                "size_bucket": None,
                "diameter_mm": None,
                "label": None,
                "target_pixels": 0,
                "negative_type": "level",
                "guidance_site": "never",
                "other_lesions_in_slice": False,
            }
            made, paths = cut(
                settings,
                ct,
                level[0],
                level[1],
                [payload["scan_uid"], payload["ct_sha256"], payload["lesion"], "level"],
                negative,
            )
            rows += made
            files |= paths
    return Output({"slices": rows}, files, aside)


def _empty_level(
    host: Volume, lesions: list[Lesion], extents: list[list[float]], footprint: npt.NDArray[np.bool_], seed: int
) -> tuple[int, npt.NDArray[np.bool_]] | None:
    """A level clear of nodules and a place on it (plane X, Y) that holds a nodule's footprint.

    Clear of every known voxel of a nodule (``lesions``) and of every annotated nodule, whether its
    voxels are known or not (``extents``: world z from and to, mm).
    """
    spacing, shape = host.spacing, host.array.shape
    clear = np.ones(shape[2], bool)
    reach = int(np.ceil(CLEAR_MM / spacing[2]))
    for lesion in lesions:
        clear[np.flatnonzero(lesion.mask.any(axis=(0, 1))) + lesion.offset[2]] = False
    for low, high in extents:
        first, last = (host.to_voxel([0, 0, z])[2] for z in (low, high))
        clear[max(0, int(np.floor(first))) : max(0, int(np.ceil(last)) + 1)] = False
    clear = ~ndimage.binary_dilation(~clear, iterations=reach)
    lungs = lung_mask(host.array)
    share = lungs.sum(axis=(0, 1)) / np.maximum(1, (host.array > 0).sum(axis=(0, 1)))
    levels = np.flatnonzero(clear & (share >= LUNG_SHARE))
    points = np.argwhere(footprint)
    centre = np.rint(points.mean(axis=0)).astype(int)
    offsets = points - centre
    for k in np.random.default_rng(seed).permutation(levels):
        plane = lungs[..., k]
        room = ndimage.distance_transform_edt(plane)
        seats = np.argwhere(room >= 2)
        order = np.argsort(np.linalg.norm((seats - centre) * spacing[:2], axis=1), kind="stable")[:4000]
        at = seats[order][:, None, :] + offsets[None, :, :]
        inside = np.all((at >= 0) & (at < plane.shape), axis=(1, 2))
        at = at[inside]
        fits = plane[at[..., 0], at[..., 1]].all(axis=1)
        if fits.any():
            chosen = at[int(np.argmax(fits))]
            mask = np.zeros(plane.shape, bool)
            mask[chosen[:, 0], chosen[:, 1]] = True
            return int(k), mask
    return None
