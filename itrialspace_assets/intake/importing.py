"""Imports a user's own scans into a data root in the published layout: CT, organ map, nodules, profiles.

A scan is one case of ``casework``. A nodule of which only a point and a diameter are known becomes a sphere, marked
``procedural`` in its profile. Nothing outside the data root is written. Other modules read files (``profiles.dicom``,
``imaging.geometry``) and measure nodules (``profiles.measure``).
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import polars as pl
import yaml
from scipy import ndimage

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason, TableError
from itrialspace_assets.base.fingerprints import FileHashes, replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings, read_yaml
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, payload_hash, require_all
from itrialspace_assets.imaging.anatomy import BODY, LABEL_NAMES, NODULE, lung_mask
from itrialspace_assets.imaging.geometry import Volume, read_labels, read_volume, write_volume
from itrialspace_assets.imaging.volumes import Lesion
from itrialspace_assets.intake.case import ImportCase
from itrialspace_assets.intake.own_files import is_hidden, refuse_other_scans, require_unicode_names
from itrialspace_assets.profiles.dicom import read_ct_series, read_lidc_xml, read_rtstruct, read_seg
from itrialspace_assets.profiles.load import SAFE_ID, write_checked
from itrialspace_assets.profiles.masks import sphere
from itrialspace_assets.profiles.measure import measure_scan, nodules_in
from itrialspace_assets.profiles.registry import OWN_DATASETS, Dataset, check_name
from itrialspace_assets.profiles.registry import datasets as registered
from itrialspace_assets.records.tables import PROFILE_COLUMNS
from itrialspace_assets.records.text_tables import NUMBER, read_csv, read_text_table

VERSION = "1"
#: The body is the largest piece of the CT above this (HU), its holes filled slice by slice.
BODY_HU = -300
_LIST = ("x", "y", "z", "diameter_mm")
#: Names of regions that are taken for nodules where a file holds others too.
DEFAULT_ROI = r"nodule|gtv|tumou?r|lesion|neoplasm"


@dataclass(frozen=True)
class OwnScan:
    """Files and demographics of one scan, as its user states them; empty text: not stated.

    Without ``nodules`` the scan has no nodule: it can be a host or a negative.
    """

    ct: str
    organs: str = ""
    nodules: str = ""
    ct_id: str = ""
    patient: str = ""
    age: str = ""
    sex: str = ""


@lru_cache(maxsize=1)
def label_maps() -> dict[str, dict[str, Any]]:
    """Structure names of other programs' organ maps (``labels.yaml``), and the command that makes such a map."""
    found: dict[str, dict[str, Any]] = read_yaml(Path(__file__).with_name("labels.yaml"))
    return found


def read_list(path: Path) -> list[OwnScan]:
    """Scans of a CSV with the columns of ``OwnScan``; paths are relative to the CSV.

    Raises:
        ConfigError: no ``ct`` column, an unknown one, a row without a CT, or an age that is none; names the row.
        TableError: no table; names the row and the column.
    """
    table = read_text_table(path, "scans")
    known = list(OwnScan.__dataclass_fields__)
    if "ct" not in table.columns or set(table.columns) - set(known):
        raise ConfigError(
            f"{path}: expected the columns ct and any of {', '.join(known[1:])}, got {', '.join(table.columns)}"
        )
    if (bare := table["ct"].is_null()).any():
        raise ConfigError(
            f"{path}: ct: expected a path in every row, rows {', '.join(map(str, bare.arg_true().head(3)))} have none"
        )
    rows = []
    for number, row in enumerate(table.fill_null("").iter_rows(named=True)):
        paths = {k: str((path.parent / row[k]).absolute()) if row.get(k) else "" for k in ("ct", "organs", "nodules")}
        if not _is_age(row.get("age", "")):
            raise ConfigError(f"{path}: row {number}: age: expected years from 0 to 120 or nothing, got {row['age']!r}")
        rows.append(OwnScan(**(row | paths)))
    return rows


