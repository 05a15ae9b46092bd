"""Imports a user's own scans into a data root in the published layout: CT, organ map, nodules, profiles.

A scan is one case of ``casework``. A nodule of which only a point and a diameter are known becomes a sphere, marked
``procedural`` in its profile. Nothing outside the data root is written. Other modules read files (``profiles.dicom``,
``imaging.geometry``) and measure nodules (``profiles.measure``).
"""

import csv
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

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, replace_file
from itrialspace_assets.base.settings import Settings, read_yaml
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, payload_hash, require_all
from itrialspace_assets.imaging.anatomy import BODY, LABEL_NAMES, NODULE, lung_mask
from itrialspace_assets.imaging.geometry import (
    LABEL_TOLERANCE,
    Volume,
    read_labels,
    read_volume,
    whole_numbers,
    write_volume,
)
from itrialspace_assets.imaging.volumes import Lesion, shared_voxels
from itrialspace_assets.intake.case import Allowances, ImportCase
from itrialspace_assets.profiles.dicom import read_ct_series, read_lidc_xml, read_rtstruct, read_seg
from itrialspace_assets.profiles.load import SAFE_ID, read_text_table
from itrialspace_assets.profiles.masks import instances, joined, sphere
from itrialspace_assets.profiles.measure import MIN_VOXELS, measure_scan
from itrialspace_assets.profiles.plausible import Faults, anatomy_faults, hu_fault
from itrialspace_assets.profiles.registry import OWN_DATASETS, Dataset, check_name
from itrialspace_assets.records.tables import PROFILE_COLUMNS

VERSION = "1"
#: The body is the largest piece of the CT above this (HU), its holes filled slice by slice.
BODY_HU = -300
#: Two nodules that share more of the smaller one's voxels than this are one nodule, given twice; ours.
MOST_SHARED = 0.5
#: Least share of a nodule's voxels that lie in the body; ours: a mask drawn beyond the skin of a pleural lesion passes.
LEAST_INSIDE = 0.5
#: Nodules that together hold more of the lungs than this are no nodules but a map of lungs or organs; ours.
MOST_OF_LUNGS = 0.5
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
        ConfigError: no ``ct`` column, an unknown one, or a row without a CT.
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
    for row in table.fill_null("").iter_rows(named=True):
        paths = {k: str((path.parent / row[k]).absolute()) if row.get(k) else "" for k in ("ct", "organs", "nodules")}
        rows.append(OwnScan(**(row | paths)))
    return rows


def import_scans(
    scans: Sequence[OwnScan],
    settings: Settings,
    dataset: str,
    labels: str,
    frame: str | None,
    roi: str = DEFAULT_ROI,
    progress: Callable[[int], None] | None = None,
    allowed: Allowances | None = None,
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
        allowed: doubtful inputs that are taken; null: none.

    Returns:
        How many scans and nodules were imported, and the rejected ones.

    Raises:
        ConfigError: before any work, unknown labels or a missing file; after the CTs are written, a missing organ
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
    named = [(scan.ct_id or _stem(Path(scan.ct)), scan) for scan in scans]
    if len({ct_id for ct_id, _ in named}) != len(named):
        raise ConfigError("ct_id: expected unique ids; give ct_id in the list where files share a name")
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = [
            _case(ct_id, scan, settings, dataset, labels, frame, roi, allowed or Allowances(), hashes)
            for ct_id, scan in named
        ]
    folder = journal.journal_dir(settings, "import", dataset)
    workers.run(import_case, journal.pending(settings, cases, folder), settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"import {dataset}")
    rows = made.rows.get("profiles", [])
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
    allowed: Allowances,
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
        allowed=allowed,
    )
    content = []
    for path in filter(None, (case.ct, case.organs, case.nodules)):
        content += [hashes.get(f) for f in (sorted(path.iterdir()) if path.is_dir() else [path]) if f.is_file()]
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
    """Columns of a profile row beyond the published ones; ``age`` in years, ``doubts`` of the inputs (else null)."""

    patient: str | None
    annotation: str
    label: int | None
    age: str | None
    sex: str | None
    nodule_name: str
    lobe_share: float | None
    mask_source: str
    diam_definition: str
    doubts: str | None


