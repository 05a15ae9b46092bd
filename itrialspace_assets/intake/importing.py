"""Imports a user's own scans into a data root in the published layout: CT, organ map, nodules, profiles.

A scan is one case of ``casework``. Nothing outside the data root is written. Other modules read the files
(``organs``, ``nodules``, ``profiles.dicom``, ``imaging.geometry``), measure nodules (``profiles.measure``) and write
the tables (``own_dataset``).
"""

import os
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, Output, Rejection, payload_hash, require_all
from itrialspace_assets.imaging.anatomy import NODULE
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.intake.case import ImportCase
from itrialspace_assets.intake.listing import OwnScan, files_of, is_age
from itrialspace_assets.intake.nodules import NodulesOfScan, read_scan_nodules
from itrialspace_assets.intake.organs import label_maps, organ_map
from itrialspace_assets.intake.own_dataset import OwnColumns, own_dataset, write_tables
from itrialspace_assets.intake.own_files import is_hidden, refuse_other_scans, refuse_same_series, require_unicode_names
from itrialspace_assets.intake.request import ImportRequest
from itrialspace_assets.profiles.dicom.grid import SeriesIdentity
from itrialspace_assets.profiles.dicom.series import is_ct_file, read_ct_series
from itrialspace_assets.profiles.doubts import codes_of
from itrialspace_assets.profiles.load import SAFE_ID
from itrialspace_assets.profiles.measure import measure_scan
from itrialspace_assets.profiles.plausible import hu_fault
from itrialspace_assets.profiles.registry import check_name
from itrialspace_assets.records.tables import PROFILE_COLUMNS

VERSION = "4"


def import_scans(
    scans: Sequence[OwnScan],
    settings: Settings,
    dataset: str,
    request: ImportRequest,
    *,
    progress: Callable[[int], None] | None = None,
    tell: Callable[[str], None] | None = None,
) -> tuple[int, int, list[Rejection]]:
    """Write scans into the data root; scans already imported from equal inputs are kept.

    Args:
        scans: what to import.
        settings: data root and number of workers.
        dataset: name of the user's dataset; registered in ``datasets.yaml`` of the root.
        request: how the files are to be read.
        progress: called with the number of scans that were just done.
        tell: called with each note on what was left out of a scan or could not be checked.

    Returns:
        How many scans and nodules were imported, and the rejected scans.

    Raises:
        ConfigError: before any work, a missing file, a name that is not UTF-8, a list of nodules without axes, or an
            id that another scan of the dataset has; after the CTs are written, a missing organ map, with the command
            that makes one and where to put it.
    """
    check_name(dataset, own=True)
    for scan in scans:
        _check_scan(scan, request)
    require_unicode_names(files_of(scans))
    ids = [scan.id for scan in scans]
    if len(set(ids)) != len(ids):
        twice = next(ct_id for ct_id in ids if ids.count(ct_id) > 1)
        paths = ", ".join(scan.ct for scan in scans if scan.id == twice)
        raise ConfigError(f"ct_id: expected unique ids, got {twice!r} for {paths}; give ct_id in the list")
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        cases = [_case(scan, settings, dataset, request, hashes) for scan in scans]
    folder = journal.journal_dir(settings, "import", dataset)
    pending = journal.pending(settings, cases, folder)
    if not request.replace_scans:
        own = [
            c.payload for c in cases if isinstance(c.payload, ImportCase) and (c in pending or c.payload.ct.is_dir())
        ]
        refuse_other_scans(own, settings, own_dataset(dataset))  # a NIfTI that is done is the one that was imported
    refuse_same_series([c.payload for c in cases if isinstance(c.payload, ImportCase)], settings, own_dataset(dataset))
    workers.run(import_case, pending, settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"import {dataset}")
    for note in made.rows.get("notes", []):
        if tell is not None:
            tell(f"{note['ct_id']}: {note['note']}")
    rows, done = made.rows.get("profiles", []), made.rows.get("scans", [])
    with locked(settings.output / "work" / f"import-{dataset}.lock"):  # two imports at once keep each other's rows
        write_tables(settings, dataset, rows, done)
    if without := [r["ct_id"] for r in done if not r["organ"]]:
        raise _no_organ_map(without, settings, dataset, request.labels, made.rejected)
    return len({r["ct_id"] for r in done}), len(rows), made.rejected


def _check_scan(scan: OwnScan, request: ImportRequest) -> None:
    for name in ("ct", "organs", "nodules"):
        if (value := getattr(scan, name)) and not Path(value).exists():
            raise ConfigError(f"{name} {value}: expected a file or folder, found none")
    if scan.nodules.endswith(".csv") and request.frame is None:
        raise ConfigError(
            f"{scan.nodules}: a list of nodules needs --frame RAS or --frame LPS: the axes of its coordinates"
        )
    if not is_age(scan.age):
        raise ConfigError(f"{scan.ct}: age: expected years from 0 to 120 or nothing, got {scan.age!r}")


def _no_organ_map(
    without: Sequence[str], settings: Settings, dataset: str, labels: str, rejected: Sequence[Rejection]
) -> ConfigError:
    """What to run where scans (their ids) have no organ map yet, and the rejected ones."""
    first = without[0]
    ct, organ = settings.data / f"raw_ct/{dataset}/{first}.nii.gz", _organ_drop(settings, dataset, first)
    return ConfigError(
        f"{len(without)} scans have no organ map (first: {first}). Their CTs are written; make a map of "
        "each, for example\n"
        f"  {label_maps()[labels]['run'].format(ct=ct, organ=organ)}\nput it at {organ} and run the same command again."
        + "".join(f"\nrejected: {r.uid}: {r.detail}" for r in rejected)
    )


