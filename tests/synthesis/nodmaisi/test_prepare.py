"""Maps on legal grids: padded and cut back exactly, resampled only where needed, refused where none fits."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis.nodmaisi import render
from itrialspace_assets.synthesis.nodmaisi.prepare import Legal, bit_planes, legal_grid, prepare, restore

from .tiny import TINY, tiny_weights

SMALL = Legal((48, 64), (32, 48), 0.0)


def volume(shape: tuple[int, ...], spacing: tuple[float, float, float] = (1.0, 1.0, 2.0), seed: int = 0) -> Volume:
    labels = np.random.default_rng(seed).choice([0, 1, 23, 30, 200], size=shape).astype(np.uint8)
    affine = np.diag([*spacing, 1.0])
    affine[:3, 3] = [-11.0, 5.0, 7.0]
    return Volume(np.asfortranarray(labels), affine)


def test_the_condition_is_the_bits_of_the_label() -> None:
    """docs/facts/synthesis.md#conditioning: channel b is bit b, the lowest first.

    By hand: 23 = 10111b, 132 = 10000100b, 200 = 11001000b.
    """
    labels = np.zeros((2, 2, 1), np.uint8)
    labels[0, 1, 0], labels[1, 0, 0], labels[1, 1, 0] = 23, 132, 200
    planes = bit_planes(labels)
    assert planes.shape == (8, 2, 2, 1) and planes.dtype == np.uint8
    assert planes[:, 0, 0, 0].tolist() == [0, 0, 0, 0, 0, 0, 0, 0]
    assert planes[:, 0, 1, 0].tolist() == [1, 1, 1, 0, 1, 0, 0, 0]
    assert planes[:, 1, 0, 0].tolist() == [0, 0, 1, 0, 0, 0, 0, 1]
    assert planes[:, 1, 1, 0].tolist() == [0, 0, 0, 1, 0, 0, 1, 1]


@settings(deadline=None, max_examples=40)
@given(st.integers(1, 64), st.integers(1, 64), st.integers(1, 48))
def test_a_map_is_padded_to_a_legal_size_and_its_ct_cut_back(nx: int, ny: int, nz: int) -> None:
    host = volume((nx, ny, nz))
    made = prepare(host, SMALL)
    assert made.resampled is None
    assert made.labels.shape[0] == made.labels.shape[1] in SMALL.xy
    assert made.labels.shape[2] in SMALL.z
    np.testing.assert_array_equal(made.labels[made.inside], host.array)
    np.testing.assert_array_equal(made.spacing, host.spacing)
    ct = np.random.default_rng(1).normal(size=made.labels.shape).astype(np.float32)
    np.testing.assert_array_equal(restore(ct, made, host), ct[made.inside])


def test_slices_are_continued_and_air_is_put_around() -> None:
    host = volume((47, 40, 29))
    made = prepare(host, SMALL)
    x, y, z = made.inside
    assert (z.start, z.stop) == (1, 30)
    np.testing.assert_array_equal(made.labels[x, y, 0], host.array[..., 0])
    np.testing.assert_array_equal(made.labels[x, y, 31], host.array[..., -1])
    assert not made.labels[:, : y.start].any() and not made.labels[:, y.stop :].any()


def test_a_small_field_of_view_is_widened_with_air() -> None:
    """256 mm at least (docs/facts/synthesis.md#grid): 300 voxels of 0.5 mm take the size of 512."""
    host = Volume(np.ones((300, 300, 100), np.uint8), np.diag([0.5, 0.5, 1.0, 1.0]))
    assert prepare(host, Legal()).labels.shape == (512, 512, 128)
    assert prepare(Volume(host.array, np.diag([1.0, 1.0, 1.0, 1.0])), Legal()).labels.shape == (384, 384, 128)


@pytest.mark.parametrize(
    "shape, spacing",
    [
        ((70, 60, 30), (1.0, 1.0, 2.0)),
        ((30, 30, 20), (4.0, 4.0, 2.0)),
        ((40, 30, 20), (1.0, 1.5, 2.0)),
        ((30, 30, 20), (1.0, 1.0, 7.0)),
    ],
)
def test_what_no_legal_grid_holds_is_sampled_anew_about_the_same_middle(
    shape: tuple[int, int, int], spacing: tuple[float, float, float]
) -> None:
    """A ramp comes back where it was: no shift of half a voxel, no flip."""
    labels = np.ones(shape, np.uint8)
    labels[: shape[0] // 2, :, : shape[2] // 3] = 30
    host = Volume(np.asfortranarray(labels), np.diag([*spacing, 1.0]))
    made = prepare(host, SMALL)
    assert made.resampled is not None
    assert made.labels.shape[0] == made.labels.shape[1] in SMALL.xy
    assert made.spacing[0] == made.spacing[1] and 0.5 <= made.spacing[0] <= 3.0 and made.spacing[2] <= 5.0
    at = [np.arange(n) for n in made.labels.shape]
    world = [
        (a - s.start - (s.stop - s.start - 1) / 2) * d for a, s, d in zip(at, made.inside, made.spacing, strict=True)
    ]
    ramp = (2 * world[0][:, None, None] - world[1][:, None] + 3 * world[2]).astype(np.float32)
    own = [(np.arange(n) - (n - 1) / 2) * d for n, d in zip(shape, spacing, strict=True)]
    wanted = 2 * own[0][:, None, None] - own[1][:, None] + 3 * own[2]
    inner = tuple(slice(4, -4) for _ in range(3))
    np.testing.assert_allclose(restore(ramp, made, host)[inner], wanted[inner], atol=1e-2)


def test_the_estimate_counts_what_is_padded(tmp_path: Path) -> None:
    """512 x 512 x 130 voxels are computed as 256 slices; what no legal size holds takes nothing."""
    settings = tiny_weights(tmp_path)
    (tmp_path / "nodmaisi.architecture.json").unlink()
    assert legal_grid((512, 512, 130), np.array([0.7, 0.7, 1.25]), Legal())[2] == (512, 512, 256)
    tiny = TINY.legal
    assert legal_grid((40, 36, 30), np.array([1.75, 1.75, 2.5]), tiny)[2] == (48, 48, 32)
    tiny_weights(tmp_path)
    one, more = (render.seconds_per_image(settings, (40, 36, nz), np.array([1.75, 1.75, 2.5])) for nz in (30, 33))
    assert more / one == pytest.approx(48 / 32)
    assert render.seconds_per_image(settings, (900, 900, 10), np.array([3.0, 3.0, 2.0])) == 0


def test_a_lesion_that_sampling_would_change_is_rejected() -> None:
    labels = np.ones((190, 190, 30), np.uint8)
    labels[50, 50, 10] = 23
    with pytest.raises(CaseRejected, match=r"lesions have .* instead of 2 mm3") as refused:
        prepare(Volume(labels, np.diag([1.0, 1.0, 2.0, 1.0])), SMALL)
    assert refused.value.reason is Reason.GRID_MISMATCH


def test_a_field_of_view_that_no_legal_grid_holds_is_rejected() -> None:
    """64 voxels of at most 3 mm hold 192 mm."""
    with pytest.raises(CaseRejected, match="expected at most 64 x 64 x 48 voxels"):
        prepare(Volume(np.ones((100, 100, 10), np.uint8), np.diag([3.0, 3.0, 2.0, 1.0])), SMALL)
