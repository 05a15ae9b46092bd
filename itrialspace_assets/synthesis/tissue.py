"""The tissue renderer (CPU): HU per label, parenchymal texture, vessels, partial volume, noise.

Its images are procedural and marked ``tissue`` wherever they are shown. The same host and
acquisition always give the same texture and noise, so a lesion image and its lesion-free twin
differ in the lesion alone.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.anatomy import AIRWAY, BODY, BONES, LUNG, TRACHEA, lung_mask
from itrialspace_assets.geometry import Box, Volume, bounding_box
from itrialspace_assets.volumes import Lesion

NAME = "tissue"
VERSION = "1"
TRAINED_ON = "nothing (procedural)"

AIR_HU, LUNG_HU, BODY_HU = -1000, -850, -20
LOW_HU, HIGH_HU = -1000, 1000  # range of the published synthetic CTs

#: Mean HU by label; each lies inside the per-organ limits published with MAISI (spec 02, B8.1).
_HU: dict[int, float] = {
    0: AIR_HU, 1: 60, 3: 50, 4: 40, 5: 35, 6: 45, 7: 40, 10: 10, 11: 30, 12: 30, 13: 30, 14: 35,
    22: 35, TRACHEA: -980, AIRWAY: -960, 114: 110, 115: 42, 119: 45, 121: 30, 125: 40, BODY: BODY_HU,
}  # fmt: skip
_SOFT_HU = 45.0  # any other organ
_BONE_HU = 320.0

#: Vessel-like lines in the parenchyma: where two smooth random fields are both near zero.
VESSEL_SPACING_MM, VESSEL_WIDTH, VESSEL_HU = 16.0, 0.15, 520.0


@dataclass(frozen=True)
class Acquisition:
    """How the scan was taken. ``noise_hu`` is the standard deviation in water."""

    name: str = "standard"
    noise_hu: float = 22.0
    blur_voxels: float = 0.55


STANDARD = Acquisition()


@dataclass(frozen=True)
class NoduleTissue:
    """Attenuation of a lesion: mean HU and the depth of its inner texture."""

    mean_hu: float = 35.0
    texture_hu: float = 12.0


SOLID = NoduleTissue()


def _lookup() -> npt.NDArray[np.float32]:
    table = np.full(256, _SOFT_HU, dtype=np.float32)
    table[list(BONES)] = _BONE_HU
    table[list(LUNG)] = LUNG_HU
    for label, value in _HU.items():
        table[label] = value
    return table


def _smooth_field(
    rng: np.random.Generator, shape: tuple[int, ...], spacing: npt.NDArray[np.float64], length_mm: float
) -> npt.NDArray[np.float32]:
    """Gaussian random field of unit variance with a correlation length in mm, made on a coarse grid."""
    step = np.maximum(1.0, length_mm / 3.0 / spacing)
    coarse = tuple(int(np.ceil(n / s)) + 4 for n, s in zip(shape, step, strict=True))
    field = ndimage.gaussian_filter(rng.standard_normal(coarse, dtype=np.float32), 1.5, mode="wrap")
    field /= field.std()
    return np.asarray(_upsample(field, shape, step), dtype=np.float32)


def _upsample(
    coarse: npt.NDArray[np.float32], shape: tuple[int, ...], step: npt.NDArray[np.float64]
) -> npt.NDArray[np.float32]:
    """Linear interpolation, one axis after the other (separable, so two gathers an axis)."""
    out = coarse
    for axis, (n, s) in enumerate(zip(shape, step, strict=True)):
        at = np.arange(n, dtype=np.float32) / np.float32(s)
        low = at.astype(np.intp)
        weight = (at - low).reshape([-1 if a == axis else 1 for a in range(3)])
        first = np.take(out, low, axis=axis)
        out = first + (np.take(out, low + 1, axis=axis) - first) * weight
    return out


def noise_slices(
    seed: np.random.SeedSequence, first: int, last: int, shape: tuple[int, int], acquisition: Acquisition
) -> npt.NDArray[np.float32]:
    """Noise (X, Y, last-first) in HU; slice k depends on the seed and k alone, so any part repeats."""
    out = np.empty((*shape, last - first), dtype=np.float32)
    entropy = seed.entropy
    for k in range(first, last):
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy, spawn_key=(*seed.spawn_key, k))))
        white = rng.standard_normal(shape, dtype=np.float32)
        out[..., k - first] = ndimage.gaussian_filter(white, 0.6, mode="wrap")
    out *= acquisition.noise_hu / 0.47  # 0.47: standard deviation that the filter leaves
    return out


def render_host(labels: Volume, seed: np.random.SeedSequence, acquisition: Acquisition = STANDARD) -> Volume:
    """CT of a nodule-free label map.

    Args:
        labels: canonical label map (X, Y, Z), uint8.
        seed: of the host and the acquisition.

    Returns:
        int16 HU on the same grid, -1000 outside the body.
    """
    array = labels.array
    tissue = _lookup()[array]
    texture, parenchyma, vessel_a, vessel_b = seed.spawn(4)
    soft = _smooth_field(np.random.Generator(np.random.SFC64(texture)), array.shape, labels.spacing, 9.0)
    tissue += np.where(array == BODY, 55.0, 8.0).astype(np.float32) * soft
    lungs = lung_mask(array)
    if lungs.any():
        box = bounding_box(lungs)
        shape = lungs[box].shape
        grain = _smooth_field(np.random.Generator(np.random.SFC64(parenchyma)), shape, labels.spacing, 5.0)
        a = _smooth_field(np.random.Generator(np.random.SFC64(vessel_a)), shape, labels.spacing, VESSEL_SPACING_MM)
        b = _smooth_field(np.random.Generator(np.random.SFC64(vessel_b)), shape, labels.spacing, VESSEL_SPACING_MM)
        a *= a
        b *= b
        a += b
        a *= -1.0 / VESSEL_WIDTH**2
        vessels = np.exp(a, out=a)
        inside = 30.0 * grain + VESSEL_HU * vessels
        tissue[box] += np.where(lungs[box], inside, 0)
    tissue = ndimage.gaussian_filter(tissue, acquisition.blur_voxels, truncate=3.0)
    nx, ny, nz = array.shape
    tissue += noise_slices(_noise_seed(seed), 0, nz, (nx, ny), acquisition)
    return Volume(_finish(tissue, array), labels.affine)


def _noise_seed(seed: np.random.SeedSequence) -> np.random.SeedSequence:
    return np.random.SeedSequence(seed.entropy, spawn_key=(*seed.spawn_key, 99))


def _finish(tissue: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    np.clip(tissue, LOW_HU, HIGH_HU, out=tissue)
    tissue[labels == 0] = AIR_HU
    return np.rint(tissue).astype(np.int16)


def patch_box(lesions: list[Lesion], shape: tuple[int, ...], pad: int = 4) -> Box:
    """Smallest box around some lesions, with room for the blurred edge."""
    low = np.min([lesion.offset for lesion in lesions], axis=0) - pad
    high = np.max([np.add(lesion.offset, lesion.mask.shape) for lesion in lesions], axis=0) + pad
    low, high = np.maximum(low, 0), np.minimum(high, shape)
    return slice(int(low[0]), int(high[0])), slice(int(low[1]), int(high[1])), slice(int(low[2]), int(high[2]))


def render_patch(
    twin: Volume,
    labels: Volume,
    lesions: list[Lesion],
    seed: np.random.SeedSequence,
    lesion_seed: np.random.SeedSequence,
    acquisition: Acquisition = STANDARD,
    nodule: NoduleTissue = SOLID,
) -> Volume:
    """The part of a CT that lesions change: the twin's tissue replaced inside, its noise kept.

    Args:
        twin: the host's lesion-free CT (int16 HU) as ``render_host`` made it.
        labels: the host's nodule-free map on the same grid.
        lesions: what to put in.
        seed: of the host and the acquisition, as for the twin.
        lesion_seed: of the lesions' inner texture.

    Returns:
        int16 HU over ``patch_box(lesions, ...)``; equal to the twin wherever no lesion reaches.
    """
    box = patch_box(lesions, twin.array.shape)
    low = np.array([s.start for s in box])
    shape = tuple(s.stop - s.start for s in box)
    mask = np.zeros(shape, dtype=np.float32)
    for lesion in lesions:
        mask[tuple(np.moveaxis(lesion.indices - low, 1, 0))] = 1.0
    share = ndimage.gaussian_filter(mask, acquisition.blur_voxels, truncate=3.0)
    rng = np.random.Generator(np.random.SFC64(lesion_seed))
    inner = nodule.mean_hu + nodule.texture_hu * _smooth_field(rng, shape, labels.spacing, 4.0)
    nx, ny = twin.array.shape[:2]
    noise = noise_slices(_noise_seed(seed), box[2].start, box[2].stop, (nx, ny), acquisition)[box[0], box[1]]
    before = twin.array[box].astype(np.float32)
    after = before + share * (inner + noise - before)
    after = np.where(share > 1e-3, after, before)
    out = _finish(after, labels.array[box])
    affine = twin.affine.copy()
    affine[:3, 3] = twin.to_world(low)
    return Volume(out, affine)