def _organ_drop(settings: Settings, dataset: str, ct_id: str) -> Path:
    """Where a user puts an organ map that was made after the CT was imported."""
    return settings.data / "masks" / dataset / "organ_seg" / f"{ct_id}_seg.nii.gz"


def _case(scan: OwnScan, settings: Settings, dataset: str, request: ImportRequest, hashes: FileHashes) -> Case:
    if not re.fullmatch(SAFE_ID, scan.id):
        raise ConfigError(f"ct_id {scan.id!r}: expected a name without a path")
    later = _organ_drop(settings, dataset, scan.id)
    organs = scan.organs or (str(later) if later.exists() else "")
    case = ImportCase(
        ct_id=scan.id,
        dataset=dataset,
        ct=Path(scan.ct),
        organs=Path(organs) if organs else None,
        nodules=Path(scan.nodules) if scan.nodules else None,
        labels=request.labels,
        frame=request.frame,
        roi=request.roi,
        segments=request.segments,
        patient=scan.patient or None,
        age=scan.age or None,
        sex=scan.sex or None,
        allowed=request.allowed,
    )
    content = []
    for path in filter(None, (case.ct, case.organs, case.nodules)):
        content += [
            hashes.get(f)
            for f in (sorted(path.iterdir()) if path.is_dir() else [path])
            if f.is_file() and not is_hidden(f)
        ]
    return Case(scan.id, payload_hash([VERSION, content], case), scan.id, case)


def import_case(case: ImportCase, settings: Settings) -> Output:
    """Write one scan's files and give its rows of ``scans``, ``profiles`` and ``notes``.

    Raises:
        CaseRejected: a file that cannot be read or does not fit the CT's grid, a CT that holds no HU, an organ map
            that contradicts anatomy, or a nodule that is there twice or outside the body.
    """
    root, dataset, ct_id = settings.data, case.dataset, case.ct_id
    ct, identity = _read_ct(case)
    files: dict[str, str] = {}

    def save(name: str, volume: Volume) -> None:
        if not Path(os.path.normpath(root / name)).is_relative_to(root):  # folders of the root may be links
            raise CaseRejected(Reason.BAD_POSITION, f"{name}: expected a file inside the data root")
        files[name] = write_volume(root / name, volume, f"imported into {dataset}")

    patient = case.patient or identity.patient or None
    scan = {"ct_id": ct_id, "patient": patient, "series": identity.series or None, "organ": case.organs is not None}
    if case.organs is None:
        save(f"raw_ct/{dataset}/{ct_id}.nii.gz", ct)
        return Output({"scans": [scan]}, files)
    organs = organ_map(case.organs, case.labels, ct, case.allowed)
    found = read_scan_nodules(case, ct, identity, organs)
    save(f"raw_ct/{dataset}/{ct_id}.nii.gz", ct)  # every input is checked: a refused scan leaves no file behind
    combined = organs.array.copy()
    for nodule in found.nodules:
        combined[nodule.lesion.box][nodule.lesion.mask] = NODULE
    labels = Volume(combined, ct.affine)
    save(f"masks/{dataset}/refined_seg/{ct_id}_seg.nii.gz", labels)
    profiles = _profile_rows(case, found, labels, identity)
    for nodule in found.nodules:
        voxels = np.zeros(ct.array.shape, np.uint8)
        voxels[nodule.lesion.box][nodule.lesion.mask] = 1
        save(f"masks/{dataset}/nodule_seg/{ct_id}_{nodule.name}.nii.gz", Volume(voxels, ct.affine))
    notes = [{"ct_id": ct_id, "note": note.text} for note in found.notes]
    return Output({"scans": [scan], "profiles": profiles, "notes": notes}, files)


def _read_ct(case: ImportCase) -> tuple[Volume, SeriesIdentity]:
    """The CT as HU (int16), and what its headers state.

    Raises:
        CaseRejected: an unreadable file, an age that is none, or values that are no HU of a chest.
    """
    identity = SeriesIdentity()
    if case.ct.is_dir() or is_ct_file(case.ct):
        ct, identity = read_ct_series(case.ct)
    else:
        ct = _whole_hu(read_volume(case.ct, case.allowed.trust), case.ct)
    if not case.age and not is_age(identity.age):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{case.ct}: PatientAge: expected years from 0 to 120, got {identity.age!r}; state it in the column age "
            "of a list of scans",
        )
    if fault := hu_fault(ct.array):
        raise CaseRejected(Reason.IMPLAUSIBLE_HU, f"{case.ct}: expected a CT of a chest in HU, got {fault}")
    return ct, identity


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


def _profile_rows(
    case: ImportCase, found: NodulesOfScan, labels: Volume, identity: SeriesIdentity
) -> list[dict[str, Any]]:
    """A profile of each nodule; ``labels``: the organ map with the nodules as 23."""
    ids = [f"{case.ct_id}_{nodule.name}" for nodule in found.nodules]
    measured_all = measure_scan(labels, [n.lesion for n in found.nodules], ids) if ids else []
    rows = []
    for nodule, annotation, measured in zip(found.nodules, ids, measured_all, strict=True):
        own = OwnColumns(
            patient=case.patient or identity.patient or None,
            annotation=annotation,
            label=nodule.label,
            age=case.age or identity.age or None,
            sex=case.sex or identity.sex or None,
            nodule_name=nodule.name,
            lobe_share=measured["lobe_share"],
            mask_source="procedural" if nodule.drawn else found.mask_source,
            diam_definition="volume_equivalent_sphere",
            doubts=codes_of((*case.allowed.doubts, *(note.doubt for note in found.notes))),
        )
        published = {c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"}
        rows.append({"ct_path": f"{case.dataset}/{case.ct_id}.nii.gz"} | published | asdict(own))
    return rows
