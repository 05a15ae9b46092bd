"""A lobe's largest component, and positions in it as percentages and back.

Specks of a lobe label elsewhere in the body would stretch its box by centimetres, so only the
largest component counts. Percentages: cc 0 = inferior, ml 0 = patient left, ap 0 = posterior.
"""

from dataclasses import dataclass

import cc3d
import numpy as np
import numpy.typing as npt

from itrialspace_assets.imaging.anatomy import LOBE_NAMES, LUNG
from itrialspace_assets.imaging.geometry import Box


@dataclass(frozen=True)
class LobeExtent:
    """Box (voxels, upper bound out) and occupied axial slices of a lobe's largest component."""

    name: str
    voxels: int
    box: Box
    occupied: npt.NDArray[np.int64]  # ascending indices along z

    def percent(self, ijk: npt.ArrayLike) -> tuple[float, float, float]:
        """Percentages (cc, ml, ap) of a voxel index (3,); cc is its rank among the occupied slices."""
        i, j, k = np.asarray(ijk, dtype=np.float64)
        ranks = np.arange(len(self.occupied), dtype=np.float64)
        cc = float(np.interp(k, self.occupied, ranks)) / max(1, len(self.occupied) - 1)
        ml = (i - self.box[0].start) / max(1, self.box[0].stop - 1 - self.box[0].start)
        ap = (j - self.box[1].start) / max(1, self.box[1].stop - 1 - self.box[1].start)
        return 100.0 * cc, 100.0 * float(ml), 100.0 * float(ap)

    def position(self, cc: float, ml: float, ap: float) -> npt.NDArray[np.float64]:
        """Fractional voxel index (3,), RAS+; inverse of ``percent``.

        Args:
            cc: rank among the occupied slices, 0 inferior to 100 superior.
            ml: share of the box, 0 patient left to 100 patient right.
            ap: share of the box, 0 posterior to 100 anterior.
        """
        rank = cc / 100.0 * (len(self.occupied) - 1)
        k = float(np.interp(rank, np.arange(len(self.occupied)), self.occupied))
        i = self.box[0].start + ml / 100.0 * (self.box[0].stop - 1 - self.box[0].start)
        j = self.box[1].start + ap / 100.0 * (self.box[1].stop - 1 - self.box[1].start)
        return np.array([i, j, k])


def label_boxes(labels: npt.NDArray[np.uint8]) -> tuple[npt.NDArray[np.int64], list[Box | None]]:
    """Voxel count and bounding box of every label that occurs, indexed by label."""
    stats = cc3d.statistics(labels)
    counts = np.asarray(stats["voxel_counts"], dtype=np.int64)
    boxes = [b if n else None for b, n in zip(stats["bounding_boxes"], counts, strict=True)]
    return counts, boxes


def lobe_mask(labels: npt.NDArray[np.uint8], label: int, box: Box) -> npt.NDArray[np.bool_]:
    """Largest 26-connected component of a lobe, in the shape of the box.

    Args:
        labels: label map (X, Y, Z), RAS+.
        label: the lobe's label.
        box: of the label, from ``label_boxes``.
    """
    return np.asarray(cc3d.largest_k(labels[box] == label, k=1, connectivity=26), dtype=bool)


def lobe_in(labels: npt.NDArray[np.uint8], label: int, box: Box) -> tuple[LobeExtent, npt.NDArray[np.bool_]]:
    """A lobe and its largest component, in the shape of the box.

    Args:
        labels: label map (X, Y, Z), RAS+.
        label: the lobe's label.
        box: of the label, from ``label_boxes``.
    """
    mask = lobe_mask(labels, label, box)
    bounds = []
    for axis in range(3):
        hit = np.flatnonzero(mask.any(axis=tuple(a for a in range(3) if a != axis)))
        bounds.append(hit + box[axis].start)
    tight = tuple(slice(int(b[0]), int(b[-1]) + 1) for b in bounds)
    lobe = LobeExtent(LOBE_NAMES[label], int(mask.sum()), (tight[0], tight[1], tight[2]), bounds[2].astype(np.int64))
    return lobe, mask


def lobes_of(labels: npt.NDArray[np.uint8], boxes: list[Box | None] | None = None) -> dict[str, LobeExtent]:
    """Every lobe that occurs in a label map (X, Y, Z), by name; ``boxes``: of ``label_boxes``, if already known."""
    known = label_boxes(labels)[1] if boxes is None else boxes
    found = {}
    for label in LUNG:
        box = known[label] if label < len(known) else None
        if box is not None:
            found[LOBE_NAMES[label]], _ = lobe_in(labels, label, box)
    return found


def runs(indices: npt.NDArray[np.int64]) -> list[int]:
    """First and last of each run of consecutive indices (n,), in turn: [3,4,5,9] -> [3,5,9,9]."""
    if not len(indices):
        return []
    breaks = np.flatnonzero(np.diff(indices) > 1)
    first = np.concatenate([[0], breaks + 1])
    last = np.concatenate([breaks, [len(indices) - 1]])
    return [int(v) for pair in zip(indices[first], indices[last], strict=True) for v in pair]


def from_runs(values: list[int]) -> npt.NDArray[np.int64]:
    """Inverse of ``runs``: every index, shape (n,)."""
    pairs = zip(values[::2], values[1::2], strict=True)
    return np.concatenate([np.arange(a, b + 1) for a, b in pairs]) if values else np.empty(0, np.int64)
