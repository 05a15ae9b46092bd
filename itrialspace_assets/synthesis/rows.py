"""Rows of the tables of images and their fidelity, every column with its type. Computes nothing."""

from dataclasses import dataclass


@dataclass(frozen=True)
class CtRow:
    """One rendered CT; units and meanings of the columns are those of ``records.tables``."""

    case_uid: str
    source: str
    mode: str
    dataset: str
    is_lesion_free: bool
    image_uid: str
    twin_uid: str
    weights_sha256: str | None
    acquisition: str
    mtf50_per_mm: float | None
    shown_mtf50_per_mm: float | None
    dose: float | None
    slice_mm: float | None
    attenuation: str | None
    path: str
    sha256: str
    kept: str
    lesion_hu: float | None
    background_hu: float | None
    low_hu: float
    high_hu: float
    twin_difference_hu: float | None
    paired: bool | None
    decoding: str | None
    filled_voxels: int
    dropped_voxels: int
    trained_on: str
    anatomy: str


@dataclass(frozen=True)
class FidelityRow:
    """The distance of two sets of CTs in one plane, or why there is none."""

    reference: str
    compared: str
    kind: str
    plane: str
    metric: str
    extractor: str
    extractor_sha256: str | None
    value: float | None
    images_reference: int
    images_compared: int
    images_matched: int | None
    matched: float | None
    low: float | None
    high: float | None
    floor: float | None
    floor_low: float | None
    floor_high: float | None
    protocol: str
    note: str | None
    flag: str | None
    anatomy: str


@dataclass(frozen=True)
class HostOverlapRow:
    """The share of HU histograms that a lesion-free twin and its host's real CT have in common; None: no voxel."""

    source: str
    image_uid: str
    scan_uid: str
    dataset: str
    whole: float | None
    lung: float | None


@dataclass(frozen=True)
class NoduleFidelityRow:
    """A rendered lesion beside its donor nodule in real CT, or why there is none."""

    source: str
    image_uid: str
    nodule_idx: int
    case_uid: str
    attenuation: str
    nodule_uid: str
    host_person_uid: str
    donor_person_uid: str
    diameter_mm: float
    overlap: float | None = None
    edge: float | None = None
    edge_real: float | None = None
    texture: float | None = None
    texture_real: float | None = None
    voxels: int | None = None
    voxels_real: int | None = None
    note: str | None = None
