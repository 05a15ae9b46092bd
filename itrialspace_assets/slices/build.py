"""Builds one partition of ``slices``, of a rendered source (mode and dataset) or of real scans (dataset)."""

from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import FileHashes
from itrialspace_assets.base.seeds import case_seed
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, workers
from itrialspace_assets.casework.cases import Case, payload_hash, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.profiles.cts import ct_hash
from itrialspace_assets.profiles.registry import dataset as registered
from itrialspace_assets.records.layout import REAL, published_mode
from itrialspace_assets.records.store import look_up, read_table, write_table
from itrialspace_assets.slices.case import ImageToCut, RealSliceCase, SliceCase, SliceNodule
from itrialspace_assets.slices.cut import cut_case, cut_real
from itrialspace_assets.slices.wanted import wanted

VERSION = "4"


def slice_cases(settings: Settings, source: str, partition: Partition) -> list[Case]:
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
        return _real_cases(settings, partition["dataset"], made_by)
    return _rendered_cases(settings, source, partition, made_by)


def _rendered_cases(settings: Settings, source: str, partition: Partition, made_by: list[Any]) -> list[Case]:
    cts = read_table(settings.output, "cts", source=source, **partition)
    if cts.is_empty():
        return []
    mode = partition["mode"]
    insertions = read_table(settings.output, "insertions", **partition)
    cases = {r["case_uid"]: r for r in read_table(settings.output, "cases", mode=mode).iter_rows(named=True)}
    published = dict(read_table(settings.output, "arms", mode=mode).select("arm", "published").iter_rows())
    columns = list(SliceNodule.model_fields)
    nodules: dict[str, list[SliceNodule]] = {}
    for uid, *values in insertions.sort("case_uid", "nodule_idx").select("case_uid", *columns).iter_rows():
        nodules.setdefault(uid, []).append(SliceNodule(**dict(zip(columns, values, strict=True))))
    out = []
    for (uid,), group in cts.group_by(["case_uid"], maintain_order=True):
        case = look_up(cases, str(uid), f"cases/{mode}")
        wanted = group if case["lesion_free_twin"] or not case["n_nodules"] else group.filter(~pl.col("is_lesion_free"))
        rows = wanted.select(list(ImageToCut.model_fields)).sort("is_lesion_free").iter_rows(named=True)
        payload = SliceCase(
            case_uid=str(uid),
            mode=mode,
            dataset=partition["dataset"],
            arm=case["arm"],
            anatomy=case["anatomy"],
            published_id=f"{published_mode(mode)}/{published[case['arm']]}__C{case['number']:04d}",
            images=tuple(ImageToCut(**row) for row in rows),
            nodules=tuple(look_up(nodules, str(uid), f"insertions/{mode}")),
        )
        out.append(Case(payload.case_uid, payload_hash(made_by, payload), payload.images[0].twin_uid, payload))
    return out


def _real_cases(settings: Settings, name: str, made_by: list[Any]) -> list[Case]:
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
    out = []
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
            out.append(Case(uid, payload_hash(made_by, payload), row["scan_uid"], payload))
    return out


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
    cases = slice_cases(settings, source, partition)
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
    rows = made.rows.get("slices", [])
    path = write_table(
        settings.output, "slices", rows, source=source, mode=partition.get("mode", REAL), dataset=partition["dataset"]
    )
    write_rejected(settings, step.name, name, made.rejected)
    shown_first = sorted(rows, key=lambda r: (r["control"] != "none", -len(r["condition"])))
    picture = next((r for r in shown_first if r["path"].endswith(".png")), None)
    shown = (settings.output / picture["path"]).read_bytes() if picture else None
    note = "" if cases else "nothing to cut in this partition"
    return Result(
        {"slices": len(rows)},
        computed,
        len(cases) - computed,
        len(made.rejected),
        note,
        shown,
        _preview(rows),
        files=made.files,
        retryable=retryable(made),
        worker_memory_mb=made.memory_mb,
        written=(path,),
    )


def _preview(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return ""
    frame = pl.DataFrame(rows, infer_schema_length=None)
    return pictures.markdown(
        frame.group_by("profile", "condition", "control", "guidance_site")
        .agg(pl.len().alias("slices"))
        .sort("profile", "condition", "control", "guidance_site")
    )
