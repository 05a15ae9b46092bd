"""Writes a manifest in the published layout: one CSV and one JSON an arm; what they were planned from lies apart.

``manifests/mode<N>_<name>/[<folder>/]<stem>.csv``: 44 columns and those of the mode
(docs/facts/trials.md#manifest-columns), paths relative to the data root, nulls empty. Nothing else lies there, so that
a tool may take every table below it for a manifest. ``trials/mode<N>_<name>/`` holds the rest. Columns are joined,
never looped over. Plans nothing.
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets import __version__
from itrialspace_assets.base.fingerprints import replace_parts
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.profiles.registry import datasets
from itrialspace_assets.records.layout import (
    COMPLETE_COLUMNS,
    CROSS_COLUMNS,
    ISOLATION_COLUMNS,
    MANIFEST_COLUMNS,
    OWN_COLUMNS,
    published_mode,
)
from itrialspace_assets.records.text_tables import read_csv
from itrialspace_assets.trials.compose import Manifest
from itrialspace_assets.trials.resolve import Resolved

_MANIFESTS, _PLANS = "manifests", "trials"
#: Columns of the index that a manifest repeats of its donors.
INDEX_COLUMNS = (
    "nodule_uid",
    "annotation_id",
    "patient_id",
    "population_type",
    "label_source",
    "coordX",
    "coordY",
    "coordZ",
    "reinsertion_lung_side",
    "reinsertion_lung_zone",
    "reinsertion_lobe",
    "central_peripheral",
    "reinsertion_pleural_dist_mm",
    "ct_path",
    "scan_uid",
)
#: Rows that are written at once, and cases that are joined at once if no file has more: a row is a kilobyte of text,
#: and several copies of it are in memory while it is made; ours.
_ROWS, _CASES = 100, 1500
#: Columns of a manifest that hold paths below the data root.
INPUT_COLUMNS = ("host_ct_path", "host_organ_seg_path", "donor_nodule_mask_path", "donor_ct_path")


def extra_columns(resolved: Resolved) -> list[str]:
    """Columns that a twin mode adds."""
    design = resolved.trial.twin
    if design is None:
        return []
    return {"isolation": ISOLATION_COLUMNS, "complete": COMPLETE_COLUMNS, "cross": CROSS_COLUMNS}[design.kind]


def _file(settings: Settings, dataset: str, folder: str, template: str, ct: str, annotation: str) -> pl.Expr:
    """Path of each row's file below the data root, by the naming of its dataset."""
    out: Any = pl.when(False).then(pl.lit(""))
    for name, entry in datasets(settings).items():
        parts = [pl.lit(f"masks/{name}/{folder}/")]
        rest = getattr(entry.files, template)
        while rest:
            place, mark = min(
                ((rest.find(m), m) for m in ("{ct_id}", "{annotation_id}") if m in rest), default=(len(rest), "")
            )
            parts.append(pl.lit(rest[:place]))
            if mark:
                parts.append(pl.col(ct if mark == "{ct_id}" else annotation))
            rest = rest[place + len(mark) :]
        out = out.when(pl.col(dataset) == name).then(pl.concat_str(parts))
    found: pl.Expr = out.otherwise(pl.lit(None, pl.String))
    return found


