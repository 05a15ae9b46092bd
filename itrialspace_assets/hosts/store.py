"""The host store: one scan becomes a host (canonical, nodule-free), and its nodules become donors.

Reads organ maps and nodule masks, writes ``store/hosts/<hash>.nii.gz`` with its lung depth and its clearance map beside
it; plans nothing.
"""

import hashlib
from dataclasses import asdict, dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.case import HostCase
from itrialspace_assets.hosts.clearance import (
    airway_points,
    lobe_distance,
    measure_clearance,
    write_clearance,
)
from itrialspace_assets.hosts.depth import LungDepth, lung_depth
from itrialspace_assets.hosts.paths import clearance_path, depth_path, map_path
from itrialspace_assets.hosts.rows import (
    DonorRow,
    FreeMapColumns,
    HostLobeRow,
    HostRow,
    LesionColumns,
    LobeColumns,
    LobeShapeColumns,
    MapColumns,
)
from itrialspace_assets.hosts.shapes import describe
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, LUNG, NODULE, equivalent_diameter, lung_mask
from itrialspace_assets.imaging.geometry import Box, Volume, bounding_box, box_where, read_labels, read_volume
from itrialspace_assets.imaging.lesions import Lesion, cut_lesion, pack_bits
from itrialspace_assets.imaging.members import read_members
from itrialspace_assets.imaging.packing import Packed, pack_volume, write_volume
from itrialspace_assets.profiles.lobes import LobeExtent, runs
from itrialspace_assets.profiles.masks import find_lesion
from itrialspace_assets.profiles.measure import lobe_about, nodules_in
from itrialspace_assets.profiles.plausible import place_faults
from itrialspace_assets.profiles.registry import dataset as registered

#: Voxels about a nodule in which a lobe is looked for to take its place; ours.
CLEAR_PAD = 8


def clear_nodules(labels: Volume) -> tuple[Volume, npt.NDArray[np.bool_] | None]:
    """A map (X, Y, Z) with every voxel of label 23 given to its nearest lobe, and the mask of those voxels.

    Each voxel goes to its own nearest lobe, so that a nodule on a fissure is divided as the fissure runs. A nodule
    without a lobe within its box plus 8 voxels goes to the nearest other label. The mask is None without a nodule.
    """
    if box_where(labels.array, lambda part: part == NODULE) is None:
        return labels, None
    mask = labels.array == NODULE
    out = labels.array.copy(order="K")
    block = bounding_box(mask, pad=CLEAR_PAD)
    pieces = cc3d.connected_components(np.asfortranarray(mask[block]), connectivity=26, out_dtype=np.uint32)
    for number, box in enumerate(ndimage.find_objects(pieces.view(np.int32)), start=1):
        inner = tuple(slice(max(0, s.start - CLEAR_PAD), s.stop + CLEAR_PAD) for s in box)
        wide = tuple(
            slice(i.start + b.start, min(i.stop, b.stop - b.start) + b.start) for i, b in zip(inner, block, strict=True)
        )
        part, here = labels.array[wide], pieces[inner] == number
        source = lung_mask(part)
        if not source.any():
            source = part != NODULE
        if not source.any():
            continue
        nearest = ndimage.distance_transform_edt(
            ~source, sampling=tuple(labels.spacing), return_distances=False, return_indices=True
        )
        out[wide][here] = part[tuple(axis[here] for axis in nearest)]
    return Volume(out, labels.affine), mask


def content_hash(volume: Volume) -> str:
    """Hash of a volume's voxels and grid, whatever the compression on disk."""
    head = digest([list(volume.array.shape), str(volume.array.dtype), (np.round(volume.affine, 4) + 0.0).tolist()])
    whole = hashlib.sha256(head.encode())
    whole.update(np.ascontiguousarray(volume.array.T).data)  # not joined: a copy of a chest for nothing
    return whole.hexdigest()


@dataclass(frozen=True)
class StoredMap:
    """A nodule-free map in the store: what insertion reads of a host.

    Attributes:
        columns: its columns of ``hosts`` that need no measuring of distances.
        lobes: the same of ``host_lobes``, one for each lobe.
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        shapes: its lobes by name.
        masks: the largest component of each lobe by name, over its box.
        lungs: box of the lobes.
        files: what was written, path below the output folder -> SHA-256.
    """

    columns: FreeMapColumns
    lobes: tuple[LobeShapeColumns, ...]
    free: Volume
    shapes: dict[str, LobeExtent]
    masks: dict[str, npt.NDArray[np.bool_]]
    lungs: Box
    files: dict[str, str]


