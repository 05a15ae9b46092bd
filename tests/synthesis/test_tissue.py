"""The renderer: the same everywhere but in the lesion, inside published limits, and repeatable."""

import numpy as np
import pytest
from scipy import ndimage

from itrialspace_assets.demo.phantom import draw_anatomy, draw_body
from itrialspace_assets.imaging.geometry import Volume, place_of
from itrialspace_assets.imaging.lesions import Lesion, lesion_box
from itrialspace_assets.records.tables import ATTENUATIONS
from itrialspace_assets.synthesis import tissue
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition
from itrialspace_assets.synthesis.attenuation import LUNG_BACK_HU, LUNG_FRONT_HU, NODULES
from itrialspace_assets.synthesis.tissue import core_voxels, render_host, render_patch
from itrialspace_assets.trials.model import Cohort

from ..insertion.shapes import ball

#: Medians of a structure must lie here: statistics published with MAISI (docs/facts/synthesis.md#hu-bands), HU.
LIMITS = {
    "liver": ((1,), -21.6, 162.0),
    "spleen": ((3,), -43.13, 184.08),
    "kidney": ((5, 14), -130.56, 267.28),
    "lung": ((28, 29, 30, 31, 32), -1088.56, -366.95),
    "bone": (tuple(range(38, 50)), 71.4, 1000.0),
}


@pytest.fixture(scope="module")
def chest() -> Volume:
    rng = np.random.default_rng(3)
    return draw_anatomy(draw_body(rng), rng, np.array([2.8, 2.8, 3.6]))


