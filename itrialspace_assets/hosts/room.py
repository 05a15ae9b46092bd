"""How much room there is about some voxels of a host's lobes: what planning needs to know of a host's shape.

Every third millimetre or so one voxel is looked at, exactly; what lies between is not stored. Read by thousands,
so a host's file is small. Knows maps and mm, no lesion and no trial.
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

#: Distance (mm) of the voxels that are looked at. Finer would double the file for a shift below one voxel of most scans.
LATTICE_MM = 3.0
#: Steps of a distance in one mm; the greatest that a byte holds is 63.75 mm, of which more is never asked.
STEPS = 4
#: What a mm of wrong distance costs beside a mm of shift, in planning and in placement.
PLEURA_WEIGHT, AIRWAY_WEIGHT, MARGIN_WEIGHT = 0.3, 0.2, 0.3
#: Beyond this distance (mm) one place is as far from the pleura as another, and as wrong about the airway.
CAP_MM = 20.0

Ints = npt.NDArray[np.int64]
Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Room:
    """The voxels looked at, one row each; distances in mm, rounded down to a quarter.

    ``free``: to the nearest voxel that is no lobe. ``own``: to the nearest of any other label.
    ``pleura``: to the lung's outline. ``airway``: to airway or trachea, infinite where the host has neither.
    """

    voxel: Ints  # (n, 3)
    label: npt.NDArray[np.uint8]
    free: Floats
    own: Floats
    pleura: Floats
    airway: Floats


def airway_points(labels: Volume) -> KDTree | None:
    """Voxels of airway and trachea, in mm from voxel 0; None where the map has neither."""
    found = []
    for first in range(0, labels.array.shape[2], 32):  # slab by slab: a mask of the whole would be as large as the map
        part = labels.array[..., first : first + 32].T  # as it lies in memory
        found.append(np.argwhere((part == AIRWAY) | (part == TRACHEA))[:, ::-1] + [0, 0, first])
    points = np.concatenate(found)
    return KDTree(points * labels.spacing) if len(points) else None


def measure_room(free: Volume, lungs: Box, pleura: npt.NDArray[np.uint8], airway: KDTree | None) -> bytes:
    """The file of a host's ``Room``.

    Args:
        free: nodule-free map (X, Y, Z).
        lungs: box of its lobes.
        pleura: distance to the lung's outline over that box, in quarters of a mm.
        airway: as ``airway_points`` gives it.
    """
    part = np.asfortranarray(free.array[lungs])
    lobes = np.where(lung_mask(part), part, 0).astype(np.uint8)
    anisotropy = tuple(free.spacing)
    step = np.maximum(1, np.rint(LATTICE_MM / free.spacing)).astype(int)
    at = tuple(slice(min(s // 2, n - 1), None, s) for s, n in zip(step, part.shape, strict=True))
    label = lobes[at]
    first = np.array([a.start + b.start for a, b in zip(at, lungs, strict=True)])
    seen = np.nonzero(label)
    voxel = np.transpose(seen) * step + first
    far = airway.query(voxel * free.spacing)[0] if airway is not None else np.full(len(voxel), np.inf)

    def distance(values: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
        return _steps(edt.edt(values, anisotropy=anisotropy, black_border=True)[at][seen])

    data = io.BytesIO()
    np.savez_compressed(
        data, first=first, step=step, label=label, free=distance((lobes > 0).astype(np.uint8)), own=distance(lobes),
        pleura=pleura[at][seen], airway=np.where(np.isfinite(far), np.floor(np.minimum(far, 1000.0) * STEPS), 2**16 - 1).astype(np.uint16),
    )  # fmt: skip
    return data.getvalue()


def _steps(mm: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    return np.asarray(np.minimum(np.floor(mm * STEPS), 255), dtype=np.uint8)


def write_room(path: Path, data: bytes) -> str:
    """Write a file of ``measure_room`` and give its hash."""
    replace_file(path, data)
    return sha256_bytes(data)


def read_room(path: Path) -> Room:
    """The room of a host.

    Raises:
        TableError: the file is missing or damaged.
    """
    try:
        with np.load(io.BytesIO(path.read_bytes()), allow_pickle=False) as held:
            part = {name: held[name] for name in ("first", "step", "label", "free", "own", "pleura", "airway")}
    except Exception as error:  # zipfile, zlib, numpy and the disk each have their own
        raise TableError(f"{path}: expected the room of a host as the stage hosts writes it, got {error}; run hosts again") from error  # fmt: skip
    airway = np.where(part["airway"] == 2**16 - 1, np.inf, part["airway"] / STEPS)
    seen = np.nonzero(part["label"])
    voxel = np.transpose(seen) * part["step"] + part["first"]
    return Room(
        voxel, part["label"][seen], part["free"] / STEPS, part["own"] / STEPS, part["pleura"] / STEPS, airway
    )  # fmt: skip
