"""Finds where a lesion goes: the voxel nearest to the wanted place at which all of it fits.

Strict rule: every voxel of the lesion lies in lung, at least half of it in the wanted lobe, and
none in another lesion. Knows a host's map and a lesion's shape; nothing of donors or trials.
"""

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from itrialspace_assets.anatomy import LUNG
from itrialspace_assets.errors import CaseRejected, Reason
from itrialspace_assets.geometry import Volume, box_around
from itrialspace_assets.volumes import Lesion

#: Search radii in mm, tried in turn; the last spans any lung.
SEARCH_MM = (12.0, 30.0, 80.0, 400.0)
_BATCH = 256


@dataclass(frozen=True)
class Placement:
    """Where a lesion came to lie, and how far (mm) that is from where it was wanted."""

    lesion: Lesion
    shift_mm: float


def place(
    host: Volume,
    shape: npt.NDArray[np.bool_],
    lobe_label: int,
    wanted: npt.ArrayLike,
    taken: npt.NDArray[np.bool_] | None = None,
) -> Placement:
    """The allowed place with the least distance (mm) to ``wanted``; ties by voxel order.

    Args:
        host: nodule-free label map (X, Y, Z).
        shape: the lesion on the host's grid, cropped.
        lobe_label: 28 to 32.
        wanted: voxel index for the lesion's centroid (fractional).
        taken: voxels of lesions already placed, same grid as the host.

    Raises:
        CaseRejected: the position is not finite, or no place in the lobe holds the lesion.
    """
    target = np.asarray(wanted, dtype=np.float64)
    if not np.all(np.isfinite(target)):
        raise CaseRejected(Reason.BAD_POSITION, f"expected a finite position, got {target.tolist()}")
    voxels = np.argwhere(shape)
    centroid = voxels.mean(axis=0)
    anchor = np.rint(centroid).astype(np.int64)
    offsets = voxels - anchor
    spacing = host.spacing
    # a place needs at least the lung around it that the lesion has around its own anchor voxel
    inside_shape = np.pad(edt.edt(np.pad(shape, 1), anisotropy=tuple(spacing), black_border=True), 1)
    core = max(0.0, float(inside_shape[tuple(anchor + 2)]) - float(spacing.max()))
    tried = -1.0
    for radius in SEARCH_MM:
        box = box_around(
            np.clip(np.rint(target), 0, np.asarray(host.array.shape) - 1), np.ceil(radius / spacing), host.array.shape
        )
        origin = np.array([s.start for s in box])
        labels = host.array[box]
        free = (labels >= LUNG[0]) & (labels <= LUNG[-1])
        if taken is not None:
            free &= ~taken[box]
        depth = edt.edt(free, anisotropy=tuple(spacing), black_border=False)
        points = np.argwhere((labels == lobe_label) & (depth > core))
        distance = np.linalg.norm((points + origin - anchor + centroid - target) * spacing, axis=1)
        whole = all(s.start == 0 and s.stop == n for s, n in zip(box, host.array.shape, strict=True))
        near = ((distance <= radius) | whole) & (distance > tried)
        order = np.argsort(distance[near], kind="stable")
        points, distance = points[near][order] + origin, distance[near][order]
        for start in range(0, len(points), _BATCH):
            batch = points[start : start + _BATCH]
            at = batch[:, None, :] + offsets[None, :, :]
            inside = np.all((at >= 0) & (at < host.array.shape), axis=(1, 2))
            batch, at = batch[inside], at[inside]
            if not len(batch):
                continue
            found = host.array[at[..., 0], at[..., 1], at[..., 2]]
            fits = np.all((found >= LUNG[0]) & (found <= LUNG[-1]), axis=1) & (
                (found == lobe_label).mean(axis=1) >= 0.5
            )
            if taken is not None:
                fits &= ~taken[at[..., 0], at[..., 1], at[..., 2]].any(axis=1)
            if fits.any():
                chosen = batch[int(np.argmax(fits))]
                first = chosen - anchor
                lesion = Lesion((int(first[0]), int(first[1]), int(first[2])), shape)
                return Placement(lesion, float(np.linalg.norm((lesion.centroid - target) * spacing)))
        tried = radius
        if whole:
            break
    size = float((6 * shape.sum() * np.prod(spacing) / np.pi) ** (1 / 3))
    raise CaseRejected(
        Reason.DOES_NOT_FIT, f"lobe {lobe_label}: no place holds a lesion of {size:.1f} mm wholly inside the lung"
    )
