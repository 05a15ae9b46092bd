"""Inserts the nodules of one case: prepare, place, stamp, measure what came out.

A case is all or recorded: without its primary nodule it is rejected, without a companion it is ``partial``
and the companion is put aside with its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import DEPTH_STEPS, airway_tree, load_host_map, load_lung_depth, packed_host
from itrialspace_assets.imaging.anatomy import LOBE_LABELS, LOBE_NAMES, LUNG, equivalent_diameter, size_bucket
from itrialspace_assets.imaging.geometry import Volume, write_packed
from itrialspace_assets.imaging.volumes import Lesion, pack_bits, shared_voxels, stamp_packed, unpack_bits
from itrialspace_assets.insertion import compat
from itrialspace_assets.insertion.empty import cleared_sites, empty_place, wants_cleared
from itrialspace_assets.insertion.place import Wanted, place
from itrialspace_assets.insertion.prepare import pose_matrix, resample_lesion
from itrialspace_assets.profiles.lobes import Lobe, from_runs
from itrialspace_assets.profiles.measure import lobe_about, pleural_distance

_WAYS = ("cc", "ml", "ap")


@dataclass(frozen=True)
class Realised:
    """A nodule as it lies in the host, the centre (voxels) it was wanted at, and what differs from what was asked."""

    lesion: Lesion
    wanted: npt.NDArray[np.float64]
    relaxations: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Host:
    """A host as a case needs it: its map, its lobes, where nodules were cleared."""

    volume: Volume
    depth: Volume
    lobes: dict[str, Lobe]
    sites: tuple[Lesion, ...]
    scan_uid: str


def lobe_of_row(row: dict[str, Any]) -> Lobe:
    """A lobe from its row of ``host_lobes``."""
    b = row["box"]
    box = slice(b[0], b[1]), slice(b[2], b[3]), slice(b[4], b[5])
    return Lobe(row["lobe"], row["voxels"], box, from_runs(row["occupied"]))


def insert_case(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``insertions`` for one case, and its whole mask unless only deltas are kept.

    Of a clean case the place is worked out as for a lesion, and the mask is the host's.

    Raises:
        CaseRejected: the host cannot be read, or the primary nodule cannot be placed. A companion
            that cannot be placed makes the case ``partial`` and is put aside by itself.
    """
    host = _Host(
        load_host_map(settings.output, payload["map_sha256"]),
        load_lung_depth(settings.output, payload["map_sha256"]),
        {row["lobe"]: lobe_of_row(row) for row in payload["lobes"]},
        cleared_sites(payload["cleared"]),
        payload["host_scan_uid"],
    )
    rows: list[dict[str, Any]] = []
    lesions: list[Lesion] = []
    # what stays or goes back voxel for voxel has its place before anything is placed around it
    fixed = {n["nodule_idx"]: unpack_bits(n["lesion"]) for n in payload["nodules"] if n["placement"] == "native" and n["present"]}  # fmt: skip
    aside: list[Rejection] = []
    for nodule in payload["nodules"]:
        try:
            around = [*lesions, *(x for idx, x in fixed.items() if idx > nodule["nodule_idx"])]
            realised = _realise(host, nodule, around, payload["map_sha256"], settings)
            row = _row(host, nodule, realised, lesions, payload, settings)
        except CaseRejected as error:
            if nodule["nodule_idx"] == 0:
                raise
            aside.append(Rejection(payload["case_uid"], error.reason, error.detail, nodule["nodule_idx"]))
            continue
        if nodule["nodule_idx"] == 0:
            row |= _empty(host, row, realised.lesion, payload["seed"], nodule["placement"] == "native")
        rows.append(row)
        if nodule["present"]:  # of a clean case the place is known, nothing is put there
            lesions.append(realised.lesion)
    mask_uid = digest([payload["map_sha256"], sorted(pack_bits(x) for x in lesions)], 32)
    files: dict[str, str] = {}
    path = sha = None
    if settings.masks == "nifti":
        path = f"store/masks/{mask_uid[:2]}/{mask_uid}.nii.gz"
        packed = packed_host(settings.output, payload["map_sha256"])
        note = f"inserted nodules ({payload['anatomy']} anatomy)"
        sha = files[path] = write_packed(settings.output / path, stamp_packed(packed, host.volume, lesions, note))
    status = "partial" if aside else "done"
    rows = [row | {"mask_uid": mask_uid, "mask_path": path, "mask_sha256": sha, "status": status} for row in rows]
    return Output({"insertions": rows}, files, aside)


