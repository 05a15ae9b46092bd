"""Projects the store into the published layout: folders by mode and manifest, the published names.

Files are hard links where the file system allows, else copies. Unlike the published files, paths are relative to the
root, names hold no ``<`` or ``>``, and equal stems never share a folder.
"""

import csv
import io
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, fields
from itertools import groupby
from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import link_file, replace_file, sha256_bytes
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework.steps import Partition, Result, Step
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import write_volume
from itrialspace_assets.imaging.volumes import stamp, unpack_bits
from itrialspace_assets.insertion.audit import audit, audit_record
from itrialspace_assets.insertion.manifests import read_manifest
from itrialspace_assets.records.layout import REAL, case_key, list_sha256, published_mode
from itrialspace_assets.records.store import file_digests, read_all
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.synthesis.images import open_ct
from itrialspace_assets.synthesis.renderers import enabled
from itrialspace_assets.trials.published import manifest_files

VERSION = "4"
#: (mode, arm) -> folder below the mode, and file stem.
Stems = dict[tuple[str, str], tuple[str, str]]
#: Hash of every file, in the format of sha256sum; ``its import-release --hashes`` checks it.
SUMS = "SHA256SUMS"
_READS = (
    "trials",
    "arms",
    "cases",
    "case_nodules",
    "insertions",
    "cts",
    "slices",
    "splits",
    "nodules",
    "rejected_cases",
)


STEP = Step(("release_files",), "release", (), VERSION)


def build(settings: Settings, partition: Partition) -> Result:
    """Write manifests, masks with ``audit.json``, CTs, the slice sets and their splits."""
    require_data_root(settings)
    files: dict[str, str] = {}
    arms = read_all(settings.output, "arms").select("mode", "arm", "folder", "published")
    stems: Stems = {(mode, arm): (folder, stem) for mode, arm, folder, stem in arms.iter_rows()}
    for mode in arms["mode"].unique().sort():
        files |= _manifests_and_masks(settings, mode, stems)
    for renderer in (r.name for r in enabled(settings)):
        files |= _cts(settings, renderer, stems)
        files |= _slice_set(settings, renderer, "synthetic" if renderer == "nodmaisi" else f"synthetic_{renderer}")
    files |= _slice_set(settings, REAL, REAL)
    sums = "".join(f"{sha}  {name}\n" for name, sha in sorted(files.items()))
    files |= _text(settings, SUMS, sums)
    return Result({}, computed=len(files), files=files, preview=f"{len(files)} files in the published layout")


def _link(settings: Settings, source: str, target: str, sha: str) -> dict[str, str]:
    link_file(settings.output / source, settings.output / target)
    return {target: sha}


def _text(settings: Settings, target: str, text: str) -> dict[str, str]:
    replace_file(settings.output / target, text.encode())
    return {target: sha256_bytes(text.encode())}


