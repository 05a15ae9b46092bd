"""Measures the profile of every nodule of a label map.

Positions are voxel indices and mm of a canonical RAS+ map. Nothing here knows a dataset or writes a file.
"""

from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any

import cc3d
import numpy as np
import numpy.typing as npt
import polars as pl
from scipy import ndimage

from itrialspace_assets.imaging.anatomy import (
    AIRWAY,
    BODY,
    LABEL_NAMES,
    LANDMARKS,
    LEFT_LUNG,
    LOBE_NAMES,
    LUNG,
    NODULE,
    PULMONARY_VEIN,
    RIGHT_LUNG,
    TRACHEA,
    equivalent_diameter,
    side_of_lobe,
)
from itrialspace_assets.imaging.geometry import Box, Volume, bounding_box, box_around
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.profiles.lobes import LobeExtent, label_boxes, lobes_of
from itrialspace_assets.profiles.siblings import SIBLING_COLUMNS, add_siblings

#: A nodule is peripheral if its centre lies within this distance (mm) of the pleura; ours, as none is published
#: (docs/facts/profiles.md#how-we-measure-them).
PERIPHERAL_MM = 10.0
#: Radius (mm) of the column ``nearby_organs_10mm`` (docs/facts/profiles.md#the-53-columns).
NEARBY_MM = 10.0
#: A component of fewer voxels is a speck of the segmentation (docs/facts/profiles.md#how-we-measure-them).
MIN_VOXELS = 3
#: Thickness, in voxels, of the shell whose labels decide a nodule's lobe (docs/facts/profiles.md#how-we-measure-them).
SHELL_VOXELS = 3
#: Labels inside the lung's outline; the pleura lies where none of them does.
INSIDE_LUNG = (*LUNG, NODULE, AIRWAY, PULMONARY_VEIN)


@dataclass(frozen=True)
class LabelledScan:
    """A label map (X, Y, Z; RAS+) and the geometry that all its nodules need, computed once."""

    labels: Volume

    @cached_property
    def counts_boxes(self) -> tuple[npt.NDArray[np.int64], list[Box | None]]:
        """Voxel count and box of every label, indexed by label."""
        return label_boxes(self.labels.array)

    def box(self, label: int) -> Box | None:
        """Box of a label; None if it does not occur."""
        boxes = self.counts_boxes[1]
        return boxes[label] if label < len(boxes) else None

    @cached_property
    def lobes(self) -> dict[str, LobeExtent]:
        """The lobes that occur, by name."""
        return lobes_of(self.labels.array, self.counts_boxes[1])

    def lung_box(self, labels: tuple[int, ...]) -> Box | None:
        """Box of the largest components of some lobes; None if none occurs."""
        boxes = [self.lobes[LOBE_NAMES[x]].box for x in labels if LOBE_NAMES[x] in self.lobes]
        if not boxes:
            return None
        bounds = [slice(min(b[a].start for b in boxes), max(b[a].stop for b in boxes)) for a in range(3)]
        return bounds[0], bounds[1], bounds[2]

    @cached_property
    def landmarks(self) -> dict[int, npt.NDArray[np.float32]]:
        """Voxel coordinates (mm from voxel 0) of each landmark that occurs, by label."""
        found = {}
        for label in {*LANDMARKS.values(), AIRWAY, TRACHEA}:
            if (box := self.box(label)) is not None:
                points = np.argwhere(self.labels.array[box] == label) + [s.start for s in box]
                found[label] = (points * self.labels.spacing).astype(np.float32)
        return found

    def distance_to(self, label: int, ijk: npt.NDArray[np.float64]) -> float | None:
        """Exact distance (mm) from a voxel index (3,) to the nearest voxel centre of a landmark; None without it."""
        points = self.landmarks.get(label)
        if points is None:
            return None
        offsets = points - (ijk * self.labels.spacing).astype(np.float32)
        return float(np.sqrt(np.einsum("ij,ij->i", offsets, offsets).min()))