@dataclass(frozen=True)
class PreparedHost:
    """A host as the store holds it, and what was measured on the way.

    Attributes:
        map_columns: its columns of ``hosts``.
        lobe_columns: its columns of ``host_lobes``, one for each lobe.
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        shapes: its lobes by name.
        native: the nodules that the map held.
        files: what was written, path below the output folder -> SHA-256.
    """

    map_columns: MapColumns
    lobe_columns: tuple[LobeColumns, ...]
    free: Volume
    shapes: dict[str, LobeExtent]
    native: list[Lesion]
    files: dict[str, str]

    @property
    def columns(self) -> dict[str, Any]:
        """``map_columns`` by column name."""
        return asdict(self.map_columns)

    @property
    def lobes(self) -> list[dict[str, Any]]:
        """``lobe_columns`` by column name."""
        return [asdict(lobe) for lobe in self.lobe_columns]


def store_map(settings: Settings, labels: Volume, scan_uid: str, anatomy: str) -> StoredMap:
    """Clear a map of its nodules and put it into the store: enough to insert nodules into it.

    Args:
        settings: gives the store.
        labels: label map (X, Y, Z), canonical RAS+.
        scan_uid: what to call it in messages.
        anatomy: real or procedural, for the file's description.

    Raises:
        CaseRejected: no lobe in it.
    """
    free, cleared = clear_nodules(labels)
    shapes, masks = _lobes(free)
    if not shapes:
        raise CaseRejected(Reason.NO_LOBE, f"{scan_uid}: expected lobe labels 28-32 in the organ map, got none")
    columns = tuple(
        LobeShapeColumns(lobe=s.name, voxels=s.voxels, box=_bounds(s.box), occupied=runs(s.occupied))
        for s in shapes.values()
    )
    low = np.min([lobe.box[::2] for lobe in columns], axis=0)
    high = np.max([lobe.box[1::2] for lobe in columns], axis=0)
    lungs = slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])
    map_sha256 = content_hash(free)
    path = map_path(settings.output, map_sha256)
    nothing = Lesion((0, 0, 0), np.zeros((0, 0, 0), bool))
    return StoredMap(
        columns=FreeMapColumns(
            map_sha256=map_sha256,
            shape=list(free.array.shape),
            **_by_axis("spacing", free.spacing),
            **_by_axis("origin", free.affine[:3, 3]),
            lung_box=[int(v) for pair in zip(low, high, strict=True) for v in pair],
            cleared=pack_bits(cut_lesion(cleared) if cleared is not None else nothing),
        ),
        lobes=columns,
        free=free,
        shapes=shapes,
        masks=masks,
        lungs=lungs,
        files={str(path.relative_to(settings.output)): write_volume(path, free, f"nodule-free host map ({anatomy})")},
    )


def prepare_host(settings: Settings, labels: Volume, scan_uid: str, anatomy: str) -> PreparedHost:
    """``store_map``, and all that is measured of a host once: lung depth, clearance map, the radius of each lobe.

    Args:
        settings: gives the store.
        labels: label map (X, Y, Z), canonical RAS+.
        scan_uid: what to call it in messages.
        anatomy: real or procedural, for the file's description.

    Raises:
        CaseRejected: no lobe in it.
    """
    stored = store_map(settings, labels, scan_uid, anatomy)
    native = nodules_in(labels)
    own = lobe_distance(stored.free, stored.lungs)
    lobes = [
        LobeColumns(**vars(shape), fit_radius_mm=round(_greatest(own, stored, shape.lobe), 4)) for shape in stored.lobes
    ]
    depth = lung_depth(stored.free, stored.lungs)
    deep, clearance = (f(settings.output, stored.columns.map_sha256) for f in (depth_path, clearance_path))
    sha256 = write_clearance(clearance, measure_clearance(stored.free, stored.lungs, depth.array, own))
    files = {deep: write_volume(deep, depth, f"quarter mm to the lung's outline ({anatomy})"), clearance: sha256}
    return PreparedHost(
        map_columns=MapColumns(**vars(stored.columns), room_sha256=sha256, native_nodules=len(native)),
        lobe_columns=tuple(lobes),
        free=stored.free,
        shapes=stored.shapes,
        native=native,
        files=stored.files | {str(p.relative_to(settings.output)): sha for p, sha in files.items()},
    )