def manifest_frame(settings: Settings, resolved: Resolved, manifest: Manifest, index: pl.DataFrame) -> pl.DataFrame:
    """Every row of a trial's manifest with the published columns, and the ``_folder`` and ``_stem`` of its file.

    Args:
        settings: gives the datasets, whose files are named in a manifest.
        resolved: the trial.
        manifest: its planned tables.
        index: the table ``nodules``.
    """
    donors = index.select(INDEX_COLUMNS).rename(
        {
            "nodule_uid": "donor_nodule_uid",
            "patient_id": "donor_patient_id",
            "ct_path": "_donor_ct",
            "scan_uid": "_donor_scan",
        }
    )
    arms = manifest.arms.select("arm", "number", "published", "folder", "varies").rename({"number": "_arm_number"})
    frame = (
        manifest.nodules.join(manifest.cases.drop("mode"), on="case_uid", how="inner")
        .join(arms, on="arm", how="left")
        .join(donors, on="donor_nodule_uid", how="left")
    )
    ct_of = pl.col("host_scan_uid").str.split_exact("/", 1).struct.field("field_1")
    frame = frame.sort("_arm_number", "number", "nodule_idx").with_columns(
        _host_ct=ct_of,
        _donor_ct_id=pl.col("_donor_scan").str.split_exact("/", 1).struct.field("field_1"),
        _site=pl.lit(resolved.cohort.site or ""),
    )
    bootstrap = pl.when(pl.col("varies") == "replicate").then("_arm_number").otherwise(0)
    frame = frame.with_columns(
        case_id="number",
        is_primary_nodule=pl.col("nodule_idx") == 0,
        n_nodules_in_case="n_nodules",
        companion_group_id="number",
        trial_name="published",
        trial_template="_site",
        bootstrap_id=bootstrap,
        host_patient_id=pl.col("host_person_uid").str.replace(r"^[^/]*/", ""),
        host_ct_path=pl.concat_str(pl.lit("raw_ct/"), "host_dataset", pl.lit("/"), "_host_ct", pl.lit(".nii.gz")),
        host_organ_seg_path=_file(settings, "host_dataset", "refined_seg", "organ", "_host_ct", "_host_ct"),
        donor_annotation_id="annotation_id",
        donor_nodule_mask_path=_file(
            settings, "donor_dataset", "nodule_seg", "nodule", "_donor_ct_id", "annotation_id"
        ),
        donor_ct_path=pl.concat_str(pl.lit("raw_ct/"), "_donor_ct"),
        donor_refined_seg_path=_file(
            settings, "donor_dataset", "refined_seg", "organ", "_donor_ct_id", "annotation_id"
        ),
        insertion_coord_x="coordX",
        insertion_coord_y="coordY",
        insertion_coord_z="coordZ",
        insertion_lobe="lobe",
        **{f"insertion_lobe_{a}_pct": pl.col(f"{a}_pct") for a in ("cc", "ml", "ap")},
        nodule_diam_mm="donor_diameter_mm",
        effective_diam_mm="planned_diameter_mm",
        scale_factor="scale",
        warp_applied=pl.when(pl.col("scale") == 1).then(pl.lit("none")).otherwise(pl.lit("isotropic")),
        nodule_lobe_name="reinsertion_lobe",
        nodule_lung_side="reinsertion_lung_side",
        nodule_lung_zone="reinsertion_lung_zone",
        nodule_central_peripheral="central_peripheral",
        pleural_distance_mm="reinsertion_pleural_dist_mm",
        patient_age="host_age",
        patient_sex="host_sex",
        smoking_status="host_smoking",
        pack_years=pl.lit(None, pl.Float64),
        _folder="folder",
        _stem="published",
    )
    of_donor = [
        c for c in MANIFEST_COLUMNS if c.startswith(("donor_", "nodule_", "insertion_coord")) and c != "nodule_idx"
    ] + ["label", "effective_diam_mm", "scale_factor", "population_type", "label_source"]
    frame = frame.with_columns(
        pl.when("present").then(pl.col(c)).alias(c) for c in of_donor
    )  # a clean case has no donor
    return _twin_columns(resolved, frame, index)


def _twin_columns(resolved: Resolved, frame: pl.DataFrame, index: pl.DataFrame) -> pl.DataFrame:
    """The frame with the columns that a twin mode adds."""
    design = resolved.trial.twin
    if design is None:
        return frame
    in_scan = (
        index.group_by("scan_uid").agg(host_n_nodules=pl.len().cast(pl.Int64)).rename({"scan_uid": "host_scan_uid"})
    )
    side = pl.col("lobe").str.extract("^(left|right)").fill_null("unknown")
    frame = frame.join(in_scan, on="host_scan_uid", how="left", maintain_order="left").with_columns(
        mode=pl.lit(resolved.trial.trial)
    )
    if design.kind == "isolation":
        rank = index.sort("scan_uid", "nodule_uid").select(
            pl.col("nodule_uid").alias("donor_nodule_uid"), isolation_case_index=pl.int_range(pl.len()).over("scan_uid")
        )
        return frame.join(rank, on="donor_nodule_uid", how="left", maintain_order="left").with_columns(
            target_annotation_id="annotation_id",
            target_nodule_mask_path="donor_nodule_mask_path",
            target_diameter_mm="donor_diameter_mm",
            target_label="label",
            target_lobe="lobe",
            target_side=side,
            target_zone="reinsertion_lung_zone",
        )
    if design.kind == "complete":

        def joined(e: pl.Expr) -> pl.Expr:
            return e.fill_null("").str.join(";").over("case_uid")

        return frame.with_columns(
            annotation_ids=joined(pl.col("annotation_id")),
            diameters_mm=joined(pl.col("donor_diameter_mm").round(2).cast(pl.String)),
            labels=joined(pl.col("label").cast(pl.String)),
            lobes=joined(pl.col("lobe")),
            sides=joined(side),
            zones=joined(pl.col("reinsertion_lung_zone")),
        )
    transfer = "complete" if design.pairing == "donor_patient_complete" else "single"
    return frame.with_columns(
        donor_transfer_mode=pl.lit(transfer),
        pairing_policy=pl.lit(design.pairing),
        placement_strategy=pl.lit(design.placement),
        cross_case_group_id="number",
    )


def _csv(rows: pl.DataFrame) -> Iterator[bytes]:
    """Rows as CSV with a header, part by part."""
    for number, part in enumerate(rows.iter_slices(_ROWS)):
        yield part.write_csv(include_header=number == 0).encode()


