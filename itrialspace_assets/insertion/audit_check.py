"""Checks audits against their masks, ours and the original's: each mask must hold the nodules that its audit states.

Of ours each nodule is compared with its donor too. The original leaves a host's own nodules in its masks, and its
resampling misses sizes (docs/facts/insertion.md#published-placement), so of its masks only the voxels are counted, and
the host's own are said. Changes nothing.
"""

import json
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume
from itrialspace_assets.insertion.manifests import input_path, read_manifest
from itrialspace_assets.profiles.registry import datasets

#: A nodule's volume agrees with its donor's if it differs by no more than this share, or one voxel; ours.
VOLUME_SHARE = 0.02
#: Its axes agree if each differs by no more than this share, or one voxel: resampling costs less; ours.
SHAPE_SHARE = 0.2
#: A piece of a mask belongs to the nodule whose centre lies within so many voxels of it; ours: a lesion may be hollow.
NEAR_VOXELS = 2.0
_Voxels = npt.NDArray[np.int64]
AuditEntry = dict[str, Any]


@dataclass(frozen=True)
class AuditCheck:
    """What reading an audit again gave.

    Attributes:
        wrong: masks that are missing, or whose nodules are not as the audit and the donors say.
        notes: what is worth knowing and not wrong: nodules of the host's own that the original left in.
        records: records of the audit.
        inserted: those of them that are successes.
        compared: inserted nodules whose size and shape were compared with their donor's.
        keys: case and nodule of each success.
    """

    wrong: list[str]
    records: int
    inserted: int
    compared: int
    notes: list[str] = field(default_factory=list)
    keys: dict[tuple[str, int], str | None] = field(default_factory=dict)


def check_audit(path: Path, output: Path, base: Path) -> AuditCheck:
    """Compare an ``audit.json`` with its masks, and the nodules in them with their donors.

    A mask is looked up beside its audit, then below the output folder. A nodule is compared with its donor where it
    was inserted by strict rules, the donor's mask is there, and its voxels can be told from those of the others.

    Args:
        path: the audit.
        output: output folder, in which the masks lie.
        base: folder that relative paths of donors and hosts start from.

    Raises:
        ConfigError: no audit; says what was got.
    """
    try:
        records: list[AuditEntry] = json.loads(path.read_text(encoding="utf-8-sig"))["records"]
        good = [r for r in records if r["status"] == "success"]
        groups = [(t, [(r, int(r["resampled_mask_voxels"])) for r in group]) for t, group in _by(good)]
        keys = {(str(r["case_id"]), int(r["nodule_idx"])): r.get("donor_annotation_id") for r in good}
        for record in good:
            if len([float(v) for v in record["target_ijk"]]) != 3:
                raise ValueError(f"target_ijk {record['target_ijk']}")
    except (ValueError, KeyError, TypeError, OSError) as error:
        raise ConfigError(f"{path}: expected an audit with records, got {type(error).__name__}: {error}") from None
    found = AuditCheck([], len(records), len(good), 0, [], keys)
    compared = sum(_check_mask(target, group, path.parent, output, base, found) for target, group in groups if target)
    return AuditCheck(found.wrong, found.records, found.inserted, compared, found.notes, keys)


def check_coverage(manifest: Path, found: AuditCheck, settings: Settings) -> tuple[str, list[str]]:
    """How much of a manifest an audit states as inserted, and the nodules that are another donor's.

    Args:
        manifest: the manifest that the audit is of.
        found: its audit.
        settings: the registered datasets, in which a donor may have two names.

    Raises:
        ConfigError: no manifest.
    """
    rows = [r for r in read_manifest(manifest) if r["present"]]
    known = datasets(settings)
    done, differ = 0, []
    for row in rows:
        key = (str(row["case_id"]), int(row["nodule_idx"]))
        done += key in found.keys
        entry, given = known.get(row["donor_dataset"] or ""), found.keys.get(key)
        asked = row["donor_annotation_id"]
        if entry is None or not given or not asked:
            continue  # the original's audits name no donor
        if entry.canonical_annotation(given) != entry.canonical_annotation(asked):
            differ.append(f"case {key[0]}, nodule {key[1]}: expected donor {asked}, got {given}")
    share = f"{done / len(rows):.1%}" if rows else "nothing"
    return f"{done} of {len(rows)} nodules of {manifest.name} are inserted ({share})", differ


