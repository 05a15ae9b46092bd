"""Builds one partition of ``cts`` in three parts, so that a cluster can run the middle one in shards:
plan (which cases are left, dealt to shards), work (one shard), collect (gather and write).
"""

from dataclasses import asdict, fields
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings, require_data_root
from itrialspace_assets.casework import journal, shards
from itrialspace_assets.casework.cases import Case, require_all, retryable, write_rejected
from itrialspace_assets.casework.steps import Options, Partition, Result, Step, partition_name
from itrialspace_assets.imaging import pictures
from itrialspace_assets.records.store import look_up, read_table, write_table
from itrialspace_assets.synthesis.acquisition import STANDARD, Acquisition
from itrialspace_assets.synthesis.forecast import GIB, forecast, host_grids, require_disk
from itrialspace_assets.synthesis.images import render_seed
from itrialspace_assets.synthesis.renderers import RENDERERS, Renderer, enabled
from itrialspace_assets.synthesis.rendering import render_case
from itrialspace_assets.synthesis.sheet import contact_sheet

#: Columns that say how a scan is taken, in ``cases`` and ``cts``, and the fields of ``Acquisition``.
ACQUISITION = tuple(f.name for f in fields(Acquisition))


def render_cases(settings: Settings, renderer: Renderer, partition: Partition) -> list[Case]:
    """One case per inserted case; its hash covers host, lesions, renderer and how CTs are kept."""
    rows = read_table(settings.output, "insertions", **partition)
    if rows.is_empty():
        return []
    cases = read_table(settings.output, "cases", mode=partition["mode"])
    planned = dict(
        zip(
            cases["case_uid"],
            cases.select("render_replicate", "attenuation", *ACQUISITION).rows(named=True),
            strict=True,
        )
    )
    grids, made_by = (
        host_grids(settings, partition["dataset"]),
        [renderer.version, renderer.weights(settings), settings.cts],
    )
    out = []
    for (case_uid,), group in rows.group_by(["case_uid"], maintain_order=True):
        first = group.row(0, named=True)
        how = look_up(planned, str(case_uid), f"cases/{partition['mode']}")
        acquisition = {name: how[name] for name in ACQUISITION}
        payload = {
            "case_uid": case_uid,
            "source": renderer.name,
            "mode": partition["mode"],
            "dataset": partition["dataset"],
            "map_sha256": first["host_map_sha256"],
            "lesions": group.filter("present").sort("nodule_idx")["lesion"].to_list(),
            "anatomy": first["anatomy"],
            "attenuation": how["attenuation"],
            "acquisition": acquisition,
            "seed": render_seed(settings.seed, how["render_replicate"]),
        }
        sha = digest([*made_by, payload])
        out.append(
            Case(
                str(case_uid),
                sha,
                digest([first["host_map_sha256"], acquisition]),
                payload,
                float(g.voxels if (g := grids.get(first["host_map_sha256"])) else 1),
            )
        )
    return out


def make_step(renderer: Renderer) -> Step:
    """The step of one renderer."""

    def options(settings: Settings) -> Options:
        return {"cts": settings.cts, "seed": str(settings.seed)}

    key = (renderer.name, "synthetic_cts")
    return Step(key, "synthesise", ("mode", "dataset"), renderer.version, options, renderer.location)


def weights_version(settings: Settings, name: str) -> str:
    """Hash of a renderer's weights and of how they are used; empty where they are missing."""
    try:
        return RENDERERS[name].weights(settings) or ""
    except ConfigError:
        return ""


def steps(settings: Settings) -> list[Step]:
    return [make_step(renderer) for renderer in enabled(settings)]


def _journals(settings: Settings, source: str, partition: Partition) -> Any:
    return journal.journal_dir(settings, f"{source}/synthetic_cts", partition_name(partition))


def cases_left(settings: Settings, source: str, partition: Partition, cases: list[Case]) -> list[Case]:
    """Those of a pair's cases that are neither rendered nor put aside."""
    return journal.pending(settings, cases, _journals(settings, source, partition))


def plan(settings: Settings, source: str, partition: Partition, run_id: str) -> list[str]:
    """Deal the cases that are left to shards; the keys of the shards that have any.

    Raises:
        ConfigError: the renderer is not ready, cannot do what the trial asks, or the disk cannot hold what they would
            become.
    """
    require_data_root(settings)
    renderer = RENDERERS[source]
    cases = render_cases(settings, renderer, partition)
    left = cases_left(settings, source, partition, cases)
    if left:
        renderer.require_weights(settings)
        require_modelled(renderer, left, partition)
    require_disk(settings, renderer, left)
    return shards.assign_shards(settings, cases, _journals(settings, source, partition), run_id)


