"""Inserts the nodules of one case: prepare each donor, find its position, stamp the mask, measure the result.

Without its primary nodule a case is rejected. Without a companion it is ``partial``, and the companion is rejected with
its reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import airway_tree, load_host_map, load_lung_depth, packed_host
from itrialspace_assets.imaging.anatomy import LOBE_LABELS, size_bucket
from itrialspace_assets.imaging.lesions import Lesion, pack_bits, stamp_packed, unpack_bits
from itrialspace_assets.imaging.packing import write_packed
from itrialspace_assets.insertion import compat
from itrialspace_assets.insertion.case import Host, InsertionCase, PlannedNodule
from itrialspace_assets.insertion.empty_site import EmptySite, cleared_sites, find_empty_site
from itrialspace_assets.insertion.measured import HostMaps, MeasuredLesion, measure
from itrialspace_assets.insertion.position import PlannedPosition, find_position
from itrialspace_assets.insertion.prepare import pose_matrix, resample_lesion
from itrialspace_assets.insertion.rows import InsertionRow

#: Identity of the draw of an empty site's kind. Part of the seed: another text would draw every site again.
_SITE_DRAW = "empty place"


@dataclass(frozen=True)
class Realised:
    """A nodule in the host.

    Attributes:
        lesion: its voxels in the host's canonical RAS+ grid.
        wanted: the centre (3,) that was wanted, voxels.
        relaxations: what differs from what was asked.
    """

    lesion: Lesion
    wanted: npt.NDArray[np.float64]
    relaxations: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Inserted:
    """A nodule that is done: planned, realised, measured; the empty site of a primary one."""

    nodule: PlannedNodule
    realised: Realised
    measured: MeasuredLesion
    empty: EmptySite | None


@dataclass(frozen=True)
class _Mask:
    """Identity of a case's mask; path below the output folder and hash where the whole mask is kept."""

    uid: str
    path: str | None = None
    sha256: str | None = None


def insert_case(case: InsertionCase, settings: Settings) -> Output:
    """Rows of ``insertions`` for one case, and its whole mask unless only deltas are kept.

    Of a clean case the position is worked out as for a lesion, and the mask is the host's.

    Raises:
        CaseRejected: the host cannot be read, or the primary nodule cannot be inserted. A companion that cannot be
            inserted makes the case ``partial`` and is rejected by itself.
    """
    host = _host_maps(case.host, settings)
    # native nodules keep their voxels, so nothing else may be placed over them
    fixed = {n.nodule_idx: unpack_bits(n.donor.lesion) for n in case.nodules if n.placement == "native" and n.present}
    done: list[_Inserted] = []
    lesions: list[Lesion] = []
    rejected: list[Rejection] = []
    for nodule in case.nodules:
        try:
            around = [*lesions, *(x for idx, x in fixed.items() if idx > nodule.nodule_idx)]
            realised = _realise(host, nodule, around, settings)
            measured = measure(host, realised.lesion, realised.wanted, lesions)
            if measured is None:
                raise CaseRejected(
                    Reason.NO_LOBE, f"{nodule.donor_nodule_uid}: nothing that surrounds the nodule lies in a lobe"
                )
        except CaseRejected as error:
            if nodule.nodule_idx == 0:
                raise
            rejected.append(Rejection(case.case_uid, error.reason, error.detail, nodule.nodule_idx))
            continue
        empty = None
        if nodule.nodule_idx == 0:
            empty = _empty_site(host, measured, realised.lesion, case.seed, nodule.present)
        done.append(_Inserted(nodule, realised, measured, empty))
        if nodule.present:  # the lesion of a clean case is never put into its mask
            lesions.append(realised.lesion)
    mask = _write_mask(case, host, lesions, settings)
    status = "partial" if rejected else "done"
    rows = [vars(_row(case, part, mask, status, settings.placement)) for part in done]
    files = {mask.path: mask.sha256} if mask.path is not None and mask.sha256 is not None else {}
    return Output({"insertions": rows}, files, rejected)


def _host_maps(host: Host, settings: Settings) -> HostMaps:
    boxes = np.array([lobe.box for lobe in host.lobes])
    lungs = np.stack([boxes[:, ::2].min(axis=0), boxes[:, 1::2].max(axis=0)], axis=1)
    return HostMaps(
        host.scan_uid,
        load_host_map(settings.output, host.map_sha256),
        load_lung_depth(settings.output, host.map_sha256, tuple(lungs.ravel().tolist())),
        {lobe.lobe: lobe.geometry() for lobe in host.lobes},
        cleared_sites(host.cleared),
        airway_tree(settings.output, host.map_sha256),
    )


