"""One procedural person: a chest in the platform's label map, drawn from a seed.

Coordinates are mm in RAS+; the origin lies on the midline at the level of the diaphragm's rim. The heart lies left
and the liver right, so that a mirrored volume can be seen at once. All measures are ours, plausible for an adult.
"""

from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy import ndimage

from itrialspace_assets.hosts.shapes import NoduleShape, draw_directions, radius_at
from itrialspace_assets.imaging.anatomy import AIRWAY, BODY, LUNG, NODULE, PULMONARY_VEIN, TRACHEA, lung_mask
from itrialspace_assets.imaging.geometry import Volume, bounding_box
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion

Array = npt.NDArray[Any]

#: Extent of the volume in mm; ours, above NodMAISI's least field of view of 256 mm (docs/facts/synthesis.md#grid).
EXTENT_MM = np.array([346.0, 260.0, 276.0])
#: World position (mm) of voxel 0; ours.
ORIGIN_MM = np.array([-173.0, -130.0, -66.0])


@dataclass(frozen=True)
class Body:
    """Measures of one person in mm, drawn by ``draw_body``."""

    half_width: float
    half_depth: float
    lung_width: float
    lung_depth: float
    apex: float
    heart: float
    dome: float
    fissure_z: float
    fissure_slope: float
    horizontal_z: float
    rib_pitch: float


def draw_body(rng: np.random.Generator) -> Body:
    """Measures that vary from person to person by about ten per cent."""
    size = rng.uniform(0.93, 1.06)
    return Body(
        half_width=158 * size * rng.uniform(0.97, 1.03),
        half_depth=108 * size * rng.uniform(0.97, 1.05),
        lung_width=62 * size * rng.uniform(0.96, 1.04),
        lung_depth=84 * size * rng.uniform(0.96, 1.04),
        apex=178 * size * rng.uniform(0.97, 1.03),
        heart=rng.uniform(0.9, 1.1),
        dome=rng.uniform(34, 48),
        fissure_z=rng.uniform(66, 80),
        fissure_slope=rng.uniform(0.75, 0.95),
        horizontal_z=rng.uniform(62, 76),
        rib_pitch=rng.uniform(23, 25),
    )


class _Canvas:
    """A label map under construction with its coordinates as open grids (mm)."""

    def __init__(self, spacing: npt.NDArray[np.float64]) -> None:
        shape = np.floor(EXTENT_MM / spacing).astype(int)
        affine = np.diag([*spacing, 1.0])
        affine[:3, 3] = ORIGIN_MM
        self.volume = Volume(np.zeros(tuple(shape), dtype=np.uint8), affine)
        axes = [(ORIGIN_MM[a] + spacing[a] * np.arange(shape[a])).astype(np.float32) for a in range(3)]
        self.x, self.y, self.z = np.ix_(*axes)

    def paint(self, where: Array, label: int, over: Array | None = None) -> None:
        """Set voxels to a label.

        Args:
            where: boolean (X, Y, Z) of the whole volume, or of a shape that broadcasts to it together with ``over``.
            label: value in the platform's label map.
            over: boolean, as ``where``; only voxels that are true in both are set. None: all of ``where``.
        """
        self.volume.array[where if over is None else where & over] = label

    def ellipsoid(self, centre: tuple[float, float, float], radii: tuple[float, float, float]) -> Array:
        cx, cy, cz = centre
        rx, ry, rz = radii
        return np.asarray(((self.x - cx) / rx) ** 2 + ((self.y - cy) / ry) ** 2 + ((self.z - cz) / rz) ** 2 <= 1)

    def tube(self, start: Array, end: Array, radius: float, label: int, only: tuple[int, ...] | None = None) -> None:
        """Set the voxels of a capsule to a label; the part outside the volume is left out.

        Args:
            start: one end of the axis (3,), world mm, RAS+.
            end: the other end (3,), world mm, RAS+.
            radius: in mm, about the axis and its two ends.
            label: value in the platform's label map.
            only: labels that may be replaced; None: any.
        """
        low = np.floor(self.volume.to_voxel(np.minimum(start, end) - radius)).astype(int)
        high = np.ceil(self.volume.to_voxel(np.maximum(start, end) + radius)).astype(int) + 1
        low, high = np.maximum(low, 0), np.minimum(high, self.volume.array.shape)
        if np.any(high <= low):
            return
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        points = np.empty((*(high - low), 3))
        for a, (s, size, first) in enumerate(zip(box, self.volume.spacing, self.volume.affine[:3, 3], strict=True)):
            points[..., a] = np.expand_dims(np.arange(s.start, s.stop) * size + first, [b for b in range(3) if b != a])
        axis = end - start
        along = ((points - start) @ axis) / max(float(axis @ axis), 1e-6)
        from_axis = points - (start + np.minimum(np.maximum(along, 0), 1)[..., None] * axis)
        inside = np.sqrt(np.add.reduce(from_axis * from_axis, axis=-1)) <= radius
        part = self.volume.array[box]
        part[inside if only is None else inside & _among(only)[part]] = label


