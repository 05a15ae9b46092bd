"""Phantoms: what is asked of a scan (sharpness, slice thickness, dose) is measured in the rendered image.

Formulas are those of the publications named in ``acquisition``; measured by Fourier analysis, which shares nothing with
the code under test.
"""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from itrialspace_assets.imaging.anatomy import BODY
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.synthesis.acquisition import NOISE_HU, STANDARD, WATER_PER_MM, ScanAcquisition, water_diameter
from itrialspace_assets.synthesis.attenuation import MEAN_HU
from itrialspace_assets.synthesis.tissue import render_host

SEEDS = np.random.SeedSequence(1), np.random.SeedSequence(2)


def cylinder(radius_mm: float, spacing: tuple[float, float, float] = (1.0, 1.25, 2.0), nz: int = 24) -> Volume:
    """A body of one tissue with a round cross section in air."""
    half = [int(radius_mm / s) + 4 for s in spacing[:2]]
    x, y = (np.arange(-h, h + 1) * s for h, s in zip(half, spacing, strict=False))
    inside = x[:, None] ** 2 + y[None, :] ** 2 <= radius_mm**2
    labels = np.repeat(np.where(inside, 1, 0)[..., None], nz, axis=2).astype(np.uint8)  # liver: even texture
    return Volume(np.asfortranarray(labels), np.diag([*spacing, 1.0]))


