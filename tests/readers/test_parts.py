"""What is computed in a part of an image, or with the help of its like, equals what the whole image gives."""

import numpy as np
import pytest
from scipy import ndimage

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.readers import blob, blob_scan
from itrialspace_assets.readers.blob_scan import read_scan
from itrialspace_assets.readers.drawing import fill_drawing
from itrialspace_assets.readers.filters import gaussian_in
from itrialspace_assets.readers.lungs import fill_planes
from itrialspace_assets.readers.resample import coarse_grid, coarsen
from itrialspace_assets.slices.guidance import draw
from tests.readers.test_blob import slice_with


@pytest.fixture(autouse=True)
def _nothing_remembered() -> None:
    blob._LAST.clear()
    blob_scan._LAST.clear()


def chest(spacing: tuple[float, float, float] = (2.0, 2.0, 2.2), seed: int = 0) -> Volume:
    """A noisy body with two lungs and vessels in it, whole HU."""
    rng = np.random.default_rng(seed)
    shape = tuple(int(n / s) for n, s in zip((230, 180, 180), spacing, strict=True))
    x, y, z = (g * s for g, s in zip(np.ogrid[tuple(slice(0, n) for n in shape)], spacing, strict=True))
    array = np.full(shape, -1000, np.int16, order="F")
    array[((x - 115) / 105) ** 2 + ((y - 90) / 80) ** 2 + 0 * z <= 1] = 40
    for middle in (65, 165):
        array[((x - middle) / 38) ** 2 + ((y - 90) / 55) ** 2 + ((z - 90) / 75) ** 2 <= 1] = -860
    for middle in rng.uniform((40, 60, 40), (190, 120, 140), (25, 3)):
        array[sum((g - m) ** 2 for g, m in zip((x, y, z), middle, strict=True)) <= rng.uniform(2, 4) ** 2] = 0
    array += rng.normal(0, 25, shape).astype(np.int16)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-115, -90, 20]
    return Volume(array, affine)


def with_lesions(ct: Volume, *lesions: tuple[float, float, float, float]) -> Volume:
    """The scan with a ball (middle and radius in mm from its corner) for each lesion."""
    array = ct.array.copy(order="F")
    grid = [g * s for g, s in zip(np.ogrid[tuple(slice(0, n) for n in array.shape)], ct.spacing, strict=True)]
    for *middle, radius in lesions:
        array[sum((g - m) ** 2 for g, m in zip(grid, middle, strict=True)) <= radius**2] = 60
    return Volume(array, ct.affine)


COARSE, FINE = (2.9, 2.9, 3.1), (1.7, 1.7, 2.1)


@pytest.mark.parametrize(
    ("lesions", "spacing"),
    [
        ([], COARSE),
        ([(65, 90, 90, 6)], COARSE),
        ([(165, 100, 60, 14)], COARSE),
        ([(65, 90, 90, 5), (165, 80, 110, 9)], COARSE),
        ([(65, 90, 90, 5), (165, 80, 110, 9)], FINE),
        ([(65, 70, 70, 4), (65, 112, 115, 4)], COARSE),  # apart, but not in what they change
        ([(65, 36, 90, 7)], COARSE),  # on the pleura
        ([(65, 36, 90, 7)], FINE),
        ([(65, 90, 17, 8)], COARSE),  # at the lung's end
        ([(115, 90, 5, 30)], COARSE),  # moves the lungs' box, perhaps
        ([(115, 90, 5, 30)], FINE),
    ],
)
def test_marks_beside_a_like_are_those_of_the_whole_scan(
    lesions: list[tuple[float, float, float, float]], spacing: tuple[float, float, float]
) -> None:
    free = chest(spacing)
    image = with_lesions(free, *lesions)
    alone = read_scan(image, 40)
    assert read_scan(image, 40, free) == alone
    assert len(alone) > 5
    assert read_scan(free, 40, free) == read_scan(free, 40)
    base = blob_scan._LAST[0]
    beside, whole = blob_scan._peaks_beside(base, image), blob_scan._filter(image, base.box).peaks
    order = np.lexsort(beside.at.T[::-1])  # every peak, in lung or not, however weak
    np.testing.assert_array_equal(beside.at[order], whole.at)
    np.testing.assert_array_equal(beside.scale[order], whole.scale)
    np.testing.assert_array_equal(beside.score[order], whole.score)


@pytest.mark.slow
def test_marks_beside_a_like_of_fine_voxels_are_those_of_the_whole_scan() -> None:
    free = chest((0.8, 0.8, 1.2))  # blocks of 3 x 3 x 2 voxels
    image = with_lesions(free, (65, 90, 90, 6))
    assert read_scan(image, 40, free) == read_scan(image, 40) != read_scan(free, 40, free)


def test_only_what_differs_from_the_like_is_filtered(monkeypatch: pytest.MonkeyPatch) -> None:
    free = chest()
    read_scan(free, 10, free)
    filtered: list[int] = []
    real = gaussian_in

    def counted(image, sigma, box):  # type: ignore[no-untyped-def]
        filtered.append(int(np.prod([s.stop - s.start for s in box])))
        return real(image, sigma, box)

    monkeypatch.setattr(blob_scan, "gaussian_in", counted)
    read_scan(with_lesions(free, (65, 90, 90, 6)), 10, free)
    beside, filtered[:] = sum(filtered), []
    read_scan(with_lesions(free, (65, 90, 90, 6)), 10)
    assert 0 < beside < sum(filtered) / 10


