"""The clearance map of a host: how far some voxels of its lobes lie from everything a nodule must keep off.

Along each axis one voxel in about three millimetres is measured, exactly; nothing is stored for those between.
Thousands of cases read a host's map, so its file is small. Knows label maps and millimetres, no lesion and no trial.
"""

import io
from dataclasses import dataclass
from pathlib import Path

import edt
import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import TableError
from itrialspace_assets.base.fingerprints import replace_file, sha256_bytes
from itrialspace_assets.imaging.anatomy import AIRWAY, TRACHEA, lung_mask
from itrialspace_assets.imaging.geometry import Box, Volume

#: Distance (mm) between the voxels that are measured; ours. Half of it would make the file eight times as large, for a
#: place that is nearer by less than a voxel of most scans.
LATTICE_MM = 3.0
#: Steps of a stored distance in one mm; ours. A byte then holds up to 63.75 mm, and no planner asks for more.
STEPS = 4
#: What a mm of wrong distance costs beside a mm of shift, in planning and in placement; ours.
PLEURA_WEIGHT, AIRWAY_WEIGHT, MARGIN_WEIGHT = 0.3, 0.2, 0.3
#: Distance (mm) beyond which places count as equally far from the pleura, and as equally wrong about the airway; ours.
CAP_MM = 20.0
#: Share of a number by which single precision may round it.
_ROUNDED = 2.0**-24
#: Distance (mm) between slices that is beyond any in a body: a pass then measures within each slice.
_APART_MM = 1e4
#: Stands in a file for an airway distance of a host that has no airway.
_NO_AIRWAY = 2**16 - 1

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class ClearanceMap:
    """The measured voxels of a host's lobes, n of them; distances in mm, rounded down to a quarter.

    Attributes:
        voxel: canonical RAS+ index of each, shape (n, 3).
        label: its lobe's label (28 to 32), shape (n,).
        free: to the nearest voxel that is in no lobe, shape (n,).
        own: to the nearest voxel of any other label, shape (n,).
        pleura: to the lung's outline, shape (n,).
        airway: to airway or trachea, shape (n,); infinite where the host has neither.
    """

    voxel: Ints
    label: npt.NDArray[np.uint8]
    free: Floats
    own: Floats
    pleura: Floats
    airway: Floats


def airway_points(labels: Volume) -> KDTree | None:
    """Voxels of airway and trachea of a canonical map (X, Y, Z), in mm from voxel 0; None where the map has neither."""
    found = []
    for level in range(labels.array.shape[2]):  # a mask of the whole would be as large as the map
        plane = labels.array[..., level].ravel(order="F")  # as it lies in memory
        at = np.flatnonzero((plane == AIRWAY) | (plane == TRACHEA))  # in one dimension: several times as fast
        j, i = np.divmod(at, labels.array.shape[0])
        found.append(np.stack([i, j, np.full_like(i, level)], axis=1))
    points = np.concatenate(found)
    # halved by length, not by rank: as deep a tree for such points, sooner built and asked
    return KDTree(points * labels.spacing, balanced_tree=False) if len(points) else None


def lobe_distance(free: Volume, lungs: Box) -> npt.NDArray[np.float32]:
    """Distance (mm) of each voxel of a lobe to the nearest voxel of any other label, over the box of the lungs.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map; what lies outside it counts as another label.

    Returns:
        float32 over the box; 0 outside the lobes.
    """
    lobes = _lobes(free.array[lungs])
    return np.asarray(edt.edt(lobes, anisotropy=tuple(free.spacing), black_border=True))