def spectrum(noise: np.ndarray, dx: float, dy: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Mean power of slices (Z, Y, X) with the frequency (1/mm) of each wave along y and x."""
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=0) * dx * dy / (noise.shape[1] * noise.shape[2])
    fy, fx = np.fft.fftfreq(noise.shape[1], dy), np.fft.fftfreq(noise.shape[2], dx)
    return power, *np.meshgrid(fy, fx, indexing="ij")


def mtf50_of(edge: np.ndarray, pitch: float) -> float:
    """Frequency (1/mm) at which the transform of an edge's slope is one half."""
    spread = np.diff(edge)
    f = np.linspace(0.01, 0.5 / pitch, 4000)
    mtf = np.abs(np.exp(-2j * np.pi * f[:, None] * (np.arange(len(spread)) * pitch)) @ spread) / spread.sum()
    return float(f[np.argmin(np.abs(mtf - 0.5))])


def edges(how: ScanAcquisition, spacing: tuple[float, float, float]) -> tuple[float, float]:
    """MTF50 along x and along y of a step in an image with voxels of ``spacing``."""
    along_x, along_y = (np.zeros((3, 200, 240), np.float32) for _ in range(2))
    along_x[:, :, 120:] = along_y[:, 100:, :] = 1000
    x, y = (how.blur(a, np.array(spacing)) for a in (along_x, along_y))
    return mtf50_of(x[1, 100], spacing[0]), mtf50_of(y[1, :, 120], spacing[1])


@pytest.mark.parametrize("spacing", [(0.3, 0.24, 1.0), (0.703, 0.703, 1.25), (0.9, 0.9, 2.0)])
@pytest.mark.parametrize("mtf50", [0.2, 0.3, 0.4, 0.7, 2.0])
def test_an_edge_is_as_sharp_as_asked_or_as_its_pixels_show(mtf50: float, spacing: tuple[float, float, float]) -> None:
    """Also on the pixels of ordinary scans; what they cannot show is said, not pretended."""
    how = ScanAcquisition(mtf50)
    shown = how.shown_mtf50(np.array(spacing))
    assert shown == pytest.approx(mtf50) or (shown < mtf50 and shown == pytest.approx(0.2883 / spacing[0], rel=0.01))
    for found in edges(how, spacing):
        assert found == pytest.approx(shown, rel=0.05)


def test_noise_is_that_of_the_sharpness_that_is_shown() -> None:
    wide = np.array([1.4, 1.4, 1.25])
    assert (
        ScanAcquisition(2.0).noise_hu(wide, 280)
        == ScanAcquisition(0.7).noise_hu(wide, 280)
        < ScanAcquisition().noise_hu(np.array([0.7, 0.7, 1.25]), 280)
    )
    assert ScanAcquisition().noise_hu(np.array([0.7, 0.7, 1.25]), 280) == pytest.approx(NOISE_HU)


@given(thickness=st.floats(0.4, 12), pitch=st.floats(0.5, 3))
def test_a_slice_is_a_box_of_its_thickness(thickness: float, pitch: float) -> None:
    profile = ScanAcquisition(slice_mm=thickness).slice_profile(np.array([1, 1, pitch]))
    assert profile.sum() == pytest.approx(1)
    assert (profile == profile[::-1]).all() and (profile > 0).all()
    if thickness > pitch:  # area over height of a box is its width
        assert 1 / profile.max() == pytest.approx(thickness / pitch)


def test_a_thick_slice_blurs_a_plate_over_its_thickness() -> None:
    """A thin plate across z shows with the full width at half maximum that was asked for."""
    plate = np.zeros((81, 20, 24), np.float32)
    plate[40] = 1000
    for thickness in (3.0, 5.0, 8.0):
        line = ScanAcquisition(slice_mm=thickness).blur(plate, np.array([1.0, 1.0, 0.5]))[:, 10, 12]
        above = np.flatnonzero(line > line.max() / 2)
        assert (above[-1] - above[0] + 1) * 0.5 == pytest.approx(thickness, abs=0.5)


@pytest.mark.parametrize(("mtf50", "peak"), [(0.2, 0.1201), (0.3, 0.1802)])
def test_noise_has_the_spectrum_of_filtered_back_projection(mtf50: float, peak: float) -> None:
    """By hand: f MTF(f)^2 peaks at mtf50 / sqrt(4 ln 2) and is zero at zero; isotropic in mm."""
    spacing = np.array([0.7, 0.9, 1.25])
    noise = ScanAcquisition(mtf50).noise(np.random.SeedSequence(3), 0, 160, (150, 128), spacing)
    assert peak == pytest.approx(mtf50 / math.sqrt(4 * math.log(2)), abs=1e-4)
    power, fy, fx = spectrum(noise, 0.7, 0.9)
    radius = np.hypot(fy, fx)
    wanted = radius * np.exp(-2 * math.log(2) * (radius / mtf50) ** 2)
    wanted *= power.sum() / wanted.sum()
    rings = np.digitize(radius, np.arange(0.02, 0.55, 0.03))
    for ring in range(1, rings.max()):
        own = rings == ring
        assert power[own].mean() == pytest.approx(wanted[own].mean(), rel=0.12, abs=0.01 * wanted.max())
    ring = (radius > peak - 0.03) & (radius < peak + 0.03)
    for sector in (np.abs(fx) > 2 * np.abs(fy), np.abs(fy) > 2 * np.abs(fx)):
        assert power[ring & sector].mean() == pytest.approx(power[ring].mean(), rel=0.1)
    assert power[:, 0].mean() == pytest.approx(wanted[:, 0].mean(), rel=0.1), "waves along y alone count in full"


@settings(deadline=None, max_examples=15)
@given(nx=st.integers(9, 70), ny=st.integers(9, 70), mtf50=st.floats(0.15, 1.5), thickness=st.floats(0.5, 9))
def test_noise_has_unit_variance_on_any_grid(nx: int, ny: int, mtf50: float, thickness: float) -> None:
    how = ScanAcquisition(mtf50, slice_mm=thickness)
    noise = how.noise(np.random.SeedSequence(5), 0, 400, (nx, ny), np.array([0.8, 0.8, 1.5]))
    assert noise.shape == (400, ny, nx)
    assert noise.std() == pytest.approx(1, rel=0.15)
    assert abs(noise.mean()) < 0.1


def test_any_part_of_the_noise_repeats() -> None:
    for how in (STANDARD, ScanAcquisition(slice_mm=5)):
        whole = how.noise(SEEDS[0], 0, 12, (30, 20), np.array([1, 1, 1.5]))
        np.testing.assert_array_equal(how.noise(SEEDS[0], 4, 7, (30, 20), np.array([1, 1, 1.5])), whole[4:7])
    assert (how.noise(SEEDS[1], 0, 12, (30, 20), np.array([1, 1, 1.5])) != whole).any()


def test_thin_slices_are_independent_and_thick_ones_share_noise() -> None:
    spacing = np.array([1, 1, 1.25])
    for thickness, expected in ((None, 0.0), (6.25, 0.8)):  # boxes of five slices, one apart, share four
        noise = ScanAcquisition(slice_mm=thickness).noise(SEEDS[0], 0, 60, (64, 64), spacing)
        together = np.mean(noise[1:] * noise[:-1]) / noise.var()
        assert together == pytest.approx(expected, abs=0.06)


def measured(how: ScanAcquisition, radius_mm: float = 140.0) -> float:
    """Noise (HU) in the middle of a cylinder: half the variance of the difference of two scans of it."""
    body = cylinder(radius_mm)
    scans = [render_host(body, SEEDS[0], np.random.SeedSequence(s), how).array.astype(float) for s in (7, 8)]
    x, y = (n // 2 for n in body.array.shape[:2])
    middle = (scans[0] - scans[1])[x - 30 : x + 30, y - 30 : y + 30]
    return float(middle.std() / math.sqrt(2))


def test_noise_is_as_asked_in_a_phantom_and_goes_as_photon_statistics_have_it() -> None:
    """Variance: cube of resolution, inverse of dose and thickness (Chesler 1977), exp(mu d) of the body."""
    liver = 1 + float(MEAN_HU[1]) / 1000
    thicker = math.exp(WATER_PER_MM * 280 * (math.sqrt(liver) - 1) / 2)  # as water, the cylinder of liver is wider
    shown = (
        math.sqrt(math.log(2) / 2) / math.pi / (0.65 * 1.25) / 0.4
    )  # pixels of 1.25 mm show less than the standard scan
    expected = NOISE_HU * math.sqrt(shown**3 * 1.25 / 2.0) * thicker
    assert measured(STANDARD) == pytest.approx(expected, rel=0.05)
    assert measured(ScanAcquisition(dose=4)) == pytest.approx(expected / 2, rel=0.05)
    assert measured(ScanAcquisition(0.2)) == pytest.approx(expected * math.sqrt((0.2 / 0.4 / shown) ** 3), rel=0.06)
    assert measured(ScanAcquisition(slice_mm=8.0)) == pytest.approx(expected / 2, rel=0.06)
    narrow = math.exp(-WATER_PER_MM * 80 * math.sqrt(liver) / 2)
    assert measured(STANDARD, 100.0) == pytest.approx(expected * narrow, rel=0.06)


def test_water_diameter_of_a_water_disc_is_its_own() -> None:
    assert water_diameter(np.array([math.pi * 150**2 / 4]), np.array([2.0, 2.0, 1.0])) == pytest.approx(300)
    assert water_diameter(np.array([-3.0]), np.ones(3)) == 0


def test_the_standard_scan_is_called_so_and_others_say_what_they_are() -> None:
    assert STANDARD.name == ScanAcquisition().name == "standard"
    assert ScanAcquisition(dose=0.5).name == "MTF50 0.4/mm, dose 0.5, host's slices"
    assert MEAN_HU[BODY] < MEAN_HU[1]
