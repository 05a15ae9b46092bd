"""How a scan is taken: resolution in plane, slice thickness, dose; what each does to sharpness and to noise.

Linear-systems theory of filtered back projection (docs/facts/synthesis.md#acquisition):

- The point spread in plane is Gaussian (as measured on five scanners by Nickoloff & Riley, Med Phys 1985;12:437), the
  slice profile is a box.
- The noise is stationary in a slice and independent between thin slices, with the power spectrum of a ramp filter
  under the same resolution, NPS(f) ~ f MTF(f)^2 (Riederer, Pelc & Chesler, Phys Med Biol 1978;23:446; Kijewski & Judy,
  Phys Med Biol 1987;32:565).
- Its variance follows photon statistics: the cube of resolution, the inverse of dose and of slice thickness (Chesler,
  Riederer & Pelc, J Comput Assist Tomogr 1977;1:64), and the attenuation of the body, exp(mu Dw), with Dw the
  water-equivalent diameter of the slice (AAPM Report 220).

``tests/synthesis/test_acquisition.py`` measures edge, slice profile, noise level and spectrum on phantoms. Knows no
tissue and no case.
"""

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import numpy.typing as npt
from scipy import fft, ndimage

from itrialspace_assets.base.seeds import child

#: Spatial frequency (1/mm) at which the standard scan's MTF is one half. Ours: of the order of a body kernel.
STANDARD_MTF50 = 0.4
#: Noise (HU) in water of the standard scan: MTF50 0.4/mm, slices of 1.25 mm, a body of 280 mm. Ours: inside the noise
#: indices of 15 to 40 that Chen et al. (PLoS One 2014;9:e92414) scanned 200 people with for lung cancer screening.
NOISE_HU, NOISE_SLICE_MM, NOISE_DW_MM = 22.0, 1.25, 280.0
#: Attenuation of water (1/mm) at 70 keV, about the mean energy of a 120 kV beam: between NIST's 0.2059 cm2/g at 60 and
#: 0.1837 cm2/g at 80 keV.
WATER_PER_MM = 0.0193
#: Least standard deviation (voxels) of a point spread that a grid can show: the MTF of a narrower sampled Gaussian does
#: not fall to one half where it should. It also smooths the stairs of a label map, which has no fractions. Ours.
STAIR_VOXELS = 0.65
#: Standard deviations after which a point spread is cut. Ours.
_TRUNCATE = 3.0
#: Of a Gaussian: standard deviation (mm) of the spread times the frequency (1/mm) at which the MTF is one half.
_SIGMA_TIMES_MTF50 = math.sqrt(math.log(2) / 2) / math.pi
_FIRST_KEY = 1 << 20  # slice keys of the noise are counted from here, so that slices before the first have one too