def _realise(host: HostMaps, nodule: PlannedNodule, others: Sequence[Lesion], settings: Settings) -> Realised:
    donor = unpack_bits(nodule.donor.lesion)
    if nodule.placement == "native":
        return _native(host, nodule, donor)
    cc, ml, ap = nodule.percents
    if cc is None or ml is None or ap is None or not np.isfinite([cc, ml, ap]).all():
        raise CaseRejected(Reason.BAD_POSITION, f"expected three finite percentages, got {[cc, ml, ap]}")
    if nodule.lobe not in LOBE_LABELS:
        raise CaseRejected(Reason.NO_LOBE, f"expected a lobe as target, got {nodule.lobe!r}")
    if settings.placement == "compat":
        return _compat(host, nodule, donor, (cc, ml, ap), bool(others))
    lobe = host.lobes.get(nodule.lobe)
    if lobe is None:
        raise CaseRejected(Reason.NO_LOBE, f"host has no {nodule.lobe}")
    if any(not 0 <= p <= 100 for p in (cc, ml, ap)):
        raise CaseRejected(Reason.BAD_POSITION, f"expected percentages in 0-100, got {[cc, ml, ap]}")
    spacing = tuple(host.labels.spacing.tolist())
    shape = _prepared(
        nodule.donor.lesion, nodule.donor.spacing, spacing, nodule.scale, nodule.rotation_deg, nodule.mirrored
    )
    centre = lobe.position(cc, ml, ap)
    wanted = PlannedPosition(centre, nodule.asked_pleural_mm, nodule.asked_airway_mm, nodule.margin_mm)
    airway = host.airway if wanted.airway_mm is not None else None
    found = find_position(host.labels, shape, LOBE_LABELS[lobe.name], wanted, others, airway, lobe.box, host.depth)
    moved = np.abs(found.lesion.centroid - centre).max() > 1
    pieces = int(cc3d.connected_components(donor.mask, connectivity=26).max())
    whole = (f"the donor is in {pieces} pieces: the largest stands for all",) if pieces > 1 else ()
    relaxed = (f"moved {found.shift_mm:.1f} mm: {found.moved_by or 'the centre lies between voxels'}",) if moved else ()
    return Realised(found.lesion, centre, (*whole, *relaxed))


@lru_cache(maxsize=256)
def _prepared(
    bits: str,
    spacing: tuple[float, ...],
    host_spacing: tuple[float, ...],
    scale: float,
    rotation_deg: tuple[float, float, float],
    mirrored: bool,
) -> npt.NDArray[np.bool_]:
    """A donor on a grid; kept, because trials put the same donor into many hosts of one grid."""
    pose = pose_matrix(rotation_deg, mirrored)
    shape = resample_lesion(unpack_bits(bits).mask, np.array(spacing), np.array(host_spacing), scale, pose)
    shape.setflags(write=False)
    return shape


def _native(host: HostMaps, nodule: PlannedNodule, donor: Lesion) -> Realised:
    if nodule.donor.scan_uid != host.scan_uid:
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"native placement: expected the donor's own scan {nodule.donor.scan_uid}, got host {host.scan_uid}",
        )
    high = np.add(donor.offset, donor.mask.shape)
    if np.any(high > host.labels.array.shape):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"native voxels reach {high.tolist()}, host has {host.labels.array.shape}"
        )
    return Realised(donor, donor.centroid)


def _compat(
    host: HostMaps, nodule: PlannedNodule, donor: Lesion, percents: tuple[float, float, float], others: bool
) -> Realised:
    target = compat.target_of(host.labels, LOBE_LABELS[nodule.lobe])
    found = compat.find_position_compat(host.labels, target, *percents)
    spacing = np.array(nodule.donor.spacing)
    lesion = compat.prepare_compat(donor.mask, spacing, host.labels, found.ijk, nodule.scale)
    pasted = ("pasted whatever it covers: the original's collision test always fails",) if others else ()
    return Realised(lesion, np.array(found.first, dtype=np.float64), (*found.warnings, *pasted))