def import_case(case: ImportCase, settings: Settings) -> Output:
    """Write one scan's files and give its rows of ``scans`` and ``profiles``.

    Raises:
        CaseRejected: a file that cannot be read or does not fit the CT's grid, a CT that holds no HU, an organ map
            that contradicts anatomy, or a nodule that is there twice or outside the body.
    """
    root, dataset, ct_id = settings.data, case.dataset, case.ct_id
    identity = {"series": "", "patient": "", "age": "", "sex": ""}
    if case.ct.is_dir():
        ct, identity = read_ct_series(case.ct)
    else:
        ct = _whole_hu(read_volume(case.ct, case.allowed.trust), case.ct)
    if fault := hu_fault(ct.array):
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, f"{case.ct}: expected a CT of a chest in HU, got {fault}")
    files: dict[str, str] = {}

    def save(name: str, volume: Volume) -> None:
        if not (root / name).resolve().is_relative_to(root.resolve()):
            raise CaseRejected(Reason.BAD_POSITION, f"{name}: expected a file inside the data root")
        files[name] = write_volume(root / name, volume, f"imported into {dataset}")

    patient = case.patient or identity["patient"] or None
    scan = {"ct_id": ct_id, "patient": patient, "series": identity["series"] or None, "organ": case.organs is not None}
    if case.organs is None:
        save(f"raw_ct/{dataset}/{ct_id}.nii.gz", ct)
        return Output({"scans": [scan]}, files)
    organs = organ_map(case.organs, case.labels, ct, case.allowed)
    found, mask_source, specks = _nodules(case, ct)
    _check_places(found, organs, case)
    save(f"raw_ct/{dataset}/{ct_id}.nii.gz", ct)  # every input is checked: a refused scan leaves no file behind
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
            doubts=case.allowed.doubts,
        )
        published = {c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"}
        rows.append({"ct_path": f"{dataset}/{ct_id}.nii.gz"} | published | asdict(own))
    return Output({"scans": [scan], "profiles": rows}, files, rejected=specks)


def _whole_hu(ct: Volume, path: Path) -> Volume:
    """A CT as int16.

    Raises:
        CaseRejected: a value beyond int16.
    """
    low, high = ct.array.min(), ct.array.max()
    if low < -32768 or high > 32767:
        raise CaseRejected(
            Reason.IMPLAUSIBLE_HU, f"{path}: expected HU from -32768 to 32767, got values from {low:g} to {high:g}"
        )
    return Volume(np.rint(ct.array).astype(np.int16), ct.affine)


def _check_places(found: Sequence[Nodule], organs: Volume, case: ImportCase) -> None:
    """Refuse nodules that share most voxels, those of which most voxels lie outside the body, and whole lungs.

    Raises:
        CaseRejected: names the nodules and their file.
    """
    lungs = int(np.count_nonzero(lung_mask(organs.array)))
    taken = sum(int(lung_mask(organs.array[n.lesion.box][n.lesion.mask]).sum()) for n in found)
    if taken > MOST_OF_LUNGS * lungs:
        raise CaseRejected(
            Reason.BAD_POSITION,
            f"{case.nodules}: expected nodules, got {len(found)} regions that hold {100 * taken / lungs:.0f} % of the "
            "lungs; is it a map of lungs or organs?",
        )
    for n, nodule in enumerate(found):
        size = int(nodule.lesion.mask.sum())
        inside = int((organs.array[nodule.lesion.box][nodule.lesion.mask] != 0).sum())
        at = ", ".join(f"{v:.1f}" for v in organs.to_world(nodule.lesion.centroid))
        if inside < LEAST_INSIDE * size:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{case.nodules}: nodule {nodule.name} at ({at}) mm: expected a nodule inside the body, got "
                f"{inside} of {size} voxels inside; do the mask and the CT belong together?",
            )
        for other in found[:n]:
            least = min(size, int(other.lesion.mask.sum()))
            if (shared := shared_voxels(nodule.lesion, other.lesion)) > MOST_SHARED * least:
                raise CaseRejected(
                    Reason.BAD_POSITION,
                    f"{case.nodules}: expected each nodule once, got {other.name} and {nodule.name} at ({at}) mm with "
                    f"{shared} of {least} voxels in common; keep one of them",
                )


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