def _realise(
    host: _Host, nodule: dict[str, Any], others: Sequence[Lesion], map_sha256: str, settings: Settings
) -> Realised:
    donor = unpack_bits(nodule["lesion"])
    if nodule["placement"] == "native":
        return _native(host, nodule, donor)
    percents = [nodule[f"{a}_pct"] for a in _WAYS]
    if any(p is None or not np.isfinite(p) for p in percents):
        raise CaseRejected(Reason.BAD_POSITION, f"expected three finite percentages, got {percents}")
    if nodule["lobe"] not in LOBE_LABELS:
        raise CaseRejected(Reason.NO_LOBE, f"expected a lobe as target, got {nodule['lobe']!r}")
    spacing = np.array(nodule["spacing"])
    if settings.placement == "compat":
        return _compat(host, nodule, donor, percents, spacing, bool(others))
    lobe = host.lobes.get(nodule["lobe"])
    if lobe is None:
        raise CaseRejected(Reason.NO_LOBE, f"host has no {nodule['lobe']}")
    if any(not 0 <= p <= 100 for p in percents):
        raise CaseRejected(Reason.BAD_POSITION, f"expected percentages in 0-100, got {percents}")
    angles = (nodule["rotation_x_deg"], nodule["rotation_y_deg"], nodule["rotation_z_deg"])
    grids = tuple(spacing.tolist()), tuple(host.volume.spacing.tolist())
    shape = _prepared(nodule["lesion"], *grids, nodule["scale"], angles, nodule["mirrored"])
    centre = lobe.position(*percents)
    wanted = Wanted(centre, nodule["asked_pleural_mm"], nodule["asked_airway_mm"], nodule["margin_mm"])
    airway = airway_tree(settings.output, map_sha256) if wanted.airway_mm is not None else None
    found = place(host.volume, shape, LOBE_LABELS[lobe.name], wanted, others, airway, lobe.box, host.depth)
    moved = np.abs(found.lesion.centroid - centre).max() > 1
    pieces = int(cc3d.connected_components(donor.mask, connectivity=26).max())
    whole = (f"the donor is in {pieces} pieces: the largest stands for all",) if pieces > 1 else ()
    relaxed = (f"moved {found.shift_mm:.1f} mm: {found.moved_by or 'the centre lies between voxels'}",) if moved else ()
    return Realised(found.lesion, centre, (*whole, *relaxed))


@lru_cache(maxsize=256)
def _prepared(
    bits: str, spacing: tuple[float, ...], host_spacing: tuple[float, ...], scale: float, angles: tuple[float, float, float], mirrored: bool
) -> npt.NDArray[np.bool_]:  # fmt: skip
    """A donor on a grid; trials put the same donor into many hosts of one grid."""
    pose = pose_matrix(angles, mirrored)
    shape = resample_lesion(unpack_bits(bits).mask, np.array(spacing), np.array(host_spacing), scale, pose)
    shape.setflags(write=False)
    return shape


def _native(host: _Host, nodule: dict[str, Any], donor: Lesion) -> Realised:
    if nodule["donor_scan_uid"] != host.scan_uid:
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"native placement: expected the donor's own scan {nodule['donor_scan_uid']}, got host {host.scan_uid}",
        )
    high = np.add(donor.offset, donor.mask.shape)
    if np.any(high > host.volume.array.shape):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"native voxels reach {high.tolist()}, host has {host.volume.array.shape}"
        )
    return Realised(donor, donor.centroid)


def _compat(
    host: _Host,
    nodule: dict[str, Any],
    donor: Lesion,
    percents: list[float],
    spacing: npt.NDArray[np.float64],
    later: bool,
) -> Realised:
    target = compat.target_of(host.volume, LOBE_LABELS[nodule["lobe"]])
    found = compat.place_compat(host.volume, target, *percents)
    lesion = compat.prepare_compat(donor.mask, spacing, host.volume, found.ijk, nodule["scale"])
    pasted = ("pasted whatever it covers: the original's collision test always fails",) if later else ()
    return Realised(lesion, np.array(found.first, dtype=np.float64), (*found.warnings, *pasted))


