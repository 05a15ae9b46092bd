"""Measures an inserted lesion on its host's map: lobe, centre, size, distances, what it covers. Places nothing."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from scipy.spatial import KDTree

from itrialspace_assets.hosts.depth import DEEPEST_MM, DEPTH_STEPS, LungDepth
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, LUNG, equivalent_diameter
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion, shared_voxels
from itrialspace_assets.profiles.lobes import LobeExtent
from itrialspace_assets.profiles.measure import lobe_about, pleural_distance

#: Depth (mm) up to which a lesion's margin is looked for first; ours: most are smaller.
MARGIN_REACH_MM = 8.0


@dataclass(frozen=True)
class HostMaps:
    """A host as a case needs it.

    Attributes:
        scan_uid: its scan.
        labels: nodule-free label map (X, Y, Z), canonical RAS+.
        depth: how deep its voxels lie in the lung.
        lobes: box and slices of each lobe, by name.
        cleared: each site at which a native nodule was cleared.
        airway: airway and trachea in mm from the first voxel; None: the host has none.
    """

    scan_uid: str
    labels: Volume
    depth: LungDepth
    lobes: dict[str, LobeExtent]
    cleared: tuple[Lesion, ...]
    airway: KDTree | None


@dataclass(frozen=True)
class MeasuredLesion:
    """An inserted lesion as it lies in its host.

    Attributes:
        lobe: name of the lobe that most of its surroundings lie in.
        lobe_share: share of its surroundings in that lobe.
        centre: mean voxel index (3,), canonical RAS+.
        world_mm: the same in world mm (RAS+).
        percents: the same as (cc, ml, ap) percent of the lobe; None where the host's table lacks the lobe.
        shift_mm: distance of the centre to the wanted one.
        voxels: number of voxels.
        volume_mm3: their volume.
        diameter_mm: diameter of the ball of that volume.
        pleural_mm: distance of the centre to the nearest voxel outside the lung; None outside the lung.
        airway_mm: distance of the centre to airway or trachea; None where the host has none.
        margin_mm: least distance of any voxel to the lung's outline.
        outside_lung: number of voxels outside the five lobes.
        overlap: share of its voxels that lie in other nodules of the case.
        on_cleared: whether it covers part of a cleared site.
    """

    lobe: str
    lobe_share: float
    centre: npt.NDArray[np.float64]
    world_mm: npt.NDArray[np.float64]
    percents: tuple[float | None, float | None, float | None]
    shift_mm: float
    voxels: int
    volume_mm3: float
    diameter_mm: float
    pleural_mm: float | None
    airway_mm: float | None
    margin_mm: float
    outside_lung: int
    overlap: float
    on_cleared: bool


def measure(
    host: HostMaps, lesion: Lesion, wanted: npt.NDArray[np.float64], others: Sequence[Lesion]
) -> MeasuredLesion | None:
    """A lesion measured on its host's map; None where no lobe surrounds it.

    Args:
        host: where it lies.
        lesion: its voxels in the host's grid.
        wanted: the centre (3,) that was wanted, voxels.
        others: lesions of the case that are inserted already.
    """
    labels = host.labels
    label, share = lobe_about(labels, lesion)
    if not label:
        return None
    lobe, centre = LOBE_NAMES[label], lesion.centroid
    covered = labels.array[lesion.box][lesion.mask]
    volume = len(covered) * labels.voxel_mm3
    return MeasuredLesion(
        lobe=lobe,
        lobe_share=share,
        centre=centre,
        world_mm=labels.to_world(centre),
        percents=host.lobes[lobe].percent(centre) if lobe in host.lobes else (None, None, None),
        shift_mm=float(np.linalg.norm((centre - wanted) * labels.spacing)),
        voxels=len(covered),
        volume_mm3=volume,
        diameter_mm=equivalent_diameter(volume),
        pleural_mm=pleura_of(host.depth, centre),
        airway_mm=float(host.airway.query(centre * labels.spacing)[0]) if host.airway is not None else None,
        margin_mm=margin_of(host.depth, lesion),
        outside_lung=int((~np.isin(covered, LUNG)).sum()),
        overlap=sum(shared_voxels(lesion, other) for other in others) / len(covered),
        on_cleared=any(shared_voxels(lesion, site) for site in host.cleared),
    )


def pleura_of(depth: LungDepth, centre: npt.NDArray[np.float64]) -> float | None:
    """``pleural_distance`` of a voxel index (3,), looked for as far as the depth there says."""
    at = np.rint(centre).astype(np.int64)
    known = int(depth.over(at, at + 1, MARGIN_REACH_MM)[0, 0, 0]) + 1
    return pleural_distance(depth.free, centre, reach_mm=known / DEPTH_STEPS)


def margin_of(depth: LungDepth, lesion: Lesion) -> float:
    """Least distance (mm) of any voxel of a lesion to the lung's outline.

    Args:
        depth: of the host.
        lesion: in the host's grid; 0.0 if a voxel lies outside the box of the lungs.
    """
    low = np.array([s.start for s in lesion.box])
    reach = MARGIN_REACH_MM
    while True:
        least = float(depth.over(low, low + lesion.mask.shape, reach)[lesion.mask].min()) / DEPTH_STEPS
        if least <= reach or reach >= DEEPEST_MM:
            return least
        reach *= 2