def organ_map(path: Path, labels: str, ct: Volume, allowed: Allowances | None = None) -> Volume:
    """An organ map of another program under this platform's labels, with the body outline of the CT as 200.

    Args:
        path: a label map, or a folder with one mask a structure (TotalSegmentator's other output).
        labels: key of ``labels.yaml``: the program whose ids or file names they are.
        ct: the CT in HU, RAS+; the map must have its grid.
        allowed: doubtful inputs that are taken; null: none.

    Raises:
        CaseRejected: another grid, no label map, no lobe, or lobes that contradict anatomy; names the label maps
            whose numbers the map fits.
    """
    doubt = allowed or Allowances()
    out: npt.NDArray[np.uint8] | None
    if path.is_dir():
        given, out = None, _structures(path, labels, ct, doubt)
    else:
        given = read_labels(path, doubt.trust)
        _same_grid(given, ct, path)
        out = _renumbered(given.array, labels)
    outline = body_outline(ct)
    faults = None if out is None else anatomy_faults(_with_body(out, outline, ct), ct)
    if out is None or faults is None or faults.text:
        others = [] if given is None else _fitting(given, labels, outline, ct)
        if out is None or faults is None or faults.wrong or not doubt.unusual_anatomy:
            raise _not_of(path, labels, faults, others)
    return _with_body(out, outline, ct)


def _structures(path: Path, labels: str, ct: Volume, allowed: Allowances) -> npt.NDArray[np.uint8]:
    """Our labels (X, Y, Z) of a folder with one mask a structure.

    Raises:
        CaseRejected: a program that writes no such folder, another grid, or a mask that is none.
    """
    names = label_maps()[labels]["names"]
    if names == "same":
        raise CaseRejected(Reason.NOT_A_LABEL_MAP, f"{path}: expected one label map, got a folder")
    out = np.zeros(ct.array.shape, np.uint8)
    for structure, name in names.items():
        if (file := path / f"{structure}.nii.gz").exists():
            mask = read_volume(file, allowed.trust)
            _same_grid(mask, ct, file)
            if whole_numbers(mask.array) is None:
                raise CaseRejected(
                    Reason.NOT_A_LABEL_MAP,
                    f"{file}: expected a mask of whole numbers, got {mask.array.dtype} from {mask.array.min():g} to "
                    f"{mask.array.max():g}",
                )
            out[mask.array > LABEL_TOLERANCE] = _ours()[name]
    return out


def _ours() -> dict[str, int]:
    return {name: label for label, name in LABEL_NAMES.items()}


def _renumbered(given: npt.NDArray[np.uint8], labels: str) -> npt.NDArray[np.uint8] | None:
    """Another program's numbers (X, Y, Z) as ours; None where it has no such number."""
    names = label_maps()[labels]["names"]
    ours = _ours()
    table = np.zeros(256, np.uint8)
    if names == "same":
        last = max(label for label in LABEL_NAMES if label < BODY)
        table[: last + 1], table[BODY] = np.arange(last + 1), BODY
        known = [*range(last + 1), BODY]
    else:
        table[1 : len(names) + 1] = [ours[name] for name in names.values()]
        known = list(range(len(names) + 1))
    return table[given] if set(np.unique(given).tolist()) <= set(known) else None