def _is_age(text: str) -> bool:
    """Whether a text is an age in years, as the table of profiles allows it, or empty."""
    return not text or (re.fullmatch(NUMBER, text) is not None and 0 <= float(text) <= 120)


def import_scans(
    scans: Sequence[OwnScan],
    settings: Settings,
    dataset: str,
    labels: str,
    frame: str | None,
    roi: str = DEFAULT_ROI,
    progress: Callable[[int], None] | None = None,
    *,
    replace_scans: bool = False,
) -> tuple[int, int, list[Rejection]]:
    """Write scans into the data root; scans already imported from equal inputs are kept.

    Args:
        scans: what to import.
        settings: data root and number of workers.
        dataset: name of the user's dataset; registered in ``datasets.yaml`` of the root.
        labels: a key of ``labels.yaml``: whose label map the organ maps follow.
        frame: ``RAS`` or ``LPS``: axes of nodule lists.
        roi: regular expression for names of nodule regions.
        progress: called with the number of scans that were just done.
        replace_scans: another scan of the dataset under the same id is replaced; else that is refused.

    Returns:
        How many scans and nodules were imported, and the rejected ones.

    Raises:
        ConfigError: before any work, unknown labels, a missing file, a name that is not UTF-8, an id that another
            scan of the dataset has; after the CTs are written, a missing organ
            map, with the command that makes one and where to put it.
    """
    check_name(dataset, own=True)
    if labels not in label_maps():
        raise ConfigError(f"--labels {labels!r}: expected one of {', '.join(label_maps())}")
    if frame not in (None, "RAS", "LPS"):
        raise ConfigError(f"--frame {frame!r}: expected RAS or LPS")
    for scan in scans:
        for name in ("ct", "organs", "nodules"):
            if (value := getattr(scan, name)) and not Path(value).exists():
                raise ConfigError(f"{name} {value}: expected a file or folder, found none")
        if scan.nodules.endswith(".csv") and frame is None:
            raise ConfigError(
                f"{scan.nodules}: a list of nodules needs --frame RAS or --frame LPS: the axes of its coordinates"
            )
        if not _is_age(scan.age):
            raise ConfigError(f"{scan.ct}: age: expected years from 0 to 120 or nothing, got {scan.age!r}")
    require_unicode_names(files_of(scans))
    named = [(scan.ct_id or _stem(Path(scan.ct)), scan) for scan in scans]
    if len({ct_id for ct_id, _ in named}) != len(named):
        ids = [ct_id for ct_id, _ in named]
        twice = next(ct_id for ct_id in ids if ids.count(ct_id) > 1)
        paths = ", ".join(scan.ct for ct_id, scan in named if ct_id == twice)
        raise ConfigError(f"ct_id: expected unique ids, got {twice!r} for {paths}; give ct_id in the list")
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = [_case(ct_id, scan, settings, dataset, labels, frame, roi, hashes) for ct_id, scan in named]
    folder = journal.journal_dir(settings, "import", dataset)
    pending = journal.pending(settings, cases, folder)
    if not replace_scans:
        own = [
            c.payload for c in cases if isinstance(c.payload, ImportCase) and (c in pending or c.payload.ct.is_dir())
        ]
        refuse_other_scans(own, settings, _own(dataset))  # a NIfTI file that is done is the one that was imported
    workers.run(import_case, pending, settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"import {dataset}")
    rows = made.rows.get("profiles", [])
    with locked(settings.output / "work" / f"import-{dataset}.lock"):  # two imports at once keep each other's rows
        _write_tables(settings, dataset, rows, made.rows.get("scans", []))
    without = [r for r in made.rows.get("scans", []) if not r["organ"]]
    if without:
        entry = label_maps()[labels]
        first = without[0]["ct_id"]
        ct, organ = (settings.data / f"raw_ct/{dataset}/{first}.nii.gz"), _organ_drop(settings, dataset, first)
        raise ConfigError(
            f"{len(without)} scans have no organ map (first: {first}). Their CTs are written; make a map of "
            "each, for example\n"
            f"  {entry['run'].format(ct=ct, organ=organ)}\nput it at {organ} and run the same command again."
            + "".join(f"\nrejected: {r.uid}: {r.detail}" for r in made.rejected)
        )
    return len({r["ct_id"] for r in made.rows.get("scans", [])}), len(rows), made.rejected