def _lobes(free: Volume) -> tuple[dict[str, LobeExtent], dict[str, npt.NDArray[np.bool_]]]:
    """The lobes of a nodule-free map by name, and the mask of each over its box: its largest component, as
    ``profiles.lobes.lobe_in`` finds it, all lobes in one pass."""
    block = box_where(free.array, lung_mask)
    if block is None:
        return {}, {}
    part = np.asfortranarray(free.array[block])
    part = np.multiply(part, lung_mask(part), order="F")
    pieces = cc3d.connected_components(part, connectivity=26)  # of equal labels
    found: dict[int, tuple[LobeExtent, npt.NDArray[np.bool_]]] = {}
    counts, whole = _counts(pieces), np.empty_like(pieces, dtype=bool)
    for number in np.argsort(-counts[1:], kind="stable") + 1:
        np.equal(pieces, number, out=whole)
        box = bounding_box(whole)
        mask = whole[box].copy(order="F")
        label = int(part[box].T[np.unravel_index(mask.T.argmax(), mask.T.shape)])  # of its first voxel
        if label not in found:
            x, y, z = (slice(b.start + s.start, b.start + s.stop) for b, s in zip(block, box, strict=True))
            occupied = np.flatnonzero(mask.any(axis=(0, 1))) + z.start
            found[label] = LobeExtent(LOBE_NAMES[label], int(counts[number]), (x, y, z), occupied), mask
            if len(found) == len(LUNG):
                break
    in_order = [found[label] for label in sorted(found)]
    return {lobe.name: lobe for lobe, _ in in_order}, {lobe.name: mask for lobe, mask in in_order}


