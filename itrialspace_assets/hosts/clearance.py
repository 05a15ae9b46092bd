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
from itrialspace_assets.imaging.anatomy import AIRWAY, LUNG, TRACHEA
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
#: Greatest share by which a single-precision distance may be wrong, and quarters beside it: sums of at most 512 steps,
#: each rounded to 2**-24. Where a distance lies nearer than that to the next quarter, it is computed exactly.
_ROUNDED, _ROUNDED_STEPS = 4e-5, 1e-3
#: Lookup tables over labels: 0 in airway and trachea, else 1, and each lobe's own number.
_OFF_AIRWAY = np.ones(256, np.uint8)
_OFF_AIRWAY[[AIRWAY, TRACHEA]] = 0
_LOBE = np.zeros(256, np.uint8)
_LOBE[list(LUNG)] = LUNG
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
    for first in range(0, labels.array.shape[2], 32):  # slab by slab: a mask of the whole would be as large as the map
        slab = labels.array[..., first : first + 32].T  # as it lies in memory
        found.append(np.argwhere((slab == AIRWAY) | (slab == TRACHEA))[:, ::-1] + [0, 0, first])
    points = np.concatenate(found)
    return KDTree(points * labels.spacing) if len(points) else None


def look_up(table: npt.NDArray[np.uint8], labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """The entry of a table (256,) for each label of a part of a map (X, Y, Z), as it lies in memory (Fortran)."""
    return np.asarray(table[np.asfortranarray(labels).T].T, dtype=np.uint8)


def lobe_distance(free: Volume, lungs: Box) -> npt.NDArray[np.float32]:
    """Distance (mm) of each voxel of a lobe to the nearest voxel of any other label, over the box of the lungs.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map; what lies outside it counts as another label.

    Returns:
        float32 over the box; 0 outside the lobes.
    """
    lobes = look_up(_LOBE, free.array[lungs])
    return np.asarray(edt.edt(lobes, anisotropy=tuple(free.spacing), black_border=True))


def measure_clearance(free: Volume, lungs: Box, pleura: npt.NDArray[np.uint8], own: npt.NDArray[np.float32]) -> bytes:
    """The content of a host's clearance file.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map.
        pleura: distance to the lung's outline over that box, in quarters of a mm.
        own: its ``lobe_distance``.
    """
    lobes = look_up(_LOBE, free.array[lungs])
    step = np.maximum(1, np.rint(LATTICE_MM / free.spacing)).astype(int)
    at = tuple(slice(min(s // 2, n - 1), None, s) for s, n in zip(step, lobes.shape, strict=True))
    label = lobes[at].copy()
    first = np.array([a.start + b.start for a, b in zip(at, lungs, strict=True)])
    measured = np.nonzero(label)
    voxel = np.transpose(measured) * step + first
    outside = edt.edt(np.minimum(lobes, 1, out=lobes), anisotropy=tuple(free.spacing), black_border=True)
    data = io.BytesIO()
    np.savez_compressed(
        data,
        first=first,
        step=step,
        label=label,
        free=_steps(outside[at][measured]),
        own=_steps(own[at][measured]),
        pleura=pleura[at][measured],
        airway=_airway_steps(free, lungs, voxel),
    )
    return data.getvalue()


def _airway_steps(free: Volume, lungs: Box, voxel: Ints) -> npt.NDArray[np.uint16]:
    """Distance of some voxels (n, 3) of the lungs to airway or trachea, in quarters of a mm rounded down.

    One pass over the box of lungs and airway; the voxels whose quarter its rounding leaves open are looked up.
    """
    points = airway_points(free)
    if points is None:
        return np.full(len(voxel), _NO_AIRWAY, np.uint16)
    low = np.minimum([s.start for s in lungs], np.rint(points.mins / free.spacing).astype(int))
    high = np.maximum([s.stop for s in lungs], np.rint(points.maxes / free.spacing).astype(int) + 1)
    off = look_up(_OFF_AIRWAY, free.array[tuple(slice(a, b) for a, b in zip(low, high, strict=True))])
    mm = edt.edt(off, anisotropy=tuple(free.spacing))[tuple((voxel - low).T)].astype(np.float64)
    open_ = np.abs(mm * STEPS - np.rint(mm * STEPS)) < _ROUNDED * mm * STEPS + _ROUNDED_STEPS
    mm[open_] = points.query(voxel[open_] * free.spacing)[0]
    return np.floor(np.minimum(mm, 1000.0) * STEPS).astype(np.uint16)


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
