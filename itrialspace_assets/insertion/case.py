"""What the insertion of one case reads: the host and its lobes, the planned nodules, the donors' lesions.

Hashed, written to journals and handed to workers. Voxel indices are canonical RAS+, distances mm, angles degrees.
Reads no table and no volume.
"""

from collections.abc import Iterable, Mapping
from typing import Any, Literal

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework.cases import Case, payload_hash
from itrialspace_assets.profiles.lobes import LobeExtent, from_runs


class HostLobe(StrictModel):
    """A lobe of a host, a row of ``host_lobes``.

    Attributes:
        lobe: name.
        voxels: voxels of its largest component.
        box: x0, x1, y0, y1, z0, z1 of that component, upper bounds out.
        occupied: first and last index along z of each run of occupied slices, in turn.
    """

    lobe: str
    voxels: int
    box: tuple[int, int, int, int, int, int]
    occupied: tuple[int, ...]

    def geometry(self) -> LobeExtent:
        """Box and occupied slices, in which percentages are positions."""
        x0, x1, y0, y1, z0, z1 = self.box
        box = slice(x0, x1), slice(y0, y1), slice(z0, z1)
        return LobeExtent(self.lobe, self.voxels, box, from_runs(list(self.occupied)))


class Host(StrictModel):
    """A host scan, from its rows of ``hosts`` and ``host_lobes``.

    Attributes:
        scan_uid: the scan; of a manifest file the path of its label map.
        map_sha256: hash of the nodule-free label map in the store.
        cleared: packed voxels of all native nodules that were cleared, see ``volumes.pack_bits``.
        lobes: the lobes that it has.
    """

    scan_uid: str
    map_sha256: str
    cleared: str
    lobes: tuple[HostLobe, ...]

    @classmethod
    def of(cls, scan_uid: str, host: Mapping[str, Any], lobes: Iterable[Mapping[str, Any]]) -> "Host":
        """The host of a row of ``hosts`` and rows of ``host_lobes``, whatever else the rows hold.

        Args:
            scan_uid: what the scan is called in messages and rows.
            host: row of ``hosts``.
            lobes: its rows of ``host_lobes``.
        """
        return cls(
            scan_uid=scan_uid,
            map_sha256=host["map_sha256"],
            cleared=host["cleared"],
            lobes=tuple(HostLobe(**{name: row[name] for name in HostLobe.model_fields}) for row in lobes),
        )


class Donor(StrictModel):
    """A donor's lesion, from its row of ``donors``.

    Attributes:
        scan_uid: scan that it was segmented on; its voxels lie on that scan's grid.
        lesion: its packed voxels, see ``volumes.pack_bits``.
        spacing: voxel size (x, y, z), mm.
        sha256: hash of voxels and spacing.
    """

    scan_uid: str
    lesion: str
    spacing: tuple[float, float, float]
    sha256: str

    @classmethod
    def of(cls, scan_uid: str, donor: Mapping[str, Any]) -> "Donor":
        """The donor of a row of ``donors``, whatever else the row holds."""
        spacing = donor["spacing_x"], donor["spacing_y"], donor["spacing_z"]
        return cls(scan_uid=scan_uid, lesion=donor["lesion"], spacing=spacing, sha256=donor["lesion_sha256"])


class PlannedNodule(StrictModel):
    """A nodule as it was planned, from its row of ``case_nodules``; the columns keep their names.

    Attributes:
        present: false for a clean case: its position is worked out, nothing is inserted.
        kept: a nodule of the host's own that stays.
        placement: native keeps the donor's own voxels; profile places by percentages.
        lobe: name of the target lobe.
        cc_pct: wanted position in the lobe, 0 inferior to 100 superior; null: none was given.
        ml_pct: 0 patient left to 100 patient right.
        ap_pct: 0 posterior to 100 anterior.
        planned_diameter_mm: volume-equivalent diameter.
        scale: factor on the donor's lengths.
        asked_pleural_mm: wanted distance of the centre to the pleura; null: any.
        asked_airway_mm: wanted distance of the centre to airway or trachea; null: any.
        margin_mm: wanted free lung around the nodule.
        rotation_x_deg: turn about the fixed x axis, before those about y and z.
        mirrored: mirrored left to right before it is turned.
        relaxations: constraints that planning gave up, joined with ``;``.
    """

    nodule_idx: int
    present: bool
    kept: bool
    donor_nodule_uid: str
    donor_person_uid: str
    label: int | None
    placement: Literal["native", "profile"]
    lobe: str
    cc_pct: float | None
    ml_pct: float | None
    ap_pct: float | None
    planned_diameter_mm: float
    scale: float
    asked_pleural_mm: float | None
    asked_airway_mm: float | None
    margin_mm: float
    rotation_x_deg: float
    rotation_y_deg: float
    rotation_z_deg: float
    mirrored: bool
    relaxations: str
    donor: Donor

    @classmethod
    def of(cls, row: Mapping[str, Any], donor: Donor) -> "PlannedNodule":
        """The nodule of a row of ``case_nodules``, whatever else the row holds."""
        return cls(**{name: row[name] for name in cls.model_fields if name != "donor"}, donor=donor)

    @property
    def percents(self) -> tuple[float | None, float | None, float | None]:
        """Wanted position (cc, ml, ap) in the lobe."""
        return self.cc_pct, self.ml_pct, self.ap_pct

    @property
    def rotation_deg(self) -> tuple[float, float, float]:
        """Turns about x, y and z."""
        return self.rotation_x_deg, self.rotation_y_deg, self.rotation_z_deg


class InsertionCase(StrictModel):
    """A case of insertion: one host, its nodules by ``nodule_idx``.

    Attributes:
        case_uid: the case.
        mode: trial mode.
        dataset: dataset of the host.
        anatomy: real or procedural.
        seed: seed of the case's own draws.
        host_person_uid: person that the manifest names for the host.
        host: where the nodules go.
        nodules: the primary nodule (0) first.
    """

    case_uid: str
    mode: str
    dataset: str
    anatomy: str
    seed: int
    host_person_uid: str
    host: Host
    nodules: tuple[PlannedNodule, ...]


#: Part of every case's input hash: raised when the same case would give other rows or masks.
VERSION = "4"


def work_of(settings: Settings, case: InsertionCase) -> Case:
    """The unit of work for ``insert.insert_case``; cases of one host run one after another."""
    sha = payload_hash([VERSION, settings.masks, settings.placement], case)
    return Case(case.case_uid, sha, case.host.map_sha256, case)
