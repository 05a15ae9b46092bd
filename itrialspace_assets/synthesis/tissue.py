"""The tissue renderer (CPU): HU per label, parenchymal texture, vessels, partial volume, noise, three kinds of nodule.

Its images are procedural and marked ``tissue`` wherever they are shown. The same host and
acquisition always give the same texture and noise, so a lesion image and its lesion-free twin
differ in the lesion alone. A host is rendered in slabs of a few slices, in the order in which they lie on
disk, so that memory stays small whatever the volume.
"""

from dataclasses import dataclass
from functools import lru_cache

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.anatomy import AIRWAY, BODY, BONES, LUNG, TRACHEA, lung_mask
from itrialspace_assets.geometry import Box, Volume, bounding_box
from itrialspace_assets.synthesis.quality import HIGH_HU, LOW_HU
from itrialspace_assets.volumes import Lesion

NAME = "tissue"
VERSION = "3"
TRAINED_ON = "nothing (procedural)"

AIR_HU, LUNG_HU, BODY_HU = -1000, -850, -20

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
    """Attenuation of a lesion: mean HU and the depth of its inner texture; ``core_hu`` of a denser core, if it has one."""

    mean_hu: float = 35.0
    texture_hu: float = 12.0
    core_hu: float | None = None


#: Mean of the ground-glass part: between the cut-offs (-675 and -562 HU) found for that part of subsolid nodules by
#: Wang et al., Iran J Radiol 2018;15:e61846, and below the -400 HU above which Lee et al., PLoS One 2018;13:e0205490,
#: count a voxel as solid; a solid part lies above their higher threshold of -160 HU.
GLASS_HU = -600.0
SOLID = NoduleTissue()
NODULES: dict[str, NoduleTissue] = {
    "solid": SOLID, "part_solid": NoduleTissue(GLASS_HU, 25.0, SOLID.mean_hu), "ground_glass": NoduleTissue(GLASS_HU, 25.0),
}  # fmt: skip
#: Diameter of a part-solid nodule's core over its own: ours, the middle of what is called part-solid.
CORE_SHARE = 0.5


#: Standard deviation of the texture by label: fat and muscle of the body vary more than organs.
_SOFT_TEXTURE = np.full(256, 8.0, dtype=np.float32)
_SOFT_TEXTURE[BODY] = 55.0
#: Slices rendered at once.
SLAB = 16


@lru_cache(maxsize=1)
def _lookup() -> npt.NDArray[np.float32]:
    table = np.full(256, _SOFT_HU, dtype=np.float32)
    table[list(BONES)] = _BONE_HU
    table[list(LUNG)] = LUNG_HU
    for label, value in _HU.items():
        table[label] = value
    return table


@dataclass(frozen=True)
class _Field:
    """A Gaussian random field of unit variance on a coarse grid (z, y, x), looked up slab by slab."""

    coarse: npt.NDArray[np.float32]
    step: npt.NDArray[np.float64]  # voxels of the image per coarse voxel, z, y, x

    @classmethod
    def draw(
        cls, seed: np.random.SeedSequence, shape: tuple[int, ...], spacing: npt.NDArray[np.float64], length_mm: float
    ) -> "_Field":
        """A field over ``shape`` (X, Y, Z) with a correlation length in mm."""
        step = np.maximum(1.0, length_mm / 3.0 / spacing)[::-1]
        size = tuple(int(np.ceil(n / s)) + 4 for n, s in zip(shape[::-1], step, strict=True))
        white = np.random.Generator(np.random.SFC64(seed)).standard_normal(size, dtype=np.float32)
        field = ndimage.gaussian_filter(white, 1.5, mode="wrap")
        return cls(np.asarray(field / field.std(), dtype=np.float32), step)

    def slab(self, first: int, last: int, ny: int, nx: int) -> npt.NDArray[np.float32]:
        """Slices ``first`` up to ``last`` (z, y, x) by linear interpolation, one axis after the other."""
        out = self.coarse
        for axis, (low, high) in enumerate(((first, last), (0, ny), (0, nx))):
            at = np.arange(low, high, dtype=np.float32) / np.float32(self.step[axis])
            base = at.astype(np.intp)
            weight = (at - base).reshape([-1 if a == axis else 1 for a in range(3)])
            part = np.take(out, base, axis=axis)
            following = np.take(out, base + 1, axis=axis)
            following -= part
            following *= weight
            out = part
            out += following
        return out


def noise_slices(
    seed: np.random.SeedSequence, first: int, last: int, shape: tuple[int, int], acquisition: Acquisition
) -> npt.NDArray[np.float32]:
    """Noise (X, Y, last-first) in HU; slice k depends on the seed and k alone, so any part repeats."""
    out = np.empty((last - first, *shape[::-1]), dtype=np.float32)
    entropy = seed.entropy
    for k in range(first, last):
        rng = np.random.Generator(np.random.SFC64(np.random.SeedSequence(entropy, spawn_key=(*seed.spawn_key, k))))
        white = rng.standard_normal(shape[::-1], dtype=np.float32)
        ndimage.gaussian_filter(white, 0.6, mode="wrap", output=out[k - first])
    out *= acquisition.noise_hu / 0.47  # 0.47: standard deviation that the filter leaves
    return out.T


