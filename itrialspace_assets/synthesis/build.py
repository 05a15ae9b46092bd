"""Builds one partition of ``cts`` in three parts, so that a cluster can run the middle one in shards.

``plan`` assigns the cases that are left to shards, ``work`` renders one shard, ``collect`` gathers and writes. ``plan``
and ``collect`` list the cases of the partition once each; ``estimate`` and ``work`` read the shards' files.
"""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import asdict, fields
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import Case, payload_hash, require_all, retryable, write_rejected
from itrialspace_assets.casework.spool import Spool
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.records.by_key import ByKey
from itrialspace_assets.records.store import look_up, read_table, write_parts
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition
from itrialspace_assets.synthesis.case import RenderCase
from itrialspace_assets.synthesis.estimate import GIB, estimate_rendering, host_grids, require_disk
from itrialspace_assets.synthesis.images import how_kept, render_seed
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer
from itrialspace_assets.synthesis.rendering import render_case
from itrialspace_assets.synthesis.sheet import contact_sheet

#: Columns of ``cases`` that say how a scan is taken: the fields of ``ScanAcquisition``.
ACQUISITION = tuple(f.name for f in fields(ScanAcquisition))


def render_cases(settings: Settings, renderer: Renderer, partition: Partition) -> Iterator[Case]:
    """One case for each inserted case; its hash covers host, lesions, renderer and how CTs are kept.

    Args:
        settings: outputs, root seed, how CTs are kept.
        renderer: what renders.
        partition: mode and dataset.

    Raises:
        TableError: a table of a stage before is missing, or an inserted case is no longer planned.
    """
    rows = read_table(settings.output, "insertions", **partition)
    if rows.is_empty():
        return
    columns = ["case_uid", "render_replicate", "attenuation", *ACQUISITION]
    planned = ByKey(read_table(settings.output, "cases", columns, mode=partition["mode"]), "case_uid")
    grids = host_grids(settings, partition["dataset"])
    made_by = [renderer.version, renderer.weights(settings), how_kept(settings)]
    inserted = rows.select("case_uid", "nodule_idx", "present", "lesion", "host_map_sha256", "anatomy")
    for case_uid, nodules in ByKey(inserted.sort("case_uid", "nodule_idx"), "case_uid").items():
        first = nodules[0]
        (plan,) = look_up(planned, case_uid, f"cases/{partition['mode']}")
        case = RenderCase(
            case_uid=case_uid,
            source=renderer.name,
            mode=partition["mode"],
            dataset=partition["dataset"],
            map_sha256=first["host_map_sha256"],
            lesions=tuple(nodule["lesion"] for nodule in nodules if nodule["present"]),
            anatomy=first["anatomy"],
            attenuation=plan["attenuation"],
            acquisition=ScanAcquisition(**{name: plan[name] for name in ACQUISITION}),
            seed=render_seed(settings.seed, plan["render_replicate"]),
        )
        twin = digest([case.map_sha256, asdict(case.acquisition)])  # cases that share a lesion-free twin
        grid = grids.get(case.map_sha256)
        cost = float(grid.voxels) if grid is not None else 1.0
        yield Case(case.case_uid, payload_hash(made_by, case), twin, case, cost)


def make_step(renderer: Renderer) -> Step:
    """The step of one renderer."""

    def options(settings: Settings) -> Options:
        how = {"schedule": settings.nodmaisi_schedule, "device": settings.device} if renderer.has_weights else {}
        return {"cts": how_kept(settings), "seed": str(settings.seed)} | how

    key = (renderer.name, "synthetic_cts")
    return Step(key, "synthesise", ("mode", "dataset"), renderer.version, options, renderer.location)


def _journals(settings: Settings, source: str, partition: Partition) -> Path:
    return journal.journal_dir(settings, f"{source}/synthetic_cts", partition_name(partition))


def cases_left(settings: Settings, source: str, partition: Partition, cases: Iterable[Case]) -> list[Case]:
    """Those of a pair's cases that are neither rendered nor rejected.

    Args:
        settings: gives the journals.
        source: name of the renderer.
        partition: mode and dataset.
        cases: from ``render_cases``.
    """
    return journal.pending(settings, cases, _journals(settings, source, partition))


def payloads(cases: Iterable[Case]) -> Iterator[RenderCase]:
    """What the workers read of some cases of rendering."""
    return (case.payload for case in cases if isinstance(case.payload, RenderCase))


def plan(settings: Settings, source: str, partition: Partition, run_id: str) -> list[str]:
    """Assign the cases that are left to shards; the keys of the shards.

    Args:
        settings: outputs, number of shards, how CTs are kept.
        source: name of the renderer.
        partition: mode and dataset.
        run_id: names the shards' files.

    Raises:
        ConfigError: the renderer is not ready or cannot do what the trial asks, or the disk cannot hold the images.
    """
    require_data_root(settings)
    renderer = RENDERERS[source]
    folder = _journals(settings, source, partition)
    with Spool.of(settings, render_cases(settings, renderer, partition)) as spool:
        left = journal.pending(settings, spool.listed, folder)
        if left:
            renderer.require_weights(settings)
            require_modelled(renderer, payloads(spool.cases(left)), partition)
        require_disk(settings, renderer, payloads(spool.cases(left)), len(left))
        return shards.assign(settings, spool, folder, run_id)