def _with_body(labels: npt.NDArray[np.uint8], outline: npt.NDArray[np.bool_], ct: Volume) -> Volume:
    """A map without nodules, with the body outline as 200."""
    out = labels.copy()
    out[out == NODULE] = 0
    out[(out == 0) & outline] = BODY
    return Volume(out, ct.affine)


def _fitting(given: Volume, labels: str, outline: npt.NDArray[np.bool_], ct: Volume) -> list[str]:
    """The other label maps whose numbers give a whole anatomy."""
    found = []
    for other in label_maps():
        out = _renumbered(given.array, other) if other != labels else None
        if out is not None and not anatomy_faults(_with_body(out, outline, ct), ct).text:
            found.append(other)
    return found


def _not_of(path: Path, labels: str, faults: Faults | None, others: list[str]) -> CaseRejected:
    """The refusal of an organ map, with what to do."""
    got = "numbers that it does not have" if faults is None else faults.text
    if others:
        todo = f"; its numbers fit --labels {' or --labels '.join(others)}"
    elif faults is not None and not faults.wrong:
        todo = "; if the patient is so (a lobe removed, collapsed or outside the CT), say --unusual-anatomy"
    else:
        todo = "; make the map again, or say whose numbers it has with --labels"
    if faults is not None and faults.wrong == ("no lung lobe",):
        return CaseRejected(Reason.NO_LOBE, f"{path}: expected lung lobes under the labels of {labels}, got none{todo}")
    return CaseRejected(
        Reason.NOT_A_LABEL_MAP, f"{path}: expected the anatomy of a chest under the labels of {labels}, got {got}{todo}"
    )


def _same_grid(volume: Volume, ct: Volume, path: Path) -> None:
    if difference := ct.grid_difference(volume):
        raise CaseRejected(Reason.GRID_MISMATCH, f"{path}: expected the grid of its CT, got {difference}")


def body_outline(ct: Volume) -> npt.NDArray[np.bool_]:
    """The largest piece of a CT (X, Y, Z; HU) above -300 HU, holes filled in each axial slice; boolean (X, Y, Z)."""
    tissue = ct.array > BODY_HU
    if not tissue.any():
        return tissue
    body = np.asarray(cc3d.largest_k(tissue, k=1, connectivity=6), dtype=bool)
    filled = [ndimage.binary_fill_holes(body[..., k]) for k in range(body.shape[2])]
    return np.stack(filled, axis=2)


def _nodules(case: ImportCase, ct: Volume) -> tuple[list[Nodule], str, list[Rejection]]:
    """The nodules of a scan, how their masks were made (``mask_source`` of the registry), and specks left out."""
    if case.nodules is not None and (files := _mask_files(case.nodules)):
        masks = [_masked(f, ct, case, alone=case.nodules.is_dir()) for f in files]
        rejected = [rejection for _, specks in masks for rejection in specks]
        return [nodule for nodules, _ in masks for nodule in nodules], "unknown", rejected
    return (*_regions(case, ct), [])


def _mask_files(path: Path) -> list[Path]:
    """The NIfTI masks that a path names: itself, or those of a folder.

    Raises:
        CaseRejected: a folder without a mask.
    """
    if not path.is_dir():
        return [path] if path.name.endswith((".nii.gz", ".nii")) else []
    files = sorted(p for p in path.iterdir() if p.name.endswith((".nii.gz", ".nii")))
    if not files:
        raise CaseRejected(Reason.MISSING_FILE, f"{path}: expected nodule masks (*.nii.gz), found none")
    return files


def _regions(case: ImportCase, ct: Volume) -> tuple[list[Nodule], str]:
    """The nodules of a list, of DICOM or of XML, and how their masks were made."""
    path = case.nodules
    if path is None:
        return [], "unknown"
    if path.suffix == ".csv":
        return _listed(path, str(case.frame), ct), "procedural"
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