def _empty_site(host: HostMaps, measured: MeasuredLesion, lesion: Lesion, seed: int, present: bool) -> EmptySite:
    """The site that guidance surrounds on the lesion-free twin of a primary nodule."""
    draw = (case_seed(seed, _SITE_DRAW) >> 31) / 2**32
    return find_empty_site(
        host.labels,
        lesion,
        LOBE_LABELS[measured.lobe],
        _rounded(measured.pleural_mm),
        host.cleared,
        draw,
        present,
        host.lobes[measured.lobe].box if measured.lobe in host.lobes else None,
        host.depth,
    )


def _write_mask(case: InsertionCase, host: HostMaps, lesions: list[Lesion], settings: Settings) -> _Mask:
    uid = digest([case.host.map_sha256, sorted(pack_bits(x) for x in lesions)], 32)
    if settings.masks != "nifti":
        return _Mask(uid)
    path = f"store/masks/{uid[:2]}/{uid}.nii.gz"
    packed = packed_host(settings.output, case.host.map_sha256)
    note = f"inserted nodules ({case.anatomy} anatomy)"
    sha = write_packed(settings.output / path, stamp_packed(packed, host.labels, lesions, note))
    return _Mask(uid, path, sha)


def _rounded(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _row(case: InsertionCase, part: _Inserted, mask: _Mask, status: str, rules: str) -> InsertionRow:
    nodule, realised, got, empty = part.nodule, part.realised, part.measured, part.empty
    relaxations = [r for r in nodule.relaxations.split(";") if r] + list(realised.relaxations)
    if got.outside_lung:
        relaxations.append(f"{got.outside_lung} of {got.voxels} voxels outside the lobes")
    if got.overlap:
        relaxations.append(f"{got.overlap:.1%} of its voxels in another nodule of the case")
    centre_i, centre_j, centre_k = (int(v) for v in np.rint(got.centre))
    world_x, world_y, world_z = (round(float(v), 4) for v in got.world_mm)
    cc, ml, ap = map(_rounded, got.percents)
    return InsertionRow(
        case_uid=case.case_uid,
        mode=case.mode,
        dataset=case.dataset,
        nodule_idx=nodule.nodule_idx,
        present=nodule.present,
        status=status,
        rules=rules,
        donor_nodule_uid=nodule.donor_nodule_uid,
        donor_person_uid=nodule.donor_person_uid,
        host_scan_uid=case.host.scan_uid,
        host_person_uid=case.host_person_uid,
        label=nodule.label,
        kept=nodule.kept,
        placement=nodule.placement,
        host_map_sha256=case.host.map_sha256,
        donor_sha256=nodule.donor.sha256,
        seed=case.seed,
        lesion=pack_bits(realised.lesion),
        mask_uid=mask.uid,
        mask_path=mask.path,
        mask_sha256=mask.sha256,
        centre_i=centre_i,
        centre_j=centre_j,
        centre_k=centre_k,
        world_x=world_x,
        world_y=world_y,
        world_z=world_z,
        asked_lobe=nodule.lobe,
        lobe=got.lobe,
        lobe_share=round(got.lobe_share, 6),
        asked_cc_pct=nodule.cc_pct,
        asked_ml_pct=nodule.ml_pct,
        asked_ap_pct=nodule.ap_pct,
        cc_pct=cc,
        ml_pct=ml,
        ap_pct=ap,
        shift_mm=round(got.shift_mm, 4),
        planned_diameter_mm=nodule.planned_diameter_mm,
        diameter_mm=round(got.diameter_mm, 4),
        volume_mm3=round(got.volume_mm3, 4),
        voxels=got.voxels,
        size_bucket=size_bucket(got.diameter_mm),
        asked_pleural_mm=nodule.asked_pleural_mm,
        pleural_mm=_rounded(got.pleural_mm),
        asked_airway_mm=nodule.asked_airway_mm,
        airway_mm=_rounded(got.airway_mm),
        margin_mm=got.margin_mm,
        outside_lung=got.outside_lung,
        overlap=round(got.overlap, 6),
        scale=nodule.scale,
        rotation_x_deg=nodule.rotation_x_deg,
        rotation_y_deg=nodule.rotation_y_deg,
        rotation_z_deg=nodule.rotation_z_deg,
        mirrored=nodule.mirrored,
        relaxations=";".join(relaxations),
        cleared_site=got.on_cleared,
        empty=pack_bits(empty.lesion) if empty and empty.lesion else None,
        empty_site=empty.kind if empty else None,
        empty_pleural_mm=_rounded(empty.pleural_mm) if empty else None,
        empty_note=(empty.note or None) if empty else None,
        anatomy=case.anatomy,
    )
