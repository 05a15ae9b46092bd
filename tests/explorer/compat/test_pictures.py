"""Slices as PNG: sides, letters, window, mask and cross on an asymmetric volume, named by ids alone."""

import io

import numpy as np
import polars as pl
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.compat import nodulemap, retriever
from itrialspace_assets.explorer.compat.pictures import slice_picture
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.index.query import Index
from itrialspace_assets.profiles.registry import dataset as registered
from tests.explorer.bare_app import Root, client
from tests.explorer.nodules import known

SPACING = (1.0, 1.0, 3.0)


def chest() -> Volume:
    """Air of -1350 HU; a bright block to the patient's right, in front, low: x low is left in RAS+."""
    array = np.full((60, 50, 20), -1350, np.int16)
    array[45:52, 38:45, 3:6] = 150
    affine = np.diag([*SPACING, 1.0])
    affine[:3, 3] = [-30, -25, 100]
    return Volume(array, affine)


def opened(content: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(content)).convert("RGB")).astype(int)


def middle_of(white: np.ndarray) -> tuple[float, float]:
    """Share of height and width at which the white block lies."""
    grey = (white.min(axis=2) > 200).astype(float)
    rows, columns = np.nonzero(grey)
    return float(rows.mean()) / white.shape[0], float(columns.mean()) / white.shape[1]


@pytest.mark.parametrize(
    ("plane", "index", "size", "low"),
    [
        ("axial", 4, (50, 60), False),  # in front: on top
        ("coronal", 41, (60, 60), True),  # low: at the bottom
        ("sagittal", 48, (60, 50), True),
    ],
)
def test_sides_of_every_plane(plane: str, index: int, size: tuple[int, int], low: bool) -> None:
    """By hand: RAS+ has x from left to right, so the block is on the patient's right: on the image's left. Of a
    sagittal slice the front is on the left.
    """
    picture = opened(slice_picture(chest(), plane, index))
    assert picture.shape[:2] == size  # pixels are square: slices of 3 mm are drawn three times as high
    row, column = middle_of(picture)
    assert (row > 0.5) == low
    assert column < 0.5


def test_windows_masks_and_crosses() -> None:
    ct = chest()
    whole = opened(slice_picture(ct, "axial", 4))
    assert whole[8, 11].tolist() == [255, 255, 255]  # 150 HU is the top of the lung window
    assert opened(slice_picture(ct, "axial", 4, "bone"))[8, 11, 0] == int((150 - 400 + 900) / 1800 * 255)
    mask = Volume((ct.array > 0).astype(np.uint8), ct.affine)
    tinted = opened(slice_picture(ct, "axial", 4, "bone", mask))[8, 11]
    grey = (150 - 400 + 900) / 1800 * 255
    assert tinted.tolist() == [int(0.65 * grey + 0.35 * c) for c in (255, 50, 50)]
    crossed = opened(slice_picture(ct, "axial", 4, cross=np.array([20.0, 30.0, 4.0])))
    green = np.argwhere((crossed == (0, 255, 0)).all(axis=2))
    assert np.median(green, axis=0) == pytest.approx([49 - 30, 59 - 20], abs=1)
    letters = {(r < 15, r > 35, c < 15, c > 45) for r, c in np.argwhere((whole[..., 0] > 200) & (whole[..., 2] < 50))}
    assert len({side for place in letters for side in range(4) if place[side]}) == 4  # one at every edge
    for wrong in ({"plane": "oblique"}, {"window": "brain"}, {"index": 20}):
        with pytest.raises(ConfigError):
            slice_picture(ct, **({"plane": "axial", "index": 4} | wrong))


@pytest.fixture
def web(empty: Settings) -> tuple[TestClient, TestClient, dict]:
    """Both apps over one nodule with a CT and a mask in the data root."""
    nodules = known(9)
    centre = [-30 + 48.0, -25 + 41.0, 100 + 3 * 4.0]
    placed = {f"coord{a}": pl.lit(c) for a, c in zip("XYZ", centre, strict=True)}
    row = nodules.with_columns(**placed, has_ct=True, has_nodule_mask=True).row(2, named=True)
    ct, ct_id = chest(), row["scan_uid"].split("/")[1]
    write_volume(empty.data / "raw_ct" / row["ct_path"], ct)
    mask = registered(empty, row["dataset"]).nodule_mask(empty.data, ct_id, row["annotation_id"])
    write_volume(mask, Volume((ct.array > 0).astype(np.uint8), ct.affine))
    root = Root(empty, Index(nodules.with_columns(**placed, has_ct=True, has_nodule_mask=True)))
    return client(root, nodulemap.router), client(root, retriever.router), row


def test_pictures_are_named_by_ids(web: tuple[TestClient, TestClient, dict], empty: Settings) -> None:
    map_, finder, row = web
    node = f"{row['dataset']}_{row['annotation_id']}"
    found = map_.get(f"/compat/nodulemap/api/node/{node}/axial_thumbnail")
    assert (found.headers["content-type"], found.headers["x-mask"]) == ("image/png", "shown")
    thumbnail = opened(found.content)
    red = (thumbnail[..., 0] > 200) & (thumbnail[..., 1] < 230) & (thumbnail[..., 1] > 100)
    assert red.any()
    base = "/compat/retriever/ct"
    info = finder.get(f"{base}/info", params={"ct_path": row["scan_uid"]}).json()
    assert info == {"shape": [60, 50, 20], "spacing_mm": [1, 1, 3]}
    one = {"ct_path": row["scan_uid"], "index": 4, "mask_path": row["nodule_uid"]}
    sliced = finder.get(f"{base}/slice", params=one)
    viewed = finder.get(f"{base}/nodule-view", params={"annotation_id": row["nodule_uid"]})
    assert sliced.content == viewed.content
    bare = finder.get(f"{base}/nodule-view", params={"annotation_id": row["nodule_uid"], "show_mask": False})
    assert bare.content == slice_picture(chest(), "axial", 4)
    middle = finder.get(f"{base}/slice", params={"ct_path": row["scan_uid"]})
    assert middle.content == slice_picture(chest(), "axial", 10)
    where = empty.data / "raw_ct" / row["ct_path"]
    for wrong in (str(where), row["ct_path"], "../../etc/passwd", f"{row['dataset']}/../{row['ct_path']}"):
        found = finder.get(f"{base}/slice", params={"ct_path": wrong})
        assert found.status_code == 404
        assert finder.get(f"{base}/info", params={"ct_path": wrong}).status_code == 404
    assert finder.get(f"{base}/slice", params=one | {"axis": "oblique"}).status_code == 422
    assert finder.get(f"{base}/slice", params=one | {"index": 99}).status_code == 422
    other = next(u for u in known(9)["nodule_uid"] if not u.startswith(row["dataset"]))
    assert finder.get(f"{base}/slice", params=one | {"mask_path": other}).status_code == 422


def test_a_mask_that_cannot_be_shown_is_said(web: tuple[TestClient, TestClient, dict], empty: Settings) -> None:
    _, finder, row = web
    ct_id = row["scan_uid"].split("/")[1]
    mask = registered(empty, row["dataset"]).nodule_mask(empty.data, ct_id, row["annotation_id"])
    write_volume(mask, Volume(np.ones((60, 50, 20), np.uint8), np.diag([2.0, 2.0, 3.0, 1.0])))
    ask = {"annotation_id": row["nodule_uid"]}
    assert finder.get("/compat/retriever/ct/nodule-view", params=ask).headers["x-mask"] == "on another grid than its CT"
    mask.unlink()
    assert finder.get("/compat/retriever/ct/nodule-view", params=ask).headers["x-mask"] == "missing_file"
