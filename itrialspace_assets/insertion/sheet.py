"""The picture of a partition: lesions in three planes with their outlines, and plots of achieved against requested.

Radiological view: patient right on the image's left; front, or head, on top. Drawn with Pillow, because a plotting
library takes longer to load than a partition takes to insert.
"""

import io
from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl
from PIL import Image, ImageDraw, ImageFont

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, unpack_bits
from itrialspace_assets.imaging.pictures import OUTLINE, label_grey, outline

#: Edge (mm) of the square that a tile shows, and pixels for each mm.
WINDOW_MM, SCALE = 60.0, 1.6
#: Pixels: edge of a tile, height of a line of text, edge of a plot, gap between nodules.
_TILE, _TEXT, _PLOT, _GAP = int(WINDOW_MM * SCALE), 24, 260, 6
_PER_ROW, _AT_MOST = 4, 16


def contact_sheet(settings: Settings, rows: pl.DataFrame) -> bytes:
    """PNG of up to sixteen nodules, spread evenly over rows of ``insertions``, and two plots over all of them."""
    at = np.unique(np.linspace(0, rows.height - 1, min(_AT_MOST, rows.height)).astype(int))
    shown = rows[at.tolist()].to_dicts()
    shown.sort(key=lambda r: r["host_map_sha256"])
    lines = -(-len(shown) // _PER_ROW)
    width = _PER_ROW * (3 * _TILE + _GAP)
    image = Image.new("RGB", (width, lines * (_TILE + _TEXT) + _PLOT + _TEXT), "white")
    pen, font = ImageDraw.Draw(image), ImageFont.load_default(11)
    for i, row in enumerate(shown):
        x, y = (i % _PER_ROW) * (3 * _TILE + _GAP), (i // _PER_ROW) * (_TILE + _TEXT)
        host, lesion = load_host_map(settings.output, row["host_map_sha256"]), unpack_bits(row["lesion"])
        for j, tile in enumerate(planes(host, lesion)):
            image.paste(Image.fromarray(tile[:, :-2]), (x + j * _TILE, y))
        name = row["case_uid"].rsplit("/", 1)
        clean = "" if row["present"] else " clean"
        told = f"{name[0].rsplit('/', 1)[-1][:18]} {name[1]} {row['diameter_mm']:.1f} mm {_short(row['lobe'])}{clean}"
        pen.text((x + 2, y + _TILE + 4), told, "#c00000" if row["relaxations"] else "black", font)
    top = lines * (_TILE + _TEXT) + _TEXT
    pairs = rows.select("planned_diameter_mm", "diameter_mm").rows()
    _plot(pen, font, (50, top, 50 + _PLOT - 60, top + _PLOT - 60), pairs, "diameter asked (mm)", "got", diagonal=True)
    moved = rows.select("planned_diameter_mm", "shift_mm").rows()
    _plot(pen, font, (380, top, 380 + _PLOT - 60, top + _PLOT - 60), moved, "diameter asked (mm)", "moved (mm)")
    relaxed = rows.filter(pl.col("relaxations") != "").height
    marked = "procedural anatomy" if rows["anatomy"][0] == "procedural" else "real anatomy"
    legend = (
        f"{rows.height} nodules, {len(shown)} shown: axial, coronal, sagittal, {WINDOW_MM:.0f} mm",
        f"red: {relaxed} with a relaxation",
        marked,
        f"{rows['rules'][0]} rules",
    )
    for i, text in enumerate(legend):
        pen.text((690, top + 20 * i), text, "black", font)
    out = io.BytesIO()
    image.save(out, "PNG")
    return out.getvalue()


def _short(lobe: str) -> str:
    side, _, which, _ = lobe.split("_")
    return f"{side[0]}{which[0]}l".upper()


def planes(host: Volume, lesion: Lesion) -> list[npt.NDArray[np.uint8]]:
    """Axial, coronal and sagittal tiles (H, W, 3) through a lesion's centre, the lesion outlined."""
    centre = np.rint(lesion.centroid).astype(int)
    half = np.ceil(WINDOW_MM / 2 / host.spacing).astype(int)
    low, size = centre - half, 2 * half + 1
    labels = np.zeros(size, np.uint8)
    begin, end = np.maximum(low, 0), np.minimum(low + size, host.array.shape)
    inner = tuple(slice(a, b) for a, b in zip(begin - low, end - low, strict=True))
    labels[inner] = host.array[tuple(slice(a, b) for a, b in zip(begin, end, strict=True))]
    mask = np.zeros(size, bool)
    at = lesion.indices - low
    at = at[np.all((at >= 0) & (at < size), axis=1)]
    mask[tuple(at.T)] = True
    tiles = []
    for axis in (2, 1, 0):
        plane, own = (np.take(x, half[axis], axis=axis).T[::-1] for x in (labels, mask))
        if axis != 0:
            plane, own = plane[:, ::-1], own[:, ::-1]  # patient right on the left; sagittal: front on the right
        grey = Image.fromarray(label_grey(plane)).resize((_TILE, _TILE), Image.Resampling.NEAREST)
        large = np.asarray(Image.fromarray(own.astype(np.uint8) * 255).resize((_TILE, _TILE), Image.Resampling.NEAREST))
        tile = np.repeat(np.asarray(grey)[..., None], 3, axis=2)
        tile[outline(large > 0)] = OUTLINE
        tiles.append(tile)
    return tiles


def _plot(
    pen: ImageDraw.ImageDraw,
    font: Any,
    box: tuple[int, int, int, int],
    points: Sequence[tuple[float, float]],
    x: str,
    y: str,
    *,
    diagonal: bool = False,
) -> None:
    """Draw points with their axes into a box (left, top, right, bottom; pixels); both axes begin at 0.

    Args:
        pen: of the picture.
        font: of the labels.
        box: where to draw.
        points: pairs (x, y).
        x: label of the x axis.
        y: label of the y axis.
        diagonal: give both axes one scale and draw the line of equality.
    """
    left, top, right, bottom = box
    most_x = max(1.0, *(p[0] for p in points)) * 1.05
    most_y = most_x if diagonal else max(1.0, *(p[1] for p in points)) * 1.05
    pen.rectangle(box, outline="#888888")
    if diagonal:
        pen.line((left, bottom, right, top), fill="#bbbbbb")
    for a, b in points:
        px, py = left + (right - left) * a / most_x, bottom - (bottom - top) * b / most_y
        pen.ellipse((px - 2, py - 2, px + 2, py + 2), fill="#1f5fa8")
    pen.text((left, bottom + 4), f"0        {x}        {most_x:.0f}", "black", font)
    pen.text((left - 44, top), f"{most_y:.0f}", "black", font)
    pen.text((left, top - 16), y, "black", font)
