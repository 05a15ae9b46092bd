"""Inserted masks of a release, the original's or ours: found by their audits, compared with their manifests, and taken
apart into a nodule-free host map and lesions, as rendering reads them. Renders nothing.

A mask that others made is a label map in which every nodule is label 23 (docs/facts/published-release.md#layout). Where
the release or the data root holds the host's own label map, that is the host; else it is the mask with its nodules
cleared, which is said.
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from itertools import groupby
from pathlib import Path
from typing import Any, Literal

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import hash_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.store import store_map
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, bounding_box, read_labels
from itrialspace_assets.imaging.lesions import Lesion, pack_bits
from itrialspace_assets.insertion.audit_check import check_audit, check_coverage
from itrialspace_assets.insertion.manifests import input_path, read_manifest
from itrialspace_assets.records.layout import case_key

#: Folder of the masks in a release, and that of the manifests they were made from.
MASKS, MANIFESTS = "inserted_masks", "manifests"
#: Faults of a release that a message names; ours.
_FIRST = 10
_SUFFIX = "_mask.nii.gz"


class ReleasedMask(StrictModel):
    """A case's mask of a release, as its audit states it.

    Attributes:
        case_uid: folder of the mode, name of the manifest and number of the case, joined by ``/``.
        path: where the mask lies.
        dataset: dataset of its host.
        host: where the host's own label map lies; null: it is not here.
        centre: voxel (RAS+) of the primary nodule's centre.
        anatomy: real or procedural.
    """

    case_uid: str
    path: str
    dataset: str
    host: str | None
    centre: tuple[float, float, float]
    anatomy: Literal["real", "procedural"]

    @property
    def key(self) -> str:
        """Name of the case in the published layout."""
        return Path(self.path).name.removesuffix(_SUFFIX)


class MasksOfHost(StrictModel):
    """The masks that share a host, whose own label map is here; or one mask, if its is not (``host`` is null)."""

    host: str | None
    masks: tuple[ReleasedMask, ...]

    @property
    def paths(self) -> list[str]:
        """Every file that is read."""
        return [*filter(None, [self.host]), *(mask.path for mask in self.masks)]


class TakenMask(StrictModel):
    """A mask, taken apart.

    Attributes:
        case_uid: the case.
        mask_sha256: hash of the mask's file.
        map_sha256: the host's nodule-free map in the store.
        host_from: where that map comes from: the host's own label map, or the mask with its nodules cleared.
        lesions: packed voxels of each lesion, the primary one first.
        host_nodule_voxels: voxels of label 23 that are the host's own nodules: cleared, and no lesion.
    """

    case_uid: str
    mask_sha256: str
    map_sha256: str
    host_from: Literal["label map", "mask"]
    lesions: tuple[str, ...]
    host_nodule_voxels: int


def released_masks(root: Path, settings: Settings, folder: str | None, anatomy: str) -> dict[str, list[ReleasedMask]]:
    """The masks of a release that its audits state as inserted, by manifest (``mode2_…/10_15mm``).

    Args:
        root: the release.
        settings: data root, in which host maps are looked for that the release does not hold; datasets.
        folder: folder of one mode; None: every one.
        anatomy: of the release, real or procedural.

    Raises:
        ConfigError: there are none, or a part disagrees with its manifest, its audit or its files. Every such part is
            named, and nothing was rendered.
    """
    found: dict[str, list[ReleasedMask]] = {}
    faults: list[str] = []
    for path in sorted((root / MASKS / (folder or "")).rglob("audit.json")):
        part = str(path.parent.relative_to(root / MASKS))
        try:
            faults += [f"{part}: {fault}" for fault in _faults(root, path, part, settings)]
            found[part] = list(_masks(root, path, part, settings, anatomy))
        except ConfigError as error:
            faults.append(f"{part}: {error}")
    if not found and not faults:
        raise ConfigError(
            f"{root / MASKS / (folder or '')}: expected masks with their audit.json, found none; download that part of "
            "the release"
        )
    if faults:
        more = f"; and {len(faults) - _FIRST} more" if len(faults) > _FIRST else ""
        raise ConfigError(f"{root}: nothing was rendered: {'; '.join(faults[:_FIRST])}{more}")
    return found


def by_host(masks: Sequence[ReleasedMask]) -> list[MasksOfHost]:
    """Masks of one host together, in the order of their hosts."""
    groups = groupby(
        sorted(masks, key=lambda m: (m.host or m.case_uid, m.case_uid)), key=lambda m: m.host or m.case_uid
    )
    made = (tuple(group) for _, group in groups)
    return [MasksOfHost(host=group[0].host, masks=group) for group in made]


def _manifest(root: Path, part: str) -> Path:
    """
    Raises:
        ConfigError: the part has no manifest.
    """
    for suffix in (".csv", ".json"):
        path = root / MANIFESTS / f"{part}{suffix}"
        if path.is_file():
            return path
    raise ConfigError(f"expected its manifest {MANIFESTS}/{part}.csv, found none")


def _successes(path: Path) -> list[dict[str, Any]]:
    """Records of nodules that were inserted; their form was checked by ``check_audit``."""
    records = json.loads(path.read_text(encoding="utf-8-sig"))["records"]
    return [r for r in records if r["status"] == "success"]


def _faults(root: Path, path: Path, part: str, settings: Settings) -> Iterator[str]:
    """In what masks, audit and manifest of a part disagree.

    Args:
        root: the release.
        path: the audit.
        part: folder of the mode and name of the manifest.
        settings: the registered datasets.

    Raises:
        ConfigError: no audit, or no manifest.
    """
    checked = check_audit(path, root, root)
    yield from checked.wrong
    manifest = _manifest(root, part)
    yield from check_coverage(manifest, checked, settings)[1]
    rows = {(str(r["case_id"]), int(r["nodule_idx"])): r for r in read_manifest(manifest) if r["present"]}
    named = set()
    for record in _successes(path):
        case, nodule = str(record["case_id"]), int(record["nodule_idx"])
        row, name = rows.get((case, nodule)), Path(record["output_combined_path"]).name
        named.add(name)
        if row is None:
            yield f"case {case}, nodule {nodule}: inserted, and in no row of {manifest.name}"
            continue
        stated, asked = (Path(str(r["host_organ_seg_path"] or "")).name for r in (record, row))
        if stated and asked and stated != asked:
            yield f"case {case}: expected a mask in the host {asked}, got {stated}"
        if _identity(case, row) not in re.sub(r"[^A-Za-z0-9._-]", "_", name):
            yield f"case {case}: expected a mask of {_identity(case, row).strip('-')}, got {name}"
    for file in sorted(path.parent.glob(f"*{_SUFFIX}")):
        if file.name not in named:
            yield f"{file.name}: in no record of audit.json"


def _identity(case: str, row: Mapping[str, Any]) -> str:
    """What the name of a case's mask says of the case and its host."""
    key = case_key("", case, str(row["host_patient_id"] or ""), str(row["host_dataset"] or ""), [""])
    return key.removeprefix("iTS--").removesuffix("nod-")


