"""Planes, parts and marks: sides on an asymmetric volume, pixels as of evaluation slices, answers of the server."""

import io
import zlib
from pathlib import Path

import numpy as np
import pytest
from fastapi.testclient import TestClient
from PIL import Image

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.images.marks import marks_of
from itrialspace_assets.explorer.images.parts import box_of, every, nifti
from itrialspace_assets.explorer.images.planes import SIDES, WINDOWS, busiest, plane_png
from itrialspace_assets.explorer.images.volumes import read
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.records.store import read_all, write_table
from itrialspace_assets.slices.windows import PROFILES

from .small_case import PAIR, write_case


def pixels(data: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(data)))


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> tuple[Settings, str]:
    return write_case(tmp_path_factory.mktemp("case"))


@pytest.fixture(scope="module")
def client(case: tuple[Settings, str]) -> TestClient:
    return TestClient(create_app(case[0], Access()), base_url="http://localhost")


#: Where a bright left-front-upper corner of the patient lies: (row, column), 0 first and -1 last.
CORNER = {"axial": (0, -1), "coronal": (0, -1), "sagittal": (0, 0)}


@pytest.mark.parametrize("axis", list(CORNER))
def test_a_bright_corner_lies_where_the_letters_say(axis: str) -> None:
    array = np.full((9, 8, 7), -1000, np.int16)
    array[0, -1, -1] = 100  # RAS+: x from left to right, y from back to front, z from feet to head
    volume = Volume(np.asfortranarray(array), np.diag([1.0, 2.0, 3.0, 1.0]))
    index = {"axial": 6, "coronal": 7, "sagittal": 0}[axis]
    image = pixels(plane_png(volume, "HU", axis, index, "lung"))
    row, column = CORNER[axis]
    assert np.argwhere(image > 100).tolist() == [[row % image.shape[0], column % image.shape[1]]]
    sides = SIDES[axis]
    assert {sides.top if row == 0 else sides.bottom, sides.left if column == 0 else sides.right} < set("LAS")


def test_a_mask_is_red_on_its_own_grid_and_nowhere_else() -> None:
    volume = Volume(np.zeros((4, 5, 6), np.int16, order="F"), np.eye(4))
    mask = Volume(np.zeros((4, 5, 6), np.uint8, order="F"), np.eye(4))
    mask.array[1, 2, 3] = 1
    assert [busiest(mask, axis) for axis in CORNER] == [3, 2, 1]
    shown = pixels(plane_png(volume, "HU", "axial", 3, "bone", mask))
    red = (shown[..., 0] > shown[..., 1]).nonzero()
    assert (red[0].tolist(), red[1].tolist()) == ([5 - 1 - 2], [4 - 1 - 1])
    grey = 71  # (0 + 500) / 1800 * 255 = 70.8, of which 0.65, and 0.35 of the colour
    assert shown[2, 2].tolist() == [round(0.65 * (grey - 1) + 0.35 * c) for c in (255, 50, 50)]
    elsewhere = Volume(mask.array, np.diag([2.0, 1.0, 1.0, 1.0]))
    assert pixels(plane_png(volume, "HU", "axial", 3, "bone", elsewhere)).ndim == 2


def test_windows_are_those_of_evaluation_slices() -> None:
    named = {"lung": "lung_axial", "mediastinum": "mediastinal_axial", "bone": "bone_axial"}
    assert {k: PROFILES[v].windows[0] for k, v in named.items()} == {k: WINDOWS[k] for k in named}


def test_parts_keep_their_place_in_the_world(tmp_path: Path) -> None:
    array = np.arange(8 * 9 * 10, dtype=np.int16).reshape((8, 9, 10), order="F")
    affine = np.diag([0.7, 0.8, 2.0, 1.0])
    affine[:3, 3] = -20, 5, 100
    volume = Volume(array, affine)
    part = every(volume.crop(box_of("-3,6,1,99,2,10", volume)), 2)
    (tmp_path / "part.nii.gz").write_bytes(nifti(part, "part"))
    again = read_volume(tmp_path / "part.nii.gz")
    assert again.array.shape == (3, 4, 4)
    at = np.rint(volume.to_voxel(again.to_world([2, 3, 1]))).astype(int)
    assert again.array[2, 3, 1] == array[tuple(at)] and at.tolist() == [4, 7, 4]
    for wrong in ("1,2,3", "a,b,c,d,e,f", "5,5,0,9,0,9", "8,9,0,9,0,9"):
        with pytest.raises(ConfigError, match="box"):
            box_of(wrong, volume)


