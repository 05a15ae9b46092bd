"""The tissue renderer (CPU): HU per label, parenchyma, vessels, airway walls, partial volume, three kinds of nodule.

Its images are procedural and marked ``tissue`` wherever they are shown. The same host always has the same texture and,
under the same acquisition, the same noise, so a lesion image and its lesion-free twin differ in the lesion alone. A
host is rendered in slabs of a few slices, in the order in which they lie on disk, so that memory stays small whatever
the volume. What tissues measure is in ``attenuation``, what a scanner does to them in ``acquisition``.
"""

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.base.seeds import child
from itrialspace_assets.imaging.anatomy import AIRWAY, BODY, TRACHEA, lung_mask
from itrialspace_assets.imaging.geometry import Box, Volume, bounding_box
from itrialspace_assets.imaging.lesions import Lesion, lesion_box
from itrialspace_assets.synthesis.acquisition import STANDARD, ScanAcquisition, water_diameter
from itrialspace_assets.synthesis.attenuation import (
    GRAIN_HU,
    GRAIN_MM,
    LUNG_BACK_HU,
    LUNG_FRONT_HU,
    MEAN_HU,
    SOLID,
    TEXTURE_HU,
    VESSEL_HU,
    WALL_HU,
    WALL_MM,
    NoduleTissue,
)
from itrialspace_assets.synthesis.quality import AIR_HU, HIGH_HU, LOW_HU
from itrialspace_assets.synthesis.vessels import occupancy

NAME = "tissue"
VERSION = "6"
TRAINED_ON = "nothing (procedural)"

#: Diameter of a part-solid nodule's core over its own: ours, the middle of what is called part-solid.
CORE_SHARE = 0.5
#: Slices rendered at once, so that memory stays small. Ours.
SLAB = 16
#: Correlation length (mm) of the texture of soft tissue, and of a lesion's inside; ours.
_SOFT_MM, _LESION_MM = 9.0, 4.0


@dataclass(frozen=True)
class _Field:
    """A Gaussian random field of unit variance, looked up slab by slab.

    Attributes:
        coarse: its values on a coarse grid (z, y, x).
        step: voxels (3,) of the image for each coarse voxel, z, y, x.
    """

    coarse: npt.NDArray[np.float32]
    step: npt.NDArray[np.float64]

    @classmethod
    def draw(
        cls, seed: np.random.SeedSequence, shape: tuple[int, ...], spacing: npt.NDArray[np.float64], length_mm: float
    ) -> "_Field":
        """A field over an image.

        Args:
            seed: draws it.
            shape: voxels (X, Y, Z) of the image.
            spacing: voxel size (x, y, z), mm.
            length_mm: correlation length.
        """
        step = np.maximum(1.0, length_mm / 3.0 / spacing)[::-1]
        size = tuple(int(np.ceil(n / s)) + 4 for n, s in zip(shape[::-1], step, strict=True))
        white = np.random.Generator(np.random.SFC64(seed)).standard_normal(size, dtype=np.float32)
        field = ndimage.gaussian_filter(white, 1.5, mode="wrap")
        return cls(np.asarray(field / field.std(), dtype=np.float32), step)

    def slab(self, first: int, last: int, ny: int, nx: int) -> npt.NDArray[np.float32]:
        """Values (z, y, x) of some slices, by linear interpolation along one axis after the other.

        Args:
            first: index along z of the first slice in the image that the field was drawn for.
            last: index behind the last slice.
            ny: voxels along y, counted from the image's first.
            nx: voxels along x, counted from the image's first.
        """
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


def render_host(
    labels: Volume,
    anatomy: np.random.SeedSequence,
    noise: np.random.SeedSequence,
    acquisition: ScanAcquisition = STANDARD,
) -> Volume:
    """CT of a nodule-free label map.

    Args:
        labels: canonical label map (X, Y, Z), uint8.
        anatomy: seed of the host's texture and vessels.
        noise: seed of the host's noise under this acquisition.
        acquisition: how the scan is taken.

    Returns:
        int16 HU on the same grid, -1000 outside the body.
    """
    nx, ny, nz = labels.array.shape
    out = np.full((nz, ny, nx), AIR_HU, dtype=np.int16)
    reach = acquisition.reach(labels.spacing)
    body = _box(labels.array > 0, max(reach))
    if body is None:
        return Volume(out.T, labels.affine)
    _, y, x = body  # only air lies beside it
    part = labels.crop((x, y, slice(0, nz)))
    tissue_of = _Tissue.of(part, anatomy)
    for first in range(0, nz, SLAB):
        last = min(nz, first + SLAB)
        low, high = max(0, first - reach[2]), min(nz, last + reach[2])
        image = acquisition.blur(tissue_of.slab(low, high), labels.spacing)[first - low : last - low]
        image += _noise(labels, noise, acquisition, first, last)[:, y, x]
        out[first:last, y, x] = _finish(image, part.array.T[first:last])
    return Volume(out.T, labels.affine)