def _check_mask(
    target: str, group: list[tuple[AuditEntry, int]], beside: Path, output: Path, base: Path, found: AuditCheck
) -> int:
    """Check one mask; the nodules that were compared with their donors.

    Args:
        target: path of the mask as the audit states it.
        group: its records with the voxels that they state.
        beside: folder of the audit.
        output: output folder.
        base: folder that relative paths of donors and hosts start from.
        found: gets what is wrong and what is worth knowing.
    """
    name = Path(target).name  # the original's audits hold absolute paths of the machine that wrote them
    file = beside / name if (beside / name).is_file() else output / target
    try:
        mask = read_labels(file)
    except CaseRejected as error:
        found.wrong.append(error.detail)
        return 0
    if all("rules" not in record for record, _ in group):
        wrong, notes = _originals(mask, group, base)
        found.wrong.extend(f"{name}: {line}" for line in wrong)
        found.notes.extend(f"{name}: {line}" for line in notes)
        return 0
    wanted, got = sum(n for _, n in group), int((mask.array == NODULE).sum())
    disjoint = not any(r.get("overlap_fraction") for r, _ in group)
    if (got != wanted) if disjoint else (got > wanted):
        found.wrong.append(f"{target}: expected {wanted} voxels of label {NODULE}, got {got}")
        return 0
    compared = 0
    for record, voxels in _told_apart(mask, [r for r, _ in group]):
        donor = input_path(str(record["donor_nodule_mask_path"]), base)
        if record.get("rules") == "strict" and donor is not None and donor.is_file():
            compared += 1
            scale = float(record["scale_factor"] or 1)
            if why := _unlike(voxels, mask.spacing, *_donor_sizes(str(donor), donor.stat().st_mtime_ns), scale):
                found.wrong.append(f"{target}: nodule {record['nodule_idx']}: {why}")
    return compared


def _originals(mask: Volume, group: list[tuple[AuditEntry, int]], base: Path) -> tuple[list[str], list[str]]:
    """What is wrong in a mask of the original, and what is worth knowing.

    Args:
        mask: the label map (X, Y, Z), canonical RAS+.
        group: its records with the voxels that they state; nodules of one case may overlap there.
        base: folder in which the host's map is looked for.
    """
    wrong = [f"nodule {r['nodule_idx']}: a success without a voxel" for r, n in group if not n]
    group = [(r, n) for r, n in group if n]
    stated = str(group[0][0].get("host_organ_seg_path") or "") if group else ""
    host, told = _host(stated, base, mask)
    notes = [told] if told else []
    label = mask.array == NODULE
    own = label & (host.array == NODULE) if host is not None else np.zeros_like(label)
    if kept := int(own.sum()):
        notes.append(f"{kept} voxels of label {NODULE} are the host's own nodules, left in; not counted as the lesion")
    pieces, count = cc3d.connected_components(label & ~own, connectivity=26, return_N=True)
    voxels = [np.argwhere(pieces == piece) for piece in range(1, count + 1)]
    natives = np.argwhere(own)
    claimed: dict[int, set[int]] = {}
    for number, (record, wanted) in enumerate(group):
        at = np.array(record["target_ijk"], float)
        far = [float(np.linalg.norm(v - at, axis=1).min()) for v in voxels]
        reach = NEAR_VOXELS + float(np.cbrt(6 * wanted / np.pi))  # a lesion's own diameter: it may be in pieces
        taken, got = set[int](), 0
        for piece in sorted(range(count), key=far.__getitem__):
            if far[piece] <= (reach if taken else NEAR_VOXELS) and got < wanted:
                taken.add(piece)
                got += len(voxels[piece])
        claimed[number] = taken
    for members in _sharing(claimed):
        held = set[int]().union(*(claimed[m] for m in members))
        got, most = sum(len(voxels[p]) for p in held), sum(group[m][1] for m in members)
        ats = [np.array(group[m][0]["target_ijk"], float) for m in members]
        reach = NEAR_VOXELS + float(np.cbrt(6 * most / np.pi))
        under = sum(int((np.linalg.norm(natives - at, axis=1) <= reach).sum()) for at in ats) if len(natives) else 0
        least = max(group[m][1] for m in members) - under
        if not max(0, least) <= got <= most:
            names = ", ".join(str(group[m][0]["nodule_idx"]) for m in members)
            hint = "" if host is not None else "; a nodule of the host's own that touches it is told by the host's map"
            place = ats[0].astype(int).tolist()
            wrong.append(f"nodule {names}: expected {most} voxels of label {NODULE} at {place}, got {got}{hint}")
    rest = set(range(count)) - set[int]().union(*claimed.values())
    if left := sum(len(voxels[p]) for p in rest):
        if host is None:
            notes.append(f"{left} voxels of label {NODULE} elsewhere are taken for the host's own nodules; not counted")
        else:
            wrong.append(f"{left} voxels of label {NODULE} are neither inserted nor the host's own")
    return wrong, notes