def _counts(pieces: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
    """Voxels of each number of an array (X, Y, Z): the lengths of its runs, which are few."""
    flat = pieces.ravel(order="K")
    starts = np.concatenate(([0], np.flatnonzero(flat[1:] != flat[:-1]) + 1))
    lengths = np.diff(starts, append=flat.size)
    return np.bincount(flat[starts], weights=lengths).astype(np.int64)


def _within(part: Box, whole: Box) -> Box:
    """A box in voxels of another that holds it."""
    x, y, z = (slice(a.start - b.start, a.stop - b.start) for a, b in zip(part, whole, strict=True))
    return x, y, z


def _greatest(own: npt.NDArray[np.float32], stored: StoredMap, lobe: str) -> float:
    """Radius (mm) of the largest sphere in a lobe's largest component: its voxel that is deepest in the lobe.

    The voxel nearest to one of the component that lies outside it has another label: one of the same label would touch
    the component, since the voxel before it on the way is nearer and so lies inside.
    """
    return float(own[_within(stored.shapes[lobe].box, stored.lungs)].max(where=stored.masks[lobe], initial=0.0))


def _by_axis(name: str, values: npt.NDArray[np.float64]) -> dict[str, Any]:
    return {f"{name}_{a}": round(float(v), 6) for a, v in zip("xyz", values, strict=True)}


def donor_columns(lesion: Lesion, spacing: npt.NDArray[np.float64]) -> dict[str, Any]:
    """``LesionColumns`` of a lesion by column name; ``spacing`` is the voxel size in mm, shape (3,)."""
    bits = pack_bits(lesion)
    volume = float(lesion.mask.sum() * np.prod(spacing))
    reach = float(np.linalg.norm((lesion.indices - lesion.centroid) * spacing, axis=1).max())
    return asdict(
        LesionColumns(
            lesion=bits,
            **_by_axis("spacing", spacing),
            voxels=int(lesion.mask.sum()),
            volume_mm3=round(volume, 4),
            diameter_mm=round(equivalent_diameter(volume), 4),
            **describe(lesion.mask, spacing),
            reach_mm=round(reach, 4),
            lesion_sha256=digest([bits, np.round(spacing, 6).tolist()]),
        )
    )


def prepare_scan(case: HostCase, settings: Settings) -> Output:
    """Rows of ``hosts``, ``host_lobes`` and ``donors`` for one scan.

    Raises:
        CaseRejected: no readable organ map, no lobe in it, or structures that lie where they cannot. A nodule without
            voxels is rejected alone.
    """
    entry = registered(settings, case.dataset)
    file = entry.organ_map(settings.data, case.ct_id)
    labels = read_labels(file)
    if faults := place_faults(labels):
        raise CaseRejected(
            Reason.NOT_A_LABEL_MAP,
            f"{file}: expected the anatomy of a chest under the labels of VISTA3D, got {'; '.join(faults)}",
        )
    made = prepare_host(settings, labels, case.scan_uid, case.anatomy)
    host = HostRow(
        **made.columns,
        scan_uid=case.scan_uid,
        dataset=case.dataset,
        person_uid=case.person_uid,
        age=case.age,
        sex=case.sex,
        smoking=case.smoking,
        anatomy=case.anatomy,
    )
    lobes = [HostLobeRow(**lobe, scan_uid=case.scan_uid, dataset=case.dataset) for lobe in made.lobes]
    donors, rejected = [], []
    for number, nodule in enumerate(case.nodules):
        mask_file = entry.nodule_mask(settings.data, case.ct_id, nodule.annotation_id)
        try:
            centre = None if nodule.centre is None else labels.to_voxel(nodule.centre)
            lesion, source = find_lesion(labels, mask_file, centre, made.native, f"row {nodule.row}")
        except CaseRejected as error:
            rejected.append(Rejection(case.scan_uid, error.reason, error.detail, number))
            continue
        lobe, percent = _position(made.free, lesion, made.shapes)
        donors.append(
            DonorRow(
                **donor_columns(lesion, made.free.spacing),
                nodule_uid=nodule.nodule_uid,
                dataset=case.dataset,
                scan_uid=case.scan_uid,
                person_uid=case.person_uid,
                mask_from=source,
                lobe=lobe,
                **percent,
            )
        )
    rows = {"hosts": [asdict(host)], "host_lobes": [asdict(r) for r in lobes], "donors": [asdict(r) for r in donors]}
    return Output(rows, made.files, rejected)


def _position(free: Volume, lesion: Lesion, lobes: dict[str, LobeExtent]) -> tuple[str, dict[str, Any]]:
    """Lobe of a lesion and its percentages there, measured on the map: a published percentage may be wrong."""
    label, _ = lobe_about(free, lesion)
    if not label:
        return "background", {"cc_pct": None, "ml_pct": None, "ap_pct": None}
    name = LOBE_NAMES[label]
    place = np.clip(lobes[name].percent(lesion.centroid), 0.0, 100.0)
    return name, {f"{a}_pct": round(float(v), 4) for a, v in zip(("cc", "ml", "ap"), place, strict=True)}


def _bounds(box: tuple[slice, slice, slice]) -> list[int]:
    return [int(v) for s in box for v in (s.start, s.stop)]


@lru_cache(maxsize=1)
def load_lung_depth(output: Path, map_sha256: str, lungs: tuple[int, ...]) -> LungDepth:
    """``lung_depth`` of a host: from the store, or, of a host that only insertion needs, measured as it is read.

    Args:
        output: folder of the outputs.
        map_sha256: the host.
        lungs: first and last voxel (not included) of the box of its lobes along each axis in turn.

    Raises:
        CaseRejected: the store's file is damaged.
    """
    path, box = depth_path(output, map_sha256), [slice(a, b) for a, b in zip(lungs[::2], lungs[1::2], strict=True)]
    stored = read_volume(path) if path.is_file() else None
    return LungDepth(load_host_map(output, map_sha256), (box[0], box[1], box[2]), stored)


def packed_host(output: Path, map_sha256: str) -> Packed:
    """The parts of a host map's file, from which the masks of its cases are put together."""
    return read_host(output, map_sha256)[1]


@lru_cache(maxsize=1)
def airway_tree(output: Path, map_sha256: str) -> KDTree | None:
    """``airway_points`` of a host."""
    return airway_points(load_host_map(output, map_sha256))


def load_host_map(output: Path, map_sha256: str) -> Volume:
    """A host's nodule-free map.

    Raises:
        CaseRejected: the store's file is missing or damaged.
    """
    return read_host(output, map_sha256)[0]


@lru_cache(maxsize=1)
def read_host(output: Path, map_sha256: str) -> tuple[Volume, Packed]:
    """A host's nodule-free map and the parts of its file; the last one stays in memory, since cases come grouped by
    host.

    Raises:
        CaseRejected: the store's file is missing or damaged.
    """
    for cached in (read_host, load_lung_depth, airway_tree):
        cached.cache_clear()  # free the last host's memory before the next one is read
    path = map_path(output, map_sha256)
    found = read_members(path)
    volume, packed = found.volume, found.packed
    if volume.array.dtype != np.uint8 or packed is None:  # not as the store writes it
        volume = read_labels(path)
        packed = pack_volume(volume)
    volume.array.setflags(write=False)
    return volume, packed