def _noise(
    labels: Volume, seed: np.random.SeedSequence, acquisition: ScanAcquisition, first: int, last: int
) -> npt.NDArray[np.float32]:
    """Noise (Z, Y, X) in HU of some slices of a host; more where the body attenuates more."""
    noise = acquisition.noise(seed, first, last, labels.array.shape[:2], labels.spacing)
    some = labels.array.T[first:last, ::2, ::2]  # a quarter of the pixels tells how thick the body is
    relative = 4 * np.array([np.bincount(s.ravel(), minlength=256) @ _RELATIVE for s in some])
    level = acquisition.noise_hu(labels.spacing, water_diameter(relative, labels.spacing))
    noise *= level.astype(np.float32)[:, None, None]
    return noise


#: Attenuation by label over that of water.
_RELATIVE = 1 + MEAN_HU.astype(np.float64) / 1000


@dataclass(frozen=True)
class _Tissue:
    """Attenuation of a host before blur and noise, slab by slab; fields are drawn once.

    Attributes:
        labels: label map (z, y, x).
        soft: texture of soft tissue.
        lungs: box of the lungs (z, y, x); None: no lung.
        grain: texture of the parenchyma, over the lungs' box.
        vessels: share of each voxel of the lungs' box that is vessel, of 255.
        airways: box of the airways with their walls (z, y, x); None: no airway.
        wall: thickness of an airway's wall, voxels.
        wall_share: share of such a voxel that is wall.
    """

    labels: npt.NDArray[np.uint8]
    soft: _Field
    lungs: Box | None
    grain: _Field | None
    vessels: npt.NDArray[np.uint8] | None
    airways: Box | None
    wall: int
    wall_share: float

    @classmethod
    def of(cls, labels: Volume, seed: np.random.SeedSequence) -> "_Tissue":
        texture, parenchyma, tree = (child(seed, i) for i in range(3))
        soft = _Field.draw(texture, labels.array.shape, labels.spacing, _SOFT_MM)
        pixel = float(labels.spacing[:2].mean())
        wall = max(1, round(WALL_MM / pixel))
        airways = _box((labels.array == TRACHEA) | (labels.array == AIRWAY), wall)
        lungs = _box(lung_mask(labels.array))
        grain, vessels = None, None
        if lungs is not None:
            z, y, x = lungs
            shape = (x.stop - x.start, y.stop - y.start, z.stop - z.start)
            grain = _Field.draw(parenchyma, shape, labels.spacing, GRAIN_MM)
            vessels = occupancy(labels, lungs, tree)
        return cls(labels.array.T, soft, lungs, grain, vessels, airways, wall, min(1.0, WALL_MM / pixel / wall))

    def slab(self, first: int, last: int) -> npt.NDArray[np.float32]:
        """HU of slices ``first`` up to ``last``, (z, y, x)."""
        labels = self.labels[first:last]
        tissue = MEAN_HU[labels]
        soft = self.soft.slab(first, last, *labels.shape[1:])
        soft *= TEXTURE_HU[labels]
        tissue += soft
        self._add_lung(tissue, labels, first, last)
        self._add_walls(tissue, labels, first, last)
        return tissue

    def _add_lung(self, tissue: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], first: int, last: int) -> None:
        if self.lungs is None or self.grain is None or self.vessels is None:
            return
        z, y, x = self.lungs
        low, high = max(first, z.start), min(last, z.stop)
        if low >= high:
            return
        ny, nx = y.stop - y.start, x.stop - x.start
        lung = self.grain.slab(low - z.start, high - z.start, ny, nx)
        lung *= GRAIN_HU
        # rows run from back to front
        half = (LUNG_BACK_HU - LUNG_FRONT_HU) / 2
        lung += np.linspace(half, -half, ny, dtype=np.float32)[None, :, None]
        part = slice(low - first, high - first), y, x
        own = tissue[part]
        lung += own
        lung += (VESSEL_HU - lung) * (self.vessels[low - z.start : high - z.start] * np.float32(1 / 255))
        np.copyto(own, lung, where=lung_mask(labels[part]))

    def _add_walls(self, tissue: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8], first: int, last: int) -> None:
        if self.airways is None:
            return
        z, y, x = self.airways
        low, high = max(first, z.start), min(last, z.stop)
        if low >= high:
            return
        part = slice(low - first, high - first), y, x
        own = labels[part]
        air = (own == TRACHEA) | (own == AIRWAY)
        ring = np.zeros_like(air)
        reach = range(-self.wall, self.wall + 1)
        for dy, dx in ((j, i) for j in reach for i in reach if 0 < j * j + i * i <= (self.wall + 0.5) ** 2):
            ring[:, max(0, dy) : air.shape[1] + min(0, dy), max(0, dx) : air.shape[2] + min(0, dx)] |= air[
                :, max(0, -dy) : air.shape[1] + min(0, -dy), max(0, -dx) : air.shape[2] + min(0, -dx)
            ]
        ring &= lung_mask(own) | (own == BODY)
        tissue[part][ring] += self.wall_share * (WALL_HU - tissue[part][ring])


