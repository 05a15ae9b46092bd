"""Projects the store into the published layout: folders by mode and manifest, the published names.

Files are hard links where the file system allows, else copies. Unlike the published files, paths are relative to the
root, names hold no ``<`` or ``>``, and equal stems never share a folder.
"""

import json
from dataclasses import asdict, dataclass
from itertools import groupby
from typing import Any

import polars as pl

from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.lesions import stamp, unpack_bits
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.insertion.audit import audit, audit_record
from itrialspace_assets.insertion.manifests import read_manifest
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import REAL, case_key, published_mode
from itrialspace_assets.records.store import file_digests, read_all
from itrialspace_assets.release import crate, croissant, partitions
from itrialspace_assets.release.described import describe
from itrialspace_assets.release.files import copy, link, text
from itrialspace_assets.release.lineage import lineage
from itrialspace_assets.release.parts import SUMS
from itrialspace_assets.release.slice_sets import PlannedCase, RealFinding, slice_set, split_files
from itrialspace_assets.synthesis.images import open_ct
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.published import manifest_files, plan_files

VERSION = "8"
#: (mode, arm) -> folder below the mode, and file stem.
Stems = dict[tuple[str, str], tuple[str, str]]
#: Whatever the release comes from: everything that its reports read.
REPORTED = "study_report|all"
STEP = Step(("release_files",), "release", (), VERSION)


def build(settings: Settings, partition: Partition) -> Result:
    """Write manifests, masks with ``audit.json``, CTs, the slice sets, their splits, and metadata of all of it."""
    require_data_root(settings)
    files: dict[str, str] = {}
    arms = read_all(settings.output, "arms").select("mode", "arm", "folder", "published")
    stems: Stems = {(mode, arm): (folder, stem) for mode, arm, folder, stem in arms.iter_rows()}
    for mode in arms["mode"].unique().sort():
        files |= _manifests_and_masks(settings, mode, stems)
    for renderer in (r.name for r in enabled(settings)):
        files |= _cts(settings, renderer, stems)
        name = "synthetic" if renderer == "nodmaisi" else f"synthetic_{renderer}"
        files |= slice_set(settings, renderer, name, _planned(settings, renderer, stems))
    files |= slice_set(settings, REAL, REAL, _findings(settings))
    files |= split_files(settings)
    what = describe(settings)
    made = lineage(settings, REPORTED)
    if what is not None:
        files |= text(settings, croissant.NAME, croissant.croissant(settings.output, files, what))
        files |= text(settings, crate.WORKFLOW, crate.workflow(made))
    files |= _profile_tables(settings)
    taken = partitions.published_partitions(settings, made)
    files |= partitions.files_of(taken, files)
    files |= text(settings, partitions.NAME, taken.model_dump_json(indent=1))
    sums = "".join(f"{sha}  {name}\n" for name, sha in sorted(files.items()))
    files |= text(settings, SUMS, sums)
    if what is not None:
        folders = sorted({name.split("/", 1)[0] for name in files if "/" in name})
        top = {name: sha for name, sha in sorted(files.items()) if "/" not in name}
        files |= text(settings, crate.NAME, crate.run_crate(made, top, folders, what))
    note = "" if what is not None else "no Croissant or RO-Crate metadata: no list of the split is frozen to date them"
    told = f"{len(files)} files in the published layout"
    return Result({}, computed=len(files), files=files, note=note, preview=told)


def _profile_tables(settings: Settings) -> dict[str, str]:
    """The profile tables of the data root, copied: a data root is not linked to what is given away."""
    files: dict[str, str] = {}
    for entry in datasets(settings).values():
        for path in (entry.profile_csv(settings.data), entry.scan_list_csv(settings.data)):
            if path.exists():
                files |= copy(settings, path, f"profiles/{path.name}")
    return files