def require_modelled(renderer: Renderer, cases: Iterable[RenderCase], partition: Partition) -> None:
    """Refuse cases that ask for what a renderer would ignore.

    Args:
        renderer: what renders.
        cases: what is left to render.
        partition: mode and dataset.

    Raises:
        ConfigError: a case asks for an acquisition or an attenuation, and the renderer models neither.
    """
    if renderer.models:
        return
    for case in cases:
        if case.acquisition != STANDARD or case.attenuation != "solid":
            raise ConfigError(
                f"{partition_name(partition)}: {case.case_uid} asks for {case.acquisition.name} and "
                f"{case.attenuation} nodules; renderer {renderer.name} models neither acquisition nor attenuation, "
                "use tissue"
            )


def estimate(
    settings: Settings, source: str, partition: Partition, run_id: str, keys: Sequence[str]
) -> dict[str, float | str]:
    """What the shards of a run will take, as metadata; empty for a renderer of which no rate is known.

    Args:
        settings: outputs, workers, how CTs are kept.
        source: name of the renderer.
        partition: mode and dataset.
        run_id: the run that assigned the shards.
        keys: the shards, from ``plan``; their files hold the cases that are left.
    """
    renderer, folder = RENDERERS[source], _journals(settings, source, partition)
    if renderer.seconds_per_image is None:
        return _as_before(settings, source, shards.assigned(folder, run_id))
    left = [c for key in keys for c in payloads(shards.read_shard(RenderCase, folder, run_id, key))]
    if not left:
        return {}
    found = estimate_rendering(settings, renderer, left)
    workers = max(1, renderer.workers(settings) // settings.per_gpu)  # workers of one GPU take turns
    return {
        "estimated_seconds_a_case": round(found.seconds / len(left), 1),
        "estimated_seconds": round(found.seconds / workers),
        "estimated_gpu_hours": round(found.seconds / 3600, 3),
        "estimated_gpu_gib": renderer.gpu_gib,
        "estimated_gib": round(found.size / GIB, 3),
    }


def _as_before(settings: Settings, source: str, left: int) -> dict[str, float | str]:
    """What so many cases will take at the mean of those that were rendered in this root; empty where none was."""
    seconds, measured = journal.mean_seconds(settings, f"{source}/synthetic_cts")
    if seconds is None or not left:
        return {}
    return {
        "estimated_seconds_a_case": round(seconds, 3),
        "estimated_seconds": round(seconds * left / max(1, settings.workers)),
        "estimated_from": f"{measured} cases measured here",
    }


def work(settings: Settings, source: str, partition: Partition, run_id: str, shard: str) -> None:
    """Render the cases of one shard.

    Args:
        settings: outputs, workers, device.
        source: name of the renderer.
        partition: mode and dataset.
        run_id: the run that assigned the shards.
        shard: key of the shard.

    Raises:
        ConfigError: the device that is asked for is not here.
    """
    RENDERERS[source].require_device(settings)
    settings = settings.model_copy(update={"workers": RENDERERS[source].workers(settings)})
    shards.run_shard(render_case, RenderCase, settings, _journals(settings, source, partition), run_id, shard)


def collect(settings: Settings, source: str, partition: Partition, run_id: str) -> Result:
    """Gather the shards; write ``cts`` and the rejected cases.

    Args:
        settings: outputs, how CTs are kept.
        source: name of the renderer.
        partition: mode and dataset.
        run_id: the run that assigned the shards.

    Raises:
        TableError: a case is neither rendered nor rejected.
    """
    renderer = RENDERERS[source]
    folder = _journals(settings, source, partition)
    made = journal.collect(settings, render_cases(settings, renderer, partition), folder)
    require_all(made, f"{source}/synthetic_cts {partition_name(partition)}")
    path, count = write_parts(settings.output, "cts", made.rows.parts("cts"), source=source, **partition)
    write_rejected(settings, f"{source}/synthetic_cts", partition_name(partition), made.rejected)
    rows = read_table(settings.output, "cts", source=source, **partition)
    computed = shards.assigned(folder, run_id)
    note = "" if made.total else "no inserted case in this pair"
    return Result(
        {"cts": count},
        computed,
        made.total - computed,
        len(made.rejected),
        note,
        _picture(settings, partition, rows),
        _preview(rows),
        files=made.files,
        facts=dict(made.measured),
        retryable=retryable(made),
        worker_memory_mb=made.memory_mb,
        written=(path,),
    )


def _picture(settings: Settings, partition: Partition, rows: pl.DataFrame) -> bytes | None:
    if rows.is_empty():
        return None
    columns = ["case_uid", "nodule_idx", "present", "lesion", "host_map_sha256", "host_scan_uid"]
    insertions = read_table(settings.output, "insertions", columns, **partition)
    profiles = read_table(settings.output, "profiles", ["scan_uid", "ct_path"], dataset=partition["dataset"])
    hosts = insertions.unique("case_uid", keep="first", maintain_order=True).join(
        profiles.unique("scan_uid", keep="first"), left_on="host_scan_uid", right_on="scan_uid", how="left"
    )
    first = insertions.filter("present").unique("case_uid", keep="first", maintain_order=True)
    for about in (hosts.select("case_uid", "host_map_sha256", "ct_path"), first.select("case_uid", "lesion")):
        rows = rows.join(about, on="case_uid", how="left", maintain_order="left")
    return contact_sheet(settings, rows)


def _preview(rows: pl.DataFrame) -> str:
    """Markdown: the first images with lesions."""
    shown = rows.filter(~pl.col("is_lesion_free")).head(12)
    if shown.is_empty():
        return ""
    return pictures.markdown(shown.select("case_uid", "lesion_hu", "background_hu", "low_hu", "high_hu"))