def lesion(chest: Volume) -> Lesion:
    at = np.argwhere(chest.array == 30)
    middle = at[len(at) // 2]
    return Lesion(tuple(int(v) for v in middle - 2), np.ones((4, 4, 3), bool))


ANATOMY, NOISE = np.random.SeedSequence(1), np.random.SeedSequence(2)


def test_structures_lie_within_published_limits(chest: Volume) -> None:
    ct = render_host(chest, ANATOMY, NOISE)
    for name, (labels, low, high) in LIMITS.items():
        median = float(np.median(ct.array[np.isin(chest.array, labels)]))
        assert low <= median <= high, name
    assert (ct.array[chest.array == 0] == -1000).all()
    assert ct.array.dtype == np.int16


def test_the_same_seeds_give_the_same_image_and_others_do_not(chest: Volume) -> None:
    first = render_host(chest, ANATOMY, NOISE).array
    assert (render_host(chest, ANATOMY, NOISE).array == first).all()
    assert (render_host(chest, ANATOMY, np.random.SeedSequence(3)).array != first).any()
    assert (render_host(chest, np.random.SeedSequence(3), NOISE).array != first).any()


def test_another_scan_shows_the_same_anatomy(chest: Volume) -> None:
    """Two noisy scans of a host agree in its vessels and texture; two hosts do not."""
    fine = ScanAcquisition(dose=50)
    lung = ndimage.binary_erosion(np.isin(chest.array, (28, 29, 30, 31, 32)), iterations=3)
    one, other = (
        render_host(chest, ANATOMY, np.random.SeedSequence(s), fine).array[lung].astype(float) for s in (2, 3)
    )
    stranger = render_host(chest, np.random.SeedSequence(9), NOISE, fine).array[lung].astype(float)
    assert np.corrcoef(one, other)[0, 1] > 0.95
    assert np.corrcoef(one, stranger)[0, 1] < 0.5


def test_slabs_do_not_show(chest: Volume, monkeypatch: pytest.MonkeyPatch) -> None:
    for how in (STANDARD, ScanAcquisition(slice_mm=11.0)):
        whole = render_host(chest, ANATOMY, NOISE, how).array
        monkeypatch.setattr(tissue, "SLAB", 7)
        np.testing.assert_array_equal(render_host(chest, ANATOMY, NOISE, how).array, whole)
        monkeypatch.undo()


@pytest.mark.parametrize("how", [STANDARD, ScanAcquisition(0.15, slice_mm=10.0)])
def test_a_lesion_changes_its_own_box_and_is_denser(chest: Volume, how: ScanAcquisition) -> None:
    put = lesion(chest)
    twin = render_host(chest, ANATOMY, NOISE, how)
    patch = render_patch(twin, chest, [put], NOISE, np.random.SeedSequence(9), how)
    box = place_of(patch, twin)
    assert box == lesion_box([put], twin.array.shape, how.reach(chest.spacing))
    changed = np.argwhere(patch.array != twin.array[box]) + [s.start for s in box]
    reach = np.array(how.reach(chest.spacing))
    inside = np.all(
        (changed >= np.array(put.offset) - reach) & (changed < np.array(put.offset) + put.mask.shape + reach), axis=1
    )
    assert inside.all() and len(changed)
    hu = patch.array[tuple((put.indices - [s.start for s in box]).T)]
    assert hu.mean() > twin.array[put.box][put.mask].mean() + 100
    np.testing.assert_allclose(patch.to_world([0, 0, 0]), twin.to_world([s.start for s in box]))


def test_the_back_of_the_lung_is_denser_than_the_front() -> None:
    """Along y alone, and by what the table says; x and z have no gradient."""
    labels = np.zeros((44, 60, 30), np.uint8)
    labels[2:42, 2:58, 2:28] = 30
    box = Volume(np.asfortranarray(labels), np.diag([2, 2.5, 3, 1.0]))
    cts = [render_host(box, np.random.SeedSequence(s), NOISE, ScanAcquisition(dose=50)).array for s in range(12)]
    middle = np.mean(cts, axis=0)[6:38, 6:54, 6:24]
    back, front = (np.median(part) for part in (middle[:, :6], middle[:, -6:]))
    assert back - front == pytest.approx((LUNG_BACK_HU - LUNG_FRONT_HU) * 42 / 55, abs=12)
    for axis in (0, 2):
        low, high = (np.median(np.take(middle, np.arange(*r), axis=axis)) for r in ((0, 6), (-6, 0)))
        assert abs(low - high) < 12


@pytest.mark.parametrize(("pixel", "ring"), [(0.5, 3), (1.5, 1), (3.0, 1)])
def test_an_airway_has_a_wall_of_its_thickness(pixel: float, ring: int) -> None:
    """1.5 mm of soft tissue around the lumen, in lung only; on coarse grids thinned to its share of a voxel."""
    labels = np.full((41, 45, 12), 30, np.uint8)
    labels[18:23, 20:25] = 132
    labels[:4] = 6
    part = tissue._Tissue.of(Volume(np.asfortranarray(labels), np.diag([pixel, pixel, 1.0, 1.0])), ANATOMY).slab(0, 12)
    line = np.median(part[:, 22, :], axis=0)  # across the lumen, along x
    assert (line[18:23] == -1000).all()
    share = 1.5 / pixel / ring if pixel > 1.5 else 1.0
    expected = -880 + share * (40 + 880)
    for at in (17, 23):
        assert line[at] == pytest.approx(expected, abs=90)
    assert line[17 - ring] < -500 and line[22 + ring + 1] < -500
    assert line[2] > 0, "the aorta stays"


def test_the_renderer_is_marked() -> None:
    assert "procedural" in tissue.TRAINED_ON


@pytest.fixture(scope="module")
def lung() -> Volume:
    """One lobe with a body around and a vein along z, 1.0 x 1.2 x 1.5 mm."""
    labels = np.full((70, 60, 50), 200, np.uint8)
    labels[4:66, 5:55, 3:47] = 30
    labels[25:30, 25:31, 3:47] = 119
    return Volume(np.asfortranarray(labels), np.diag([1.0, 1.2, 1.5, 1.0]))


def dense(lung: Volume, attenuation: str) -> tuple[np.ndarray, np.ndarray, Lesion]:
    """HU of a ball of 20 mm, of the same voxels without it, and the ball."""
    put = Lesion((22, 18, 14), ball(10, (1.0, 1.2, 1.5)))
    twin = render_host(lung, np.random.SeedSequence(3), np.random.SeedSequence(4))
    patch = render_patch(
        twin, lung, [put], np.random.SeedSequence(4), np.random.SeedSequence(9), nodule=NODULES[attenuation]
    )
    first = [s.start for s in place_of(patch, twin)]
    return patch.array[tuple((put.indices - first).T)], twin.array[put.box][put.mask], put


def test_ground_glass_is_hazy_and_hides_no_vessel(lung: Volume) -> None:
    """Ground glass: mean from -675 to -562 HU (Wang 2018), most voxels below -400 (Lee 2018); vessels stay."""
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
