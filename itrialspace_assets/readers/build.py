"""Builds one partition of ``predictions`` and ``detections`` in three parts: plan, work, collect."""

from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import Case, require_all, retryable, write_rejected
from itrialspace_assets.casework.steps import Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.readers.read import read_case, whole_scans
from itrialspace_assets.readers.registry import Reader, readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import look_up, read_table, write_table
from itrialspace_assets.synthesis.renderers import enabled


def _place(source: str, partition: Partition) -> dict[str, str]:
    return {"source": source, "mode": partition.get("mode", REAL), "dataset": partition["dataset"]}


def read_cases(settings: Settings, source: str, reader: Reader, partition: Partition) -> list[Case]:
    """One case per case with slices; its hash covers slices, scans and the reader's revision."""
    place = _place(source, partition)
    slices = read_table(settings.output, "slices", **place)
    if slices.is_empty():
        return []
    images: dict[str, dict[str, Any]] = {}
    group_of: dict[str, str] = {}
    if source == REAL:
        profiles = read_table(settings.output, "profiles", dataset=partition["dataset"]).unique(
            "scan_uid", keep="first", maintain_order=True
        )
        with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
            for row in profiles.iter_rows(named=True):
                sha = ct_hash(hashes, settings.data, row["ct_path"])
                images[row["scan_uid"]] = {
                    "image_uid": row["scan_uid"],
                    "key": digest([sha], 32),
                    "ct_path": row["ct_path"],
                }
                group_of[row["scan_uid"]] = row["scan_uid"]
    else:
        for row in read_table(settings.output, "cts", **place).iter_rows(named=True):
            slim = {k: row[k] for k in ("source", "image_uid", "twin_uid", "is_lesion_free", "path", "sha256", "kept")}
            images[row["image_uid"]] = {
                "image_uid": row["image_uid"],
                "key": digest([row["sha256"], row["twin_uid"]], 32),
                "row": slim,
            }
            group_of[row["image_uid"]] = row["twin_uid"]
    out = []
    for (uid,), group in slices.group_by(["case_uid"], maintain_order=True):
        ordered = group.sort("presence", "slice_uid", "condition", descending=[True, False, False])
        seen = ordered["image_uid"].unique(maintain_order=True).to_list()
        rows = ordered.select("slice_uid", "sha256", "condition", "path", "pixel_x_mm", "pixel_y_mm").to_dicts()
        payload = {
            "case_uid": uid,
            "reader": reader.name,
            **place,
            "slices": rows,
            "images": [look_up(images, i, "cts") for i in seen],
        }
        out.append(Case(str(uid), digest([reader.revision, payload]), look_up(group_of, seen[0], "cts"), payload))
    return out


def make_step(source: str, reader: Reader) -> Step:
    """The step of one reader on one source; its revision covers code, options and weights."""
    dims = ("dataset",) if source == REAL else ("mode", "dataset")
    return Step((source, "predictions", reader.name), "read", dims, reader.revision, location=reader.location)


def steps(settings: Settings) -> list[Step]:
    sources = [REAL, *(r.name for r in enabled(settings))]
    return [make_step(source, reader) for source in sources for reader in readers(settings).values()]


def _journals(settings: Settings, source: str, reader: str, partition: Partition) -> Path:
    return journal.journal_dir(settings, f"{source}/predictions/{reader}", partition_name(partition))


def plan(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> list[str]:
    """Deal the cases that are left to shards; the keys of the shards that have any."""
    require_data_root(settings)
    cases = read_cases(settings, source, readers(settings)[reader], partition)
    return shards.assign_shards(settings, cases, _journals(settings, source, reader, partition), run_id)


def work(settings: Settings, source: str, reader: str, partition: Partition, run_id: str, shard: str) -> None:
    """Read the cases of one shard."""
    shards.run_shard(read_case, None, settings, _journals(settings, source, reader, partition), run_id, shard)


def collect(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> Result:
    """Gather the shards, write ``predictions``, ``detections`` and what was put aside."""
    how = readers(settings)[reader]
    step, name, place = make_step(source, how), partition_name(partition), _place(source, partition)
    cases = read_cases(settings, source, how, partition)
    folder = _journals(settings, source, reader, partition)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"{step.name} {name}")
    # cases of one mode may share an image: its slices are answered once, its scan marked once
    predictions = list(
        {(r["slice_uid"], r["condition"], r["task"]): r for r in made.rows.get("predictions", [])}.values()
    )
    marks = {(r["image_uid"], r["mark"]): r for r in made.rows.get("detections", [])}
    paths = [
        write_table(settings.output, "predictions", predictions, reader=reader, **place),
        write_table(settings.output, "detections", list(marks.values()), reader=reader, **place),
    ]
    write_rejected(settings, step.name, name, made.rejected)
    computed = shards.assigned(folder, run_id)
    counts = {"predictions": len(predictions), "detections": len(marks)}
    note = "" if cases else "no slice in this partition"
    if how.read_volume is not None and not all(whole_scans(c.payload["images"]) for c in cases):
        note = "no marks on whole scans: only slices of them were kept (ITRIALSPACE_CTS=slices)"
    return Result(
        counts,
        computed,
        len(cases) - computed,
        len(made.rejected),
        note,
        preview=_preview(predictions),
        files=made.files,
        retryable=retryable(made),
        written=tuple(paths),
    )


def _preview(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return pictures.markdown(
        frame.group_by("task", "condition", "answer", "status")
        .agg(pl.len().alias("answers"))
        .sort("task", "condition", "answer")
    )