def require_modelled(renderer: Renderer, cases: list[Case], partition: Partition) -> None:
    """Refuse what a renderer would pass over.

    Raises:
        ConfigError: a case asks for an acquisition or an attenuation, and the renderer follows neither.
    """
    if renderer.models:
        return
    standard = asdict(STANDARD)
    for case in cases:
        if case.payload["acquisition"] != standard or case.payload["attenuation"] != "solid":
            raise ConfigError(
                f"{partition_name(partition)}: {case.uid} asks for "
                f"{Acquisition(**case.payload['acquisition']).name} and {case.payload['attenuation']} nodules; "
                f"renderer {renderer.name} models "
                "neither acquisition nor attenuation, use tissue"
            )


def foresee(settings: Settings, source: str, partition: Partition, run_id: str) -> dict[str, float | str]:
    """What the cases that are left will take, for the asset's metadata before it starts; nothing where nothing is
    left."""
    renderer = RENDERERS[source]
    if renderer.estimate is None:
        return {}
    left = cases_left(settings, source, partition, render_cases(settings, renderer, partition))
    if not left:
        return {}
    found = forecast(settings, renderer, left)
    workers = max(1, renderer.workers(settings) // settings.per_gpu)  # workers of one GPU take turns
    return {
        "estimated_seconds_a_case": round(found.seconds / len(left), 1),
        "estimated_seconds": round(found.seconds / workers),
        "estimated_gpu_hours": round(found.seconds / 3600, 3),
        "estimated_gpu_gib": renderer.gpu_gib,
        "estimated_gib": round(found.size / GIB, 3),
    }


def work(settings: Settings, source: str, partition: Partition, run_id: str, shard: str) -> None:
    """Render the cases of one shard.

    Raises:
        ConfigError: the device that is asked for is not here.
    """
    RENDERERS[source].require_device(settings)
    settings = settings.model_copy(update={"workers": RENDERERS[source].workers(settings)})
    shards.run_shard(render_case, None, settings, _journals(settings, source, partition), run_id, shard)


def collect(settings: Settings, source: str, partition: Partition, run_id: str) -> Result:
    """Gather the shards, write ``cts`` and what was put aside."""
    renderer = RENDERERS[source]
    cases = render_cases(settings, renderer, partition)
    folder = _journals(settings, source, partition)
    made = journal.collect(settings, cases, folder)
    require_all(made, f"{source}/synthetic_cts {partition_name(partition)}")
    rows = made.rows.get("cts", [])
    path = write_table(settings.output, "cts", rows, source=source, **partition)
    write_rejected(settings, f"{source}/synthetic_cts", partition_name(partition), made.rejected)
    computed = shards.assigned(folder, run_id)
    note = "" if cases else "no inserted case in this pair"
    return Result(
        {"cts": len(rows)},
        computed,
        len(cases) - computed,
        len(made.rejected),
        note,
        _picture(settings, partition, rows),
        _preview(rows),
        files=made.files,
        facts=dict(made.measured),
        retryable=retryable(made),
        written=(path,),
    )


def _picture(settings: Settings, partition: Partition, rows: list[dict[str, Any]]) -> bytes | None:
    if not rows:
        return None
    inserted = read_table(settings.output, "insertions", **partition).filter(pl.col("nodule_idx") == 0)
    maps = dict(inserted.select("case_uid", "host_map_sha256").iter_rows())
    lesions = dict(inserted.select("case_uid", "lesion").iter_rows())
    paths = (
        read_table(settings.output, "profiles", dataset=partition["dataset"])
        .select("scan_uid", "ct_path")
        .unique("scan_uid", keep="first")
    )
    hosts = read_table(settings.output, "cases", mode=partition["mode"]).join(
        paths, left_on="host_scan_uid", right_on="scan_uid"
    )
    host_cts = dict(hosts.select("case_uid", "ct_path").iter_rows())
    return contact_sheet(settings, [r | {"host_map_sha256": maps[r["case_uid"]]} for r in rows], lesions, host_cts)


def _preview(rows: list[dict[str, Any]]) -> str:
    shown = [r for r in rows if not r["is_lesion_free"]][:12]
    if not shown:
        return ""
    return pictures.markdown(
        pl.DataFrame(shown, infer_schema_length=None).select(
            "case_uid", "lesion_hu", "background_hu", "low_hu", "high_hu"
        )
    )