@lru_cache
def _among(labels: tuple[int, ...]) -> npt.NDArray[np.bool_]:
    """By label: whether it is one of some."""
    return np.isin(np.arange(256), labels)


def draw_anatomy(body: Body, rng: np.random.Generator, spacing: npt.NDArray[np.float64]) -> Volume:
    """Label map of a person without nodules.

    Args:
        body: measures of the person.
        rng: draws airways and veins.
        spacing: voxel size (mm) along x, y and z, shape (3,).

    Returns:
        Labels (X, Y, Z), uint8, RAS+.
    """
    c = _Canvas(spacing)
    x, y, z = c.x, c.y, c.z
    w, d = body.half_width, body.half_depth
    taper = 1 - 0.22 * np.clip((z - 120) / 90, 0, 1) ** 2  # shoulders are left out, the neck is narrower
    skin = (np.abs(x) / (w * taper)) ** 2.3 + (np.abs(y) / (d * taper)) ** 2.3
    c.paint(np.broadcast_to(skin <= 1, c.volume.array.shape), BODY)
    wall = (np.abs(x) / (w - 24)) ** 2.2 + (np.abs(y) / (d - 16)) ** 2.2
    in_z = np.clip(1 - ((z - 40) / (body.apex - 26)) ** 4, 0, 1) * (z > 40) + (z <= 40)
    _bones(c, body, (wall <= 1.0 * in_z) & (wall >= 0.86 * in_z))
    inside = wall <= 0.82 * in_z
    below = _abdomen(c, body, inside)
    _lungs(c, body, inside & ~below)
    _mediastinum(c, body)
    _airways_and_veins(c, rng)
    return Volume(_one_piece_lobes(c.volume.array), c.volume.affine)


def _bones(c: _Canvas, body: Body, chest_wall: Array) -> None:
    """Ribs, sternum and cartilage, spine and its cord, muscles beside it; ``chest_wall`` (X, Y, Z) holds the ribs."""
    x, y, z = c.x, c.y, c.z
    d = body.half_depth
    shell = chest_wall & (z < body.apex - 6) & (z > -50)
    # ribs run down towards the front: bands of the shell, numbered from the top
    phase = (body.apex - 12 - (z + 0.35 * y)) / body.rib_pitch
    number = np.clip(np.floor(phase), 0, 11).astype(np.uint8)
    band = shell & (phase - np.floor(phase) < 0.36) & (phase >= 0) & (phase < 12) & (np.abs(x) > 22)
    c.volume.array[band] = np.where(x < 0, 63 + number, 75 + number).astype(np.uint8)[band]
    c.paint(((np.abs(x) < 14) & (y > d - 30) & (y < d - 16) & (z > 40) & (z < body.apex - 20)), 122)
    c.paint(
        (np.abs(x) < 34) & (np.abs(x) >= 14) & (y > d - 28) & (y < d - 18) & (np.mod(z, 24) < 8) & (z > 20) & (z < 150),
        114,
    )
    level = np.clip(np.floor((z + 66) / 22), 0, 12).astype(int)  # L1 lowest, then T12 upwards
    vertebra = np.where(level == 0, 37, 37 + level).astype(np.uint8)
    column = (x / 19) ** 2 + ((y + d - 44) / 17) ** 2 <= 1
    arch = (np.abs(x) < 24) & (np.abs(y + d - 22) < 9)
    solid = (column & (np.mod(z + 66, 22) < 18)) | (arch & (np.mod(z + 66, 22) < 12))
    c.volume.array[solid] = np.broadcast_to(vertebra, c.volume.array.shape)[solid]
    c.paint(np.broadcast_to((x / 6) ** 2 + ((y + d - 27) / 6) ** 2 <= 1, c.volume.array.shape), 121)
    for side, label in ((-1, 104), (1, 105)):
        c.paint(((x - side * 34) / 20) ** 2 + ((y + d - 22) / 12) ** 2 + 0 * z <= 1, label, c.volume.array == BODY)


