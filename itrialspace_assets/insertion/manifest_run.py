"""Inserts manifests straight from their files: no graph, no index, no CT.

Hosts and donors are prepared once each, cases run as in the graph, and masks and ``audit.json`` are written in the
published layout. A rerun continues where the last one stopped.
"""

import json
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar
from uuid import uuid4

import numpy as np
import numpy.typing as npt

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest, link_file, replace_file
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Collected, Output, Rejection, require_all
from itrialspace_assets.hosts.store import donor_columns, store_map
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, lobe_label
from itrialspace_assets.imaging.geometry import box_where, read_labels, read_volume
from itrialspace_assets.imaging.lesions import Lesion, unpack_bits
from itrialspace_assets.insertion.audit import audit, audit_record
from itrialspace_assets.insertion.case import VERSION, Donor, Host, InsertionCase, PlannedNodule, work_of
from itrialspace_assets.insertion.insert import insert_case
from itrialspace_assets.insertion.manifests import input_path, own_scan, published_folders, read_manifest, stated_place
from itrialspace_assets.profiles.lobes import LobeExtent
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import case_key

#: A row of a manifest, as ``read_manifest`` gives it.
ManifestRow = Mapping[str, Any]
#: Context manager of a title and a total; gives a function that is told how many more are done.
Progress = Callable[[str, int], Any]
#: Difference (mm) of two grids' voxel size or origin that counts as none. Ours: above what file headers round.
_SAME_MM = 0.01
#: Distance (mm) beyond a donor's radius within which coordinates are its own centre. Ours: a box's centre lies so far.
_CENTRE_MM = 5.0


@dataclass(frozen=True)
class Inserted:
    """The result of one manifest.

    Attributes:
        folder: where masks and audit lie.
        records: records of the audit.
        rows: rows of ``insertions``.
        computed: cases that ran this time.
    """

    folder: Path
    records: list[dict[str, Any]]
    rows: list[dict[str, Any]]
    computed: int

    @property
    def failed(self) -> list[dict[str, Any]]:
        return [r for r in self.records if r["status"] == "failed"]


class InputFile(StrictModel):
    """A file that a manifest names.

    Attributes:
        path: where it lies.
        name: its path as the manifest gives it.
        anatomy: real or procedural.
    """

    path: str
    name: str
    anatomy: str


class Grid(StrictModel):
    """A voxel grid: voxels along x, y, z (RAS+), voxel size (mm), world mm of the first voxel."""

    shape: tuple[int, int, int]
    spacing: tuple[float, float, float]
    origin: tuple[float, float, float]

    def same(self, other: "Grid") -> bool:
        """Whether two grids have the same voxels."""
        pairs = zip((*self.spacing, *self.origin), (*other.spacing, *other.origin), strict=True)
        return self.shape == other.shape and all(abs(a - b) < _SAME_MM for a, b in pairs)


class HostFile(StrictModel):
    """A label map that was prepared: its name in the manifest, its grid, what insertion reads of it."""

    name: str
    grid: Grid
    host: Host


class DonorFile(StrictModel):
    """A donor mask that was prepared: its name in the manifest, its grid, size, packed voxels and their hash."""

    name: str
    grid: Grid
    voxels: int
    diameter_mm: float
    lesion: str
    sha256: str


HostFiles = Mapping[str, HostFile | Rejection]
DonorFiles = Mapping[str, DonorFile | Rejection]
_File = TypeVar("_File", HostFile, DonorFile)


def prepare_map(file: InputFile, settings: Settings) -> Output:
    """Puts a host's nodule-free map into the store, without what only planning reads.

    Raises:
        CaseRejected: the map is missing, unreadable, oblique, no label map, or holds no lobe.
    """
    made = store_map(settings, read_labels(Path(file.path)), file.name, file.anatomy)
    columns = vars(made.columns)
    grid = Grid(
        shape=tuple(columns["shape"]),
        spacing=tuple(columns[f"spacing_{a}"] for a in "xyz"),
        origin=tuple(columns[f"origin_{a}"] for a in "xyz"),
    )
    found = HostFile(name=file.name, grid=grid, host=Host.of(file.name, columns, map(vars, made.lobes)))
    return Output({"hosts": [found.model_dump(mode="json")]}, made.files)


