"""One HTML page of a case: host, mask, CT, twin, slices, answers, asked and got. Needs no server."""

import base64
from dataclasses import replace
from pathlib import Path
from typing import Any

import polars as pl

from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.case_story import tell
from itrialspace_assets.catalog.case_volumes import viewer_script, volumes_json
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging import pictures
from itrialspace_assets.imaging.lesions import Lesion, stamp, unpack_bits
from itrialspace_assets.records.tables import CONDITIONS
from itrialspace_assets.synthesis.images import open_planes


def write_page(settings: Settings, uid: str) -> Path:
    """Write ``cases/<uid>.html`` below the output folder and give its path.

    Raises:
        NotFound: no manifest holds such a case; names near ones.
    """
    path = settings.output / "cases" / f"{uid.replace('/', '_')}.html"
    replace_file(path, page_of(settings, uid).encode())
    return path


def page_of(settings: Settings, uid: str) -> str:
    """The page of a case; nothing is written.

    Raises:
        NotFound: no manifest holds such a case; names near ones.
    """
    told = tell(settings, uid)
    galleries = _galleries(settings, told.insertions, told.cts, told.slices)
    from jinja2 import Environment
    from markupsafe import Markup

    template = Environment(autoescape=True).from_string(
        Path(__file__).with_name("casepage.html").read_text(encoding="utf-8")
    )
    script = viewer_script()
    return template.render(
        uid=uid,
        mark=told.mark,
        lead=told.lead,
        galleries=galleries,
        tables=told.tables,
        viewer=None if script is None else Markup(script.replace("</script", "<\\/script")),
        volumes=Markup(volumes_json(settings, told.insertions, told.cts) if script else "[]"),
    )


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