def _abdomen(c: _Canvas, body: Body, inside: Array) -> Array:
    """Below the domes: liver right, spleen and stomach left. Voxels (X, Y, Z) of ``inside`` below the domes."""
    x, y, z = c.x, c.y, c.z
    dome_r = body.dome * (1 - ((x - 62) / 78) ** 2 - (y / 95) ** 2)
    dome_l = (body.dome - 12) * (1 - ((x + 62) / 74) ** 2 - (y / 95) ** 2)
    below = np.where(x > 0, z < dome_r, z < dome_l) & inside
    c.paint(below & (x > -22), 1)
    c.paint(below & (x <= -22), 12)
    c.paint(c.ellipsoid((-92, -48, -24), (30, 34, 40)) & below, 3)
    c.paint(c.ellipsoid((58, -56, -58), (24, 22, 30)), 5)
    c.paint(c.ellipsoid((-52, -56, -52), (24, 22, 30)), 14)
    return np.asarray(below)


def _lungs(c: _Canvas, body: Body, free: Array) -> None:
    """One superellipsoid a side, cut into lobes, in what the chest (X, Y, Z) leaves ``free``."""
    x, y, z = c.x, c.y, c.z
    for side, labels in ((-1, (28, 29)), (1, (30, 31, 32))):
        cx = side * (body.lung_width + 20)
        shape = (np.abs(x - cx) / body.lung_width) ** 2.4 + (np.abs(y + 2) / body.lung_depth) ** 2.4
        top = np.clip((z - 30) / (body.apex - 34), 0, 1.2) ** 3.2
        lung = (shape + top <= 1) & free & (z > -40)
        wave = 4 * np.sin(x / 23 + side) + 3 * np.sin(y / 31)
        lower = z < body.fissure_z - body.fissure_slope * y + wave
        c.paint(lung & lower, labels[-1])
        c.paint(lung & ~lower, labels[0])
        if side == 1:
            c.paint(lung & ~lower & (z < body.horizontal_z + 0.06 * x + 2 * np.sin(y / 19)), 31)


def _mediastinum(c: _Canvas, body: Body) -> None:
    """Heart and great vessels over the lungs, and the esophagus."""
    x, y, z = c.x, c.y, c.z
    d = body.half_depth
    h = body.heart
    c.paint(c.ellipsoid((-26, 22, 42), (52 * h, 44 * h, 46 * h)), 115)
    c.paint(c.ellipsoid((-2, 8, 92), (26, 30, 34)), 115)
    c.paint(
        ((x + 22) / 13) ** 2 + ((y + d - 78) / 13) ** 2 + 0 * z <= 1, 6, (z < 118) & np.ones_like(c.volume.array, bool)
    )
    arch_r = np.sqrt((np.sqrt(((y + d - 100) / 1.0) ** 2 + (z - 112) ** 2) - 24) ** 2 + (x + 12) ** 2)
    c.paint((arch_r <= 13) & (z >= 112), 6)
    c.paint(
        ((x - 24) / 10) ** 2 + ((y - 14) / 10) ** 2 + 0 * z <= 1,
        125,
        (z > 80) & (z < 150) & np.ones_like(c.volume.array, bool),
    )
    c.paint(
        ((x + 6) / 8) ** 2 + ((y + d - 74) / 7) ** 2 + 0 * z <= 1, 11, (z > 10) & np.ones_like(c.volume.array, bool)
    )


def _airways_and_veins(c: _Canvas, rng: np.random.Generator) -> None:
    """Trachea, bronchi and veins, whose branches are drawn."""
    carina = np.array([4.0, -8.0, 104.0])
    c.tube(np.array([2.0, -4.0, 205.0]), carina, 9.0, TRACHEA)
    for side in (-1, 1):
        hilum = carina + np.array([side * 44.0, -2.0, -20.0])
        c.tube(carina, hilum, 7.0, AIRWAY)
        targets = _branch_targets(c.volume, side, rng)
        for k, target in enumerate(targets):
            _tree(c, hilum, target, 3.6, AIRWAY, rng, 3)
            _tree(
                c,
                hilum + np.array([0, 9.0, -9.0]),
                target + rng.normal(0, 12, 3),
                2.7 + 0.3 * (k % 2),
                PULMONARY_VEIN,
                rng,
                3,
            )
        c.tube(np.array([-10.0, 6.0, 78.0]), hilum + np.array([0, 9.0, -9.0]), 7.0, PULMONARY_VEIN, (*LUNG, BODY))