def prepare_donor(file: InputFile, settings: Settings) -> Output:
    """Cuts a donor's voxels from its mask.

    Raises:
        CaseRejected: the mask is missing, unreadable, oblique or empty.
    """
    volume = read_volume(Path(file.path))
    box = box_where(volume.array, lambda part: part > 0)
    if box is None:
        raise CaseRejected(Reason.EMPTY_LESION, f"{file.path}: expected at least one nodule voxel, got none")
    lesion = Lesion((box[0].start, box[1].start, box[2].start), np.ascontiguousarray(volume.array[box] > 0))
    columns = donor_columns(lesion, volume.spacing)
    grid = Grid(
        shape=volume.array.shape,
        spacing=tuple(columns[f"spacing_{a}"] for a in "xyz"),
        origin=tuple(round(float(v), 6) for v in volume.affine[:3, 3]),
    )
    found = DonorFile(
        name=file.name,
        grid=grid,
        voxels=columns["voxels"],
        diameter_mm=columns["diameter_mm"],
        lesion=columns["lesion"],
        sha256=columns["lesion_sha256"],
    )
    return Output({"donors": [found.model_dump(mode="json")]})


def insert_manifests(paths: Sequence[Path], settings: Settings, base: Path, progress: Progress) -> Iterator[Inserted]:
    """Insert manifests one after the other; hosts and donors are shared among them.

    Args:
        paths: the manifests.
        settings: outputs, workers, placement rules, how masks are kept.
        base: folder that relative paths of the manifests start from.
        progress: shows how many are done.

    Raises:
        ConfigError: before any work: a manifest cannot be read, or two would write to one folder.
    """
    manifests = {path: read_manifest(path) for path in paths}
    folders: dict[tuple[str, str], Path] = {}
    for path in paths:
        if (other := folders.setdefault(published_folders(path), path)) != path:
            raise ConfigError(f"{path}: its masks would lie in the same folder as those of {other}")
    rows = [r for found in manifests.values() for r in found]
    maps = [r["host_organ_seg_path"] for r in rows]
    masks = [r["donor_nodule_mask_path"] for r in rows if r["present"]]
    hosts = _prepared(prepare_map, HostFile, "hosts", _resolve(base, maps), base, settings, progress)
    donors = _prepared(prepare_donor, DonorFile, "donors", _resolve(base, masks), base, settings, progress)
    for path, own in manifests.items():
        yield _insert_one(path, own, hosts, donors, settings, progress)


def link_result(result: Inserted, folder: Path) -> None:
    """Put the masks and the audit of a manifest into another folder, flat, as the original's command does."""
    known = {Path(r["output_combined_path"]).name for r in result.records if r["output_combined_path"]}
    for name in sorted(known):
        link_file(result.folder / name, folder / name)
    replace_file(folder / "audit.json", (result.folder / "audit.json").read_bytes())


def _drop_others(folder: Path, known: Collection[str]) -> None:
    """Remove masks of an earlier run of a manifest: its audit does not name them."""
    for old in folder.glob("iTS--*_mask.nii.gz"):
        if old.name not in known:
            old.unlink()


def _resolve(base: Path, texts: Sequence[str | None]) -> dict[str, Path | None]:
    """Where each path that manifests name lies here; None where it would leave ``base``."""
    return {text: input_path(text, base) for text in sorted({t or "" for t in texts})}


def _prepared(
    work: workers.Work,
    model: type[_File],
    what: str,
    named: Mapping[str, Path | None],
    base: Path,
    settings: Settings,
    progress: Progress,
) -> dict[str, _File | Rejection]:
    """Each file prepared, or why it could not be, by its name in the manifests."""
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = [
            Case(
                name,
                digest([VERSION, "file", what, name, _content(hashes, path)]),  # not where it lies: inputs may move
                name,
                InputFile(path=str(path), name=name, anatomy=settings.anatomy),
            )
            for name, path in named.items()
            if path is not None
        ]
    made, _ = _run(work, cases, journal.journal_dir(settings, "insert-manifests", what), what, settings, progress)
    require_all(made, what)
    found: dict[str, _File | Rejection] = {
        r.uid: replace(r, detail=r.detail.replace(f"{base}/", "").replace(str(base), base.name)) for r in made.rejected
    }
    found |= {row["name"]: model.model_validate(row) for row in made.rows.get(what, [])}
    for name, path in named.items():
        if path is None:
            detail = f"{name!r}: expected a path that does not leave {base.name}"
            found[name] = Rejection(name, Reason.MISSING_FILE, detail)
    return found


