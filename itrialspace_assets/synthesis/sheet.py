"""The picture of a partition of CTs, a row for each case: host CT, mask, CT, lesion-free twin, difference.

Radiological view, lung window. Drawn with Pillow from single slices; the picture says what the images are.
"""

import io
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.lesions import Lesion, unpack_bits
from itrialspace_assets.imaging.pictures import OUTLINE, label_grey, lesion_plane, lung_grey, outline, radiological
from itrialspace_assets.profiles.cts import ct_source, real_ct
from itrialspace_assets.synthesis.images import open_planes

#: Pixels: edge of a tile, height of a line of text; most cases that are shown: three whole volumes are read for each.
_TILE, _TEXT, _AT_MOST = 220, 18, 3
#: Difference (HU) that is shown as full white or black. Ours.
DIFFERENCE_HU = 500.0


def contact_sheet(settings: Settings, rows: pl.DataFrame) -> bytes | None:
    """PNG of up to three cases spread over a partition; None where it holds clean cases only.

    Args:
        settings: gives the store.
        rows: rows of ``cts``, with ``host_map_sha256``, the packed ``lesion`` of the case's first nodule, and
            ``ct_path`` of its host, as profiles have it.
    """
    images = rows.filter(~pl.col("is_lesion_free"))
    if images.is_empty():
        return None
    at = np.unique(np.linspace(0, images.height - 1, min(_AT_MOST, images.height)).astype(int))
    shown = images[at.tolist()].sort("twin_uid", maintain_order=True).to_dicts()
    free = rows.filter("is_lesion_free", pl.col("case_uid").is_in([row["case_uid"] for row in shown]))
    twins = {row["case_uid"]: row for row in free.to_dicts()}
    sheet = Image.new("RGB", (5 * _TILE, len(shown) * (_TILE + _TEXT) + _TEXT), "black")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(11)
    mark = (
        f"rendered by {shown[0]['source']}, {shown[0]['anatomy']} anatomy: host CT (where at hand), mask, CT, "
        f"lesion-free twin, difference (white: +{DIFFERENCE_HU:.0f} HU)"
    )
    pen.text((4, 2), mark, "white", font)
    for i, row in enumerate(shown):
        y = _TEXT + i * (_TILE + _TEXT)
        lesion = unpack_bits(row["lesion"])
        tiles = [
            _host_tile(settings, row, lesion),
            *_tiles(settings, row, twins[row["case_uid"]], lesion),
        ]
        for j, tile in enumerate(tiles):
            sheet.paste(Image.fromarray(tile).resize((_TILE - 2, _TILE), Image.Resampling.BILINEAR), (j * _TILE, y))
        told = f"{row['case_uid']}: {row['lesion_hu']:.0f} HU in {row['background_hu']:.0f} HU"
        pen.text((4, y + _TILE + 2), told, "white", font)
    out = io.BytesIO()
    sheet.save(out, "PNG")
    return out.getvalue()


def _host_tile(settings: Settings, row: dict[str, Any], lesion: Lesion) -> npt.NDArray[np.uint8]:
    """The host's real CT (H, W, 3) at the lesion's largest plane; black where it is missing or on another grid."""
    k = lesion_plane(lesion)
    blank, ct_path = np.zeros((8, 8, 3), np.uint8), row["ct_path"]
    if ct_path is None or not ct_source(settings.data, ct_path).exists():
        return blank
    try:
        ct = real_ct(settings.data, ct_path)
    except CaseRejected:  # the real arm reports it; this is only a picture
        return blank
    if not ct.same_grid(load_host_map(settings.output, row["host_map_sha256"])):
        return blank
    return np.repeat(radiological(lung_grey(ct.array[..., k]))[..., None], 3, axis=2).astype(np.uint8)


def _tiles(
    settings: Settings, row: dict[str, Any], twin: dict[str, Any], lesion: Lesion
) -> list[npt.NDArray[np.uint8]]:
    """Mask, CT, twin and difference (H, W, 3) at the lesion's largest plane."""
    k = lesion_plane(lesion)
    planes = [open_planes(settings, r, slice(k, k + 1))[0] for r in (row, twin)]
    ct, free = (plane.array[..., 0].astype(np.float32) for plane in planes)
    labels = label_grey(load_host_map(settings.output, row["host_map_sha256"]).array[..., k])
    own = np.zeros(labels.shape, bool)
    own[lesion.box[0], lesion.box[1]] = lesion.mask[..., k - lesion.offset[2]]
    greys = [labels, lung_grey(ct), lung_grey(free), np.clip(128 + (ct - free) / DIFFERENCE_HU * 127, 0, 255)]
    tiles = [np.repeat(radiological(g)[..., None], 3, axis=2).astype(np.uint8) for g in greys]
    tiles[0][radiological(outline(own))] = OUTLINE
    return tiles