def _branch_targets(volume: Volume, side: int, rng: np.random.Generator) -> list[Array]:
    labels = (28, 29) if side < 0 else (30, 31, 32)
    targets = []
    for label in labels:
        points = np.argwhere(volume.array[::4, ::4, ::4] == label) * 4
        centre = points.mean(axis=0)
        for _ in range(2):
            pick = points[rng.integers(len(points))]
            targets.append(volume.to_world(0.45 * centre + 0.55 * pick))
    return targets


def _tree(
    c: _Canvas, start: Array, end: Array, radius: float, label: int, rng: np.random.Generator, depth: int
) -> None:
    """A branch that bends and splits in two; only inside lungs, so that it never leaves the chest."""
    only = (*LUNG, AIRWAY, PULMONARY_VEIN)
    middle = (start + end) / 2 + rng.normal(0, 4, 3)
    c.tube(start, middle, radius, label, only)
    c.tube(middle, end, radius * 0.8, label, only)
    if depth > 1 and radius > 1.4:
        reach = np.linalg.norm(end - start) * 0.55
        direction = (end - start) / max(np.linalg.norm(end - start), 1e-6)
        for _ in range(2):
            turn = direction + rng.normal(0, 0.55, 3)
            _tree(c, end, end + turn / np.linalg.norm(turn) * reach, radius * 0.62, label, rng, depth - 1)


def _one_piece_lobes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """Keep each lobe's largest piece; every other voxel of a lobe goes to the lobe nearest to it."""
    import cc3d

    out = labels.copy()
    lungs = lung_mask(labels)
    box = bounding_box(lungs)
    part, stray = labels[box], np.zeros_like(lungs[box])
    for label in LUNG:
        mask = part == label
        stray |= mask & ~cc3d.largest_k(mask, k=1, connectivity=6).astype(bool)
    if stray.any():
        kept = lungs[box] & ~stray
        nearest = ndimage.distance_transform_edt(~kept, return_distances=False, return_indices=True)
        out[box][stray] = part[tuple(axis[stray] for axis in nearest)]
    return out


def draw_nodule(
    anatomy: Volume,
    taken: npt.NDArray[np.bool_],
    lobe: int,
    shape: NoduleShape,
    rng: np.random.Generator,
) -> Lesion | None:
    """A nodule inside a lobe, clear of the others; None if no place for it was found.

    The radius varies over the sphere by smooth harmonics (lobulation) and narrow rays (spiculation). The mask is cut
    to the lungs and is one piece.

    Args:
        anatomy: label map (X, Y, Z), RAS+, without nodules.
        taken: boolean (X, Y, Z): voxels of other nodules; at least three voxels from them stay free.
        lobe: label of the lobe that holds the centre.
        shape: diameter (mm), lobulation and spiculation.
        rng: draws centre and shape.
    """
    import cc3d

    spacing = anatomy.spacing
    radius = shape.diameter_mm / 2
    points = np.argwhere(anatomy.array[::2, ::2, ::2] == lobe) * 2
    directions, weights = draw_directions(rng)
    half = np.ceil(radius * 1.8 / spacing).astype(int) + 1
    lungs = lung_mask(anatomy.array)
    for _ in range(60):
        centre = points[rng.integers(len(points))] + rng.uniform(-0.5, 0.5, 3)
        low = np.floor(centre).astype(int) - half
        high = low + 2 * half + 2
        if np.any(low < 0) or np.any(high > anatomy.array.shape):
            continue
        box = tuple(slice(int(a), int(b)) for a, b in zip(low, high, strict=True))
        grid = np.stack(np.meshgrid(*(np.arange(s.start, s.stop) for s in box), indexing="ij"), axis=-1)
        offset = (grid - centre) * spacing
        distance = np.linalg.norm(offset, axis=-1)
        unit = offset / np.maximum(distance, 1e-6)[..., None]
        surface = radius_at(unit, shape, directions, weights)
        mask = distance <= surface
        if taken[box][ndimage.binary_dilation(mask, iterations=3)].any():
            continue
        inside = mask & lungs[box]
        if inside.sum() < 0.985 * mask.sum() or not inside.any():
            continue
        piece = cc3d.largest_k(inside, k=1, connectivity=6).astype(bool)
        whole = np.zeros(anatomy.array.shape, bool)
        whole[box] = piece
        return cut_lesion(whole)
    return None


def with_nodules(anatomy: Volume, lesions: list[Lesion]) -> Volume:
    """A copy of a label map (X, Y, Z; RAS+) with label 23 in every voxel of ``lesions``."""
    labels = anatomy.array.copy()
    for lesion in lesions:
        labels[lesion.box][lesion.mask] = NODULE
    return Volume(labels, anatomy.affine)
