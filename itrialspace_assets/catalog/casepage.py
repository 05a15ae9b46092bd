"""One HTML page of a case: host, mask, CT, twin, slices, answers, asked and got. Needs no server."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.volumes import Lesion, stamp, unpack_bits
from itrialspace_assets.records.provenance import mark_of
from itrialspace_assets.records.store import read_all
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.synthesis.images import open_planes


def write_page(settings: Settings, uid: str) -> Path:
    """Write ``cases/<uid>.html`` below the output folder and give its path.

    Raises:
        ConfigError: no manifest holds such a case; the message names a few that exist.
    """
    root = settings.output
    cases = read_all(root, "cases")
    found = cases.filter(pl.col("case_uid") == uid)
    if found.is_empty():
        known = ", ".join(cases["case_uid"].head(3)) or "none: run `its run` first"
        raise ConfigError(f"case {uid!r}: expected a case_uid of a manifest, for example {known}")
    case = found.row(0, named=True)
    plan = read_all(root, "case_nodules", mode=case["mode"]).filter(pl.col("case_uid") == uid)
    got = read_all(root, "insertions", mode=case["mode"], dataset=case["host_dataset"]).filter(
        pl.col("case_uid") == uid
    )
    cts = read_all(root, "cts", mode=case["mode"], dataset=case["host_dataset"]).filter(pl.col("case_uid") == uid)
    slices = read_all(root, "slices", mode=case["mode"], dataset=case["host_dataset"]).filter(pl.col("case_uid") == uid)
    answers = read_all(root, "answers", mode=case["mode"], dataset=case["host_dataset"]).join(
        slices, on=["slice_uid", "condition", "source"], how="semi"
    )
    rejected = read_all(root, "rejected_cases").filter(pl.col("case_uid") == uid)
    galleries = _galleries(settings, got, cts, slices)
    tables = [("Asked and got", *_asked_and_got(plan, got)), ("Answers", *_answers(slices, answers))]
    if rejected.height:
        tables.append(("Rejected", rejected.columns, rejected.rows()))
    from jinja2 import Environment

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("casepage.html").read_text(encoding="utf-8")
    )
    sources = ", ".join(sorted(set(cts["source"].to_list()))) or "nothing yet"
    lead = (
        f"{plan['why'][0]}. Mode {case['mode']}, arm {case['arm']}, host {case['host_scan_uid']}, cohort "
        f"{case['cohort_mode']}."
    )
    html = template.render(
        uid=uid, mark=mark_of(case["anatomy"], sources), lead=lead, galleries=galleries, tables=tables
    )
    path = root / "cases" / f"{uid.replace('/', '_')}.html"
    replace_file(path, html.encode())
    return path


def _ct_picture(settings: Settings, row: dict[str, Any], lesion: Lesion) -> bytes:
    k = pictures.lesion_plane(lesion)
    ct, first = open_planes(settings, row, slice(k, k + 1))
    x, y, z = lesion.offset
    return pictures.ct_slice(ct, replace(lesion, offset=(x, y, z - first)))


def _b64(data: bytes) -> str:
    return base64.b64encode(data).decode()


def _galleries(
    settings: Settings, got: pl.DataFrame, cts: pl.DataFrame, slices: pl.DataFrame
) -> list[tuple[str, list[tuple[str, str]]]]:
    if got.is_empty():
        return []
    row = got.row(0, named=True)
    lesion = unpack_bits(row["lesion"])
    host = load_host_map(settings.output, row["host_map_sha256"])
    shown = [
        ("host map, lesion-free; the place is outlined", host),
        ("mask with the nodule (label 23)", stamp(host, [lesion])),
    ]
    galleries = [("Anatomy", [(caption, _b64(pictures.label_slice(volume, lesion))) for caption, volume in shown])]
    for source in sorted(set(cts["source"].to_list())):
        own = cts.filter(pl.col("source") == source).sort("is_lesion_free")
        galleries.append(
            (
                f"CT, {source}",
                [(_caption(r), _b64(_ct_picture(settings, r, lesion))) for r in own.iter_rows(named=True)],
            )
        )
        mine = slices.filter(
            pl.col("source") == source,
            pl.col("control") == "none",
            pl.col("z_offset") == 0,
            pl.col("path").str.ends_with(".png"),
        )
        mine = mine.filter(pl.col("profile") == mine["profile"].min())
        for site in mine["guidance_site"].unique().sort(descending=True):
            order = {r["condition"]: r for r in mine.filter(pl.col("guidance_site") == site).iter_rows(named=True)}
            images = [(c, _b64((settings.output / order[c]["path"]).read_bytes())) for c in CONDITIONS if c in order]
            galleries.append((f"Slices, {source}, {_SITES[site]}", images))
    return galleries


#: What guidance points at, by ``guidance_site``.
_SITES = {
    "lesion": "nodule",
    "cleared_lesion": "its place on the lesion-free twin",
    "cleared": "a place where a native nodule was cleared",
    "never": "a place without a nodule",
}


def _caption(row: dict[str, Any]) -> str:
    return (
        "lesion-free twin"
        if row["is_lesion_free"]
        else f"lesion {row['lesion_hu']:.0f} HU on {row['background_hu']:.0f} HU"
    )


def _asked_and_got(plan: pl.DataFrame, got: pl.DataFrame) -> tuple[list[str], list[Any]]:
    realised = {r["nodule_idx"]: r for r in got.iter_rows(named=True)}
    rows = []
    for p in plan.sort("nodule_idx").iter_rows(named=True):
        g = realised.get(p["nodule_idx"], {})
        rows += [
            [p["nodule_idx"], "donor", p["donor_nodule_uid"], g.get("donor_nodule_uid")],
            [p["nodule_idx"], "lobe", p["lobe"], g.get("lobe")],
            [p["nodule_idx"], "diameter mm", round(p["planned_diameter_mm"], 2), g and round(g["diameter_mm"], 2)],
            [p["nodule_idx"], "cc, ml, ap %", _triple(p), g and _triple(g)],
            [p["nodule_idx"], "distance from the planned centre mm", 0, g and g["shift_mm"]],
            [p["nodule_idx"], "relaxations", p["relaxations"] or "none", g and (g["relaxations"] or "none")],
        ]
    return ["nodule", "what", "asked", "got"], rows


def _triple(row: dict[str, Any]) -> str:
    return ", ".join("–" if row[f"{a}_pct"] is None else f"{row[f'{a}_pct']:.1f}" for a in ("cc", "ml", "ap"))


def _answers(slices: pl.DataFrame, answers: pl.DataFrame) -> tuple[list[str], list[Any]]:
    truth = slices.select("slice_uid", "condition", "presence", "size_class", pl.col("lobe").alias("true_lobe"))
    shown = answers.join(truth.unique(["slice_uid", "condition"]), on=["slice_uid", "condition"]).sort(
        "presence", "task", "condition", "control", "reader", descending=[True, False, False, False, False]
    )
    columns = [
        "source",
        "reader",
        "presence",
        "size_class",
        "condition",
        "control",
        "task",
        "answer",
        "score",
        "status",
    ]
    columns.append("reason")
    return columns, shown.select(columns).rows()
