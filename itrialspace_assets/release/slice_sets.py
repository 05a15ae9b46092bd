"""The evaluation sets of the published layout: pictures, ``eval_dataset.csv``, and the frozen lists.

``vlm_dataset/<set>/<profile>/`` and ``vlm_dataset/splits/`` (docs/facts/evaluation.md). The published tables hold the
centre slices; slices beside them are files alone. Pictures of controls are ours and not part of it. Cuts nothing.
"""

import csv
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.analysis.frozen import ListKey, Lock, locks, read_list
from itrialspace_assets.analysis.splits import present_slices
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.records.layout import REAL, list_sha256
from itrialspace_assets.records.store import read_all
from itrialspace_assets.release.files import link, text

#: What the published tables say of a truth that is unknown.
_UNKNOWN = "N/A"
#: Guidance of the published sets.
_CONDITIONS = ("plain", "bbox", "contour", "bbox_contour")


@dataclass(frozen=True, kw_only=True)
class _Pictures:
    """The pictures of a slice by guidance; None where there is none."""

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


@dataclass(frozen=True, kw_only=True)
class SyntheticPart:
    """What comes first in a row of the synthetic table; paths are below the root."""

    case_id: int
    mode: str
    trial_name: str
    dataset_name: str
    donor_dataset: str
    ct_path: str
    input_mask_path: str
    inserted_mask_path: str


@dataclass(frozen=True, kw_only=True)
class SyntheticEnd:
    """What comes last in a row of the synthetic table, ours after the published columns; diameter in mm."""

    effective_diam_mm: float | None
    insertion_lobe: str | None
    label: int | None
    population_type: str | None
    insertion_mode: str | None
    image_source: str
    anatomy: str
    slice_uid: str
    negative_type: str | None
    guidance_site: str


@dataclass(frozen=True, kw_only=True)
class RealPart:
    """What comes first in a row of the real table."""

    case_id: str
    dataset: str
    ct_path: str
    nodule_mask_path: str


@dataclass(frozen=True, kw_only=True)
class RealEnd:
    """What comes last in a row of the real table, ours after the published columns; diameter in mm."""

    nodule_mean_diam_mm: float | None
    lobe_name: str | None
    image_source: str
    anatomy: str
    slice_uid: str
    negative_type: str | None
    guidance_site: str


@dataclass(frozen=True, kw_only=True)
class PlannedCase:
    """What the table of a rendered set says of a case beside its slices; ``place`` is the folder of its CT."""

    number: int
    place: str
    donor_dataset: str
    insertion_mode: str
    population_type: str | None


@dataclass(frozen=True, kw_only=True)
class RealFinding:
    """What the table of the real set says of a finding beside its slices; diameter in mm."""

    annotation_id: str
    ct_path: str
    nodule_mask_path: str
    nodule_mean_diam_mm: float | None
    lobe_name: str | None


def slice_set(
    settings: Settings, source: str, name: str, cases: Mapping[str, PlannedCase] | Mapping[str, RealFinding]
) -> dict[str, str]:
    """The evaluation set of an image source below ``vlm_dataset/<name>``.

    Args:
        settings: outputs.
        source: ``real`` or a renderer's name.
        name: of the set: real, synthetic, synthetic_<renderer>.
        cases: by ``case_uid``; slices of a case that is not among them are left out: its manifest was planned again.

    Returns:
        Path below the output folder -> SHA-256.
    """
    slices = read_all(settings.output, "slices", source=source).filter(
        pl.col("control") == "none", pl.col("condition").is_in(_CONDITIONS)
    )
    slices = slices.filter(pl.col("case_uid").is_in(list(cases)))
    files: dict[str, str] = {}
    for (profile,), of_profile in slices.group_by(["profile"], maintain_order=True):
        base = f"vlm_dataset/{name}/{profile}"
        table: dict[str, list[tuple[dict[str, Any], dict[str, str]]]] = {"present": [], "absent": []}
        ordered = of_profile.sort("published_id", "slice_uid", "z_offset", "condition")
        for (_, z), rows in ordered.group_by(["published_id", "z_offset"], maintain_order=True):  # cases share slices
            pictures = {}
            for row in rows.iter_rows(named=True):
                target = f"{base}/slices/{_file(row)}"
                files |= link(settings, row["path"], target, row["sha256"])
                pictures[row["condition"]] = target
            if z == 0:
                first = rows.row(0, named=True)
                table[first["presence"]].append((first, pictures))
        for presence, file in (("present", "eval_dataset.csv"), ("absent", "eval_dataset_negatives.csv")):
            rows_of = [_row(row, pictures, cases[row["case_uid"]]) for row, pictures in table[presence]]
            files |= text(settings, f"{base}/{file}", _csv(_columns(source), rows_of))
    return files


def _file(row: dict[str, Any]) -> str:
    """Published name of a picture below ``slices/``: a folder for guidance, a suffix for a slice beside the centre."""
    group, stem = row["published_id"].rsplit("/", 1)
    folder = "" if row["condition"] == "plain" else f"{row['condition']}/"
    beside = f"_z{row['z_offset']:+d}" if row["z_offset"] else ""
    return f"{group}/{folder}{stem}{beside}{Path(row['path']).suffix}"