def files_of(scans: Sequence[OwnScan]) -> list[Path]:
    """Every file and folder that some scans name."""
    return [Path(p) for scan in scans for p in (scan.ct, scan.organs, scan.nodules) if p]


def _stem(path: Path) -> str:
    return path.name.removesuffix(".gz").removesuffix(".nii")


def _organ_drop(settings: Settings, dataset: str, ct_id: str) -> Path:
    """Where a user puts an organ map that was made after the CT was imported."""
    return settings.data / "masks" / dataset / "organ_seg" / f"{ct_id}_seg.nii.gz"


def _case(
    ct_id: str,
    scan: OwnScan,
    settings: Settings,
    dataset: str,
    labels: str,
    frame: str | None,
    roi: str,
    hashes: FileHashes,
) -> Case:
    if not re.fullmatch(SAFE_ID, ct_id):
        raise ConfigError(f"ct_id {ct_id!r}: expected a name without a path")
    later = _organ_drop(settings, dataset, ct_id)
    organs = scan.organs or (str(later) if later.exists() else "")
    case = ImportCase(
        ct_id=ct_id,
        dataset=dataset,
        ct=Path(scan.ct),
        organs=Path(organs) if organs else None,
        nodules=Path(scan.nodules) if scan.nodules else None,
        labels=labels,
        frame=frame,
        roi=roi,
        patient=scan.patient or None,
        age=scan.age or None,
        sex=scan.sex or None,
    )
    content = []
    for path in filter(None, (case.ct, case.organs, case.nodules)):
        content += [
            hashes.get(f)
            for f in (sorted(path.iterdir()) if path.is_dir() else [path])
            if f.is_file() and not is_hidden(f)
        ]
    return Case(ct_id, payload_hash([VERSION, content], case), ct_id, case)


@dataclass(frozen=True)
class Nodule:
    """A nodule of a scan: its name, voxels (in the grid of the CT), label (1 malignant, 0 benign, null unknown).

    ``drawn``: only a point and a diameter were known, and the voxels are a sphere.
    """

    name: str
    lesion: Lesion
    label: int | None = None
    drawn: bool = False


@dataclass(frozen=True)
class OwnColumns:
    """Columns of a profile row beyond the published ones; ``age`` in years."""

    patient: str | None
    annotation: str
    label: int | None
    age: str | None
    sex: str | None
    nodule_name: str
    lobe_share: float | None
    mask_source: str
    diam_definition: str


