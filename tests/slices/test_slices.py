"""Windows, orientation and guidance against the published numbers."""

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.imaging.pictures import axial, png
from itrialspace_assets.slices.guidance import GREEN, RED, draw
from itrialspace_assets.slices.windows import profile


def test_the_lung_window_truncates() -> None:
    assert profile("lung_axial").grey(np.array([[-1350, -600, 150, -5000, 3000]])).tolist() == [[0, 127, 255, 0, 255]]
    with pytest.raises(ConfigError, match="lung_axial"):
        profile("brain")


def test_front_is_on_top_and_the_patients_right_on_the_left() -> None:
    plane = np.zeros((5, 7))  # x grows to the patient's right... of the array: RAS
    plane[4, 6] = 1  # right-most and front-most
    assert axial(plane)[0, 0] == 1
    assert axial(plane).shape == (7, 5)


def test_the_box_stands_where_published() -> None:
    mask = np.zeros((160, 260), bool)
    mask[100:105, 200:210] = True
    image = draw(np.zeros((160, 260), np.uint8), mask, "bbox")
    drawn = np.argwhere((image == GREEN).all(axis=2))
    assert drawn.min(axis=0).tolist() == [96, 196]
    assert drawn.max(axis=0).tolist() == [108, 213]
    assert (image[97:108, [197, 212]] == GREEN).all()
    assert not (image[98:107, 198:212] == GREEN).all(axis=2).any(), "nothing is drawn over the nodule"


@pytest.mark.parametrize("condition", ["bbox", "contour", "bbox_contour"])
def test_guidance_never_covers_the_nodule(condition: str) -> None:
    rng = np.random.default_rng(1)
    grey = rng.integers(0, 255, (60, 50), dtype=np.uint8)
    mask = np.zeros((60, 50), bool)
    mask[20:24, 30:33] = True
    image = draw(grey, mask, condition)
    assert (image[mask] == grey[mask][:, None]).all()
    assert (image != grey[..., None]).any()
    if "contour" in condition:
        assert (image == RED).all(axis=2).any()


def test_guidance_at_the_edge_stays_inside_and_plain_is_untouched() -> None:
    grey = np.zeros((10, 12), np.uint8)
    mask = np.zeros((10, 12), bool)
    mask[0, 11] = True
    assert draw(grey, mask, "bbox_contour").shape == (10, 12, 3)
    assert draw(grey, mask, "plain") is grey
    with pytest.raises(ValueError, match="empty mask"):
        draw(grey, np.zeros((10, 12), bool), "bbox")
    with pytest.raises(ValueError, match="expected one of"):
        draw(grey, mask, "circle")


def test_equal_pixels_give_equal_bytes() -> None:
    image = np.arange(120, dtype=np.uint8).reshape(10, 12)
    assert png(image) == png(image.copy())