def nodules_in(labels: Volume, label: int = NODULE) -> list[Lesion]:
    """The 26-connected components of a label (23), largest first; specks below 3 voxels are left out."""
    return [lesion for _, lesion in pieces(labels.array == label)]


def pieces(values: npt.NDArray[Any]) -> list[tuple[int, Lesion]]:
    """The 26-connected components of equal values other than 0, each with its value, largest first.

    Args:
        values: booleans or whole numbers from 0, (X, Y, Z).

    Returns:
        Value and voxels of each component; specks below 3 voxels are left out.
    """
    if not values.any():
        return []
    block = bounding_box(values)
    inner = np.asfortranarray(values[block])
    parts = cc3d.connected_components(inner, connectivity=26)
    stats = cc3d.statistics(parts)
    found = []
    for part, (count, box) in enumerate(zip(stats["voxel_counts"], stats["bounding_boxes"], strict=True)):
        if part and count >= MIN_VOXELS:
            mask = parts[box] == part
            x, y, z = (int(b.start + s.start) for b, s in zip(block, box, strict=True))
            found.append((int(inner[box][mask][0]), Lesion((x, y, z), mask)))
    return sorted(found, key=lambda f: (-int(f[1].mask.sum()), f[1].offset))


def pleural_distance(
    labels: Volume, ijk: npt.ArrayLike, inside_of: tuple[int, ...] = INSIDE_LUNG, reach_mm: float = 8.0
) -> float | None:
    """Exact distance (mm) from a voxel to the nearest voxel centre outside the lung's outline.

    The search begins in a crop, which grows until it is wider than the distance found. So the result is that over the
    whole volume. Voxels beyond the volume's edge are unknown, not outside.

    Args:
        labels: label map (X, Y, Z), RAS+.
        ijk: voxel index, shape (3,); rounded.
        inside_of: labels inside the outline.
        reach_mm: half width of the first crop.

    Returns:
        The distance; None if the voxel itself lies outside, or no voxel does.
    """
    at = np.rint(np.asarray(ijk)).astype(int)
    far = np.iinfo(np.uint16).max
    least = np.zeros(256, np.uint16)  # by label: voxels to the nearest outside, before any is looked for
    least[list(inside_of)] = far
    if not least[labels.array[tuple(at)]]:
        return None
    while True:
        half = np.ceil(reach_mm / labels.spacing).astype(int)
        box = box_around(at, half, labels.array.shape)
        whole = all(s.start == 0 and s.stop == n for s, n in zip(box, labels.array.shape, strict=True))
        x, y, z = (np.abs(np.arange(s.start, s.stop) - c) for s, c in zip(box, at, strict=True))
        part = least.take(labels.array[box].T)  # as it lies in memory
        up = np.maximum(part, z.astype(np.uint16)[:, None, None]).min(axis=0)  # to the first outside of each column
        if up.min() < far:
            dx, dy, dz = ((n * mm) ** 2 for n, mm in zip((x, y[:, None], up), labels.spacing, strict=True))
            found = float(np.sqrt(((dx + dy) + dz).min()))
            if found <= reach_mm or whole:
                return found
            reach_mm = found  # nothing nearer lies beyond a crop of that half width
        elif whole:
            return None
        else:
            reach_mm *= 1.5


def shell_labels(labels: Volume, lesion: Lesion) -> npt.NDArray[np.uint8]:
    """Labels, shape (n,), of the voxels within three voxels of a lesion and in no nodule."""
    pad = [(SHELL_VOXELS, SHELL_VOXELS)] * 3
    grown = ndimage.binary_dilation(np.pad(lesion.mask, pad), iterations=SHELL_VOXELS)
    at = np.argwhere(grown) + np.asarray(lesion.offset) - SHELL_VOXELS
    at = at[np.all((at >= 0) & (at < labels.array.shape), axis=1)]
    found = labels.array[tuple(at.T)]
    return np.asarray(found[found != NODULE])