def _pictures(row: dict[str, Any], pictures: dict[str, str]) -> dict[str, Any]:
    return asdict(
        _Pictures(
            png_path=pictures.get("plain"),
            png_bbox_path=pictures.get("bbox"),
            png_contour_path=pictures.get("contour"),
            png_bbox_contour_path=pictures.get("bbox_contour"),
            slice_z=row["slice_z"],
            slice_method="largest_plane",
            preprocess_profile=row["profile"],
            ground_truth_presence=row["presence"],
            ground_truth_lobe=row["lobe"] or _UNKNOWN,
            ground_truth_size_bucket=row["size_class"] or _UNKNOWN,
        )
    )


def _row(row: dict[str, Any], pictures: dict[str, str], case: PlannedCase | RealFinding) -> dict[str, Any]:
    """A row of a published table, from a row of ``slices`` (any guidance) and its pictures by guidance."""
    ours = {c: row[c] for c in ("anatomy", "slice_uid", "negative_type", "guidance_site")}
    begin: SyntheticPart | RealPart
    end: SyntheticEnd | RealEnd
    if isinstance(case, RealFinding):
        positive = row["presence"] == "present"
        begin = RealPart(
            case_id=case.annotation_id,
            dataset=row["dataset"],
            ct_path=case.ct_path,
            nodule_mask_path=case.nodule_mask_path,
        )
        end = RealEnd(
            nodule_mean_diam_mm=case.nodule_mean_diam_mm if positive else None,
            lobe_name=case.lobe_name if positive else None,
            image_source=row["source"],
            **ours,
        )
    else:
        group, stem = row["published_id"].rsplit("/", 1)
        image = "lesion_free_ct" if row["negative_type"] == "twin" else "synthetic_ct"
        begin = SyntheticPart(
            case_id=case.number,
            mode=group,
            trial_name=stem.split("__C")[0],
            dataset_name=row["dataset"],
            donor_dataset=case.donor_dataset,
            ct_path=f"{case.place}/{image}.nii.gz",
            input_mask_path=f"{case.place}/input_mask.nii.gz",
            inserted_mask_path=f"inserted_masks/{case.place.split('/', 1)[1]}_mask.nii.gz",
        )
        end = SyntheticEnd(
            effective_diam_mm=row["diameter_mm"],
            insertion_lobe=row["planned_lobe"],
            label=row["label"],
            population_type=case.population_type,
            insertion_mode=case.insertion_mode,
            image_source=row["source"],
            **ours,
        )
    return asdict(begin) | _pictures(row, pictures) | asdict(end)


def _columns(source: str) -> list[str]:
    begin, end = (RealPart, RealEnd) if source == REAL else (SyntheticPart, SyntheticEnd)
    return [*_names(begin), *_names(_Pictures), *_names(end)]


def _names(of: type) -> list[str]:
    return [f.name for f in fields(of)]


def _csv(columns: Sequence[str], rows: Sequence[dict[str, Any]]) -> str:
    """Rows as CSV with a header; null is empty."""
    out = io.StringIO()
    writer = csv.DictWriter(out, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows({k: "" if v is None else v for k, v in row.items()} for row in rows)
    return out.getvalue()


def split_files(settings: Settings) -> dict[str, str]:
    """The frozen lists of every split as published: positive slices alone, by published id, with ``splits.json``.

    Times and commits are those of the lock, written once when a list was frozen, so equal lists give equal bytes.
    """
    index: dict[str, dict[str, dict[str, Any]]] = {}
    files: dict[str, str] = {}
    for split in sorted(p.parent.name for p in (settings.output / "splits").glob("*/lock.json")):
        by_source: dict[str, list[tuple[ListKey, Lock]]] = {}
        for key, lock in locks(settings, split).items():
            by_source.setdefault(key.source, []).append((key, lock))
        for source, lists in sorted(by_source.items()):
            name = REAL if source == REAL else "synthetic" if source == "nodmaisi" else f"synthetic_{source}"
            uids = sorted({u for key, _ in lists for u in _positive_ids(settings, key)})
            first = min(lists, key=lambda pair: (pair[1].created_at, str(pair[0])))[1]
            file = f"{split}.{name}.txt"
            files |= text(settings, f"vlm_dataset/splits/{file}", "".join(f"{u}\n" for u in uids))
            index.setdefault(split, {})[name] = {
                "n": len(uids),
                "sha256": list_sha256(uids),
                "set": name,
                "file": file,
                "source_globs": sorted(f"splits/{split}/{key.source}/{key.name}.csv" for key, _ in lists),
                "description": first.description or f"slices chosen by the rule {first.rule}",
                "created_at": first.created_at,
                "git_commit": first.git_commit,
            }
    return files | (text(settings, "vlm_dataset/splits/splits.json", json.dumps(index, indent=2)) if index else {})


def _positive_ids(settings: Settings, key: ListKey) -> list[str]:
    frozen = read_list(settings, key)["slice_uid"].unique()
    slices = present_slices(settings, key.source, key.name)
    kept = slices.filter(pl.col("slice_uid").is_in(frozen.to_list()) & (pl.col("presence") == "present"))
    return kept["published_id"].unique().to_list()