def _row(
    host: _Host, nodule: dict[str, Any], realised: Realised, others: Sequence[Lesion], payload: dict[str, Any], settings: Settings
) -> dict[str, Any]:  # fmt: skip
    """What came out, measured on the host's map."""
    lesion, volume = realised.lesion, host.volume
    label, share = lobe_about(volume, lesion)
    if not label:
        raise CaseRejected(
            Reason.NO_LOBE, f"{nodule['donor_nodule_uid']}: nothing that surrounds the nodule lies in a lobe"
        )
    name = LOBE_NAMES[label]
    centroid = lesion.centroid
    under = volume.array[lesion.box][lesion.mask]
    outside = int((~np.isin(under, LUNG)).sum())
    voxels = len(under)
    overlap = sum(shared_voxels(lesion, other) for other in others) / voxels
    got = host.lobes[name].percent(centroid) if name in host.lobes else (None, None, None)
    mm3 = voxels * volume.voxel_mm3
    diameter = equivalent_diameter(mm3)
    airway = airway_tree(settings.output, payload["map_sha256"])
    relaxations = [r for r in nodule["relaxations"].split(";") if r] + list(realised.relaxations)
    if outside:
        relaxations.append(f"{outside} of {voxels} voxels outside the lobes")
    if overlap:
        relaxations.append(f"{overlap:.1%} of its voxels in another nodule of the case")
    kept = ("nodule_idx", "present", "kept", "placement", "donor_nodule_uid", "donor_person_uid", "donor_sha256", "label", "planned_diameter_mm",
            "asked_pleural_mm", "asked_airway_mm", "scale", "rotation_x_deg", "rotation_y_deg", "rotation_z_deg", "mirrored")  # fmt: skip
    return {k: payload[k] for k in ("case_uid", "mode", "dataset", "host_scan_uid", "host_person_uid", "seed", "anatomy")} | {k: nodule[k] for k in kept} | {
        "rules": settings.placement, "host_map_sha256": payload["map_sha256"], "lesion": pack_bits(lesion),
        **{f"centre_{a}": int(v) for a, v in zip("ijk", np.rint(centroid), strict=True)}, **{f"world_{a}": round(float(v), 4) for a, v in zip("xyz", volume.to_world(centroid), strict=True)},
        "asked_lobe": nodule["lobe"], "lobe": name, "lobe_share": round(share, 6),
        **{f"asked_{a}_pct": nodule[f"{a}_pct"] for a in _WAYS}, **{f"{a}_pct": None if v is None else round(float(v), 4) for a, v in zip(_WAYS, got, strict=True)},
        "shift_mm": round(float(np.linalg.norm((centroid - realised.wanted) * volume.spacing)), 4), "diameter_mm": round(diameter, 4), "volume_mm3": round(mm3, 4), "voxels": voxels,
        "size_bucket": size_bucket(diameter), "pleural_mm": _rounded(pleural_distance(volume, centroid)), "airway_mm": _rounded(airway.query(centroid * volume.spacing)[0] if airway else None),
        "margin_mm": margin_of(host.depth, volume, lesion), "outside_lung": outside, "overlap": round(overlap, 6), "relaxations": ";".join(relaxations),
        "cleared_site": any(shared_voxels(lesion, site) for site in host.sites),
        "empty": None, "empty_site": None, "empty_pleural_mm": None, "empty_note": None,
    }  # fmt: skip


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def margin_of(depth: Volume, host: Volume, lesion: Lesion) -> float:
    """Least distance (mm) of any voxel of a lesion to the lung's outline, from the host's ``lung_depth`` (quarters of a mm)."""
    start = np.rint(host.to_voxel(depth.affine[:3, 3])).astype(int)
    at = lesion.indices - start
    known = np.all((at >= 0) & (at < depth.array.shape), axis=1)
    return float(depth.array[tuple(at[known].T)].min()) / DEPTH_STEPS if known.all() else 0.0


def _empty(host: _Host, row: dict[str, Any], lesion: Lesion, seed: int, own: bool) -> dict[str, Any]:
    """The columns of the empty place that guidance surrounds on the lesion-free twin."""
    draw = int(digest([seed, "empty place"], 8), 16) / 2**32
    cleared = wants_cleared(draw, host.volume, host.sites, own)
    lobe = host.lobes.get(row["lobe"])
    found = empty_place(
        host.volume,
        lesion,
        LOBE_LABELS[row["lobe"]],
        row["pleural_mm"],
        host.sites,
        cleared,
        lobe.box if lobe else None,
        host.depth,
    )
    return {
        "empty": pack_bits(found.lesion), "empty_site": found.site,
        "empty_pleural_mm": _rounded(found.pleural_mm), "empty_note": found.note or None,
    }  # fmt: skip