@dataclass(frozen=True)
class ScanAcquisition:
    """What a trial can ask of a scan.

    Attributes:
        mtf50_per_mm: spatial frequency (1/mm) in plane at which the MTF is one half; where pixels are too wide for it,
            the image, its noise and its recorded sharpness are those of the sharpest scan that they show.
        dose: photons, relative to the standard scan.
        slice_mm: slice thickness (mm) at half maximum; the host's slice spacing if None.
    """

    mtf50_per_mm: float = STANDARD_MTF50
    dose: float = 1.0
    slice_mm: float | None = None

    @property
    def name(self) -> str:
        """Its name in tables and seeds."""
        if self == STANDARD:
            return "standard"
        slices = "host's slices" if self.slice_mm is None else f"{self.slice_mm:g} mm slices"
        return f"MTF50 {self.mtf50_per_mm:g}/mm, dose {self.dose:g}, {slices}"

    def shown_mtf50(self, spacing: npt.NDArray[np.float64]) -> float:
        """MTF50 (1/mm) that an image with these voxels has: as asked, or the sharpest that its pixels show."""
        return min(self.mtf50_per_mm, _SIGMA_TIMES_MTF50 / (STAIR_VOXELS * float(max(spacing[:2]))))

    def sigma_mm(self, spacing: npt.NDArray[np.float64]) -> float:
        """Standard deviation (mm) of the point spread in plane: MTF(f) = exp(-2 pi^2 sigma^2 f^2)."""
        return _SIGMA_TIMES_MTF50 / self.shown_mtf50(spacing)

    def noise_hu(self, spacing: npt.NDArray[np.float64], diameter_mm: npt.ArrayLike) -> npt.NDArray[np.float64]:
        """Standard deviation (HU) of the noise in slices.

        Args:
            spacing: voxel size (x, y, z), mm.
            diameter_mm: water-equivalent diameter of each slice; the result has its shape.
        """
        thickness, sharpness = self.slice_mm or float(spacing[2]), self.shown_mtf50(spacing) / STANDARD_MTF50
        level = NOISE_HU * math.sqrt(sharpness**3 * NOISE_SLICE_MM / thickness / self.dose)
        return np.asarray(level * np.exp(WATER_PER_MM * (np.asarray(diameter_mm, float) - NOISE_DW_MM) / 2))

    def slice_profile(self, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
        """Weight (2 h + 1, sum 1) of each slice around one: the overlap with a box of the slice thickness."""
        ratio = (self.slice_mm or 0.0) / float(spacing[2])
        if ratio <= 1:
            return np.ones(1)
        half = math.ceil((ratio - 1) / 2)
        k = np.arange(-half, half + 1)
        overlap = np.minimum(k + 0.5, ratio / 2) - np.maximum(k - 0.5, -ratio / 2)
        return np.asarray(overlap / overlap.sum())

    def reach(self, spacing: npt.NDArray[np.float64]) -> tuple[int, int, int]:
        """Voxels (X, Y, Z) over which a point is spread to each side."""
        x, y = (int(_TRUNCATE * self.sigma_mm(spacing) / s + 0.5) for s in spacing[:2])
        return x, y, int(_TRUNCATE * STAIR_VOXELS + 0.5) + len(self.slice_profile(spacing)) // 2

    def blur(self, array: npt.NDArray[np.float32], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float32]:
        """An image as sharp as the scan shows it; its edges are continued.

        Args:
            array: the image (Z, Y, X), in any unit.
            spacing: voxel size (x, y, z), mm.
        """
        x, y = self.sigma_mm(spacing) / spacing[:2]
        out = ndimage.gaussian_filter(array, (STAIR_VOXELS, y, x), truncate=_TRUNCATE, mode="nearest")
        profile = self.slice_profile(spacing)
        if len(profile) > 1:
            out = ndimage.correlate1d(out, profile, axis=0, mode="nearest")
        return np.asarray(out, dtype=np.float32)

    def noise(
        self,
        seed: np.random.SeedSequence,
        first: int,
        last: int,
        shape: tuple[int, int],
        spacing: npt.NDArray[np.float64],
    ) -> npt.NDArray[np.float32]:
        """Noise (Z, Y, X) of unit variance; slice k depends on the seed and on k alone, so any part can be repeated.

        Args:
            seed: of the host's noise.
            first: first slice.
            last: the slice after the last one.
            shape: pixels (X, Y).
            spacing: voxel size (x, y, z), mm.
        """
        profile = self.slice_profile(spacing)
        half = len(profile) // 2
        amplitude = _amplitude(shape, (float(spacing[0]), float(spacing[1])), self.sigma_mm(spacing))
        size = 2 * (amplitude.shape[1] - 1)
        thin = np.empty((last - first + 2 * half, *shape[::-1]), dtype=np.float32)
        for row, k in enumerate(range(first - half, last + half)):
            rng = np.random.Generator(np.random.SFC64(child(seed, _FIRST_KEY + k)))
            waves = rng.standard_normal((*amplitude.shape, 2), dtype=np.float32).view(np.complex64)[..., 0]
            waves *= amplitude
            thin[row] = fft.irfft2(waves, s=(amplitude.shape[0], size), overwrite_x=True)[: shape[1], : shape[0]]
        if not half:
            return thin
        thick = ndimage.correlate1d(thin, profile / np.sqrt((profile**2).sum()), axis=0)
        return np.asarray(thick[half:-half], dtype=np.float32)


STANDARD = ScanAcquisition()


@lru_cache(maxsize=4)
def _amplitude(shape: tuple[int, int], spacing: tuple[float, float], sigma_mm: float) -> npt.NDArray[np.float32]:
    """Amplitude (Y', X'/2 + 1) of each wave of unit-variance noise.

    Args:
        shape: pixels (X, Y) that the noise must cover; the grid is the next larger one that is quick to transform.
        spacing: pixel size (x, y), mm.
        sigma_mm: standard deviation of the point spread.
    """
    nx, ny = (fft.next_fast_len(n + n % 2, real=True) for n in shape)
    nx += nx % 2
    f = np.hypot(fft.fftfreq(ny, spacing[1])[:, None], fft.rfftfreq(nx, spacing[0])[None, :])
    power = f * np.exp(-4 * np.pi**2 * sigma_mm**2 * f**2)
    twice = np.full(power.shape[1], 2.0)  # each wave but the first and last column stands for its mirror image too
    twice[[0, -1]] = 1.0
    total = float((power * twice).sum())
    # a wave's real and imaginary part have variance 1 each; the transform back divides by nx ny and keeps, of the first
    # and last column, the real half
    amplitude = nx * ny * np.sqrt(power / total / 2)
    amplitude[:, [0, -1]] *= np.sqrt(2.0)
    return np.asarray(amplitude, dtype=np.float32)


def water_diameter(relative: npt.NDArray[np.floating], spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """Water-equivalent diameter (mm) of slices, from their attenuation relative to water, ``1 + HU / 1000``.

    Args:
        relative: sum over each slice's pixels, (Z,).
        spacing: of the pixels (mm).

    Returns:
        2 sqrt(area / pi), with the area that water of the same attenuation would fill (AAPM Report 220).
    """
    return np.asarray(2 * np.sqrt(np.maximum(relative, 0) * spacing[0] * spacing[1] / np.pi))
