"""One scan becomes a host (canonical, nodule-free) and its nodules become donors.

Reads organ maps and nodule masks, writes ``store/hosts/<hash>.nii.gz``; plans nothing.
"""

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import edt
import numpy as np
import numpy.typing as npt
from scipy import ndimage
from scipy.spatial import KDTree

from itrialspace_assets.base.errors import CaseRejected, Reason
from itrialspace_assets.base.fingerprints import digest, sha256_bytes
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.casework.cases import Output, Rejection
from itrialspace_assets.hosts.room import STEPS, airway_points, measure_room, write_room
from itrialspace_assets.hosts.shapes import describe
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, LUNG, NODULE, equivalent_diameter, lung_mask
from itrialspace_assets.imaging.geometry import (
    Box,
    Packed,
    Volume,
    bounding_box,
    pack_volume,
    read_labels,
    read_volume,
    write_volume,
)
from itrialspace_assets.imaging.volumes import Lesion, cut_lesion, pack_bits
from itrialspace_assets.profiles.lobes import Lobe, label_boxes, lobe_in, runs
from itrialspace_assets.profiles.masks import find_lesion
from itrialspace_assets.profiles.measure import INSIDE_LUNG, lobe_about, nodules_in
from itrialspace_assets.profiles.registry import dataset as registered

#: Steps of a lung depth in one mm.
DEPTH_STEPS = STEPS


def map_path(output: Path, map_sha256: str) -> Path:
    return output / "store" / "hosts" / f"{map_sha256[:2]}" / f"{map_sha256}.nii.gz"


def depth_path(output: Path, map_sha256: str) -> Path:
    return map_path(output, map_sha256).with_name(f"{map_sha256}.depth.nii.gz")


def room_path(output: Path, map_sha256: str) -> Path:
    return map_path(output, map_sha256).with_name(f"{map_sha256}.room.npz")


def lung_depth(free: Volume, lungs: Box) -> Volume:
    """How deep in the lung each voxel lies, over the box of the lungs: a look-up for searches, once a host.

    uint8 in quarters of a mm to the nearest voxel centre outside the lung's outline, rounded down, at most
    63.75 mm; what lies outside the box counts as outside the lung.
    """
    part = free.crop(lungs)
    inside = np.isin(part.array, INSIDE_LUNG)
    depth = edt.edt(np.asfortranarray(inside), anisotropy=tuple(free.spacing), black_border=True)
    return Volume(np.asfortranarray(np.minimum(np.floor(depth * DEPTH_STEPS), 255).astype(np.uint8)), part.affine)


def clear_nodules(labels: Volume) -> tuple[Volume, npt.NDArray[np.bool_] | None]:
    """The map with every voxel of label 23 given to its nearest lobe, and where that was.

    Per voxel, so that a nodule on a fissure is shared out as the fissure runs. A nodule without a
    lobe within its box plus 8 voxels goes to the nearest other label.
    """
    mask = labels.array == NODULE
    if not mask.any():
        return labels, None
    out = labels.array.copy(order="K")
    block = bounding_box(mask, pad=8)
    pieces, _ = ndimage.label(mask[block], structure=np.ones((3, 3, 3)))
    for number, box in enumerate(ndimage.find_objects(pieces), start=1):
        inner = tuple(slice(max(0, s.start - 8), s.stop + 8) for s in box)
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
    return sha256_bytes(head.encode() + volume.array.tobytes(order="F"))


@dataclass(frozen=True)
class PreparedHost:
    """A host as the store holds it: its columns of ``hosts``, its rows of ``host_lobes``, and what was found on the way."""

    columns: dict[str, Any]
    lobes: list[dict[str, Any]]
    free: Volume
    shapes: dict[str, Lobe]
    native: list[Lesion]
    files: dict[str, str]


def prepare_host(settings: Settings, labels: Volume, scan_uid: str, anatomy: str) -> PreparedHost:
    """Clear a map of its nodules, measure its lobes and put it into the store.

    Args:
        settings: gives the store.
        labels: canonical label map.
        scan_uid: what to call it in messages.
        anatomy: real or procedural, for the file's description.

    Raises:
        CaseRejected: no lobe in it.
    """
    free, cleared = clear_nodules(labels)
    _, boxes = label_boxes(free.array)
    lobes: list[dict[str, Any]] = []
    shapes: dict[str, Lobe] = {}
    for label in LUNG:
        box = boxes[label] if label < len(boxes) else None
        if box is None:
            continue
        lobe, mask = lobe_in(free.array, label, box)
        shapes[lobe.name] = lobe
        radius = float(edt.edt(mask, anisotropy=tuple(free.spacing), black_border=True).max())
        lobes.append({"lobe": LOBE_NAMES[label], "voxels": lobe.voxels, "box": _bounds(lobe.box),
                      "occupied": runs(lobe.occupied), "fit_radius_mm": round(radius, 4)})  # fmt: skip
    if not lobes:
        raise CaseRejected(Reason.NO_LOBE, f"{scan_uid}: expected lobe labels 28-32 in the organ map, got none")
    sha = content_hash(free)
    native = nodules_in(labels)
    low = np.min([b["box"][::2] for b in lobes], axis=0)
    high = np.max([b["box"][1::2] for b in lobes], axis=0)
    lungs = slice(low[0], high[0]), slice(low[1], high[1]), slice(low[2], high[2])
    path, deep = map_path(settings.output, sha), depth_path(settings.output, sha)
    depth, room = lung_depth(free, lungs), room_path(settings.output, sha)
    files = {
        path: write_volume(path, free, f"nodule-free host map ({anatomy})"),
        deep: write_volume(deep, depth, f"quarter mm to the lung's outline ({anatomy})"),
        room: write_room(room, measure_room(free, lungs, depth.array, airway_points(free))),
    }
    empty = Lesion((0, 0, 0), np.zeros((0, 0, 0), bool))
    columns = {
        "map_sha256": sha, "room_sha256": files[room], "shape": list(free.array.shape),
        **{f"spacing_{a}": round(float(v), 6) for a, v in zip("xyz", free.spacing, strict=True)},
        **{f"origin_{a}": round(float(v), 6) for a, v in zip("xyz", free.affine[:3, 3], strict=True)},
        "lung_box": [int(v) for pair in zip(low, high, strict=True) for v in pair],
        "native_nodules": len(native), "cleared": pack_bits(cut_lesion(cleared) if cleared is not None else empty),
    }  # fmt: skip
    written = {str(p.relative_to(settings.output)): sha for p, sha in files.items()}
    return PreparedHost(columns, lobes, free, shapes, native, written)