def _manifests_and_masks(settings: Settings, mode: str, stems: Stems) -> dict[str, str]:
    """Planned manifests, what they were planned from, and the masks with their audits, row by row of the manifest."""
    root, top = settings.output, published_mode(mode)
    files = file_digests(root, [*manifest_files(settings, mode), *plan_files(settings, mode)])
    got = {
        (r["case_uid"], r["nodule_idx"]): r
        for r in read_all(root, "insertions", mode=mode).filter("present").iter_rows(named=True)
    }
    donors = dict(read_all(root, "donors").select("nodule_uid", "voxels").iter_rows())
    why: dict[tuple[str, int], str] = {}
    for row in read_all(root, "rejected_cases", stage="insert").iter_rows(named=True):
        why[row["case_uid"], row["nodule_idx"]] = f"{row['reason']}: {row['detail']}"
    for folder, stem in sorted({place for (of, _), place in stems.items() if of == mode}):
        rows = [r for r in read_manifest(root / "manifests" / top / f"{folder}{stem}.csv") if r["present"]]
        records = []
        for uid, group in groupby(rows, key=lambda r: str(r["case_uid"])):
            records += _case_records(
                settings, uid, list(group), f"inserted_masks/{top}/{folder}{stem}", got, donors, why, files
            )
        content = json.dumps(
            audit(f"{top}_{stem}", f"manifests/{top}/{folder}{stem}.csv", records), indent=1, allow_nan=False
        )
        files |= text(settings, f"inserted_masks/{top}/{folder}{stem}/audit.json", content)
    return files


def _case_records(
    settings: Settings,
    uid: str,
    group: list[dict[str, Any]],
    folder: str,
    got: dict[tuple[str, int], dict[str, Any]],
    donors: dict[str, int],
    why: dict[tuple[str, int], str],
    files: dict[str, str],
) -> list[dict[str, Any]]:
    """Link a case's mask into the published layout, and give its audit records.

    Args:
        settings: output folder.
        uid: the case.
        group: its rows of the manifest.
        folder: folder of the manifest's masks, below the output folder.
        got: rows of ``insertions`` by case and nodule.
        donors: voxels of each donor by ``nodule_uid``.
        why: reason of each rejected nodule, or case (nodule -1).
        files: gets the mask's path and hash.
    """
    first = group[0]
    key = case_key(
        first["trial_name"],
        first["case_id"],
        str(first["host_patient_id"]),
        first["host_dataset"],
        [str(r["donor_annotation_id"] or r["donor_nodule_uid"]) for r in group],
    )
    target = f"{folder}/{key}_mask.nii.gz"
    done = [got[uid, int(r["nodule_idx"])] for r in group if (uid, int(r["nodule_idx"])) in got]
    if done:
        files |= _mask(settings, done, target)
    return [
        audit_record(
            r | {"donor_voxels": donors.get(r["donor_nodule_uid"])},
            got.get((uid, int(r["nodule_idx"]))),
            why.get((uid, int(r["nodule_idx"])), why.get((uid, -1), "not run")),
            target,
        )
        for r in group
    ]


def _mask(settings: Settings, rows: list[dict[str, Any]], target: str) -> dict[str, str]:
    if rows[0]["mask_path"] is not None:
        return link(settings, rows[0]["mask_path"], target, rows[0]["mask_sha256"])
    host = load_host_map(settings.output, rows[0]["host_map_sha256"])
    return {
        target: write_volume(
            settings.output / target,
            stamp(host, [unpack_bits(r["lesion"]) for r in rows]),
            f"inserted nodules ({rows[0]['anatomy']} anatomy)",
        )
    }


@dataclass(frozen=True)
class SanityChecks:
    """Measured HU of a CT: least, greatest, mean over the lesion, mean in a shell around it."""

    ct_min_hu: float
    ct_max_hu: float
    lesion_hu: float | None
    background_hu: float | None


@dataclass(frozen=True)
class CtAudit:
    """The audit file of a CT in the published layout."""

    case_id: str
    status: str
    reason: str
    generator: str
    anatomy: str
    trained_on: str
    weights_sha256: str | None
    acquisition: str
    image_uid: str
    kept: str
    sanity_checks: SanityChecks


def _key(stem: str, case: dict[str, Any], donors: list[str]) -> str:
    person, ids = case["host_person_uid"].split("/", 1)[-1], [d.split("/", 1)[-1] for d in donors]
    return case_key(stem, case["number"], person, case["host_dataset"], ids)


def _places(settings: Settings, renderer: str, stems: Stems) -> dict[str, str]:
    """Folder below the output folder of each planned case's CT, by ``case_uid``."""
    top = "generated_cts" if renderer == "nodmaisi" else f"generated_cts_{renderer}"
    plans = read_all(settings.output, "case_nodules").group_by("case_uid", maintain_order=True).agg("donor_nodule_uid")
    donors = dict(plans.iter_rows())
    found = {}
    for case in read_all(settings.output, "cases").iter_rows(named=True):
        folder, stem = stems[case["mode"], case["arm"]]
        name = _key(stem, case, donors[case["case_uid"]])
        found[case["case_uid"]] = f"{top}/{published_mode(case['mode'])}/{folder}{stem}/{name}"
    return found