def _json(head: Mapping[str, Any], rows: pl.DataFrame) -> Iterator[bytes]:
    """An object of ``head`` and, as ``cases``, the rows, part by part."""
    yield json.dumps(head)[:-1].encode() + b', "cases": ['
    for number, part in enumerate(rows.iter_slices(_ROWS)):
        yield b"," * (number > 0) + part.write_json().encode()[1:-1]
    yield b"]}"


def _by_files(manifest: Manifest) -> Iterator[Manifest]:
    """A manifest in parts of whole files."""
    files = manifest.arms.sort("number").group_by("folder", "published", maintain_order=True)
    parts = files.agg("arm", cases=pl.col("got_cases").sum()).with_columns(part=pl.col("cases").cum_sum() // _CASES)
    for _, part in parts.group_by("part", maintain_order=True):
        arm = pl.col("arm").is_in(part["arm"].explode().to_list())
        cases = manifest.cases.filter(arm)
        nodules = manifest.nodules.join(cases.select("case_uid"), on="case_uid", how="semi", maintain_order="left")
        yield replace(manifest, arms=manifest.arms.filter(arm), cases=cases, nodules=nodules)


def write_manifests(
    settings: Settings,
    resolved: Resolved,
    manifest: Manifest,
    index: pl.DataFrame,
    about: Mapping[str, Any],
    picture: bytes,
) -> dict[str, str]:
    """Write a trial's manifests, and apart from them ``trial.json``, ``arms.csv`` and its balance.

    Args:
        settings: gives the output folder.
        resolved: the trial.
        manifest: its planned tables.
        index: the table ``nodules``.
        about: content of ``trial.json``.
        picture: PNG of the balance.

    Returns:
        Path below the output folder -> SHA-256.
    """
    mode = published_mode(resolved.trial.mode)
    columns = [*MANIFEST_COLUMNS, *extra_columns(resolved), *OWN_COLUMNS]
    of_file = list(dict.fromkeys([*columns, "case_uid", "cohort_mode", "_folder", "_stem"]))
    files: dict[str, str] = {}

    def put(name: str, parts: Iterable[bytes]) -> None:
        files[name] = replace_parts(settings.output / name, parts)

    by_file = (
        of
        for part in _by_files(manifest)
        for of in manifest_frame(settings, resolved, part, index)
        .select(of_file)
        .group_by(["_folder", "_stem"], maintain_order=True)
    )
    for (folder, stem), rows in by_file:
        shown = rows.select(columns)
        put(f"{_MANIFESTS}/{mode}/{folder}{stem}.csv", _csv(shown))
        head = {
            "trial_name": stem,
            "trial_template": resolved.cohort.site or "",
            "n_cases": rows["case_uid"].n_unique(),
            "n_rows": rows.height,
            "cohort_mode": rows["cohort_mode"][0],
            "seed": about["seed"],
        }
        put(f"{_MANIFESTS}/{mode}/{folder}{stem}.json", _json(head, shown))
    plan = json.dumps(dict(about) | {"version": __version__}, indent=1, sort_keys=True, allow_nan=False).encode()
    beside = {
        "trial.json": plan,
        "balance.csv": manifest.balance.write_csv().encode(),
        "arms.csv": manifest.arms.write_csv().encode(),
        "balance.png": picture,
    }
    for name, data in beside.items():
        put(f"{_PLANS}/{mode}/{name}", [data])
        (settings.output / _MANIFESTS / mode / name).unlink(missing_ok=True)  # where version 0.1 had it
    return files


def manifest_files(settings: Settings, mode: str) -> list[Path]:
    """Files of a mode's manifests, in path order."""
    return _below(settings.output / _MANIFESTS / published_mode(mode))


def plan_files(settings: Settings, mode: str) -> list[Path]:
    """What a mode's manifests were planned from (``trial.json``, ``arms.csv``, the balance), in path order."""
    return _below(settings.output / _PLANS / published_mode(mode))


def _below(folder: Path) -> list[Path]:
    return sorted(p for p in folder.rglob("*") if p.is_file() and not p.name.startswith("."))


def missing_inputs(settings: Settings, mode: str) -> list[tuple[str, str, list[str]]]:
    """(file stem, column, paths) of the inputs that a planned manifest names and the data root lacks.

    Args:
        settings: data root and outputs.
        mode: key of a mode that is planned.
    """
    found = []
    for path in manifest_files(settings, mode):
        if path.suffix == ".csv":
            rows = read_csv(path).select(INPUT_COLUMNS)
            for column in INPUT_COLUMNS:
                paths = rows[column].drop_nulls().unique().sort().to_list()
                if lost := [p for p in paths if not (settings.data / p).exists()]:
                    found.append((path.stem, column, lost))
    return found