def test_what_the_server_shows_of_a_case(client: TestClient, case: tuple[Settings, str]) -> None:
    settings, uid = case
    entries = {e["what"]: e for e in client.get("/api/volumes", params={"uid": uid}).json()}
    assert list(entries) == ["ct", "lesion_free", "difference", "host", "mask"]
    whole = client.get("/api/volume", params={"uid": uid, "what": "ct"})
    ct = read(settings, uid, "case", "ct")
    assert (whole.headers["content-type"], whole.status_code) == ("application/gzip", 200)
    plain = client.get("/api/volume", params={"uid": uid, "what": "ct", "packed": False})
    unpacked = zlib.decompressobj(wbits=31)
    assert (unpacked.decompress(whole.content), unpacked.unused_data) == (plain.content, b""), "one gzip member"
    same = client.get(
        "/api/volume", params={"uid": uid, "what": "ct"}, headers={"If-None-Match": whole.headers["etag"]}
    )
    assert (same.status_code, same.content) == (304, b"")
    row = read_all(settings.output, "insertions").row(0, named=True)
    k = int(row["centre_k"])
    picture = client.get("/api/plane.png", params={"uid": uid, "what": "ct", "index": k})
    assert np.array_equal(pixels(picture.content), PROFILES["lung_axial"].picture(ct.array[..., k].T[::-1, ::-1]))
    of_itself = client.get("/api/plane.png", params={"uid": uid, "what": "ct", "mask": True})
    assert pixels(of_itself.content).ndim == 3, "at the nodule, in red"
    assert client.get("/api/plane.png", params={"uid": uid, "what": "ct", "index": 10**9}).status_code == 200
    other = client.get("/api/plane.png", params={"uid": uid, "what": "lesion_free", "index": k})
    assert not np.array_equal(pixels(other.content), pixels(picture.content))


@pytest.mark.parametrize(
    ("path", "values", "status"),
    [
        ("volume", {"uid": "../../etc/passwd", "what": "ct"}, 422),
        ("volume", {"uid": "no/such/case", "what": "ct"}, 404),
        ("volume", {"uid": "", "what": "../ct"}, 422),
        ("plane.png", {"uid": "", "what": "nothing"}, 404),
        ("plane.png", {"uid": "", "what": "ct", "axis": "oblique"}, 422),
        ("volume", {"uid": "", "what": "ct", "box": "1,2"}, 422),
        ("slice.png", {"slice_uid": "../../../secret"}, 422),
        ("slice.png", {"slice_uid": "0" * 32}, 404),
        ("slice.png", {"slice_uid": "0" * 32, "condition": "..%2Fplain"}, 422),
        ("marks", {"uid": "no/such/case"}, 404),
    ],
)
def test_paths_and_unknown_names_are_refused(
    client: TestClient, case: tuple[Settings, str], path: str, values: dict[str, str], status: int
) -> None:
    values = values | {"uid": values["uid"] or case[1]} if "uid" in values else values
    answer = client.get(f"/api/{path}", params=values)
    assert answer.status_code == status, answer.text
    assert str(case[0].output) not in answer.text


def test_marks_lie_on_the_image_that_was_read(tmp_path: Path, case: tuple[Settings, str]) -> None:
    settings, uid = case
    images = read_all(settings.output, "cts").select("is_lesion_free", "image_uid").rows()
    for is_free, image in images:
        mark = {"image_uid": image, "source": "tissue", "reader": "r", "reader_revision": "1", "mark": 0, **PAIR}
        where = {"world_x": 1.0, "world_y": 2.0, "world_z": 3.0, "diameter_mm": 4.0, "score": 7.0 + is_free}
        rows = read_all(settings.output, "detections").to_dicts()
        write_table(settings.output, "detections", [*rows, mark | where], source="tissue", reader="r", **PAIR)
    found = marks_of(settings, uid, "case")
    assert [(m.what, m.score) for m in found.marks] == [("ct", 7.0), ("lesion_free", 8.0)]
    assert (found.readers, marks_of(settings, uid, "case", "other").marks) == (["r"], [])
    (place,) = found.places
    row = read_all(settings.output, "insertions").row(0, named=True)
    assert (place.x, place.y, place.z, place.present) == (row["world_x"], row["world_y"], row["world_z"], True)