def _masks(root: Path, path: Path, part: str, settings: Settings, anatomy: str) -> Iterator[ReleasedMask]:
    """Masks of a part, case by case.

    Args:
        root: the release.
        path: the audit.
        part: folder of the mode and name of the manifest.
        settings: data root.
        anatomy: of the release.

    Raises:
        ConfigError: no manifest.
    """
    datasets = {str(r["case_id"]): str(r["host_dataset"] or "") for r in read_manifest(_manifest(root, part))}
    records = sorted(_successes(path), key=lambda r: (str(r["case_id"]), int(r["nodule_idx"])))
    for case, group in groupby(records, key=lambda r: str(r["case_id"])):
        first = next(group)
        stated = str(first["host_organ_seg_path"] or "")
        hosts = (input_path(stated, base) for base in (root, settings.data))
        host = next((str(h) for h in hosts if h is not None and h.is_file()), None)
        yield ReleasedMask(
            case_uid=f"{part}/{case}",
            path=str(path.parent / Path(first["output_combined_path"]).name),
            dataset=datasets.get(case, ""),
            host=host,
            centre=tuple(map(float, first["target_ijk"])),
            anatomy="procedural" if anatomy == "procedural" else "real",
        )


def take_masks(group: MasksOfHost, settings: Settings) -> Output:
    """Put a host into the store, and cut the lesions of its masks; a mask that is not its host's is rejected alone.

    Raises:
        CaseRejected: the host's label map cannot be read, or holds no lobe.
    """
    host = read_labels(Path(group.host)) if group.host is not None else None
    stored = store_map(settings, host, group.host or "", group.masks[0].anatomy) if host is not None else None
    rows, files, rejected = [], dict(stored.files) if stored else {}, []
    for mask in group.masks:
        try:
            labels = read_labels(Path(mask.path))
            own = _own(labels, host, mask)
            lesions = _lesions((labels.array == NODULE) & ~own, mask)
            free = stored or store_map(settings, labels, mask.path, mask.anatomy)
        except CaseRejected as error:
            rejected.append(Rejection(mask.case_uid, error.reason, error.detail))
            continue
        files |= free.files
        taken = TakenMask(
            case_uid=mask.case_uid,
            mask_sha256=hash_file(Path(mask.path)),
            map_sha256=free.columns.map_sha256,
            host_from="mask" if host is None else "label map",
            lesions=tuple(pack_bits(lesion) for lesion in lesions),
            host_nodule_voxels=int((own & (labels.array == NODULE)).sum()),
        )
        rows.append(taken.model_dump(mode="json"))
    return Output({"masks": rows}, files, rejected)