@pytest.mark.parametrize("change", ["shift", "type", "everywhere"])
def test_a_like_that_would_not_do_changes_no_mark(change: str) -> None:
    free = chest()
    like = {
        "shift": Volume(free.array, free.affine + np.pad([[5.0]], ((0, 3), (3, 0)))),
        "type": Volume(free.array.astype(np.float32), free.affine),
        "everywhere": chest(seed=1),
    }[change]
    image = with_lesions(free, (65, 90, 90, 6))
    assert read_scan(image, 20, like) == read_scan(image, 20)


@pytest.mark.parametrize("condition", ["bbox", "contour", "bbox_contour", "plain"])
@pytest.mark.parametrize("at", [(70, 60), (30, 70), (80, 25), (0, 139)])
def test_a_slice_after_another_of_its_plane_gets_the_answer_it_gets_alone(condition: str, at: tuple[int, int]) -> None:
    rng = np.random.default_rng(5)
    grey, mask = slice_with(5, at)
    grey = np.clip(grey + rng.normal(0, 6, grey.shape), 0, 255).astype(np.uint8)
    image = draw(grey, mask, condition)
    alone = [r.copy() for r in _all_scales(image)]
    blob._LAST.clear()
    blob.read_slice(draw(grey, mask, "bbox"), (1.0, 1.3))
    before = blob._LAST[0]
    after = _all_scales(image)
    assert blob._LAST[0] is before, "the plane was filtered once"
    for a, b in zip(alone, after, strict=True):
        np.testing.assert_array_equal(a, b)


def _all_scales(image: np.ndarray) -> list[np.ndarray]:
    """Roundness where the lung is, at each scale."""
    grey = fill_drawing(image)
    region = blob.lung_region(blob._IS_DARK[grey])
    window = blob.bounds(region)
    assert window is not None
    return [r[region] for r in blob._roundness(blob._SEEN_HU[grey], (1.0, 1.3), window)]


def test_the_gaussian_of_a_part_is_the_part_of_the_gaussian() -> None:
    image = np.random.default_rng(0).normal(-500, 300, (31, 40, 27)).astype(np.float32)
    sigma = np.array([1.7, 0.8, 3.2])
    want = ndimage.gaussian_filter(image, sigma, truncate=3.0, mode="nearest")
    for box in [np.s_[0:31, 0:40, 0:27], np.s_[0:4, 10:12, 20:27], np.s_[12:19, 0:40, 13:14]]:
        np.testing.assert_array_equal(gaussian_in(image, sigma, box), want[box])


@pytest.mark.parametrize("spacing", [(1.36, 1.36, 1.75), (0.7, 0.7, 1.25), (2.8, 2.8, 3.6), (0.62, 0.62, 5.0)])
def test_the_coarse_grid_is_scipys_and_a_part_of_it_is_the_same(spacing: tuple[float, float, float]) -> None:
    image = np.asfortranarray(np.random.default_rng(1).integers(-1024, 900, (83, 71, 46)).astype(np.int16))
    grid = coarse_grid(image.shape, np.array(spacing))
    x, y, z = (int(s) for s in grid.step)
    cut = image[: grid.blocks[0] * x, : grid.blocks[1] * y, : grid.blocks[2] * z].astype(np.float32)
    blocks = cut.reshape(grid.blocks[0], x, grid.blocks[1], y, grid.blocks[2], z).mean(axis=(1, 3, 5))
    zoom = np.minimum(1.0, np.array(spacing) * grid.step / 2.5)
    want = ndimage.zoom(blocks, zoom, order=1, mode="nearest", grid_mode=True)
    whole = coarsen(image, grid)
    np.testing.assert_array_equal(whole, want)
    changed = image.copy(order="F")
    changed[20:26, 60:71, 3:9] += 100
    box = grid.touched(np.s_[20:26, 60:71, 3:9])
    assert box is not None
    np.testing.assert_array_equal(coarsen(changed, grid, box), coarsen(changed, grid)[box])
    elsewhere = coarsen(changed, grid)
    elsewhere[box] = whole[box]
    np.testing.assert_array_equal(elsewhere, whole)


def test_holes_are_filled_as_scipy_fills_them() -> None:
    mask = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=(60, 50, 9)), (2, 2, 0)) > 0.05
    want = np.stack([ndimage.binary_fill_holes(mask[..., k]) for k in range(9)], axis=2)
    assert (want != mask).any()
    np.testing.assert_array_equal(fill_planes(mask), want)
    np.testing.assert_array_equal(fill_planes(mask[..., 4]), want[..., 4])


def test_a_drawing_is_filled_from_the_nearest_grey_of_the_whole_slice() -> None:
    rng = np.random.default_rng(3)
    for _ in range(30):
        grey = rng.integers(0, 255, (48, 60), dtype=np.uint8)
        mask = np.zeros(grey.shape, bool)
        row, column, size = rng.integers(0, 44), rng.integers(0, 56), rng.integers(1, 9)
        mask[row : row + size, column : column + size] = True
        image = draw(grey, mask, ("bbox", "contour", "bbox_contour")[rng.integers(3)])
        if rng.random() < 0.3:
            image[5:40, 10:50] = (0, 255, 0)  # wider than a drawing's lines
        drawn = np.ptp(image, axis=2) > 0
        nearest = ndimage.distance_transform_edt(drawn, return_distances=False, return_indices=True)
        want = np.where(drawn, image[..., 0][tuple(nearest)], image[..., 0])
        np.testing.assert_array_equal(fill_drawing(image), want)
