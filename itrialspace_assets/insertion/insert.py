"""Inserts the nodules of one case: prepare, place, stamp, measure what came out."""

from typing import Any

import numpy as np

from itrialspace_assets.anatomy import LOBE_LABELS, LOBE_NAMES, LUNG, equivalent_diameter, size_bucket
from itrialspace_assets.casework import Output, Rejection
from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.fingerprints import digest
from itrialspace_assets.geometry import Volume, write_volume
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.insertion.place import place
from itrialspace_assets.insertion.prepare import resample_lesion
from itrialspace_assets.profiles.lobes import Lobe, from_runs
from itrialspace_assets.profiles.measure import pleural_distance
from itrialspace_assets.settings import Settings
from itrialspace_assets.volumes import Lesion, pack_bits, stamp, unpack_bits

#: A move by more than this from the wanted centre is written down as a relaxation (mm).
MOVED_MM = 10.0


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
    host = load_host_map(settings.output, payload["map_sha256"])
    lobes = {row["lobe"]: lobe_of_row(row) for row in payload["lobes"]}
    cleared = unpack_bits(payload["cleared"])
    taken = np.zeros(host.array.shape, bool) if len(payload["nodules"]) > 1 else None
    rows: list[dict[str, Any]] = []
    lesions: list[Lesion] = []
    aside: list[Rejection] = []
    for nodule in payload["nodules"]:
        try:
            lesion, shift, asked = _realise(host, lobes, nodule, payload["host_scan_uid"], taken)
            row = _row(host, lobes, nodule, lesion, shift, asked, cleared, payload)
        except CaseRejected as error:
            if nodule["nodule_idx"] == 0:
                raise
            aside.append(Rejection(payload["case_uid"], error.reason, error.detail, nodule["nodule_idx"]))
            continue
        rows.append(row)
        if not nodule["present"]:
            continue  # a clean case: its place is known, nothing is put there
        if taken is not None:
            taken[lesion.box] |= lesion.mask
        lesions.append(lesion)
    mask_uid = digest([payload["map_sha256"], sorted(pack_bits(x) for x in lesions)], 32)
    files: dict[str, str] = {}
    path = sha = None
    if settings.masks == "nifti":
        path = f"store/masks/{mask_uid[:2]}/{mask_uid}.nii.gz"
        sha = files[path] = write_volume(
            settings.output / path, stamp(host, lesions), f"inserted nodules ({payload['anatomy']} anatomy)"
        )
    status = "partial" if aside else "done"
    rows = [row | {"mask_uid": mask_uid, "mask_path": path, "mask_sha256": sha, "status": status} for row in rows]
    return Output({"insertions": rows}, files, aside)


def _realise(
    host: Volume, lobes: dict[str, Lobe], nodule: dict[str, Any], scan_uid: str, taken: Any
) -> tuple[Lesion, float, np.ndarray[Any, Any]]:
    donor = unpack_bits(nodule["lesion"])
    if nodule["placement"] == "native":
        if nodule["donor_scan_uid"] != scan_uid:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"native placement: expected the donor's own scan {nodule['donor_scan_uid']}, got host {scan_uid}",
            )
        high = np.add(donor.offset, donor.mask.shape)
        if np.any(high > host.array.shape):
            raise CaseRejected(
                Reason.GRID_MISMATCH, f"native voxels reach {high.tolist()}, host has {host.array.shape}"
            )
        return donor, 0.0, donor.centroid
    lobe = lobes.get(nodule["lobe"])
    if lobe is None:
        raise CaseRejected(Reason.NO_LOBE, f"host has no {nodule['lobe']}")
    percents = [nodule["cc_pct"], nodule["ml_pct"], nodule["ap_pct"]]
    if any(p is None or not 0 <= p <= 100 for p in percents):
        raise CaseRejected(Reason.BAD_POSITION, f"expected percentages in 0-100, got {percents}")
    shape = resample_lesion(donor.mask, np.array(nodule["spacing"]), host.spacing, nodule["scale"])
    wanted = lobe.position(*percents)
    found = place(host, shape, LOBE_LABELS[lobe.name], wanted, taken)
    return found.lesion, found.shift_mm, wanted


def _row(
    host: Volume,
    lobes: dict[str, Lobe],
    nodule: dict[str, Any],
    lesion: Lesion,
    shift: float,
    asked: Any,
    cleared: Lesion,
    payload: dict[str, Any],
) -> dict[str, Any]:
    centroid = lesion.centroid
    centre = np.rint(centroid).astype(int)
    under = host.array[lesion.box][lesion.mask]
    counts = np.bincount(under, minlength=LUNG[-1] + 1)[LUNG[0] : LUNG[-1] + 1]
    if not counts.any():
        raise CaseRejected(
            Reason.NO_LOBE, f"{nodule['donor_nodule_uid']}: no voxel of the nodule lies in a lobe of the host"
        )
    lobe = LOBE_NAMES[LUNG[int(counts.argmax())]]
    got = lobes[lobe].percent(centroid) if lobe in lobes else (None, None, None)
    volume = float(lesion.mask.sum()) * host.voxel_mm3
    diameter = equivalent_diameter(volume)
    world = host.to_world(centroid)
    pleura = pleural_distance(host, centre)
    relaxations = [r for r in nodule["relaxations"].split(";") if r]
    if shift > MOVED_MM:
        relaxations.append(f"moved {shift:.1f} mm to fit")
    return {
        "case_uid": payload["case_uid"], "mode": payload["mode"], "dataset": payload["dataset"], "nodule_idx": nodule["nodule_idx"], "present": nodule["present"],
        "donor_nodule_uid": nodule["donor_nodule_uid"], "donor_person_uid": nodule["donor_person_uid"], "host_scan_uid": payload["host_scan_uid"],
        "host_person_uid": payload["host_person_uid"], "label": nodule["label"], "host_map_sha256": payload["map_sha256"], "lesion": pack_bits(lesion),
        **{f"centre_{a}": int(v) for a, v in zip("ijk", centre, strict=True)}, **{f"world_{a}": round(float(v), 4) for a, v in zip("xyz", world, strict=True)},
        "asked_lobe": nodule["lobe"], "lobe": lobe, "lobe_share": round(float(counts.max() / max(1, len(under))), 6),
        **{f"asked_{a}_pct": nodule[f"{a}_pct"] for a in ("cc", "ml", "ap")},
        **{f"{a}_pct": None if v is None else round(float(v), 4) for a, v in zip(("cc", "ml", "ap"), got, strict=True)},
        "shift_mm": round(shift, 4), "planned_diameter_mm": nodule["planned_diameter_mm"], "diameter_mm": round(diameter, 4), "volume_mm3": round(volume, 4),
        "size_bucket": size_bucket(diameter), "pleural_mm": None if pleura is None else round(pleura, 4), "scale": nodule["scale"],
        "relaxations": ";".join(relaxations), "cleared_site": _overlap(lesion, cleared), "anatomy": payload["anatomy"],
    }  # fmt: skip


def _overlap(a: Lesion, b: Lesion) -> bool:
    low = np.maximum(a.offset, b.offset)
    high = np.minimum(np.add(a.offset, a.mask.shape), np.add(b.offset, b.mask.shape))
    if np.any(high <= low):
        return False
    part_a = a.mask[tuple(slice(lo - o, hi - o) for lo, hi, o in zip(low, high, a.offset, strict=True))]
    part_b = b.mask[tuple(slice(lo - o, hi - o) for lo, hi, o in zip(low, high, b.offset, strict=True))]
    return bool((part_a & part_b).any())