def donor_columns(lesion: Lesion, spacing: npt.NDArray[np.float64]) -> dict[str, Any]:
    """The columns of ``donors`` that a lesion's voxels and their size (mm) give."""
    bits = pack_bits(lesion)
    volume = float(lesion.mask.sum() * np.prod(spacing))
    reach = float(np.linalg.norm((lesion.indices - lesion.centroid) * spacing, axis=1).max())
    return {
        "lesion": bits, **{f"spacing_{a}": round(float(v), 6) for a, v in zip("xyz", spacing, strict=True)},
        "voxels": int(lesion.mask.sum()), "volume_mm3": round(volume, 4), "diameter_mm": round(equivalent_diameter(volume), 4),
        **describe(lesion.mask, spacing), "reach_mm": round(reach, 4), "lesion_sha256": digest([bits, np.round(spacing, 6).tolist()]),
    }  # fmt: skip


def prepare_scan(payload: dict[str, Any], settings: Settings) -> Output:
    """Rows of ``hosts``, ``host_lobes`` and ``donors`` for one scan.

    Raises:
        CaseRejected: no readable organ map, or no lobe in it. A nodule without voxels is put aside
            alone.
    """
    entry = registered(settings, payload["dataset"])
    labels = read_labels(entry.organ_map(settings.data, payload["ct_id"]))
    made = prepare_host(settings, labels, payload["scan_uid"], payload["anatomy"])
    base = {"scan_uid": payload["scan_uid"], "dataset": payload["dataset"]}
    host = base | made.columns | {k: payload[k] for k in ("person_uid", "age", "sex", "smoking", "anatomy")}
    donors, aside = [], []
    for number, nodule in enumerate(payload["nodules"]):
        mask_file = entry.nodule_mask(settings.data, payload["ct_id"], nodule["annotation_id"])
        try:
            centre = None if None in nodule["centre"] else labels.to_voxel(nodule["centre"])
            lesion, source = find_lesion(labels, mask_file, centre, made.native, f"row {nodule['row']}")
        except CaseRejected as error:
            aside.append(Rejection(payload["scan_uid"], error.reason, error.detail, number))
            continue
        own = {"nodule_uid": nodule["nodule_uid"], "person_uid": payload["person_uid"], "mask_from": source}
        place = _position(made.free, lesion, made.shapes)
        donors.append(base | own | donor_columns(lesion, made.free.spacing) | place)
    rows = {"hosts": [host], "host_lobes": [base | lobe for lobe in made.lobes], "donors": donors}
    return Output(rows, made.files, aside)


def _position(free: Volume, lesion: Lesion, lobes: dict[str, Lobe]) -> dict[str, Any]:
    """Lobe of a lesion and its place in it, measured on the map: a published percentage may be wrong."""
    label, _ = lobe_about(free, lesion)
    if not label:
        return {"lobe": "background", "cc_pct": None, "ml_pct": None, "ap_pct": None}
    name = LOBE_NAMES[label]
    place = np.clip(lobes[name].percent(lesion.centroid), 0.0, 100.0)
    return {"lobe": name} | {f"{a}_pct": round(float(v), 4) for a, v in zip(("cc", "ml", "ap"), place, strict=True)}


def _bounds(box: tuple[slice, slice, slice]) -> list[int]:
    return [int(v) for s in box for v in (s.start, s.stop)]


@lru_cache(maxsize=1)
def load_lung_depth(output: Path, map_sha256: str) -> Volume:
    """``lung_depth`` of a host, from the store.

    Raises:
        CaseRejected: the store's file is missing or damaged.
    """
    return read_volume(depth_path(output, map_sha256))


@lru_cache(maxsize=1)
def packed_host(output: Path, map_sha256: str) -> Packed:
    """The parts of a host map's file, from which the masks of its cases are put together."""
    return pack_volume(load_host_map(output, map_sha256))


@lru_cache(maxsize=1)
def airway_tree(output: Path, map_sha256: str) -> KDTree | None:
    """``airway_points`` of a host."""
    return airway_points(load_host_map(output, map_sha256))


@lru_cache(maxsize=1)
def load_host_map(output: Path, map_sha256: str) -> Volume:
    """A host's nodule-free map; the last one stays in memory, since cases come grouped by host.

    Raises:
        CaseRejected: the store's file is missing or damaged.
    """
    for held in (load_host_map, load_lung_depth, packed_host, airway_tree):
        held.cache_clear()  # the last host goes before the next one comes
    volume = read_labels(map_path(output, map_sha256))
    volume.array.setflags(write=False)
    return volume