def _run(
    work: workers.Work, cases: list[Case], folder: Path, title: str, settings: Settings, progress: Progress
) -> tuple[Collected, int]:
    """Run the cases that are left; what all of them made, and how many ran."""
    left = journal.pending(settings, cases, folder)
    with progress(title, len(left)) as advance:
        workers.run(work, left, settings, folder / f"{uuid4().hex[:8]}.jsonl", advance)
    return journal.collect(settings, cases, folder), len(left)


def _content(hashes: FileHashes, path: Path) -> str | None:
    """Hash of a file; None where it is no file: reading it will say why."""
    try:
        return hashes.get(path)
    except OSError:
        return None


def _insert_one(
    path: Path,
    rows: Sequence[ManifestRow],
    hosts: HostFiles,
    donors: DonorFiles,
    settings: Settings,
    progress: Progress,
) -> Inserted:
    mode, folder = published_folders(path)
    name = f"{mode}/{folder}"
    groups: dict[str, list[ManifestRow]] = {}
    for row in rows:
        groups.setdefault(str(row["case_id"]), []).append(row)
    cases: list[Case] = []
    reasons: dict[tuple[str, int], str] = {}
    for case_id, group in groups.items():
        group.sort(key=lambda r: int(r["nodule_idx"]))
        case, failed = _case(settings, f"{name}/{case_id}", mode, group, hosts, donors)
        reasons |= {(case_id, idx): why for idx, why in failed.items()}
        if case is not None:
            cases.append(work_of(settings, case))
    journals = journal.journal_dir(settings, "insert-manifest", name)
    made, computed = _run(insert_case, cases, journals, path.stem, settings, progress)
    require_all(made, str(path))
    for rejection in made.rejected:
        case_id = rejection.uid.removeprefix(f"{name}/")
        whole = [int(r["nodule_idx"]) for r in groups[case_id]]
        for idx in [rejection.nodule_idx] if rejection.nodule_idx >= 0 else whole:
            reasons.setdefault((case_id, idx), f"{rejection.reason.value}: {rejection.detail}")
    inserted = made.rows.get("insertions", [])
    got = {(r["case_uid"].removeprefix(f"{name}/"), r["nodule_idx"]): r for r in inserted}
    below = f"inserted_masks/{name}"
    records = [
        record
        for case_id, group in groups.items()
        for record in _records(settings, case_id, group, below, hosts, donors, got, reasons)
    ]
    known = {Path(r["output_combined_path"]).name for r in records}
    _drop_others(settings.output / below, known)
    text = json.dumps(audit(name.replace("/", "_"), path.name, records), indent=1, allow_nan=False)
    replace_file(settings.output / below / "audit.json", text.encode())
    return Inserted(settings.output / below, records, inserted, computed)


def _records(
    settings: Settings,
    case_id: str,
    group: Sequence[ManifestRow],
    below: str,
    hosts: HostFiles,
    donors: DonorFiles,
    got: Mapping[tuple[str, int], dict[str, Any]],
    reasons: Mapping[tuple[str, int], str],
) -> list[dict[str, Any]]:
    """The audit records of a case; its mask is linked into the published layout.

    Args:
        settings: outputs, rules of placement.
        case_id: the case.
        group: its rows of the manifest.
        below: folder of the manifest's masks, below the output folder.
        hosts: label maps that were prepared.
        donors: donor masks that were prepared.
        got: rows of ``insertions`` by case and nodule.
        reasons: why a nodule was not inserted, by case and nodule.
    """
    asked = [r for r in group if r["present"]]
    if not asked:
        return []
    first = asked[0]
    number = int(case_id) if case_id.isdigit() else case_id
    ids = [r["donor_annotation_id"] for r in asked]
    key = case_key(first["trial_name"], number, first["host_patient_id"], first["host_dataset"], ids)
    keys = [(case_id, int(r["nodule_idx"])) for r in asked]
    mask = next((got[k]["mask_path"] for k in keys if k in got), None)
    target = f"{below}/{key}_mask.nii.gz" if mask is not None else ""
    if mask is not None:
        link_file(settings.output / mask, settings.output / target)
    records = []
    for row, at in zip(asked, keys, strict=True):
        donor = donors.get(str(row["donor_nodule_mask_path"] or ""))
        host = hosts[str(row["host_organ_seg_path"] or "")]
        more: dict[str, Any] = {"donor_voxels": donor.voxels if isinstance(donor, DonorFile) else None}
        if settings.placement == "strict" and isinstance(donor, DonorFile) and isinstance(host, HostFile):
            more["place_mm"] = _place(row, donor, host)
        records.append(audit_record({**row, **more}, got.get(at), reasons.get(at, ""), target))
    return records