def measure_clearance(free: Volume, lungs: Box, pleura: npt.NDArray[np.uint8], own: npt.NDArray[np.float32]) -> bytes:
    """The content of a host's clearance file.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map.
        pleura: distance to the lung's outline over that box, in quarters of a mm.
        own: its ``lobe_distance``.
    """
    lobes = _lobes(free.array[lungs])
    step = np.maximum(1, np.rint(LATTICE_MM / free.spacing)).astype(int)
    at = tuple(slice(min(s // 2, n - 1), None, s) for s, n in zip(step, lobes.shape, strict=True))
    label = lobes[at]
    first = np.array([a.start + b.start for a, b in zip(at, lungs, strict=True)])
    measured = np.nonzero(label)
    outside = edt.edtsq(np.minimum(lobes, 1), anisotropy=tuple(free.spacing), black_border=True)
    data = io.BytesIO()
    np.savez_compressed(
        data,
        first=first,
        step=step,
        label=label,
        free=_steps(np.sqrt(outside[at][measured])),
        own=_steps(own[at][measured]),
        pleura=pleura[at][measured],
        airway=_airway_steps(free, lungs, label, first, step),
    )
    return data.getvalue()


def _lobes(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """A label map (X, Y, Z) with 0 for whatever is no lobe, Fortran order."""
    part = np.asfortranarray(labels)
    return np.asarray(part * lung_mask(part))


def _airway_steps(
    free: Volume, lungs: Box, label: npt.NDArray[np.uint8], first: Ints, step: Ints
) -> npt.NDArray[np.uint16]:
    """Distance of the measured voxels to airway or trachea, in quarters of a mm rounded down.

    One pass within the slices that hold any, read at the columns of the lattice, and one along these columns. Where
    single precision leaves the quarter open, the voxel is looked up.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map.
        label: label of each voxel of the lattice; 0: not measured.
        first: voxel (3,) of the map at which the lattice begins.
        step: voxels (3,) from one of its voxels to the next.
    """
    measured = np.nonzero(label)
    points = airway_points(free)
    if points is None:
        return np.full(len(measured[0]), _NO_AIRWAY, np.uint16)
    low, high = (np.rint(ends / free.spacing).astype(int) for ends in (points.mins, points.maxes))
    low[:2] = np.minimum(low[:2], [s.start for s in lungs[:2]])
    high[:2] = np.maximum(high[:2] + 1, [s.stop for s in lungs[:2]])
    part = np.asfortranarray(free.array[low[0] : high[0], low[1] : high[1], low[2] : high[2] + 1])
    off = ((part != AIRWAY) & (part != TRACHEA)).view(np.uint8)
    within = edt.edtsq(off, anisotropy=(*free.spacing[:2], _APART_MM))
    columns = label.any(axis=2)
    x, y = (first + np.transpose([*np.nonzero(columns), np.zeros(columns.sum(), int)]) * step - low).T[:2]
    square = np.ascontiguousarray(within[x, y].T)  # slices by columns
    least = np.empty((label.shape[2], len(x)), np.float32)
    for number, row in enumerate(least):
        away = (first[2] + number * step[2] - low[2] - np.arange(len(square))) * free.spacing[2]
        np.min(square + (away**2).astype(np.float32)[:, None], axis=0, out=row)
    quarters = np.sqrt(least.T[label[columns] > 0], dtype=np.float64) * STEPS
    # a pass adds up steps along x, so what it rounds grows with their number
    rounded = quarters * (quarters / STEPS / free.spacing[0] + 8) * _ROUNDED
    unsure = np.abs(quarters - np.rint(quarters)) <= rounded
    voxel = np.transpose([axis[unsure] for axis in measured]) * step + first
    quarters[unsure] = points.query(voxel * free.spacing)[0] * STEPS
    return np.asarray(np.floor(np.minimum(quarters, 1000.0 * STEPS)), dtype=np.uint16)


def _steps(mm: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.minimum(np.floor(mm * STEPS), 255), dtype=np.uint8)


def write_clearance(path: Path, data: bytes) -> str:
    """Write the content that ``measure_clearance`` gave, whole or not at all; its SHA-256."""
    replace_file(path, data)
    return sha256_bytes(data)


def read_clearance(path: Path) -> ClearanceMap:
    """The clearance map of a host.

    Raises:
        TableError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as stored:
            part = {name: stored[name] for name in ("first", "step", "label", "free", "own", "pleura", "airway")}
    except Exception as error:  # zipfile, zlib, numpy and the disk each have their own
        raise TableError(
            f"{path}: expected the clearance map of a host as the stage hosts writes it, got {error}; "
            "run the stage hosts again (its run --to hosts)"
        ) from error
    airway = np.where(part["airway"] == _NO_AIRWAY, np.inf, part["airway"] / STEPS)
    measured = np.nonzero(part["label"])
    return ClearanceMap(
        voxel=np.transpose(measured) * part["step"] + part["first"],
        label=part["label"][measured],
        free=part["free"] / STEPS,
        own=part["own"] / STEPS,
        pleura=part["pleura"] / STEPS,
        airway=airway,
    )