def _masked(path: Path, ct: Volume, case: ImportCase, *, alone: bool) -> tuple[list[Nodule], list[Rejection]]:
    """The nodules of a mask, and its specks as rejected; ``alone``: the file holds one nodule and names it."""
    mask = read_volume(path, case.allowed.trust)
    _same_grid(mask, ct, path)
    found, specks = instances(mask, path, case.allowed.threshold)
    if not found:
        raise CaseRejected(
            Reason.EMPTY_LESION,
            f"{path}: expected at least one nodule of {MIN_VOXELS} connected voxels, got values from "
            f"{mask.array.min():g} to {mask.array.max():g}",
        )
    detail = f"{path}: {specks} voxels in pieces below {MIN_VOXELS} voxels left out"
    rejected = [Rejection(case.ct_id, Reason.EMPTY_LESION, detail, len(found))] if specks else []
    values = sorted({value for value, _ in found})
    if alone:
        whole = [lesion for v in values for lesion in joined([part for value, part in found if value == v], ct)]
        return [Nodule(_stem(path), lesion) for lesion in whole], rejected
    if len(values) == 1:
        return [Nodule(f"N{i}", lesion) for i, (_, lesion) in enumerate(found, 1)], rejected
    return [Nodule(f"N{value}", lesion) for value, lesion in sorted(found, key=lambda f: f[0])], rejected


def _listed(path: Path, frame: str, ct: Volume) -> list[Nodule]:
    with path.open(newline="", encoding="utf-8-sig") as source:
        rows = list(csv.DictReader(source))
    if not rows or (missing := [c for c in _LIST if c not in rows[0]]):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected rows with the columns {', '.join(_LIST)} and, if known, id and label, got "
            f"{', '.join(rows[0]) if rows else 'none'}; missing {', '.join(missing) if rows else 'all'}",
        )
    found = []
    for number, row in enumerate(rows):
        try:
            x, y, z, diameter = (float(row[c]) for c in _LIST)
        except ValueError:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: row {number}: expected numbers for {', '.join(_LIST)}, got {[row[c] for c in _LIST]}",
            ) from None
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
        "extras": ["nodule_name", "doubts"],
        "annotation_completeness": "partial",
        "licence": "not stated",
        "redistributable": False,
    }


def _write_tables(settings: Settings, dataset: str, rows: list[dict[str, Any]], scans: list[dict[str, Any]]) -> None:
    """Write profile CSV, scan list and registry of the root; rows of scans that were imported earlier stay."""
    entry = Dataset(name=dataset, **own_entry())
    done = [s["ct_id"] for s in scans]
    text = pl.String()
    columns = [*(c.name for c in PROFILE_COLUMNS), *(f.name for f in fields(OwnColumns))]
    fresh = pl.DataFrame(
        [{c: None if r.get(c) is None else str(r[c]) for c in columns} for r in rows],
        schema=dict.fromkeys(columns, text),
    )
    profile, listed = entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)
    if profile.exists():
        old = pl.read_csv(profile, infer_schema=False)
        fresh = pl.concat(
            [old.filter(~pl.col("ct_path").is_in([f"{dataset}/{c}.nii.gz" for c in done])), fresh], how="diagonal"
        )
    names = pl.DataFrame(
        [{k: s[k] for k in ("ct_id", "patient", "series")} for s in scans],
        schema=dict.fromkeys(("ct_id", "patient", "series"), text),
    )
    if listed.exists():
        names = pl.concat(
            [pl.read_csv(listed, infer_schema=False).filter(~pl.col("ct_id").is_in(done)), names], how="diagonal"
        )
    replace_file(profile, fresh.sort("annotation").write_csv().encode())
    replace_file(listed, names.sort("ct_id").write_csv().encode())
    registry = settings.data / OWN_DATASETS
    known = read_yaml(registry) if registry.exists() else {"datasets": {}}
    if dataset not in known["datasets"]:
        known["datasets"][dataset] = own_entry()
        head = "# Datasets of this root, written by `its import`; edit licence, population and labels.\n"
        replace_file(registry, (head + yaml.safe_dump(known, sort_keys=False)).encode())