def import_case(case: ImportCase, settings: Settings) -> Output:
    """Write one scan's files and give its rows of ``scans`` and ``profiles``.

    Raises:
        CaseRejected: a file that cannot be read or does not fit the CT's grid, or no lobe in the organ map.
    """
    root, dataset, ct_id = settings.data, case.dataset, case.ct_id
    identity = {"series": "", "patient": "", "age": "", "sex": ""}
    if case.ct.is_dir():
        ct, identity = read_ct_series(case.ct)
    else:
        ct = read_volume(case.ct)
        ct = Volume(np.clip(np.rint(ct.array), -32768, 32767).astype(np.int16), ct.affine)
    if not case.age and not _is_age(identity["age"]):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{case.ct}: PatientAge: expected years from 0 to 120, got {identity['age']!r}; state it in the column age "
            "of a list of scans",
        )
    files: dict[str, str] = {}

    def save(name: str, volume: Volume) -> None:
        if not Path(os.path.normpath(root / name)).is_relative_to(root):  # folders of the root may be links
            raise CaseRejected(Reason.BAD_POSITION, f"{name}: expected a file inside the data root")
        files[name] = write_volume(root / name, volume, f"imported into {dataset}")

    save(f"raw_ct/{dataset}/{ct_id}.nii.gz", ct)
    patient = case.patient or identity["patient"] or None
    scan = {"ct_id": ct_id, "patient": patient, "series": identity["series"] or None, "organ": case.organs is not None}
    if case.organs is None:
        return Output({"scans": [scan]}, files)
    organs = organ_map(case.organs, case.labels, ct)
    found, mask_source = _nodules(case, ct)
    combined = organs.array.copy()
    for nodule in found:
        combined[nodule.lesion.box][nodule.lesion.mask] = NODULE
    labels = Volume(combined, ct.affine)
    save(f"masks/{dataset}/refined_seg/{ct_id}_seg.nii.gz", labels)
    found = _numbered(found)
    ids = [f"{ct_id}_{nodule.name}" for nodule in found]
    rows = []
    for nodule, annotation, measured in zip(
        found, ids, measure_scan(labels, [n.lesion for n in found], ids) if found else [], strict=True
    ):
        voxels = np.zeros(ct.array.shape, np.uint8)
        voxels[nodule.lesion.box][nodule.lesion.mask] = 1
        save(f"masks/{dataset}/nodule_seg/{annotation}.nii.gz", Volume(voxels, ct.affine))
        own = OwnColumns(
            patient=patient,
            annotation=annotation,
            label=nodule.label,
            age=case.age or identity["age"] or None,
            sex=case.sex or identity["sex"] or None,
            nodule_name=nodule.name,
            lobe_share=measured["lobe_share"],
            mask_source="procedural" if nodule.drawn else mask_source,
            diam_definition="volume_equivalent_sphere",
        )
        published = {c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"}
        rows.append({"ct_path": f"{dataset}/{ct_id}.nii.gz"} | published | asdict(own))
    return Output({"scans": [scan], "profiles": rows}, files)


def _numbered(found: Sequence[Nodule]) -> list[Nodule]:
    """The nodules of a scan under names that differ: a second GTV_1 becomes GTV_1_2."""
    taken: set[str] = set()
    out = []
    for nodule in found:
        free, number = nodule.name, 1
        while free in taken:
            number += 1
            free = f"{nodule.name}_{number}"
        taken.add(free)
        out.append(replace(nodule, name=free))
    return out


def organ_map(path: Path, labels: str, ct: Volume) -> Volume:
    """An organ map of another program under this platform's labels, with the body outline of the CT as 200.

    Args:
        path: a label map, or a folder with one mask a structure (TotalSegmentator's other output).
        labels: key of ``labels.yaml``: the program whose ids or file names they are.
        ct: the CT in HU, RAS+; the map must have its grid.

    Raises:
        CaseRejected: another grid, no label map, or no lobe.
    """
    names = label_maps()[labels]["names"]
    ours = {name: label for label, name in LABEL_NAMES.items()}
    out = np.zeros(ct.array.shape, np.uint8)
    if path.is_dir():
        if names == "same":
            raise CaseRejected(Reason.NOT_A_LABEL_MAP, f"{path}: expected one label map, got a folder")
        for structure, name in names.items():
            if (file := path / f"{structure}.nii.gz").exists():
                mask = read_volume(file)
                _same_grid(mask, ct, file)
                out[mask.array > 0] = ours[name]
    else:
        given = read_labels(path)
        _same_grid(given, ct, path)
        table = np.arange(256, dtype=np.uint8)
        if names != "same":
            table = np.zeros(256, np.uint8)
            table[1 : len(names) + 1] = [ours[name] for name in names.values()]
        out = table[given.array]
    out[out == NODULE] = 0
    if not lung_mask(out).any():
        raise CaseRejected(Reason.NO_LOBE, f"{path}: expected lung lobes under the labels of {labels}, got none")
    out[(out == 0) & body_outline(ct)] = BODY
    return Volume(out, ct.affine)


def _same_grid(volume: Volume, ct: Volume, path: Path) -> None:
    if not ct.same_grid(volume):
        raise CaseRejected(
            Reason.GRID_MISMATCH, f"{path}: expected the grid of its CT {ct.array.shape}, got {volume.array.shape}"
        )


def body_outline(ct: Volume) -> npt.NDArray[np.bool_]:
    """The largest piece of a CT (X, Y, Z; HU) above -300 HU, holes filled in each axial slice; boolean (X, Y, Z)."""
    tissue = ct.array > BODY_HU
    if not tissue.any():
        return tissue
    body = np.asarray(cc3d.largest_k(tissue, k=1, connectivity=6), dtype=bool)
    filled = [ndimage.binary_fill_holes(body[..., k]) for k in range(body.shape[2])]
    return np.stack(filled, axis=2)


def _nodules(case: ImportCase, ct: Volume) -> tuple[list[Nodule], str]:
    """The nodules of a scan, and how their masks were made (``mask_source`` of the registry)."""
    path = case.nodules
    if path is None:
        return [], "unknown"
    if path.suffix == ".csv":
        return _listed(path, str(case.frame), ct), "procedural"
    if path.is_dir():
        files = sorted(p for p in path.iterdir() if p.name.endswith((".nii.gz", ".nii")) and not is_hidden(p))
        if not files:
            raise CaseRejected(Reason.MISSING_FILE, f"{path}: expected nodule masks (*.nii.gz), found none")
        return [Nodule(_stem(f), lesion) for f in files for lesion in _components(f, ct, one=True)], "unknown"
    if path.name.endswith((".nii.gz", ".nii")):
        return [Nodule(f"N{i}", lesion) for i, lesion in enumerate(_components(path, ct, one=False), 1)], "unknown"
    if path.suffix == ".xml":
        return [Nodule(name, lesion) for name, lesion in read_lidc_xml(path, ct).items()], "consensus"
    import pydicom

    try:
        modality = str(pydicom.dcmread(path, stop_before_pixels=True).get("Modality"))
    except (pydicom.errors.InvalidDicomError, OSError) as error:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{path}: expected NIfTI, CSV, XML or DICOM, got {error}"
        ) from None
    if modality == "SEG":
        regions = read_seg(path, ct)
    elif modality == "RTSTRUCT":
        regions = read_rtstruct(path, ct, case.roi)
    else:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path}: expected modality SEG or RTSTRUCT, got {modality}")
    return [
        Nodule("".join(c if c.isalnum() else "_" for c in name), lesion) for name, lesion in regions.items()
    ], "manual"


