"""Rows of the tables ``hosts``, ``host_lobes`` and ``donors``: their columns as typed fields.

What each column means is said once, in ``records.tables``. The columns that come from voxels alone are classes of their
own, because a scan without a profile (a manifest's host or donor) has them too. Computes nothing.
"""

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class FreeMapColumns:
    """The columns of ``hosts`` that the nodule-free label map in the store gives."""

    map_sha256: str
    shape: list[int]
    spacing_x: float
    spacing_y: float
    spacing_z: float
    origin_x: float
    origin_y: float
    origin_z: float
    lung_box: list[int]
    cleared: str


@dataclass(frozen=True, kw_only=True)
class MapColumns(FreeMapColumns):
    """The columns of ``hosts`` that the label map gives."""

    room_sha256: str  # of the clearance map; the published name of the column
    native_nodules: int


@dataclass(frozen=True, kw_only=True)
class HostRow(MapColumns):
    """A row of ``hosts``."""

    scan_uid: str
    dataset: str
    person_uid: str
    age: float | None
    sex: str | None
    smoking: str | None
    anatomy: str


@dataclass(frozen=True, kw_only=True)
class LobeShapeColumns:
    """The columns of ``host_lobes`` that turn percentages into positions."""

    lobe: str
    voxels: int
    box: list[int]
    occupied: list[int]


@dataclass(frozen=True, kw_only=True)
class LobeColumns(LobeShapeColumns):
    """The columns of ``host_lobes`` that the label map gives."""

    fit_radius_mm: float


@dataclass(frozen=True, kw_only=True)
class HostLobeRow(LobeColumns):
    """A row of ``host_lobes``."""

    scan_uid: str
    dataset: str


@dataclass(frozen=True, kw_only=True)
class LesionColumns:
    """The columns of ``donors`` that a lesion's voxels and their size give."""

    lesion: str
    spacing_x: float
    spacing_y: float
    spacing_z: float
    voxels: int
    volume_mm3: float
    diameter_mm: float
    sphericity: float
    solidity: float
    elongation: float
    longest_mm: float
    reach_mm: float
    lesion_sha256: str


@dataclass(frozen=True, kw_only=True)
class DonorRow(LesionColumns):
    """A row of ``donors``."""

    nodule_uid: str
    dataset: str
    scan_uid: str
    person_uid: str
    mask_from: str
    lobe: str
    cc_pct: float | None
    ml_pct: float | None
    ap_pct: float | None
