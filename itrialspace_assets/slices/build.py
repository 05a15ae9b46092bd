"""Builds one partition of ``slices``, of a rendered source (mode and dataset) or of real scans (dataset)."""

from collections.abc import Iterator
from typing import Any, TypeVar

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, payload_hash, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.profiles.registry import dataset as registered
from itrialspace_assets.records.by_key import ByKey
from itrialspace_assets.records.layout import REAL, published_mode
from itrialspace_assets.records.store import look_up, read_table, write_parts
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase, SliceNodule
from itrialspace_assets.slices.cut import cut_case, cut_real
from itrialspace_assets.slices.wanted import wanted

VERSION = "4"
AnyModel = TypeVar("AnyModel", bound=StrictModel)


def slice_cases(settings: Settings, source: str, partition: Partition) -> Iterator[Case]:
    """One case per rendered case, or per real finding; its hash covers everything drawn.

    Args:
        settings: where tables and real CTs lie, and the seed of the levels.
        source: ``real`` or a renderer's name.
        partition: dataset, and of a rendered source the mode.

    Raises:
        ConfigError: the dataset of a real scan is not registered, or the settings ask for pictures that there are not.
        TableError: a table of a stage before is missing, or lacks a row that another one names.
    """
    made_by = [VERSION, dict(wanted(settings).options)]
    if source == REAL:
        yield from _real_cases(settings, partition["dataset"], made_by)
    else:
        yield from _rendered_cases(settings, source, partition, made_by)


def _rendered_cases(settings: Settings, source: str, partition: Partition, made_by: list[Any]) -> Iterator[Case]:
    cts = read_table(settings.output, "cts", source=source, **partition)
    if cts.is_empty():
        return
    mode = partition["mode"]
    columns = ["case_uid", "arm", "anatomy", "number", "lesion_free_twin", "n_nodules"]
    cases = ByKey(read_table(settings.output, "cases", columns, mode=mode), "case_uid")
    published = dict(read_table(settings.output, "arms", mode=mode).select("arm", "published").iter_rows())
    columns = ["case_uid", "nodule_idx", *SliceNodule.model_fields]
    insertions = read_table(settings.output, "insertions", columns, **partition).sort("case_uid", "nodule_idx")
    nodules = ByKey(insertions, "case_uid")
    images = cts.select("case_uid", *ImageToCut.model_fields).sort("case_uid", "is_lesion_free")
    for uid, rows in ByKey(images, "case_uid").items():
        (case,) = look_up(cases, uid, f"cases/{mode}")
        twins = case["lesion_free_twin"] or not case["n_nodules"]
        payload = SliceCase(
            case_uid=uid,
            mode=mode,
            dataset=partition["dataset"],
            arm=case["arm"],
            anatomy=case["anatomy"],
            published_id=f"{published_mode(mode)}/{published[case['arm']]}__C{case['number']:04d}",
            images=tuple(_model(ImageToCut, row) for row in rows if twins or not row["is_lesion_free"]),
            nodules=tuple(_model(SliceNodule, row) for row in look_up(nodules, uid, f"insertions/{mode}")),
        )
        yield Case(payload.case_uid, payload_hash(made_by, payload), payload.images[0].twin_uid, payload)


def _model(model: type[AnyModel], row: dict[str, Any]) -> AnyModel:
    """The model of those columns of a row that it has fields for."""
    return model(**{name: row[name] for name in model.model_fields})


