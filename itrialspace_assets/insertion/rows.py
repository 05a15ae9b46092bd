"""A row of the table ``insertions``, every column with its type. Measures nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class InsertionRow:
    """One inserted nodule; units and meanings of the columns are those of ``records.tables``."""

    case_uid: str
    mode: str
    dataset: str
    nodule_idx: int
    present: bool
    status: str
    rules: str
    donor_nodule_uid: str
    donor_person_uid: str
    host_scan_uid: str
    host_person_uid: str
    label: int | None
    kept: bool
    placement: str
    host_map_sha256: str
    donor_sha256: str
    seed: int
    lesion: str
    mask_uid: str
    mask_path: str | None
    mask_sha256: str | None
    centre_i: int
    centre_j: int
    centre_k: int
    world_x: float
    world_y: float
    world_z: float
    asked_lobe: str
    lobe: str
    lobe_share: float
    asked_cc_pct: float | None
    asked_ml_pct: float | None
    asked_ap_pct: float | None
    cc_pct: float | None
    ml_pct: float | None
    ap_pct: float | None
    shift_mm: float
    planned_diameter_mm: float
    diameter_mm: float
    volume_mm3: float
    voxels: int
    size_bucket: str
    asked_pleural_mm: float | None
    pleural_mm: float | None
    asked_airway_mm: float | None
    airway_mm: float | None
    margin_mm: float
    outside_lung: int
    overlap: float
    scale: float
    rotation_x_deg: float
    rotation_y_deg: float
    rotation_z_deg: float
    mirrored: bool
    relaxations: str
    cleared_site: bool
    empty: str | None
    empty_site: str | None
    empty_pleural_mm: float | None
    empty_note: str | None
    anatomy: str