def _components(path: Path, ct: Volume, *, one: bool) -> list[Lesion]:
    mask = read_volume(path)
    _same_grid(mask, ct, path)
    binary = Volume((mask.array > 0).astype(np.uint8), mask.affine)
    found = nodules_in(binary, label=1)
    if not found:
        raise CaseRejected(Reason.EMPTY_LESION, f"{path}: expected at least one nodule of 3 voxels, got none")
    if one and len(found) > 1:
        from itrialspace_assets.imaging.volumes import cut_lesion

        return [cut_lesion(binary.array > 0)]
    return found


def _listed(path: Path, frame: str, ct: Volume) -> list[Nodule]:
    try:
        table = read_text_table(path, "nodules")
    except TableError as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path.parent}/{error}") from None
    rows = table.filter(~pl.all_horizontal(pl.all().is_null())).to_dicts()
    if not rows or (missing := [c for c in _LIST if c not in rows[0]]):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected rows with the columns {', '.join(_LIST)} and, if known, id and label, got "
            f"{', '.join(table.columns) or 'none'}; missing {', '.join(missing) if rows else 'all'}",
        )
    found = []
    for number, row in enumerate(rows):
        if wrong := [c for c in _LIST if not re.fullmatch(NUMBER, row[c] or "")]:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: row {number}: expected numbers for {', '.join(_LIST)}, got {row[wrong[0]] or 'nothing'} as "
                f"{wrong[0]}",
            )
        x, y, z, diameter = (float(row[c]) for c in _LIST)
        at = ct.to_voxel([-x, -y, z] if frame == "LPS" else [x, y, z])
        if not (
            np.all(np.isfinite(at)) and np.all((at >= 0) & (at <= np.array(ct.array.shape) - 1)) and 0 < diameter < 200
        ):
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: row {number}: expected a place inside the CT and a diameter of 0-200 mm, got "
                f"{[row[c] for c in _LIST]} ({frame})",
            )
        name = (row.get("id") or f"N{number + 1}").strip()
        if not re.fullmatch(SAFE_ID, name):
            raise CaseRejected(
                Reason.UNREADABLE_VOLUME, f"{path}: row {number}: expected an id without a path, got {name!r}"
            )
        label = _label(row.get("label"), f"{path}: row {number}")
        found.append(Nodule(name, sphere(ct, at, diameter), label, drawn=True))
    return found


