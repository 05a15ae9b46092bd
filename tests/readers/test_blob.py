"""The blob reader sees spots in lung, not drawings, lines or what lies outside."""

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import load_settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers import blob
from itrialspace_assets.readers.blob_scan import read_scan
from itrialspace_assets.readers.registry import readers
from itrialspace_assets.slices.guidance import draw


def slice_with(radius: int = 0, at: tuple[int, int] = (70, 60)) -> tuple[np.ndarray, np.ndarray]:
    """A grey body with a dark lung, and a bright disc in it; (image, mask of the disc)."""
    rows, columns = np.ogrid[:160, :140]
    image = np.full((160, 140), 225, np.uint8)
    image[(rows - 80) ** 2 / 60**2 + (columns - 70) ** 2 / 50**2 <= 1] = 85
    disc = (rows - at[0]) ** 2 + (columns - at[1]) ** 2 <= radius**2 if radius else np.zeros(image.shape, bool)
    image[disc] = 235
    return image, disc


def test_a_disc_is_found_and_measured() -> None:
    empty = blob.read_slice(slice_with()[0], (1, 1))
    for radius in (4, 7, 11):
        seen = blob.read_slice(slice_with(radius)[0], (1, 1))
        assert seen.score > 400 > empty.score
        assert 0.5 < seen.diameter_mm / (2 * radius) < 1.6


def test_a_line_scores_less_than_a_disc() -> None:
    image, _ = slice_with()
    image[60:64, 30:110] = 235
    assert blob.read_slice(image, (1, 1)).score < 0.6 * blob.read_slice(slice_with(6)[0], (1, 1)).score


@pytest.mark.parametrize("condition", ["bbox", "contour", "bbox_contour"])
def test_a_drawing_around_nothing_is_not_seen(condition: str) -> None:
    plain, _ = slice_with()
    _, where = slice_with(8)
    drawn = draw(plain, where, condition)
    assert blob.read_slice(drawn, (1, 1)).score == pytest.approx(blob.read_slice(plain, (1, 1)).score, abs=30)


def test_a_slice_without_lung_scores_nothing() -> None:
    assert blob.read_slice(np.full((50, 50), 230, np.uint8), (1, 1)).score == 0


def test_a_ball_in_a_scan_is_the_first_mark_in_world_coordinates() -> None:
    array = np.full((90, 80, 60), 40, np.int16)
    array[:4] = array[-4:] = -1000
    x, y, z = np.ogrid[:90, :80, :60]
    array[((x - 45) / 32) ** 2 + ((y - 40) / 28) ** 2 + ((z - 30) / 24) ** 2 <= 1] = -850
    array[((x - 55) * 1.5) ** 2 + ((y - 33) * 1.5) ** 2 + ((z - 26) * 2.0) ** 2 <= 8**2] = 40
    affine = np.diag([1.5, 1.5, 2.0, 1.0])
    affine[:3, 3] = [-60, 10, 100]
    ct = Volume(array, affine)
    first, *_ = read_scan(ct, 5)
    assert np.linalg.norm(np.array(first.world) - ct.to_world([55, 33, 26])) < 3
    assert 8 < first.diameter_mm < 26


def test_reader_entries(tmp_path) -> None:  # type: ignore[no-untyped-def]
    own = tmp_path / "readers.yaml"
    own.write_text("readers: {blob: {enabled: false}, blob_low: {kind: blob, options: {threshold_hu: 200, marks: 3}}}")
    found = readers(load_settings(readers_config=own))
    assert list(found) == ["blob_low"]
    assert found["blob_low"].revision != readers(load_settings())["blob"].revision
    bad = tmp_path / "bad.yaml"
    bad.write_text("readers: {clip: {kind: klip}}")
    with pytest.raises(ConfigError, match=r"readers\.clip: kind"):
        readers(load_settings(readers_config=bad))