def _real_cases(settings: Settings, name: str, made_by: list[Any]) -> Iterator[Case]:
    entry = registered(settings, name)
    donors = read_table(settings.output, "donors", dataset=name)
    hosts = {r["scan_uid"]: r for r in read_table(settings.output, "hosts", dataset=name).iter_rows(named=True)}
    profiles = {r["nodule_uid"]: r for r in read_table(settings.output, "profiles", dataset=name).iter_rows(named=True)}
    siblings = {str(k[0]): g.sort("nodule_uid")["lesion"].to_list() for k, g in donors.group_by(["scan_uid"])}
    extents: dict[str, list[tuple[float, float]]] = {}  # world z from and to of every annotated nodule, mask or not
    unplaced = {r["scan_uid"] for r in profiles.values() if r["coordZ"] is None}  # a nodule may be on any plane
    for r in profiles.values():
        if r["coordZ"] is not None:
            half = (r["d"] or r["nodule_mean_diam_mm"] or 0.0) / 2
            extents.setdefault(r["scan_uid"], []).append((r["coordZ"] - half, r["coordZ"] + half))
    with FileHashes(settings.output / "work" / "fingerprints.sqlite") as hashes:
        for row in donors.iter_rows(named=True):
            profile = look_up(profiles, row["nodule_uid"], f"profiles/{name}")
            host = look_up(hosts, row["scan_uid"], f"hosts/{name}")
            uid = f"real/{name}/{profile['annotation_id']}"
            payload = RealSliceCase(
                case_uid=uid,
                dataset=name,
                scan_uid=row["scan_uid"],
                person_uid=row["person_uid"],
                ct_path=profile["ct_path"],
                ct_sha256=ct_hash(hashes, settings.data, profile["ct_path"]),
                map_sha256=host["map_sha256"],
                shape=tuple(host["shape"]),
                spacing=(host["spacing_x"], host["spacing_y"], host["spacing_z"]),
                origin=(host["origin_x"], host["origin_y"], host["origin_z"]),
                lesion=row["lesion"],
                all_lesions=tuple(siblings[row["scan_uid"]]),
                cleared=host["cleared"],
                extents=tuple(extents.get(row["scan_uid"], ())),
                lobe=profile["lobe_name"],
                lobe_share=profile["lobe_share"],
                mask_grown=profile["mask_source"] == "grown",
                label=profile["label"],
                anatomy=profile["anatomy"],
                complete=entry.annotation_completeness == "complete" and row["scan_uid"] not in unplaced,
                published_id=f"{name}/{profile['annotation_id']}",
                seed=case_seed(settings.seed, uid, "level"),
            )
            yield Case(uid, payload_hash(made_by, payload), row["scan_uid"], payload)


def count_pictures(settings: Settings, source: str, partition: Partition) -> tuple[int, int, int]:
    """(cases, cases that are left to cut, most pictures of those) of a partition; opens no image.

    A rendered case has its lesion, and on its lesion-free twin the same place and an empty one; a real finding may have
    a level without a nodule beside it.

    Args:
        settings: what is asked for, and where tables and journals lie.
        source: ``real`` or a renderer's name.
        partition: dataset, and of a rendered source the mode.
    """
    asked = wanted(settings)
    cases = list(slice_cases(settings, source, partition))
    folder = journal.journal_dir(settings, make_step(source).name, partition_name(partition))
    left = journal.pending(settings, cases, folder)
    each = len(asked.profiles) * len(asked.z_offsets) * len(asked.pictures)
    images = [len(c.payload.images) if isinstance(c.payload, SliceCase) else 1 for c in left]
    targets = sum(2 if source == REAL else 2 * n - 1 for n in images)
    return len(cases), len(left), targets * each


def make_step(source: str, location: str = "cpu") -> Step:
    """The step that cuts the slices of one source."""

    def options(settings: Settings) -> Options:
        return dict(wanted(settings).options) | ({"seed": str(settings.seed)} if source == REAL else {})

    dims = ("dataset",) if source == REAL else ("mode", "dataset")
    return Step((source, "eval_slices"), "slice", dims, VERSION, options, location)


def build(settings: Settings, source: str, partition: Partition, run_id: str) -> Result:
    """Cut every slice of a partition; a case that cannot be cut is rejected with its reason.

    Args:
        settings: data, outputs, workers.
        source: ``real`` or a renderer's name.
        partition: dataset, and of a rendered source the mode.
        run_id: of the run that cuts them.
    """
    require_data_root(settings)
    step, name = make_step(source), partition_name(partition)
    cases = slice_cases(settings, source, partition)
    work = cut_real if source == REAL else cut_case
    made, computed = workers.process(work, cases, settings, step.name, name, run_id)
    where = {"source": source, "mode": partition.get("mode", REAL), "dataset": partition["dataset"]}
    path, count = write_parts(settings.output, "slices", made.rows.parts("slices"), **where)
    write_rejected(settings, step.name, name, made.rejected)
    return Result(
        {"slices": count},
        computed,
        made.total - computed,
        len(made.rejected),
        "" if made.total else "nothing to cut in this partition",
        _picture(settings, made.rows.parts("slices")),
        _preview(read_table(settings.output, "slices", _SHOWN, **where)),
        files=made.files,
        retryable=retryable(made),
        worker_memory_mb=made.memory_mb,
        written=(path,),
    )


def _picture(settings: Settings, parts: Iterator[list[dict[str, Any]]]) -> bytes | None:
    """A slice of the first rows: without a control and with the longest condition, if there is such a one."""
    rows = (row for row in next(parts, []) if row["path"].endswith(".png"))
    chosen = min(rows, key=lambda row: (row["control"] != "none", -len(row["condition"])), default=None)
    return (settings.output / chosen["path"]).read_bytes() if chosen else None


#: Columns of the preview.
_SHOWN = ["profile", "condition", "control", "guidance_site"]


def _preview(rows: pl.DataFrame) -> str:
    return pictures.markdown(rows.group_by(_SHOWN).agg(pl.len().alias("slices")).sort(_SHOWN)) if rows.height else ""