def _case(
    settings: Settings, uid: str, mode: str, group: Sequence[ManifestRow], hosts: HostFiles, donors: DonorFiles
) -> tuple[InsertionCase | None, dict[int, str]]:
    """The case of some rows, and why nodules are missing in it; None without its primary nodule."""
    failed: dict[int, str] = {}
    organ = str(group[0]["host_organ_seg_path"] or "")
    host = hosts[organ]
    if other := next((r for r in group if str(r["host_organ_seg_path"] or "") != organ), None):
        why = (
            f"{Reason.GRID_MISMATCH.value}: expected one host map a case, got {organ} and "
            f"{other['host_organ_seg_path']}"
        )
        return None, {int(r["nodule_idx"]): why for r in group}
    if isinstance(host, Rejection):
        return None, {int(r["nodule_idx"]): f"{host.reason.value}: {host.detail}" for r in group}
    nodules = []
    for row in (r for r in group if r["present"]):
        donor = donors[str(row["donor_nodule_mask_path"] or "")]
        idx = int(row["nodule_idx"])
        if isinstance(donor, Rejection):
            failed[idx] = f"{donor.reason.value}: {donor.detail}"
        elif _is_native(row) and not donor.grid.same(host.grid):
            failed[idx] = (
                f"{Reason.GRID_MISMATCH.value}: expected a native mask on the grid of {organ}, got "
                f"{list(donor.grid.shape)}"
            )
        elif row["unreadable"]:
            failed[idx] = f"{Reason.BAD_POSITION.value}: {row['unreadable']}"
        else:
            nodules.append(_nodule(row, donor, organ, host, settings))
    if not nodules or nodules[0].nodule_idx != 0:
        first = failed.get(0, f"{Reason.EMPTY_LESION.value}: the case has no nodule")
        return None, {
            int(r["nodule_idx"]): failed.get(int(r["nodule_idx"]), f"with its primary nodule: {first}") for r in group
        }
    seed = group[0]["seed"]
    case = InsertionCase(
        case_uid=uid,
        mode=mode,
        dataset=group[0]["host_dataset"],
        anatomy=settings.anatomy,
        seed=seed if seed is not None else case_seed(settings.seed, uid) >> 3,  # 60 bits
        host_person_uid=group[0]["host_patient_id"],
        host=host.host,
        nodules=tuple(nodules),
    )
    return case, failed


def _lobe(row: ManifestRow) -> str:
    """Name of the lobe that a row aims at; a text that names none is kept."""
    label = lobe_label(str(row["insertion_lobe"] or ""))
    return LOBE_NAMES[label] if label else str(row["insertion_lobe"])


def _place(row: ManifestRow, donor: DonorFile, host: HostFile) -> tuple[float, float, float] | None:
    """World mm (RAS+) of the place that a row gives in its host; None where it gives percentages alone.

    The coordinates of the original's manifests are the nodule's in its donor's scan, so they are a place in the host
    where that is the same scan. In another scan they are one only if they are not the donor's own centre and lie in the
    box of the wanted lobe. Where a manifest says how to place (``placement``: ours), its percentages are meant.
    """
    place = stated_place(row)
    if row["placement"] or place is None:
        return None
    own = own_scan(row)
    if donor.grid.same(host.grid) if own is None else own:
        return place
    found = _geometry(_lobe(row), host)
    if found is None or _is_centre(place, donor):
        return None
    inside = all(b.start <= v < b.stop for b, v in zip(found.box, _voxel(place, host), strict=True))
    return place if inside else None