def _label(text: str | None, where: str) -> int | None:
    """1 malignant, 0 benign, None where nothing is written."""
    word = (text or "").strip().lower()
    known = {"": None, "nan": None, "malignant": 1, "cancer": 1, "benign": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}
    if word not in known:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{where}: label: expected 1, 0, malignant, benign or nothing, got {text!r}"
        )
    return known[word]


def own_entry() -> dict[str, Any]:
    """Registry entry of an imported dataset; its user may edit it in ``datasets.yaml`` of the root."""
    return {
        "patient": "patient",
        "annotation": "annotation",
        "label": {"column": "label", "rule": "integer"},
        "label_source": "none",
        "population": "diagnostic",
        "demographics": {"age": "age", "sex": "sex"},
        "mask_source": "unknown",
        "extras": ["nodule_name"],
        "annotation_completeness": "partial",
        "licence": "not stated",
        "redistributable": False,
    }


def _own(dataset: str) -> Dataset:
    return Dataset(name=dataset, **own_entry())


def _write_tables(settings: Settings, dataset: str, rows: list[dict[str, Any]], scans: list[dict[str, Any]]) -> None:
    """Write profile CSV, scan list and registry of the root; rows of scans that were imported earlier stay."""
    entry = _own(dataset)
    done = [s["ct_id"] for s in scans]
    text = pl.String()
    columns = [*(c.name for c in PROFILE_COLUMNS), *(f.name for f in fields(OwnColumns))]
    fresh = pl.DataFrame(
        [{c: None if r.get(c) is None else str(r[c]) for c in columns} for r in rows],
        schema=dict.fromkeys(columns, text),
    )
    profile, listed = entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)
    if profile.exists():
        old = read_csv(profile)
        fresh = pl.concat(
            [old.filter(~pl.col("ct_path").is_in([f"{dataset}/{c}.nii.gz" for c in done])), fresh], how="diagonal"
        )
    names = pl.DataFrame(
        [{k: s[k] for k in ("ct_id", "patient", "series")} for s in scans],
        schema=dict.fromkeys(("ct_id", "patient", "series"), text),
    )
    if listed.exists():
        names = pl.concat([read_csv(listed).filter(~pl.col("ct_id").is_in(done)), names], how="diagonal")
    if (twice := fresh.filter(pl.col("annotation").is_duplicated())).height:
        raise TableError(
            f"{profile.name}: expected unique ids of nodules, got {twice['annotation'][0]} in the scans "
            f"{' and '.join(twice['ct_path'].unique().sort())}; give one of them another ct_id and import both again"
        )
    known = registered(settings).get(dataset, entry)
    write_checked(known, profile, fresh.sort("annotation"), listed, names.sort("ct_id"), settings.anatomy)
    registry = settings.data / OWN_DATASETS
    entries = read_yaml(registry) if registry.exists() else {"datasets": {}}
    if dataset not in entries["datasets"]:
        entries["datasets"][dataset] = own_entry()
        head = "# Datasets of this root, written by `its import`; edit licence, population and labels.\n"
        replace_file(registry, (head + yaml.safe_dump(entries, sort_keys=False)).encode())
