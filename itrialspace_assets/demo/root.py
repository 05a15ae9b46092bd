"""Writes the procedural data root in the published layout: maps, nodule masks, CTs, tables.

A host is one case that can be continued after an interruption. The tables and the mark ``PROCEDURAL.json`` come
last, so a root without the mark is unfinished.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, replace_file, sha256_bytes
from itrialspace_assets.base.seeds import child, sequence
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.casework import journal
from itrialspace_assets.casework.cases import Case, Output, payload_hash
from itrialspace_assets.casework.workers import run
from itrialspace_assets.demo.case import PhantomCase, PhantomNodule
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body, draw_nodule, with_nodules
from itrialspace_assets.hosts.shapes import NoduleShape
from itrialspace_assets.imaging.anatomy import LUNG, NODULE, SIZE_BUCKETS
from itrialspace_assets.imaging.geometry import Volume, place_of
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.profiles.measure import measure_scan
from itrialspace_assets.profiles.registry import Dataset, datasets
from itrialspace_assets.records.tables import PROFILE_COLUMNS
from itrialspace_assets.synthesis import tissue

VERSION = "1"
NOTE = "procedural phantom, no patient (iTrialSpace demo)"
#: Voxel size (mm) along x, y, z; ours: coarse, so that a demo takes minutes.
SPACING = (1.36, 1.36, 1.75)
#: The registry begins with the published datasets (docs/facts/datasets.md); those of a user follow.
PUBLISHED_DATASETS = 7
#: Key of the dataset in the rows of ``make_host``; no column of a file.
_DATASET = "_dataset"

#: Diameters (mm) drawn for each cohort bucket; open ends as a lung of this size can hold them.
_DIAMETERS = {
    "<5mm": (3.9, 4.7),
    "5-10mm": (5.8, 9.2),
    "10-15mm": (10.8, 14.2),
    "15-20mm": (15.8, 19.2),
    "20-30mm": (21.0, 27.0),
    ">30mm": (31.5, 35.0),
}
#: (bucket, label) in an order that spreads both over a dataset's first nodules.
_CYCLE = [
    (b, m)
    for m, b in zip([1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0], [*SIZE_BUCKETS[::2], *SIZE_BUCKETS[1::2]] * 2, strict=True)
]
#: Sex and age range by person: all four strata of mode 4 among any four in a row.
_STRATA = [("M", 55, 64), ("F", 66, 74), ("M", 66, 74), ("F", 55, 64), ("M", 50, 76)]
_ORIENTATION = {"DLCS24": "LAS", "LUNA16": "LPS"}
_META = {"DLCS24": "DLCS24_BMdataset_FEB192026_FIT_v1.csv", "LNDbv4": "LNDBv4_dataset_FEB192026_FIT_v1.csv"}


@dataclass(frozen=True)
class MetaRow:
    """A scan's row of the dataset's table in ``meta/``; ``age`` in years."""

    patient: str
    ct: str
    age: int
    sex: str
    nodules: int
    note: str


def plan_hosts(
    names: Sequence[str], hosts: int, seed: int, spacing: tuple[float, float, float] = SPACING
) -> list[PhantomCase]:
    """The hosts to make and the nodules of each; which nodules depends on names and number alone.

    Args:
        names: datasets, in the registry's order.
        hosts: scans per dataset.
        seed: root of every draw.
        spacing: voxel size (mm) along x, y and z.
    """
    plans = []
    for d, name in enumerate(names):
        counter = d * 5
        for number in range(hosts):
            second_scan = name == "LUNA25" and number == hosts - 1 and hosts > 1
            count = 1 if name in ("IMDCT", "NSCLCR") else 1 + (number + d) % 3
            nodules = []
            for _ in range(count):
                bucket, label = _CYCLE[counter % len(_CYCLE)]
                if name == "NSCLCR":
                    bucket, label = ("20-30mm", ">30mm")[number % 2], 1
                nodules.append(PhantomNodule(bucket=bucket, label=label))
                counter += 1
            plans.append(
                PhantomCase(
                    dataset=name,
                    number=number,
                    person=0 if second_scan else number,
                    ct_id=f"DEMO_{name}_{number + 1:04d}",
                    nodules=tuple(nodules),
                    seed=seed,
                    spacing=spacing,
                )
            )
    return plans


def make_root(
    out: Path,
    hosts: int = 5,
    seed: int = 42,
    spacing: tuple[float, float, float] = SPACING,
    workers: int | None = None,
    progress: Callable[[int], None] | None = None,
) -> bool:
    """Write a procedural data root below ``out``; False if it was already there, whole and equal.

    Args:
        out: folder to fill; must be empty, unfinished, or a root of the same options.
        hosts: scans per dataset.
        seed: root of every draw.
        spacing: voxel size (mm).
        workers: processes; all cores by default.
        progress: called with the number of hosts that were just made.

    Raises:
        ConfigError: ``hosts`` is out of range, ``out`` holds something else, or a host could not be made.
    """
    if not 1 <= hosts <= 200:
        raise ConfigError(f"--hosts: expected 1 to 200, got {hosts}")
    out = out.expanduser().absolute()
    mark = out / PROCEDURAL_MARK
    options = {
        "version": VERSION,
        "hosts": hosts,
        "seed": seed,
        "spacing_mm": list(spacing),
        "renderer": tissue.VERSION,
    }
    settings = load_settings(data_dir=out, output_dir=out, workers=workers)
    if mark.exists():
        found = json.loads(mark.read_text())
        if found["options"] != options:
            raise ConfigError(
                f"{out}: holds a procedural root of other options ({found['options']}); choose another folder"
            )
        with FileHashes(out / "work" / "fingerprints.sqlite") as hashes:
            if hashes.intact(out, found["files"]):
                return False
    elif (
        (out / "profiles").exists() and any((out / "profiles").iterdir()) and not (out / "work" / "demo-data").exists()
    ):
        raise ConfigError(f"{out}: expected an empty folder, found a data root that this command did not make")
    hosts_to_make = plan_hosts(list(datasets(settings))[:PUBLISHED_DATASETS], hosts, seed, spacing)
    cases = [Case(h.uid, payload_hash([VERSION, tissue.VERSION], h), h.uid, h) for h in hosts_to_make]
    folder = journal.journal_dir(settings, "demo-data", "all")
    todo = journal.pending(settings, cases, folder)
    run(make_host, todo, settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    if made.rejected or made.missing:
        raise ConfigError(f"{out}: hosts could not be made: {made.rejected[:3] or made.missing[:3]}")
    files = dict(made.files)
    for name in dict.fromkeys(h.dataset for h in hosts_to_make):
        files |= _write_csv(out, f"profiles/{name}_nodule_profiles.csv", _of(name, made.rows["profiles"]))
        meta = _META.get(name, f"{name}_dataset_FEB192026_FIT_v1.csv")
        files |= _write_csv(out, f"meta/{meta}", _of(name, made.rows["meta"]))
    text = json.dumps(
        {"anatomy": "procedural", "note": NOTE, "options": options, "files": files}, indent=1, sort_keys=True
    )
    replace_file(mark, text.encode())
    return True


def _of(name: str, rows: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """The rows of one dataset, without the column that says so."""
    return [{k: v for k, v in row.items() if k != _DATASET} for row in rows if row[_DATASET] == name]


def _write_csv(out: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    data = pl.DataFrame(rows, infer_schema_length=None).write_csv().encode()
    replace_file(out / name, data)
    return {name: sha256_bytes(data)}


def make_host(host: PhantomCase, settings: Settings) -> Output:
    """Make one host: anatomy, nodules, masks, CT, profile rows. It depends on its case alone."""
    dataset = datasets(settings)[host.dataset]
    key = tuple(host.dataset.encode())
    person_seed = sequence(host.seed, 1, *key, host.person)
    rng = np.random.default_rng(person_seed)
    anatomy = draw_anatomy(draw_body(rng), rng, np.array(host.spacing))
    scan_rng = np.random.default_rng(sequence(host.seed, 2, *key, host.number))
    lesions = _place_all(anatomy, host.nodules, scan_rng)
    combined = with_nodules(anatomy, lesions)
    ct_id, out = host.ct_id, settings.data
    ids = [f"{ct_id}_N{i + 1}" for i in range(len(lesions))] if dataset.annotation else [ct_id] * len(lesions)
    orientation = _ORIENTATION.get(dataset.name, "RAS")
    files: dict[str, str] = {}

    def save(path: Path, volume: Volume) -> None:
        files[str(path.relative_to(out))] = write_volume(path, volume, NOTE, orientation)

    save(dataset.organ_map(out, ct_id), combined)
    masks = Volume((combined.array == NODULE).astype(np.uint8), anatomy.affine)
    save(dataset.combined_mask(out, ct_id), masks)
    for lesion, annotation in zip(lesions, ids, strict=True):
        one = np.zeros_like(masks.array)
        one[lesion.box][lesion.mask] = 1
        save(dataset.nodule_mask(out, ct_id, annotation), Volume(one, anatomy.affine))
    drawn, noise, inside = (sequence(host.seed, i, *key, host.number) for i in (3, 4, 5))
    ct = tissue.render_host(anatomy, drawn, noise)
    patch = tissue.render_patch(ct, anatomy, lesions, noise, inside)
    array = ct.array.copy()
    array[place_of(patch, ct)] = patch.array
    save(out / "raw_ct" / dataset.name / f"{ct_id}.nii.gz", Volume(array, ct.affine))

    sex, low, high = _STRATA[host.person % len(_STRATA)]
    age = int(np.random.default_rng(child(person_seed, 0)).integers(low, high))
    patient = f"{dataset.name}-P{host.person + 1:04d}"
    rows = []
    for measured, annotation, nodule in zip(measure_scan(combined, lesions, ids), ids, host.nodules, strict=True):
        row: dict[str, Any] = {_DATASET: dataset.name, "ct_path": f"{dataset.name}/{ct_id}.nii.gz"}
        row |= {c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"}
        row |= _native(dataset, host, patient, annotation, nodule.label, age, sex)
        rows.append(row | {"lobe_share": measured["lobe_share"]})
    meta = MetaRow(patient, ct_id, age, sex, len(lesions), NOTE)
    return Output({"profiles": rows, "meta": [{_DATASET: dataset.name} | asdict(meta)]}, files)


def _place_all(anatomy: Volume, wanted: Sequence[PhantomNodule], rng: np.random.Generator) -> list[Lesion]:
    """Place the wanted nodules, in their order; one that fits into no lobe shrinks until it fits."""
    taken = np.zeros(anatomy.array.shape, bool)
    lesions = []
    for nodule in wanted:
        low, high = _DIAMETERS[nodule.bucket]
        diameter = float(rng.uniform(low, high))
        lesion = None
        while lesion is None:
            shape = NoduleShape(
                diameter,
                float(rng.uniform(0.02, 0.12)),
                float(rng.uniform(0, 0.5 if nodule.label else 0.12)) * min(1.0, diameter / 12),
            )
            for lobe in rng.permutation(LUNG):
                lesion = draw_nodule(anatomy, taken, int(lobe), shape, rng)
                if lesion is not None:
                    break
            diameter *= 0.93
        taken[lesion.box] |= lesion.mask
        lesions.append(lesion)
    return lesions


def _native(
    dataset: Dataset, host: PhantomCase, patient: str, annotation: str, label: int, age: int, sex: str
) -> dict[str, Any]:
    """Id, label and demographic columns under the names that the dataset gives them."""
    row: dict[str, Any] = {}
    if dataset.patient:
        row[dataset.patient] = patient
    if dataset.scan_person:
        row[dataset.scan_person] = f"procedural.{host.ct_id}"
    if dataset.annotation:
        row[dataset.annotation] = annotation
    rule = dataset.label
    if rule and rule.column:
        if rule.rule == "words":
            row[rule.column] = next(word for word, value in rule.words.items() if value == label)
        elif rule.rule == "at_least":
            row[rule.column] = (rule.threshold or 0) + (1.0 if label else -1.0)
        else:
            row[rule.column] = label
    d = dataset.demographics
    if d.age:
        row[d.age] = age
    if d.sex:
        row[d.sex] = {"M": "Male", "F": "Female"}[sex] if dataset.name == "DLCS24" else sex
    if d.smoking:
        row[d.smoking] = ("Current", "Former", "Never")[host.person % 3]
    return row
