"""Writes the procedural data root in the published layout: maps, nodule masks, CTs, tables.

A host is one resumable case; the tables and the mark ``PROCEDURAL.json`` come last, so a root
without the mark is unfinished.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, digest, replace_file
from itrialspace_assets.base.settings import PROCEDURAL_MARK, Settings, load_settings
from itrialspace_assets.casework import journal
from itrialspace_assets.casework.cases import Case, Output
from itrialspace_assets.casework.workers import run
from itrialspace_assets.demo.phantom import draw_anatomy, draw_body, draw_nodule, with_nodules
from itrialspace_assets.hosts.shapes import NoduleShape
from itrialspace_assets.imaging.anatomy import LUNG, NODULE, SIZE_BUCKETS
from itrialspace_assets.imaging.geometry import Volume, place_of, write_volume
from itrialspace_assets.imaging.volumes import Lesion
from itrialspace_assets.profiles.measure import measure_scan
from itrialspace_assets.profiles.registry import Dataset, datasets
from itrialspace_assets.records.tables import PROFILE_COLUMNS
from itrialspace_assets.synthesis import tissue

VERSION = "1"
NOTE = "procedural phantom, no patient (iTrialSpace demo)"
SPACING = (1.36, 1.36, 1.75)

#: Diameters (mm) drawn for each cohort bucket; open ends as a lung of this size can hold them.
_DIAMETERS = {"<5mm": (3.9, 4.7), "5-10mm": (5.8, 9.2), "10-15mm": (10.8, 14.2), "15-20mm": (15.8, 19.2), "20-30mm": (21.0, 27.0), ">30mm": (31.5, 35.0)}  # fmt: skip
#: (bucket, label) in an order that spreads both over a dataset's first nodules.
_CYCLE = [(b, m) for m, b in zip([1, 0, 1, 0, 0, 1, 0, 1, 0, 1, 1, 0], [*SIZE_BUCKETS[::2], *SIZE_BUCKETS[1::2]] * 2, strict=True)]  # fmt: skip
#: Sex and age range by person: all four strata of mode 4 among any four in a row.
_STRATA = [("M", 55, 64), ("F", 66, 74), ("M", 66, 74), ("F", 55, 64), ("M", 50, 76)]
_ORIENTATION = {"DLCS24": "LAS", "LUNA16": "LPS"}
_META = {"DLCS24": "DLCS24_BMdataset_FEB192026_FIT_v1.csv", "LNDbv4": "LNDBv4_dataset_FEB192026_FIT_v1.csv"}


@dataclass(frozen=True)
class Plan:
    """One host to make."""

    dataset: str
    number: int
    person: int
    ct_id: str
    nodules: list[tuple[str, int]]  # bucket, malignant


def plan_hosts(names: list[str], hosts: int) -> list[Plan]:
    """Which hosts there are and which nodules each gets; depends on names and number alone."""
    plans = []
    for d, name in enumerate(names):
        counter = d * 5
        for number in range(hosts):
            second_scan = name == "LUNA25" and number == hosts - 1 and hosts > 1
            count = 1 if name in ("IMDCT", "NSCLCR") else 1 + (number + d) % 3
            nodules = []
            for _ in range(count):
                bucket, malignant = _CYCLE[counter % len(_CYCLE)]
                if name == "NSCLCR":
                    bucket, malignant = ("20-30mm", ">30mm")[number % 2], 1
                nodules.append((bucket, malignant))
                counter += 1
            plans.append(Plan(name, number, 0 if second_scan else number, f"DEMO_{name}_{number + 1:04d}", nodules))
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
        progress: told how many hosts were just made.

    Raises:
        ConfigError: ``hosts`` is out of range, or ``out`` holds something else.
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
    known = datasets(settings)
    cases = [
        Case(f"{p.dataset}/{p.ct_id}", digest([options, p.nodules, p.person]), f"{p.dataset}/{p.ct_id}",
             {"dataset": p.dataset, "number": p.number, "person": p.person, "ct_id": p.ct_id, "nodules": p.nodules, "seed": seed, "spacing": list(spacing)})
        for p in plan_hosts(list(known)[:7], hosts)
    ]  # fmt: skip
    folder = journal.journal_dir(settings, "demo-data", "all")
    todo = journal.pending(settings, cases, folder)
    run(make_host, todo, settings, folder / "journal.jsonl", progress)
    made = journal.collect(settings, cases, folder)
    if made.rejected or made.missing:
        raise ConfigError(f"{out}: hosts could not be made: {made.rejected[:3] or made.missing[:3]}")
    files = dict(made.files)
    for name in {p.dataset for p in plan_hosts(list(known)[:7], hosts)}:
        rows = [r for r in made.rows["profiles"] if r["_dataset"] == name]
        files |= _write_csv(
            out, f"profiles/{name}_nodule_profiles.csv", [{k: v for k, v in r.items() if k != "_dataset"} for r in rows]
        )
        people = [{k: v for k, v in r.items() if k != "_dataset"} for r in made.rows["meta"] if r["_dataset"] == name]
        files |= _write_csv(out, f"meta/{_META.get(name, f'{name}_dataset_FEB192026_FIT_v1.csv')}", people)
    text = json.dumps(
        {"anatomy": "procedural", "note": NOTE, "options": options, "files": files}, indent=1, sort_keys=True
    )
    replace_file(mark, text.encode())
    return True


def _write_csv(out: Path, name: str, rows: list[dict[str, Any]]) -> dict[str, str]:
    from itrialspace_assets.base.fingerprints import sha256_bytes

    data = pl.DataFrame(rows, infer_schema_length=None).write_csv().encode()
    replace_file(out / name, data)
    return {name: sha256_bytes(data)}


def make_host(payload: dict[str, Any], settings: Settings) -> Output:
    """Make one host: anatomy, nodules, masks, CT, profile rows. Depends on its payload alone."""
    dataset = datasets(settings)[payload["dataset"]]
    key = list(payload["dataset"].encode())
    person_seed = np.random.SeedSequence(payload["seed"], spawn_key=(1, *key, payload["person"]))
    rng = np.random.default_rng(person_seed)
    anatomy = draw_anatomy(draw_body(rng), rng, np.array(payload["spacing"]))
    scan_rng = np.random.default_rng(np.random.SeedSequence(payload["seed"], spawn_key=(2, *key, payload["number"])))
    lesions, malignant = _place_all(anatomy, payload["nodules"], scan_rng)
    combined = with_nodules(anatomy, lesions)
    ct_id, out = payload["ct_id"], settings.data
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
    drawn, noise, inside = (np.random.SeedSequence(payload["seed"], spawn_key=(i, *key, payload["number"])) for i in (3, 4, 5))  # fmt: skip
    ct = tissue.render_host(anatomy, drawn, noise)
    patch = tissue.render_patch(ct, anatomy, lesions, noise, inside)
    array = ct.array.copy()
    array[place_of(patch, ct)] = patch.array
    save(out / "raw_ct" / dataset.name / f"{ct_id}.nii.gz", Volume(array, ct.affine))

    sex, low, high = _STRATA[payload["person"] % len(_STRATA)]
    age = int(np.random.default_rng(person_seed.spawn(1)[0]).integers(low, high))
    patient = f"{dataset.name}-P{payload['person'] + 1:04d}"
    rows = []
    for measured, annotation, cancer in zip(measure_scan(combined, lesions, ids), ids, malignant, strict=True):
        row: dict[str, Any] = {"_dataset": dataset.name, "ct_path": f"{dataset.name}/{ct_id}.nii.gz"}
        row |= {c.name: measured[c.name] for c in PROFILE_COLUMNS if c.name != "ct_path"}
        row |= _native(dataset, patient, annotation, cancer, age, sex, payload["person"], ct_id)
        rows.append(row | {"lobe_share": measured["lobe_share"]})
    meta = {
        "_dataset": dataset.name,
        "patient": patient,
        "ct": ct_id,
        "age": age,
        "sex": sex,
        "nodules": len(lesions),
        "note": NOTE,
    }
    return Output({"profiles": rows, "meta": [meta]}, files)


def _place_all(anatomy: Volume, wanted: list[list[Any]], rng: np.random.Generator) -> tuple[list[Lesion], list[int]]:
    """Place the wanted nodules; one that no lobe has room for shrinks until it fits."""
    taken = np.zeros(anatomy.array.shape, bool)
    lesions, malignant = [], []
    for bucket, cancer in wanted:
        low, high = _DIAMETERS[bucket]
        diameter = float(rng.uniform(low, high))
        lesion = None
        while lesion is None:
            shape = NoduleShape(
                diameter,
                float(rng.uniform(0.02, 0.12)),
                float(rng.uniform(0, 0.5 if cancer else 0.12)) * min(1.0, diameter / 12),
            )
            for lobe in rng.permutation(LUNG):
                lesion = draw_nodule(anatomy, taken, int(lobe), shape, rng)
                if lesion is not None:
                    break
            diameter *= 0.93
        taken[lesion.box] |= lesion.mask
        lesions.append(lesion)
        malignant.append(int(cancer))
    return lesions, malignant


def _native(
    dataset: Dataset, patient: str, annotation: str, cancer: int, age: int, sex: str, person: int, ct_id: str
) -> dict[str, Any]:
    """Id, label and demographic columns under the names that the dataset gives them."""
    row: dict[str, Any] = {}
    if dataset.patient:
        row[dataset.patient] = patient
    if dataset.scan_person:
        row[dataset.scan_person] = f"procedural.{ct_id}"
    if dataset.annotation:
        row[dataset.annotation] = annotation
    rule = dataset.label
    if rule and rule.column:
        if rule.rule == "words":
            row[rule.column] = next(word for word, value in rule.words.items() if value == cancer)
        elif rule.rule == "at_least":
            row[rule.column] = (rule.threshold or 0) + (1.0 if cancer else -1.0)
        else:
            row[rule.column] = cancer
    d = dataset.demographics
    if d.age:
        row[d.age] = age
    if d.sex:
        row[d.sex] = {"M": "Male", "F": "Female"}[sex] if dataset.name == "DLCS24" else sex
    if d.smoking:
        row[d.smoking] = ("Current", "Former", "Never")[person % 3]
    return row
