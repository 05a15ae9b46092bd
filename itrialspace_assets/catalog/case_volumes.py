"""Volumes of a case for its static page: crops about the nodule, small enough for one file.

The page's viewer is built by ``make page`` into the explorer's page; nothing here draws.
"""

import base64
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
from isal import igzip

from itrialspace_assets.base.errors import CaseRejected
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.hosts.store import load_host_map
from itrialspace_assets.imaging.geometry import Box, Volume, place_of
from itrialspace_assets.imaging.lesions import Lesion, lesion_box, stamp, unpack_bits
from itrialspace_assets.imaging.packing import plain_bytes
from itrialspace_assets.synthesis.images import PLANES_BESIDE, open_planes

#: Built viewer of the static page, one file.
VIEWER = Path(__file__).parents[1] / "explorer" / "page" / "casepage.js"
#: Distance (mm) that a crop reaches beyond the nodule, at most, and most voxels of a crop: a page of four volumes stays
#: below 6 MB; ours.
REACH_MM, MOST_VOXELS = 40.0, 400_000


def viewer_script() -> str | None:
    """The built viewer; None: it is not built."""
    return VIEWER.read_text(encoding="utf-8") if VIEWER.is_file() else None


def volumes_json(settings: Settings, got: pl.DataFrame, cts: pl.DataFrame) -> str:
    """Crops as JSON that may stand in a ``script`` element: a list of title, unit and base64 of a NIfTI file.

    Images of the first renderer: the CT, its lesion-free twin and their difference; then the organ map; last, where a
    nodule is present, the mask. All are on one grid.

    Args:
        settings: gives the store.
        got: the case's rows of ``insertions``.
        cts: its rows of ``cts``.
    """
    if got.is_empty() or cts.is_empty():
        return "[]"
    lesions = [unpack_bits(text) for text in got.sort("nodule_idx")["lesion"]]
    host = load_host_map(settings.output, got["host_map_sha256"][0])
    own = cts.filter(pl.col("source") == cts["source"].min()).sort("is_lesion_free")
    rows = {bool(r["is_lesion_free"]): r for r in own.iter_rows(named=True)}
    box = crop_box(lesions[0], host, None if _is_whole(own) else PLANES_BESIDE)
    found: list[dict[str, str]] = []
    images: dict[bool, Volume] = {}
    for is_free, row in rows.items():
        image = _image(settings, row, box)
        if image is not None:
            images[is_free] = image
            found.append(_entry("Lesion-free twin" if is_free else "CT with the nodule", "HU", image))
    if len(images) == 2:
        difference = Volume(images[False].array - images[True].array, images[True].affine)
        found.append(_entry("Difference", "difference", difference))
    part = host.crop(box)
    found.append(_entry("Organ map", "label", part))
    present = [lesion for lesion, is_there in zip(lesions, got.sort("nodule_idx")["present"], strict=True) if is_there]
    if present:
        empty = Volume(np.zeros(host.array.shape, np.uint8, order="F"), host.affine)
        mask = stamp(empty, present).crop(place_of(part, host))
        found.append(_entry("Mask", "mask", Volume((mask.array > 0).astype(np.uint8), mask.affine)))
    return json.dumps(found).replace("<", "\\u003c")


def crop_box(lesion: Lesion, host: Volume, beside: int | None = None) -> Box:
    """The box about a lesion that goes into the page.

    Args:
        lesion: voxels in the host's grid.
        host: gives grid and spacing.
        beside: most levels beside the lesion along z, where no others were kept; None: as far as along x and y.
    """
    reach = REACH_MM
    while True:
        x, y, z = (int(np.ceil(reach / mm)) for mm in host.spacing)
        box = lesion_box([lesion], host.array.shape, (x, y, z if beside is None else beside))
        if np.prod([s.stop - s.start for s in box]) <= MOST_VOXELS or reach < 1:
            return box
        reach *= 0.9


def _is_whole(cts: pl.DataFrame) -> bool:
    return not (cts["kept"] == "planes").any()


def _image(settings: Settings, row: Mapping[str, Any], box: Box) -> Volume | None:
    """The crop of an image; None where it is missing or was not kept there."""
    try:
        part, first = open_planes(settings, row, box[2])
    except CaseRejected:
        return None
    return part.crop((box[0], box[1], slice(box[2].start - first, box[2].stop - first)))


def _entry(title: str, unit: str, volume: Volume) -> dict[str, str]:
    data = igzip.compress(plain_bytes(volume, title), compresslevel=3, mtime=0)
    return {"title": title, "unit": unit, "data": base64.b64encode(data).decode()}