def render_host(labels: Volume, seed: np.random.SeedSequence, acquisition: Acquisition = STANDARD) -> Volume:
    """CT of a nodule-free label map.

    Args:
        labels: canonical label map (X, Y, Z), uint8.
        seed: of the host and the acquisition.

    Returns:
        int16 HU on the same grid, -1000 outside the body.
    """
    nx, ny, nz = labels.array.shape
    tissue_of = _Tissue.of(labels, seed)
    noise = _noise_seed(seed)
    halo = int(3.0 * acquisition.blur_voxels + 0.5)
    out = np.empty((nz, ny, nx), dtype=np.int16)
    for first in range(0, nz, SLAB):
        last = min(nz, first + SLAB)
        low, high = max(0, first - halo), min(nz, last + halo)
        tissue = ndimage.gaussian_filter(tissue_of.slab(low, high), acquisition.blur_voxels, truncate=3.0)
        tissue = tissue[first - low : last - low]
        tissue += noise_slices(noise, first, last, (nx, ny), acquisition).T
        out[first:last] = _finish(tissue, labels.array.T[first:last])
    return Volume(out.T, labels.affine)


@dataclass(frozen=True)
class _Tissue:
    """Attenuation of a host before blur and noise, slab by slab; fields are drawn once."""

    labels: npt.NDArray[np.uint8]  # (z, y, x)
    soft: _Field
    lungs: Box | None  # (z, y, x)
    fields: tuple[_Field, ...]  # over the lungs' box: grain, and the two whose common zeros are vessels

    @classmethod
    def of(cls, labels: Volume, seed: np.random.SeedSequence) -> "_Tissue":
        texture, parenchyma, vessel_a, vessel_b = seed.spawn(4)
        soft = _Field.draw(texture, labels.array.shape, labels.spacing, 9.0)
        inside = lung_mask(labels.array)
        if not inside.any():
            return cls(labels.array.T, soft, None, ())
        x, y, z = bounding_box(inside)
        shape = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
        lengths = ((parenchyma, 5.0), (vessel_a, VESSEL_SPACING_MM), (vessel_b, VESSEL_SPACING_MM))
        fields = tuple(_Field.draw(s, shape, labels.spacing, length) for s, length in lengths)
        return cls(labels.array.T, soft, (z, y, x), fields)

    def slab(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """HU of slices ``first`` up to ``last``, (z, y, x)."""
        labels = self.labels[first:last]
        tissue = _lookup()[labels]
        soft = self.soft.slab(first, last, *labels.shape[1:])
        soft *= _SOFT_TEXTURE[labels]
        tissue += soft
        if self.lungs is None:
            return tissue
        z, y, x = self.lungs
        low, high = max(first, z.start), min(last, z.stop)
        if low < high:
            ny, nx = y.stop - y.start, x.stop - x.start
            grain, a, b = (f.slab(low - z.start, high - z.start, ny, nx) for f in self.fields)
            a *= a
            b *= b
            a += b
            a *= -1.0 / VESSEL_WIDTH**2
            vessels = np.exp(a, out=a)
            vessels *= VESSEL_HU
            grain *= 30.0
            vessels += grain
            part = slice(low - first, high - first), y, x
            vessels *= lung_mask(labels[part])
            tissue[part] += vessels
        return tissue


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


def core_voxels(lesion: Lesion, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Host indices (n, 3) of a part-solid lesion's core: its deepest voxels, ``CORE_SHARE``³ of its volume, one at least."""
    depth = edt.edt(np.pad(lesion.mask, 1), anisotropy=tuple(float(s) for s in spacing))[1:-1, 1:-1, 1:-1][lesion.mask]
    deepest = np.argsort(-depth, kind="stable")[: max(1, round(CORE_SHARE**3 * len(depth)))]
    return np.asarray(lesion.indices[deepest], dtype=np.int64)


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
    shape = box[0].stop - box[0].start, box[1].stop - box[1].start, box[2].stop - box[2].start
    mask, core = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for lesion in lesions:
        mask[tuple(np.moveaxis(lesion.indices - low, 1, 0))] = 1.0
        if nodule.core_hu is not None:
            core[tuple(np.moveaxis(core_voxels(lesion, labels.spacing) - low, 1, 0))] = 1.0
    share = ndimage.gaussian_filter(mask, acquisition.blur_voxels, truncate=3.0)
    inner = _Field.draw(lesion_seed, shape, labels.spacing, 4.0).slab(0, shape[2], shape[1], shape[0]).T
    inner *= nodule.texture_hu
    inner += nodule.mean_hu
    if nodule.core_hu is not None:
        inner += (nodule.core_hu - nodule.mean_hu) * ndimage.gaussian_filter(core, acquisition.blur_voxels, truncate=3.0)  # fmt: skip
    nx, ny = twin.array.shape[:2]
    noise = noise_slices(_noise_seed(seed), box[2].start, box[2].stop, (nx, ny), acquisition)[box[0], box[1]]
    before = twin.array[box].astype(np.float32)
    change = inner + noise - before
    if nodule.mean_hu < SOLID.mean_hu:  # ground glass leaves what is denser as it is: vessels stay visible in it
        np.maximum(change, 0.0, out=change)
    after = before + share * change
    after = np.where(share > 1e-3, after, before)
    out = _finish(after, labels.array[box])
    affine = twin.affine.copy()
    affine[:3, 3] = twin.to_world(low)
    return Volume(out, affine)
