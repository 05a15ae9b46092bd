"""The static case page: its volumes are the nodule's surroundings on one grid, and it says what is not built."""

import base64
import json
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from isal import igzip

from itrialspace_assets.catalog import case_volumes
from itrialspace_assets.catalog.case_volumes import MOST_VOXELS, crop_box, viewer_script, volumes_json
from itrialspace_assets.imaging.geometry import Volume, place_of, read_volume
from itrialspace_assets.imaging.lesions import Lesion, unpack_bits
from itrialspace_assets.records.store import read_all
from tests.explorer.small_case import write_case


def test_the_volumes_lie_about_the_nodule(tmp_path: Path) -> None:
    settings, _ = write_case(tmp_path)
    got, cts = read_all(settings.output, "insertions"), read_all(settings.output, "cts")
    text = volumes_json(settings, got, cts)
    assert "<" not in text, "it stands in a script element"
    volumes = {}
    for held in json.loads(text):
        path = tmp_path / "one.nii"
        path.write_bytes(igzip.decompress(base64.b64decode(held["data"])))
        volumes[held["title"]] = read_volume(path)
    assert list(volumes) == ["CT with the nodule", "Lesion-free twin", "Difference", "Organ map", "Mask"]
    row = cts.filter(~pl.col("is_lesion_free")).row(0, named=True)
    whole = read_volume(settings.output / row["path"])
    ct, mask = volumes["CT with the nodule"], volumes["Mask"]
    assert all(v.same_grid(ct) for v in volumes.values())
    place = place_of(ct, whole)
    assert np.array_equal(ct.array, whole.array[place])
    lesion = unpack_bits(got["lesion"][0])
    inside = np.argwhere(mask.array) + [s.start for s in place]
    assert np.array_equal(inside, lesion.indices)
    assert np.array_equal(volumes["Difference"].array, ct.array - volumes["Lesion-free twin"].array)


def test_a_crop_of_a_fine_scan_stays_small() -> None:
    host = Volume(np.broadcast_to(np.uint8(0), (512, 512, 400)), np.diag([0.5, 0.5, 0.5, 1.0]))
    box = crop_box(Lesion((250, 250, 200), np.ones((20, 20, 20), bool)), host)
    sides = [s.stop - s.start for s in box]
    assert MOST_VOXELS / 2 < np.prod(sides) <= MOST_VOXELS and min(sides) > 40
    assert crop_box(Lesion((250, 250, 200), np.ones((20, 20, 4), bool)), host, 1)[2] == slice(199, 205)


def test_what_is_not_built_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(case_volumes, "VIEWER", tmp_path / "casepage.js")
    assert viewer_script() is None
    page = (Path(case_volumes.__file__).with_name("casepage.html")).read_text(encoding="utf-8")
    from jinja2 import Template

    shown = Template(page, autoescape=True).render(
        uid="u", mark="m", lead="l", galleries=[("Anatomy", [("host", "AAAA")])], tables=[], viewer=None, volumes="[]"
    )
    assert "make page" in shown and "data:image/png;base64,AAAA" in shown and "<script" not in shown
