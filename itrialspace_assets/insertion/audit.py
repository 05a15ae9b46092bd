"""Names and ``audit.json`` of inserted masks in the published layout (docs/facts/insertion.md#names-and-audit). Writes
no file."""

from collections.abc import Mapping, Sequence
from typing import Any

from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.records.layout import compact_id


def audit_record(asked: Mapping[str, Any], got: Mapping[str, Any] | None, reason: str, target: str) -> dict[str, Any]:
    """One record: a row of the manifest, what became of it (a row of ``insertions``), else why nothing did.

    ``elapsed_sec`` and ``output_mask_path`` are there for readers of the published format and hold
    nothing: an output has no time in it, and nodules have no files of their own.
    """
    return {
        "case_id": str(asked["case_id"]),
        "nodule_idx": int(asked["nodule_idx"]),
        "is_primary": int(asked["nodule_idx"]) == 0,
        "companion_group_id": str(asked.get("companion_group_id") or asked["case_id"]),
        "status": "success" if got else "failed",
        "reason": "" if got else reason,
        "host_ct_path": asked.get("host_ct_path") or "",
        "host_organ_seg_path": asked.get("host_organ_seg_path") or "",
        "donor_nodule_mask_path": asked.get("donor_nodule_mask_path") or "",
        "insertion_lobe": asked["insertion_lobe"],
        **{f"{a}_pct": asked[f"insertion_lobe_{a}_pct"] for a in ("cc", "ml", "ap")},
        "target_ijk": [got["centre_i"], got["centre_j"], got["centre_k"]] if got else None,
        "target_world_mm": [got["world_x"], got["world_y"], got["world_z"]] if got else None,
        "snapped": bool(
            got and got["relaxations"] and ("moved" in got["relaxations"] or "snapped" in got["relaxations"])
        ),
        "shift_mm": got["shift_mm"] if got else None,
        "pleural_dist_mm": got["pleural_mm"] if got else None,
        "margin_mm": got["margin_mm"] if got else None,
        "overlap_fraction": got["overlap"] if got else None,
        "placement_warnings": [w for w in (got["relaxations"] if got else "").split(";") if w],
        "rules": got["rules"] if got else None,
        "scale_factor": asked["scale_factor"],
        "donor_mask_voxels": asked.get("donor_voxels"),
        "resampled_mask_voxels": got["voxels"] if got else None,
        "achieved_diameter_mm": got["diameter_mm"] if got else None,
        "achieved_lobe": got["lobe"] if got else None,
        "outside_lung_voxels": got["outside_lung"] if got else None,
        "output_mask_path": "",
        "output_combined_path": target if got else "",
        "host_id_compact": compact_id(str(asked["host_patient_id"])),
        "nodule_label_value": NODULE,
        "elapsed_sec": None,
        "host_patient_id": str(asked["host_patient_id"]),
        "host_dataset": asked["host_dataset"],
        "donor_annotation_id": asked.get("donor_annotation_id"),
        "trial_name": asked["trial_name"],
        "host_map_sha256": got["host_map_sha256"] if got else None,
        "donor_sha256": got["donor_sha256"] if got else None,
    }


def audit(trial_name: str, manifest: str, records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """The whole ``audit.json`` of a manifest (its path as given)."""
    success = sum(r["status"] == "success" for r in records)
    return {
        "trial_name": trial_name,
        "manifest_path": manifest,
        "n_total": len(records),
        "n_success": success,
        "n_failed": len(records) - success,
        "records": list(records),
    }