def _host(stated: str, base: Path, mask: Volume) -> tuple[Volume | None, str]:
    """The host's label map, by its path as stated or below ``base``, and what is worth knowing about it."""
    file = input_path(stated, base)
    if file is None or not file.is_file():
        return None, (
            f"its host's map {stated or 'is not stated'} is not here (--base-dir {base}): the host's own nodules are "
            "told by their place alone"
        )
    try:
        host = read_labels(file)
    except CaseRejected as error:
        return None, error.detail
    if difference := host.grid_difference(mask):
        return None, f"its host's map {stated} has another grid: {difference}"
    return host, ""


def _sharing(claimed: dict[int, set[int]]) -> list[list[int]]:
    """Nodules in groups that share a piece."""
    groups: list[tuple[list[int], set[int]]] = []
    for number, pieces in claimed.items():
        together = [g for g in groups if g[1] & pieces]
        groups = [g for g in groups if not g[1] & pieces]
        groups.append(([*(m for g in together for m in g[0]), number], pieces.union(*(g[1] for g in together))))
    return [members for members, _ in groups]


def _told_apart(mask: Volume, records: list[AuditEntry]) -> Iterable[tuple[AuditEntry, _Voxels]]:
    """Each record with the voxels (n, 3) of its nodule, where the pieces of label 23 nearest to it are as many voxels
    as it says."""
    if len(records) == 1:
        return [(records[0], np.argwhere(mask.array == NODULE))]
    targets = np.array([r["target_ijk"] for r in records], float) * mask.spacing
    pieces, count = cc3d.connected_components(mask.array == NODULE, connectivity=26, return_N=True)
    of: list[list[_Voxels]] = [[] for _ in records]
    for piece in range(1, count + 1):
        voxels = np.argwhere(pieces == piece)
        of[int(np.argmin(np.linalg.norm(targets - voxels.mean(axis=0) * mask.spacing, axis=1)))].append(voxels)
    both = ((r, np.concatenate(v)) for r, v in zip(records, of, strict=True) if v)
    return [(r, v) for r, v in both if len(v) == int(r["resampled_mask_voxels"])]


@lru_cache(maxsize=512)
def _donor_sizes(path: str, _mtime: int) -> tuple[float, tuple[float, ...]]:
    """Volume (mm³) and sizes along the principal axes (mm) of a donor's mask.

    Raises:
        CaseRejected: the mask cannot be read.
    """
    donor = read_volume(Path(path))
    voxels = np.argwhere(np.nan_to_num(donor.array) > 0)
    return len(voxels) * float(np.prod(donor.spacing)), tuple(_principal_sizes(voxels, donor.spacing))


def _principal_sizes(voxels: _Voxels, spacing: npt.ArrayLike) -> npt.NDArray[np.float64]:
    """Axes (mm, rising) of the ellipsoid with the second moments of some voxels (n, 3); no turn changes them."""
    step = np.asarray(spacing, float)
    spread = np.cov((voxels * step).T, bias=True) if len(voxels) > 1 else np.zeros((3, 3))
    return np.asarray(2 * np.sqrt(5 * np.linalg.eigvalsh(spread + np.diag(step**2 / 12))), float)


def _unlike(
    voxels: _Voxels, spacing: npt.NDArray[np.float64], volume: float, axes: tuple[float, ...], scale: float
) -> str:
    """How a nodule differs from its donor at its scale in volume or shape; empty if it does not."""
    voxel = float(np.prod(spacing))
    wanted, got = volume * scale**3, len(voxels) * voxel
    if abs(got - wanted) > max(voxel, VOLUME_SHARE * wanted):
        return f"expected its donor's volume at scale {scale:g}, {wanted:.1f} mm³, got {got:.1f} mm³"
    expected, found = np.array(axes) * scale, _principal_sizes(voxels, spacing)
    if np.any(np.abs(found - expected) > np.maximum(SHAPE_SHARE * expected, max(spacing))):
        return (
            f"expected its donor's shape at scale {scale:g}, axes of {' x '.join(f'{v:.1f}' for v in expected)} mm, "
            f"got {' x '.join(f'{v:.1f}' for v in found)} mm"
        )
    return ""


def _by(records: Iterable[AuditEntry]) -> Iterable[tuple[str, list[AuditEntry]]]:
    """Records by the mask that holds them."""
    found: dict[str, list[AuditEntry]] = {}
    for r in records:
        found.setdefault(str(r["output_combined_path"]), []).append(r)
    return found.items()
