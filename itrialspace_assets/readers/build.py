"""Builds one partition of ``predictions`` and ``detections`` in three parts: plan, work, collect."""

from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import Case, payload_hash, require_all, retryable, write_rejected
from itrialspace_assets.casework.steps import Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.readers.case import ReadCase, RealScan, RenderedScan, SliceToRead
from itrialspace_assets.readers.read import has_whole_scans, read_case
from itrialspace_assets.readers.registry import Reader, readers
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import look_up, read_table, write_table
from itrialspace_assets.slices.case import RenderedImage


def table_partition(source: str, partition: Partition) -> dict[str, str]:
    """Values of the partition columns of ``slices`` and the tables made from it, for a partition of the graph."""
    return {"source": source, "mode": partition.get("mode", REAL), "dataset": partition["dataset"]}


def read_cases(settings: Settings, source: str, reader: Reader, partition: Partition) -> list[Case]:
    """One case per case with slices; its hash covers slices, scans and the reader's revision.

    Args:
        settings: where tables and real CTs lie.
        source: ``real`` or a renderer's name.
        reader: the reader; its name and revision enter the cases.
        partition: dataset, and of a rendered source the mode.

    Raises:
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    where = table_partition(source, partition)
    slices = read_table(settings.output, "slices", **where)
    if slices.is_empty():
        return []
    scans, hosts = _real_scans(settings, partition["dataset"]) if source == REAL else _rendered_scans(settings, where)
    out = []
    for (uid,), group in slices.group_by(["case_uid"], maintain_order=True):
        ordered = group.sort("presence", "slice_uid", "condition", descending=[True, False, False])
        seen = ordered["image_uid"].unique(maintain_order=True).to_list()
        payload = ReadCase(
            case_uid=str(uid),
            reader=reader.name,
            **where,
            slices=tuple(
                SliceToRead(**row) for row in ordered.select(list(SliceToRead.model_fields)).iter_rows(named=True)
            ),
            scans=tuple(look_up(scans, image, "cts") for image in seen),
        )
        made_by = payload_hash([reader.revision], payload)
        out.append(Case(payload.case_uid, made_by, look_up(hosts, seen[0], "cts"), payload))
    return out


def _real_scans(settings: Settings, dataset: str) -> tuple[dict[str, RealScan], dict[str, str]]:
    """The scans of a dataset by their id, and what cases of one scan are grouped by: the scan."""
    profiles = read_table(settings.output, "profiles", dataset=dataset).unique("scan_uid", keep="first")
    scans = {}
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for uid, ct_path in profiles.select("scan_uid", "ct_path").iter_rows():
            key = digest([ct_hash(hashes, settings.data, ct_path)], 32)
            scans[uid] = RealScan(image_uid=uid, key=key, ct_path=ct_path)
    return scans, {uid: uid for uid in scans}


def _rendered_scans(settings: Settings, where: dict[str, str]) -> tuple[dict[str, RenderedScan], dict[str, str]]:
    """The images of a partition by their id, and what cases of one host are grouped by: the lesion-free twin."""
    cts = read_table(settings.output, "cts", **where).select(list(RenderedImage.model_fields))
    images = [RenderedImage(**row) for row in cts.iter_rows(named=True)]
    scans = {
        i.image_uid: RenderedScan(image_uid=i.image_uid, key=digest([i.sha256, i.twin_uid], 32), image=i)
        for i in images
    }
    return scans, {i.image_uid: i.twin_uid for i in images}


def make_step(source: str, reader: Reader) -> Step:
    """The step of one reader on one source; its revision covers code, options and weights."""
    dims = ("dataset",) if source == REAL else ("mode", "dataset")
    return Step((source, "predictions", reader.name), "read", dims, reader.revision, location=reader.location)


def _journals(settings: Settings, source: str, reader: str, partition: Partition) -> Path:
    return journal.journal_dir(settings, f"{source}/predictions/{reader}", partition_name(partition))


def plan(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> list[str]:
    """Assign the cases that are left to shards; the keys of the shards.

    Args:
        settings: data, outputs, number of shards.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigns them.

    Raises:
        ConfigError: the data root is missing, the output folder cannot be written, or a reader's entry is wrong.
        TableError: a table of a stage before is missing, or lacks the image of a slice.
    """
    require_data_root(settings)
    cases = read_cases(settings, source, readers(settings)[reader], partition)
    return shards.assign_shards(settings, cases, _journals(settings, source, reader, partition), run_id)


def work(settings: Settings, source: str, reader: str, partition: Partition, run_id: str, shard: str) -> None:
    """Read the cases of one shard.

    Args:
        settings: data, outputs, number of workers.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigned the shards.
        shard: key of the shard, as ``plan`` gave it.

    Raises:
        ConfigError: a setting is wrong for every case.
        PlatformError: the disk failed, or workers end before they take a case.
    """
    shards.run_shard(read_case, ReadCase, settings, _journals(settings, source, reader, partition), run_id, shard)


def collect(settings: Settings, source: str, reader: str, partition: Partition, run_id: str) -> Result:
    """Gather the shards, write ``predictions``, ``detections`` and the rejected cases.

    Args:
        settings: data and outputs.
        source: ``real`` or a renderer's name.
        reader: name of an enabled reader.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that assigned the shards.

    Raises:
        ConfigError: a reader's entry is wrong.
        TableError: a table of a stage before is missing, a case is neither done nor rejected, or a row breaks a rule of
            its table.
    """
    how = readers(settings)[reader]
    step, name, where = make_step(source, how), partition_name(partition), table_partition(source, partition)
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
        write_table(settings.output, "predictions", predictions, reader=reader, **where),
        write_table(settings.output, "detections", list(marks.values()), reader=reader, **where),
    ]
    write_rejected(settings, step.name, name, made.rejected)
    computed = shards.assigned(folder, run_id)
    counts = {"predictions": len(predictions), "detections": len(marks)}
    note = "" if cases else "no slice in this partition"
    if how.read_scan is not None and not all(has_whole_scans(ReadCase.model_validate(c.payload)) for c in cases):
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
