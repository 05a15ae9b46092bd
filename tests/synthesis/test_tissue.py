"""The renderer: the same everywhere but in the lesion, inside published limits, and repeatable."""

import numpy as np
import pytest

from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.geometry import Volume
from itrialspace_assets.synthesis import tissue
from itrialspace_assets.synthesis.tissue import (
    NODULES,
    STANDARD,
    core_voxels,
    noise_slices,
    patch_box,
    render_host,
    render_patch,
)
from itrialspace_assets.tables import ATTENUATIONS
from itrialspace_assets.trials.model import Cohort
from itrialspace_assets.volumes import Lesion

from ..insertion.shapes import ball

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


@pytest.fixture(scope="module")
def lung() -> Volume:
    """One lobe with a body around and a vein along z, 1.0 x 1.2 x 1.5 mm."""
    labels = np.full((70, 60, 50), 200, np.uint8)
    labels[4:66, 5:55, 3:47] = 30
    labels[26:29, 26:30, 3:47] = 119
    return Volume(np.asfortranarray(labels), np.diag([1.0, 1.2, 1.5, 1.0]))


def dense(lung: Volume, attenuation: str) -> tuple[np.ndarray, np.ndarray, Lesion]:
    """HU of a ball of 20 mm, of the same voxels without it, and the ball."""
    put = Lesion((22, 18, 14), ball(10, (1.0, 1.2, 1.5)))
    seed = np.random.SeedSequence(4)
    twin = render_host(lung, seed)
    patch = render_patch(twin, lung, [put], seed, np.random.SeedSequence(9), nodule=NODULES[attenuation])
    first = [s.start for s in patch_box([put], twin.array.shape)]
    return patch.array[tuple((put.indices - first).T)], twin.array[put.box][put.mask], put


def test_ground_glass_is_hazy_and_hides_no_vessel(lung: Volume) -> None:
    """Mean of the ground-glass part between -675 and -562 HU (Wang 2018), most voxels below -400 (Lee 2018); vessels stay."""
    hu, before, _ = dense(lung, "ground_glass")
    assert -675 < np.median(hu) < -562
    assert (hu < -400).mean() > 0.8
    assert (hu >= before - 1).all(), "nothing becomes less dense"
    vessels = before > -100
    assert vessels.sum() > 50
    assert np.abs(hu[vessels] - before[vessels]).mean() < 60


def test_a_part_solid_nodule_has_a_solid_core_of_half_its_diameter(lung: Volume) -> None:
    """Core above -160 HU, what surrounds it below -400 HU (thresholds of Lee 2018)."""
    hu, _, put = dense(lung, "part_solid")
    core = {tuple(v) for v in core_voxels(put, lung.spacing)}
    assert len(core) == pytest.approx(len(hu) / 8, abs=1)
    far = np.linalg.norm((put.indices - put.centroid) * lung.spacing, axis=1)
    assert max(np.linalg.norm((np.array(v) - put.centroid) * lung.spacing) for v in core) < 7
    assert np.median(hu[far < 4]) > -160
    assert np.median(hu[far > 7]) < -400
    solid, _, _ = dense(lung, "solid")
    assert np.median(solid) > 0


def test_a_speck_has_a_core_of_one_voxel() -> None:
    speck = Lesion((3, 4, 5), np.ones((1, 1, 2), bool))
    assert len(core_voxels(speck, np.array([1.0, 1.0, 2.0]))) == 1


def test_trials_tables_and_renderer_name_the_same_attenuations() -> None:
    assert set(NODULES) == set(ATTENUATIONS) == set(Cohort.model_fields["attenuation"].annotation.__args__)  # type: ignore[union-attr]
