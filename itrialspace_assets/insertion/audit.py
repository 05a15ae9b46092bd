"""Records and ``audit.json`` of inserted masks in the published layout (docs/facts/insertion.md#names-and-audit).

Writes no file.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.records.layout import compact_id


@dataclass(frozen=True)
class AuditRecord:
    """One record of an audit, its fields in the order of the file. Distances in mm, voxels in RAS+.

    ``shift_mm`` is the whole way from the place that the manifest gives to the realised centre; ``place_from`` says how
    it gives that: ``coordinates`` (world mm) or ``percentages`` (of the lobe's largest component).
    ``elapsed_sec`` and ``output_mask_path`` are kept for readers of the published format and are empty: an output
    holds no time, and nodules have no files of their own.
    """

    case_id: str
    nodule_idx: int
    is_primary: bool
    companion_group_id: str
    status: str
    reason: str
    host_ct_path: str
    host_organ_seg_path: str
    donor_nodule_mask_path: str
    insertion_lobe: str
    cc_pct: float | None
    ml_pct: float | None
    ap_pct: float | None
    target_ijk: tuple[int, int, int] | None
    target_world_mm: tuple[float, float, float] | None
    snapped: bool
    shift_mm: float | None
    place_from: str | None
    pleural_dist_mm: float | None
    margin_mm: float | None
    overlap_fraction: float | None
    placement_warnings: tuple[str, ...]
    rules: str | None
    scale_factor: float | None
    donor_mask_voxels: int | None
    resampled_mask_voxels: int | None
    achieved_diameter_mm: float | None
    achieved_lobe: str | None
    outside_lung_voxels: int | None
    output_mask_path: str
    output_combined_path: str
    host_id_compact: str
    nodule_label_value: int
    elapsed_sec: None
    host_patient_id: str
    host_dataset: str
    donor_annotation_id: str | None
    trial_name: str
    host_map_sha256: str | None
    donor_sha256: str | None


def audit_record(asked: Mapping[str, Any], got: Mapping[str, Any] | None, reason: str, target: str) -> dict[str, Any]:
    """One record, as JSON has it.

    Args:
        asked: row of the manifest, with ``donor_voxels``, the voxels of the donor's mask; and ``place_mm``, if the row
            gives a place in its host by world coordinates (RAS+).
        got: row of ``insertions``; None: the nodule was not inserted.
        reason: why it was not inserted.
        target: path of the case's mask below the output folder; empty if only its delta was kept.
    """
    relaxations = (got["relaxations"] if got else "") or ""
    place, shift = asked.get("place_mm"), got["shift_mm"] if got else None
    if got and place is not None:
        shift = round(math.dist(place, (got["world_x"], got["world_y"], got["world_z"])), 4)
    record = AuditRecord(
        case_id=str(asked["case_id"]),
        nodule_idx=int(asked["nodule_idx"]),
        is_primary=int(asked["nodule_idx"]) == 0,
        companion_group_id=str(asked.get("companion_group_id") or asked["case_id"]),
        status="success" if got else "failed",
        reason="" if got else reason,
        host_ct_path=asked.get("host_ct_path") or "",
        host_organ_seg_path=asked.get("host_organ_seg_path") or "",
        donor_nodule_mask_path=asked.get("donor_nodule_mask_path") or "",
        insertion_lobe=asked["insertion_lobe"],
        cc_pct=asked["insertion_lobe_cc_pct"],
        ml_pct=asked["insertion_lobe_ml_pct"],
        ap_pct=asked["insertion_lobe_ap_pct"],
        target_ijk=(got["centre_i"], got["centre_j"], got["centre_k"]) if got else None,
        target_world_mm=(got["world_x"], got["world_y"], got["world_z"]) if got else None,
        snapped="moved" in relaxations or "snapped" in relaxations,
        shift_mm=shift,
        place_from=None if got is None else "percentages" if place is None else "coordinates",
        pleural_dist_mm=got["pleural_mm"] if got else None,
        margin_mm=got["margin_mm"] if got else None,
        overlap_fraction=got["overlap"] if got else None,
        placement_warnings=tuple(w for w in relaxations.split(";") if w),
        rules=got["rules"] if got else None,
        scale_factor=asked["scale_factor"],
        donor_mask_voxels=asked.get("donor_voxels"),
        resampled_mask_voxels=got["voxels"] if got else None,
        achieved_diameter_mm=got["diameter_mm"] if got else None,
        achieved_lobe=got["lobe"] if got else None,
        outside_lung_voxels=got["outside_lung"] if got else None,
        output_mask_path="",
        output_combined_path=target if got else "",
        host_id_compact=compact_id(str(asked["host_patient_id"])),
        nodule_label_value=NODULE,
        elapsed_sec=None,
        host_patient_id=str(asked["host_patient_id"]),
        host_dataset=asked["host_dataset"],
        donor_annotation_id=asked.get("donor_annotation_id"),
        trial_name=asked["trial_name"],
        host_map_sha256=got["host_map_sha256"] if got else None,
        donor_sha256=got["donor_sha256"] if got else None,
    )
    return dict(vars(record))


def audit(trial_name: str, manifest: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole ``audit.json`` of a manifest.

    Args:
        trial_name: folder of the mode and name of the manifest, joined by ``_``.
        manifest: path of the manifest.
        records: from ``audit_record``.
    """
    success = sum(r["status"] == "success" for r in records)
    return {
        "trial_name": trial_name,
        "manifest_path": manifest,
        "n_total": len(records),
        "n_success": success,
        "n_failed": len(records) - success,
        "records": list(records),
    }
