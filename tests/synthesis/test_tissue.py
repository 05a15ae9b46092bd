"""The renderer: the same everywhere but in the lesion, inside published limits, and repeatable."""

import numpy as np
import pytest

from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.geometry import Volume
from itrialspace_assets.synthesis import tissue
from itrialspace_assets.synthesis.tissue import STANDARD, noise_slices, patch_box, render_host, render_patch
from itrialspace_assets.volumes import Lesion

#: Medians of a structure must lie here: statistics published with MAISI (spec 02, B8.1), HU.
LIMITS = {"liver": ((1,), -21.6, 162.0), "spleen": ((3,), -43.13, 184.08), "kidney": ((5, 14), -130.56, 267.28),
          "lung": ((28, 29, 30, 31, 32), -1088.56, -366.95), "bone": (tuple(range(38, 50)), 71.4, 1000.0)}  # fmt: skip


@pytest.fixture(scope="module")
def chest() -> Volume:
    rng = np.random.default_rng(3)
    return draw_anatomy(draw_body(rng), rng, np.array([2.8, 2.8, 3.6]))


def lesion(chest: Volume) -> Lesion:
    at = np.argwhere(chest.array == 30)
    middle = at[len(at) // 2]
    return Lesion(tuple(int(v) for v in middle - 2), np.ones((4, 4, 3), bool))


def test_structures_lie_within_published_limits(chest: Volume) -> None:
    ct = render_host(chest, np.random.SeedSequence(1))
    for name, (labels, low, high) in LIMITS.items():
        median = float(np.median(ct.array[np.isin(chest.array, labels)]))
        assert low <= median <= high, name
    assert (ct.array[chest.array == 0] == -1000).all()
    assert ct.array.dtype == np.int16


def test_the_same_seed_gives_the_same_image_and_another_does_not(chest: Volume) -> None:
    first = render_host(chest, np.random.SeedSequence(1)).array
    assert (render_host(chest, np.random.SeedSequence(1)).array == first).all()
    assert (render_host(chest, np.random.SeedSequence(2)).array != first).any()


def test_a_lesion_changes_its_own_box_and_is_denser(chest: Volume) -> None:
    seed, put = np.random.SeedSequence(1), lesion(chest)
    twin = render_host(chest, seed)
    patch = render_patch(twin, chest, [put], seed, np.random.SeedSequence(9))
    box = patch_box([put], twin.array.shape)
    assert patch.array.shape == twin.array[box].shape
    changed = np.argwhere(patch.array != twin.array[box]) + [s.start for s in box]
    inside = np.all(
        (changed >= np.array(put.offset) - 2) & (changed < np.array(put.offset) + put.mask.shape + 2), axis=1
    )
    assert inside.all()
    assert patch.array[tuple((put.indices - [s.start for s in box]).T)].mean() > -300
    np.testing.assert_allclose(patch.to_world([0, 0, 0]), twin.to_world([s.start for s in box]))


def test_any_part_of_the_noise_repeats() -> None:
    seed = np.random.SeedSequence(5)
    whole = noise_slices(seed, 0, 12, (30, 20), STANDARD)
    np.testing.assert_array_equal(noise_slices(seed, 4, 7, (30, 20), STANDARD), whole[..., 4:7])
    assert whole.std() == pytest.approx(STANDARD.noise_hu, rel=0.1)


def test_the_renderer_is_marked() -> None:
    assert "procedural" in tissue.TRAINED_ON