def _box(mask: npt.NDArray[np.bool_], pad: int = 0) -> Box | None:
    """Bounding box of a mask (X, Y, Z) as (z, y, x); None if it is empty."""
    if not mask.any():
        return None
    x, y, z = bounding_box(mask, pad)
    return z, y, x


def _finish(tissue: npt.NDArray[np.float32], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.int16]:
    np.clip(tissue, LOW_HU, HIGH_HU, out=tissue)
    tissue[labels == 0] = AIR_HU
    return np.rint(tissue).astype(np.int16)


def core_voxels(lesion: Lesion, spacing: npt.NDArray[np.float64]) -> npt.NDArray[np.int64]:
    """Host indices (n, 3) of a part-solid lesion's core: the deepest ``CORE_SHARE``³ of its voxels, at least one.

    Args:
        lesion: in the host's grid.
        spacing: voxel size (x, y, z), mm.
    """
    depth = edt.edt(np.pad(lesion.mask, 1), anisotropy=tuple(float(s) for s in spacing))[1:-1, 1:-1, 1:-1][lesion.mask]
    deepest = np.argsort(-depth, kind="stable")[: max(1, round(CORE_SHARE**3 * len(depth)))]
    return np.asarray(lesion.indices[deepest], dtype=np.int64)


def render_patch(
    twin: Volume,
    labels: Volume,
    lesions: list[Lesion],
    noise: np.random.SeedSequence,
    inside: np.random.SeedSequence,
    acquisition: ScanAcquisition = STANDARD,
    nodule: NoduleTissue = SOLID,
) -> Volume:
    """The part of a CT that lesions change: the twin's tissue replaced inside, its noise kept.

    Args:
        twin: the host's lesion-free CT (int16 HU) as ``render_host`` made it.
        labels: the host's nodule-free map on the same grid.
        lesions: lesions in the host's grid.
        noise: seed of the host's noise, as for the twin.
        inside: seed of the lesions' inner texture.
        acquisition: as for the twin.
        nodule: attenuation of the lesions.

    Returns:
        int16 HU over the box that the lesions' blurred edges reach; equal to the twin wherever they do not.
    """
    box = lesion_box(lesions, twin.array.shape, acquisition.reach(labels.spacing))
    x, y, z = box
    low = np.array([s.start for s in box])
    shape = z.stop - z.start, y.stop - y.start, x.stop - x.start
    mask, core = np.zeros(shape, dtype=np.float32), np.zeros(shape, dtype=np.float32)
    for lesion in lesions:
        mask.T[tuple(np.moveaxis(lesion.indices - low, 1, 0))] = 1.0
        if nodule.core_hu is not None:
            core.T[tuple(np.moveaxis(core_voxels(lesion, labels.spacing) - low, 1, 0))] = 1.0
    share = acquisition.blur(mask, labels.spacing)
    tissue = _Field.draw(inside, shape[::-1], labels.spacing, _LESION_MM).slab(0, *shape)
    tissue *= nodule.texture_hu
    tissue += nodule.mean_hu
    if nodule.core_hu is not None:
        tissue += (nodule.core_hu - nodule.mean_hu) * acquisition.blur(core, labels.spacing)
    tissue += _noise(labels, noise, acquisition, z.start, z.stop)[:, y, x]
    before = twin.array[box].T.astype(np.float32)
    change = tissue - before
    if nodule.mean_hu < SOLID.mean_hu:  # ground glass never makes a denser voxel less dense: vessels stay visible in it
        np.maximum(change, 0.0, out=change)
    after = before + share * change
    out = _finish(np.where(share > 1e-3, after, before), labels.array[box].T)
    affine = twin.affine.copy()
    affine[:3, 3] = twin.to_world(low)
    return Volume(out.T, affine)