def _csv(rows: Iterable["EvalRow"]) -> str:
    """Rows as CSV with a header; null is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, [f.name for f in fields(EvalRow)], lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in asdict(row).items()} for row in rows)
    return out.getvalue()


def _manifests_and_masks(settings: Settings, mode: str, stems: Stems) -> dict[str, str]:
    """The manifests that planning wrote, and the masks with their audits, row by row of the manifest."""
    root, top = settings.output, published_mode(mode)
    files = file_digests(root, manifest_files(settings, mode))
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
        text = json.dumps(
            audit(f"{top}_{stem}", f"manifests/{top}/{folder}{stem}.csv", records), indent=1, allow_nan=False
        )
        files |= _text(settings, f"inserted_masks/{top}/{folder}{stem}/audit.json", text)
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
        return _link(settings, rows[0]["mask_path"], target, rows[0]["mask_sha256"])
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


def _cts(settings: Settings, renderer: str, stems: Stems) -> dict[str, str]:
    files: dict[str, str] = {}
    top = "generated_cts" if renderer == "nodmaisi" else f"generated_cts_{renderer}"
    root = settings.output
    plans = read_all(root, "case_nodules").group_by("case_uid", maintain_order=True).agg("donor_nodule_uid")
    donors = dict(plans.iter_rows())
    cases = {r["case_uid"]: r for r in read_all(root, "cases").iter_rows(named=True)}
    masks = {r["case_uid"]: r for r in read_all(root, "insertions").iter_rows(named=True)}
    for row in (
        read_all(root, "cts", source=renderer).sort("twin_uid", "case_uid", "is_lesion_free").iter_rows(named=True)
    ):
        if row["case_uid"] not in cases or row["case_uid"] not in masks:
            continue  # its manifest was planned anew and no longer holds it
        case = cases[row["case_uid"]]
        folder, stem = stems[row["mode"], case["arm"]]
        place = f"{top}/{published_mode(row['mode'])}/{folder}{stem}/{_key(stem, case, donors[row['case_uid']])}"
        if row["is_lesion_free"]:
            files |= _link(settings, row["path"], f"{place}/lesion_free_ct.nii.gz", row["sha256"])
            continue
        if row["kept"] == "nifti":
            files |= _link(settings, row["path"], f"{place}/synthetic_ct.nii.gz", row["sha256"])
        elif row["kept"] == "patch":
            files[f"{place}/synthetic_ct.nii.gz"] = write_volume(
                root / f"{place}/synthetic_ct.nii.gz",
                open_ct(settings, row),
                f"rendered by {renderer}; {row['anatomy']} anatomy",
            )
        mask = masks[row["case_uid"]]
        if mask["mask_path"] is not None:
            files |= _link(settings, mask["mask_path"], f"{place}/input_mask.nii.gz", mask["mask_sha256"])
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
        files |= _text(settings, f"{place}/{name}", json.dumps(asdict(record), indent=1, allow_nan=False))
    return files


@dataclass(frozen=True)
class EvalRow:
    """A row of ``eval_dataset.csv``: one slice, its pictures by guidance, and its truth (diameter in mm)."""

    case_id: str
    mode: str
    trial_name: str
    dataset_name: str
    donor_dataset: str
    png_path: str | None
    png_bbox_path: str | None
    png_contour_path: str | None
    png_bbox_contour_path: str | None
    slice_z: int
    slice_method: str
    preprocess_profile: str
    ground_truth_presence: str
    ground_truth_lobe: str
    ground_truth_size_bucket: str
    effective_diam_mm: float | None
    insertion_lobe: str | None
    label: int | None
    image_source: str
    anatomy: str
    slice_uid: str


def _eval_row(row: dict[str, Any], pictures: dict[str, str]) -> EvalRow:
    """A row of ``slices`` (any guidance) with the published pictures by guidance."""
    group, stem = row["published_id"].rsplit("/", 1)
    return EvalRow(
        case_id=stem.split("__C")[-1].split("_")[0] if "__C" in stem else stem,
        mode=group,
        trial_name=stem.split("__C")[0],
        dataset_name=row["dataset"],
        donor_dataset=(row["donor_person_uid"] or "").split("/", 1)[0],
        png_path=pictures.get("plain"),
        png_bbox_path=pictures.get("bbox"),
        png_contour_path=pictures.get("contour"),
        png_bbox_contour_path=pictures.get("bbox_contour"),
        slice_z=row["slice_z"],
        slice_method="largest_plane",
        preprocess_profile=row["profile"],
        ground_truth_presence=row["presence"],
        ground_truth_lobe=row["lobe"] or "N/A",
        ground_truth_size_bucket=row["size_class"] or "N/A",
        effective_diam_mm=row["diameter_mm"],
        insertion_lobe=row["planned_lobe"],
        label=row["label"],
        image_source=row["source"],
        anatomy=row["anatomy"],
        slice_uid=row["slice_uid"],
    )


def _slice_set(settings: Settings, source: str, name: str) -> dict[str, str]:
    """The evaluation set of an image source below ``vlm_dataset/<name>``: pictures, tables, splits."""
    files: dict[str, str] = {}
    slices = read_all(settings.output, "slices", source=source).filter(
        pl.col("profile") == "lung_axial",
        pl.col("z_offset") == 0,
        pl.col("control") == "none",
        pl.col("condition").is_in(CONDITIONS[:4]),  # those of the published layout
    )
    if slices.is_empty():
        return files
    base = f"vlm_dataset/{name}/lung_axial"
    first: dict[str, dict[str, Any]] = {}
    pictures: dict[str, dict[str, str]] = {}
    for row in slices.sort("published_id", "condition").iter_rows(named=True):
        uid = row["published_id"]
        group, stem = uid.rsplit("/", 1)
        folder = "" if row["condition"] == "plain" else f"{row['condition']}/"
        target = f"{base}/slices/{group}/{folder}{stem}.png"
        files |= _link(settings, row["path"], target, row["sha256"])
        first.setdefault(uid, row)
        pictures.setdefault(uid, {})[row["condition"]] = target
    table = [_eval_row(first[uid], pictures[uid]) for uid in sorted(first)]
    for presence, file in (("present", "eval_dataset.csv"), ("absent", "eval_dataset_negatives.csv")):
        rows = [row for row in table if row.ground_truth_presence == presence]
        files |= _text(settings, f"{base}/{file}", _csv(rows))
    return files | _split_files(settings, source, name, slices)


def _split_files(settings: Settings, source: str, name: str, slices: pl.DataFrame) -> dict[str, str]:
    frozen = read_all(settings.output, "splits").filter(pl.col("source") == source)
    wanted = slices.filter(pl.col("condition") == CONDITIONS[0]).join(
        frozen.select("slice_uid").unique(), on="slice_uid", how="semi"
    )
    uids = sorted(set(wanted["published_id"].to_list()))
    file = f"{settings.split}.{name}.txt"
    index = settings.output / "vlm_dataset" / "splits" / "splits.json"
    entries = json.loads(index.read_text()) if index.exists() else {}
    entries.setdefault(settings.split, {})[name] = {
        "n": len(uids),
        "sha256": list_sha256(uids),
        "set": name,
        "file": file,
        "description": f"slices of split {settings.split}, source {source}",
    }
    files = _text(settings, f"vlm_dataset/splits/{file}", "".join(f"{u}\n" for u in uids))
    return files | _text(settings, "vlm_dataset/splits/splits.json", json.dumps(entries, indent=2, sort_keys=True))