def _planned(settings: Settings, renderer: str, stems: Stems) -> dict[str, PlannedCase]:
    """The planned cases of every mode, by ``case_uid``."""
    root, places = settings.output, _places(settings, renderer, stems)
    population = read_all(root, "nodules").select(donor_nodule_uid="nodule_uid", population_type="population_type")
    primary = (
        read_all(root, "case_nodules")
        .filter(pl.col("nodule_idx") == 0)
        .join(read_all(root, "cases").select("case_uid", "number"), on="case_uid", how="inner")
        .join(population, on="donor_nodule_uid", how="left")
        .select("case_uid", "number", "donor_dataset", "insertion_mode", "population_type")
    )
    return {
        uid: PlannedCase(
            number=number, place=places[uid], donor_dataset=donor, insertion_mode=how, population_type=population_type
        )
        for uid, number, donor, how, population_type in primary.iter_rows()
    }


def _findings(settings: Settings) -> dict[str, RealFinding]:
    """The findings of every dataset, by ``case_uid``."""
    entries = datasets(settings)
    profiles = read_all(settings.output, "profiles").select(
        "dataset", "annotation_id", "scan_uid", "ct_path", "nodule_mean_diam_mm", "lobe_name"
    )
    found = {}
    for name, annotation, scan, ct, diameter, lobe in profiles.iter_rows():
        mask = entries[name].nodule_mask(settings.data, scan.split("/", 1)[1], annotation)
        found[f"real/{name}/{annotation}"] = RealFinding(
            annotation_id=annotation,
            ct_path=f"raw_ct/{ct}",
            nodule_mask_path=str(mask.relative_to(settings.data)),
            nodule_mean_diam_mm=diameter,
            lobe_name=lobe,
        )
    return found


def _cts(settings: Settings, renderer: str, stems: Stems) -> dict[str, str]:
    files: dict[str, str] = {}
    root, places = settings.output, _places(settings, renderer, stems)
    masks = {r["case_uid"]: r for r in read_all(root, "insertions").iter_rows(named=True)}
    for row in (
        read_all(root, "cts", source=renderer).sort("twin_uid", "case_uid", "is_lesion_free").iter_rows(named=True)
    ):
        if row["case_uid"] not in places or row["case_uid"] not in masks:
            continue  # its manifest was planned again and no longer holds it
        place = places[row["case_uid"]]
        if row["is_lesion_free"]:
            files |= link(settings, row["path"], f"{place}/lesion_free_ct.nii.gz", row["sha256"])
            continue
        if row["kept"] == "nifti":
            files |= link(settings, row["path"], f"{place}/synthetic_ct.nii.gz", row["sha256"])
        elif row["kept"] == "patch":
            files[f"{place}/synthetic_ct.nii.gz"] = write_volume(
                root / f"{place}/synthetic_ct.nii.gz",
                open_ct(settings, row),
                f"rendered by {renderer}; {row['anatomy']} anatomy",
            )
        mask = masks[row["case_uid"]]
        if mask["mask_path"] is not None:
            files |= link(settings, mask["mask_path"], f"{place}/input_mask.nii.gz", mask["mask_sha256"])
        record = CtAudit(
            case_id=place.rsplit("/", 1)[1],
            status="success",
            reason="",
            generator=renderer,
            anatomy=row["anatomy"],
            trained_on=row["trained_on"],
            weights_sha256=row["weights_sha256"],
            acquisition=row["acquisition"],
            image_uid=row["image_uid"],
            kept=row["kept"],
            sanity_checks=SanityChecks(
                ct_min_hu=row["low_hu"],
                ct_max_hu=row["high_hu"],
                lesion_hu=row["lesion_hu"],
                background_hu=row["background_hu"],
            ),
        )
        name = "nodmaisi_audit.json" if renderer == "nodmaisi" else "render_audit.json"
        files |= text(settings, f"{place}/{name}", json.dumps(asdict(record), indent=1, allow_nan=False))
    return files