def _is_centre(place: tuple[float, float, float], donor: DonorFile) -> bool:
    """Whether some coordinates are a donor's own centre in its scan, in RAS or, as other tools write it, in LPS."""
    centre = unpack_bits(donor.lesion).centroid * donor.grid.spacing + donor.grid.origin
    near = donor.diameter_mm / 2 + _CENTRE_MM
    return any(float(np.linalg.norm(centre * turn - place)) <= near for turn in ((1, 1, 1), (-1, -1, 1)))


def _geometry(lobe: str, host: HostFile) -> LobeExtent | None:
    return next((x.geometry() for x in host.host.lobes if x.lobe == lobe), None)


def _voxel(place: tuple[float, float, float], host: HostFile) -> npt.NDArray[np.float64]:
    """Fractional voxel index (3,) of world mm in a host."""
    return np.asarray((np.array(place) - host.grid.origin) / host.grid.spacing, dtype=np.float64)


def _percents(
    row: ManifestRow, place: tuple[float, float, float] | None, host: HostFile
) -> tuple[float | None, float | None, float | None]:
    """Wanted position (cc, ml, ap) in the lobe: that of the row's place, else the row's own percentages.

    Args:
        row: of the manifest.
        place: from ``_place``. One beyond the lobe's box becomes the nearest in it.
        host: its grid and lobes.
    """
    lobe = _geometry(_lobe(row), host)
    if place is None or lobe is None:
        return row["insertion_lobe_cc_pct"], row["insertion_lobe_ml_pct"], row["insertion_lobe_ap_pct"]
    cc, ml, ap = np.clip(lobe.percent(_voxel(place, host)), 0.0, 100.0)
    return float(cc), float(ml), float(ap)


def _is_native(row: ManifestRow) -> bool:
    """As the manifest says; where it says nothing, a nodule of the host's own scan at its own size is native."""
    return bool(row["placement"] == "native" if row["placement"] else own_scan(row) and row["scale_factor"] == 1)


def _nodule(row: ManifestRow, donor: DonorFile, organ: str, host: HostFile, settings: Settings) -> PlannedNodule:
    """The planned nodule of a row.

    Args:
        row: of the manifest.
        donor: its donor.
        organ: the host's label map, as the manifest names it.
        host: what was prepared of it.
        settings: rules of placement, and the registered datasets, in which a donor may have two names.
    """
    scan = organ if own_scan(row) or row["host_ct_path"] is None else "another scan"
    scale = row["scale_factor"]
    place = _place(row, donor, host) if settings.placement == "strict" else None
    cc, ml, ap = _percents(row, place, host)
    entry = datasets(settings).get(row["donor_dataset"])
    annotation = row["donor_annotation_id"]
    return PlannedNodule(
        nodule_idx=int(row["nodule_idx"]),
        present=True,
        kept=row["kept"],
        donor_nodule_uid=f"{row['donor_dataset']}/{entry.canonical_annotation(annotation) if entry else annotation}",
        donor_person_uid=str(row["donor_patient_id"] or annotation),
        label=None if row["label"] is None else int(row["label"]),
        placement="native" if _is_native(row) else "profile",
        lobe=_lobe(row),
        cc_pct=cc,
        ml_pct=ml,
        ap_pct=ap,
        planned_diameter_mm=row["effective_diam_mm"] or donor.diameter_mm * (scale or 1),
        scale=scale,
        asked_pleural_mm=row["asked_pleural_mm"],
        asked_airway_mm=row["asked_airway_mm"],
        margin_mm=row["margin_mm"],
        rotation_x_deg=row["rotation_x_deg"],
        rotation_y_deg=row["rotation_y_deg"],
        rotation_z_deg=row["rotation_z_deg"],
        mirrored=row["mirrored"],
        relaxations=row["relaxations"] or "",
        donor=Donor(scan_uid=scan, lesion=donor.lesion, spacing=donor.grid.spacing, sha256=donor.sha256),
    )