def lobe_about(labels: Volume, lesion: Lesion) -> tuple[int, float]:
    """The lobe label of most of a lesion's surroundings, and its share of those in any lobe; (0, 0.0) without a lobe.

    Surroundings are ``shell_labels``, so the answer is the same whether the lesion is in the map or not.
    """
    shell = shell_labels(labels, lesion)
    counts = np.bincount(shell, minlength=LUNG[-1] + 1)[LUNG[0] : LUNG[-1] + 1]
    total = int(counts.sum())
    return (LUNG[int(counts.argmax())], float(counts.max() / total)) if total else (0, 0.0)


def _clip(value: float) -> float:
    return round(min(100.0, max(0.0, float(value))), 4)


def _percent_in(box: Box | None, axis: int, index: float) -> float | None:
    if box is None:
        return None
    return _clip(100.0 * (index - box[axis].start) / max(1, box[axis].stop - 1 - box[axis].start))


@dataclass(frozen=True)
class NoduleRow:
    """The columns of a profile that depend on one nodule alone, under their published names.

    Positions and lengths in mm (world RAS), volume in mm³, ``_pct`` in percent, ``lobe_share`` from 0 to 1.
    """

    coordX: float
    coordY: float
    coordZ: float
    w: float
    h: float
    d: float
    nodule_mean_diam_mm: float
    nodule_vol_mm3: float
    organ_label_id: int
    organ_label_name: str
    nearby_organs_10mm: str
    lung_side: str
    lobe_name: str
    lobe_share: float | None
    lung_zone: str
    central_peripheral: str
    cranio_caudal_pct: float | None
    mediolateral_pct: float | None
    anteroposterior_pct: float | None
    lobe_cc_pct: float | None
    lobe_ml_pct: float | None
    lobe_ap_pct: float | None
    dist_to_trachea_mm: float | None
    dist_to_aorta_mm: float | None
    dist_to_heart_mm: float | None
    dist_to_esophagus_mm: float | None
    dist_to_pulmonary_vein_mm: float | None
    dist_to_superior_vena_cava_mm: float | None
    pleural_distance_mm: float | None
    airway_distance_mm: float | None


