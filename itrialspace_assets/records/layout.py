"""Names of the published layout: mode keys and folders, manifest columns, compact ids. Reads and writes no file."""

import hashlib
import re
from collections.abc import Iterable, Sequence

from itrialspace_assets.base.fingerprints import sha256_bytes

MANIFEST_COLUMNS = [
    "case_id",
    "nodule_idx",
    "is_primary_nodule",
    "n_nodules_in_case",
    "companion_group_id",
    "trial_name",
    "trial_template",
    "bootstrap_id",
    "host_patient_id",
    "host_dataset",
    "host_ct_path",
    "host_organ_seg_path",
    "donor_patient_id",
    "donor_annotation_id",
    "donor_dataset",
    "donor_nodule_mask_path",
    "donor_ct_path",
    "donor_refined_seg_path",
    "insertion_coord_x",
    "insertion_coord_y",
    "insertion_coord_z",
    "insertion_lobe",
    "insertion_lobe_cc_pct",
    "insertion_lobe_ml_pct",
    "insertion_lobe_ap_pct",
    "insertion_mode",
    "nodule_diam_mm",
    "effective_diam_mm",
    "scale_factor",
    "warp_applied",
    "label",
    "nodule_lobe_name",
    "nodule_lung_side",
    "nodule_lung_zone",
    "nodule_central_peripheral",
    "pleural_distance_mm",
    "patient_age",
    "patient_sex",
    "smoking_status",
    "pack_years",
    "cohort_mode",
    "size_bucket",
    "population_type",
    "label_source",
]


ISOLATION_COLUMNS = [
    "mode",
    "target_annotation_id",
    "target_nodule_mask_path",
    "target_diameter_mm",
    "target_label",
    "target_lobe",
    "target_side",
    "target_zone",
    "host_n_nodules",
    "isolation_case_index",
]


COMPLETE_COLUMNS = ["mode", "host_n_nodules", "annotation_ids", "diameters_mm", "labels", "lobes", "sides", "zones"]


CROSS_COLUMNS = ["mode", "donor_transfer_mode", "pairing_policy", "placement_strategy", "cross_case_group_id"]


#: Our own columns, after the published ones.
OWN_COLUMNS = [
    "case_uid",
    "arm",
    "seed",
    "render_replicate",
    "relaxations",
    "lesion_free_twin",
    "why",
    "host_scan_uid",
    "donor_nodule_uid",
    "present",
    "placement",
    "fit",
    "asked_pleural_mm",
    "asked_airway_mm",
    "margin_mm",
    "rotation_x_deg",
    "rotation_y_deg",
    "rotation_z_deg",
    "mirrored",
    "kept",
    "attenuation",
    "mtf50_per_mm",
    "dose",
    "slice_mm",
    "declared_cc_pct",
    "declared_ml_pct",
    "declared_ap_pct",
    "declared_pleural_mm",
    "declared_airway_mm",
    "fit_mm",
]


def published_mode(mode: str) -> str:
    """Folder name of a mode in the published layout: m02_size_detection_curve -> mode2_size_detection_curve."""
    return f"mode{int(mode[1:3])}_{mode[4:]}" if mode[:1] == "m" and mode[1:3].isdigit() else mode


#: Dataset of drawn donors: in no index, without people.
PROCEDURAL = "PROCEDURAL"
#: Image source of real CTs, beside the names of renderers.
REAL = "real"
MODES: tuple[str, ...] = (
    "m01_controlled_prevalence",
    "m02_size_detection_curve",
    "m03_location_sensitivity",
    "m04_demographic_stratification",
    "m05_counterfactual",
    "m06_cross_dataset",
    "m07_bootstrap_confidence",
    "m08_algorithm_comparison",
    "m09_screening_simulation",
    "m10_multi_nodule_realism",
    "m11_digital_twin_isolation",
    "m12_digital_twin_complete",
    "m13_digital_twin_cross",
)


#: A longer host id is replaced by the head of its hash (published).
LONGEST_ID = 20


def compact_id(host_id: str) -> str:
    """A host's id as file names have it."""
    return host_id if len(host_id) <= LONGEST_ID else sha256_bytes(host_id.encode())[:8]


def case_key(trial_name: str, case_id: int | str, host_id: str, host_dataset: str, donor_ids: Sequence[str]) -> str:
    """Stem of a case's files: ``iTS--{trial}--C{case}--host-{host}--src-{dataset}--nod-{donor}``.

    Letters, digits, ``.``, ``_`` and ``-`` are kept; every other character becomes ``_``.

    Args:
        trial_name: name of the trial, or of the trial with its arm.
        case_id: number of the case, filled with zeros to four characters.
        host_id: id of the host's patient; shortened by ``compact_id``.
        host_dataset: dataset of the host.
        donor_ids: id of the donor of each nodule; unless there is exactly one, only their number is in the name, as
            ``Nnod<number>``.
    """
    donor = donor_ids[0] if len(donor_ids) == 1 else f"Nnod{len(donor_ids)}"
    number = str(case_id).zfill(4)
    parts = (f"iTS--{trial_name}", f"C{number}", f"host-{compact_id(host_id)}", f"src-{host_dataset}", f"nod-{donor}")
    return re.sub(r"[^A-Za-z0-9._-]", "_", "--".join(parts))


def ids_of(text: str) -> list[str]:
    """Ids of a published list, one a line; blank lines and lines that start with # do not count."""
    lines = (line.strip() for line in text.splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def list_sha256(uids: Iterable[str]) -> str:
    """SHA-256 over the sorted unique ids, each followed by a newline (published rule)."""
    return hashlib.sha256("".join(f"{u}\n" for u in sorted(set(uids))).encode()).hexdigest()