def _own(labels: Volume, host: Volume | None, mask: ReleasedMask) -> npt.NDArray[np.bool_]:
    """Voxels (X, Y, Z) of the host's own nodules.

    Args:
        labels: the mask.
        host: the host's label map; None: it is not here, and which nodules are its own cannot be told.
        mask: names the files.

    Raises:
        CaseRejected: the mask differs from its host beside nodules.
    """
    if host is None:
        return np.zeros(labels.array.shape, bool, order="F")
    if differs := host.grid_difference(labels):
        raise CaseRejected(Reason.GRID_MISMATCH, f"{mask.path}: expected the grid of its host, got {differs}")
    own = host.array == NODULE
    apart = int(((labels.array != host.array) & (labels.array != NODULE) & ~own).sum())
    if apart:
        raise CaseRejected(
            Reason.GRID_MISMATCH,
            f"{mask.path}: expected its host {mask.host} beside the nodules, got {apart} voxels of other labels",
        )
    return np.asarray(own)


def _lesions(nodules: npt.NDArray[np.bool_], mask: ReleasedMask) -> Sequence[Lesion]:
    """Connected pieces of the nodules (X, Y, Z), the one nearest to the primary nodule's centre first.

    Raises:
        CaseRejected: there is none.
    """
    if not nodules.any():
        raise CaseRejected(Reason.EMPTY_LESION, f"{mask.path}: expected a lesion of label {NODULE}, got none")
    block = bounding_box(nodules)
    pieces = cc3d.connected_components(np.asfortranarray(nodules[block]), connectivity=26, out_dtype=np.uint32)
    found = []
    for number, box in enumerate(ndimage.find_objects(pieces.view(np.int32)), start=1):
        x, y, z = (int(b.start + s.start) for b, s in zip(block, box, strict=True))
        found.append(Lesion((x, y, z), np.ascontiguousarray(pieces[box] == number)))
    return sorted(found, key=lambda p: (float(np.linalg.norm(p.indices - mask.centre, axis=1).min()), p.offset))