def measure_nodule(scan: LabelledScan, lesion: Lesion) -> NoduleRow:
    """Measure one nodule, given as voxels in the grid of its scan."""
    labels = scan.labels
    centre = lesion.centroid
    at = np.rint(centre).astype(int)
    label, of_lobe = lobe_about(labels, lesion)
    lobe, share = (LOBE_NAMES[label], of_lobe) if label else ("background", None)
    organ = int(labels.array[tuple(at)])
    shell = shell_labels(labels, lesion)
    if organ in (0, NODULE, BODY) and len(shell):
        organ = int(np.bincount(shell).argmax())
    side = side_of_lobe(lobe)
    lungs = scan.lung_box(LUNG)
    same_side = None if side == "unknown" else scan.lung_box(RIGHT_LUNG if side == "right" else LEFT_LUNG)
    lung_cc = _percent_in(lungs, 2, centre[2])
    lung_ml = _percent_in(same_side or lungs, 0, centre[0])
    lung_ap = _percent_in(lungs, 1, centre[1])
    lobe_pct = scan.lobes[lobe].percent(centre) if lobe in scan.lobes else None
    cc, ml, ap = (_clip(v) for v in lobe_pct) if lobe_pct else (None, None, None)
    zone = (
        "unknown" if lung_cc is None else ("lower_zone", "middle_zone", "upper_zone")[min(2, int(lung_cc // (100 / 3)))]
    )
    pleura = pleural_distance(labels, centre)
    near = box_around(at, np.ceil(NEARBY_MM / labels.spacing), labels.array.shape)
    grid = np.ix_(*(np.arange(s.start, s.stop) for s in near))
    square = sum(((g - c) * s) ** 2 for g, c, s in zip(grid, centre, labels.spacing, strict=True))
    close = np.unique(labels.array[near][square <= NEARBY_MM**2])
    volume = float(lesion.mask.sum()) * labels.voxel_mm3
    diameter = equivalent_diameter(volume)
    x, y, z = _rounded(labels.to_world(centre))
    w, h, d = _rounded(np.asarray(lesion.mask.shape) * labels.spacing)
    away = {name: _round(scan.distance_to(label, centre)) for name, label in LANDMARKS.items()}
    airways = [mm for mm in (scan.distance_to(AIRWAY, centre), scan.distance_to(TRACHEA, centre)) if mm is not None]
    return NoduleRow(
        coordX=x,
        coordY=y,
        coordZ=z,
        w=w,
        h=h,
        d=d,
        nodule_mean_diam_mm=round(diameter, 4),
        nodule_vol_mm3=round(volume, 4),
        organ_label_id=organ,
        organ_label_name=LABEL_NAMES.get(organ, "unknown"),
        nearby_organs_10mm=";".join(LABEL_NAMES[x] for x in close if x in LABEL_NAMES and x not in (0, NODULE, BODY)),
        lung_side=side,
        lobe_name=lobe,
        lobe_share=None if share is None else round(share, 6),
        lung_zone=zone,
        central_peripheral="unknown" if pleura is None else "peripheral" if pleura <= PERIPHERAL_MM else "central",
        cranio_caudal_pct=lung_cc,
        mediolateral_pct=lung_ml,
        anteroposterior_pct=lung_ap,
        lobe_cc_pct=cc,
        lobe_ml_pct=ml,
        lobe_ap_pct=ap,
        dist_to_trachea_mm=away["trachea"],
        dist_to_aorta_mm=away["aorta"],
        dist_to_heart_mm=away["heart"],
        dist_to_esophagus_mm=away["esophagus"],
        dist_to_pulmonary_vein_mm=away["pulmonary_vein"],
        dist_to_superior_vena_cava_mm=away["superior_vena_cava"],
        pleural_distance_mm=_round(pleura),
        airway_distance_mm=_round(min(airways) if airways else None),
    )


def _round(value: float | None) -> float | None:
    return None if value is None else round(float(value), 4)


def _rounded(values: npt.NDArray[np.float64]) -> list[float]:
    return [round(float(v), 4) for v in values]


def measure_scan(labels: Volume, lesions: list[Lesion], ids: list[str]) -> list[dict[str, Any]]:
    """Profiles (all 53 columns but ``ct_path``, plus ``lobe_share``) of the nodules of one scan.

    Args:
        labels: canonical label map (X, Y, Z) with organs; nodules may be in it as label 23.
        lesions: the nodules, in the map's grid.
        ids: annotation id of each lesion.
    """
    scan = LabelledScan(labels)
    rows: list[dict[str, Any]] = [asdict(measure_nodule(scan, lesion)) for lesion in lesions]
    centres = np.array([labels.to_world(lesion.centroid) for lesion in lesions]).reshape(-1, 3)
    places = pl.DataFrame(
        {
            "scan": [""] * len(rows),
            "id": ids,
            **{a: centres[:, i] for i, a in enumerate("xyz")},
            "lung_side": [r["lung_side"] for r in rows],
            "lobe_name": [r["lobe_name"] for r in rows],
        },
        schema_overrides={"lung_side": pl.String, "lobe_name": pl.String, "id": pl.String},
    )
    for row, siblings in zip(rows, add_siblings(places).select(SIBLING_COLUMNS).iter_rows(named=True), strict=True):
        row |= siblings
        lobe = row["lobe_name"]
        row["reinsertion_lobe"], row["reinsertion_lung_side"], row["reinsertion_lung_zone"] = (
            lobe,
            row["lung_side"],
            row["lung_zone"],
        )
        for way, lung in (("cc", "cranio_caudal"), ("ml", "mediolateral"), ("ap", "anteroposterior")):
            row[f"reinsertion_lobe_{way}_pct"] = row[f"lobe_{way}_pct"]
            row[f"reinsertion_lung_{way}_pct"] = row[f"{lung}_pct"]
        row["reinsertion_pleural_dist_mm"] = row["pleural_distance_mm"]
        row["reinsertion_airway_dist_mm"] = row["airway_distance_mm"]
        row["reinsertion_nodule_diam_mm"] = row["nodule_mean_diam_mm"]
    return rows
