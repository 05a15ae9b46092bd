"""How deep in the lung the voxels of a host lie: the map that the store keeps, or as much of it as a search reads.

Knows label maps and millimetres, no lesion and no trial.
"""

from dataclasses import dataclass

import edt
import numpy as np
import numpy.typing as npt

from itrialspace_assets.hosts.clearance import STEPS
from itrialspace_assets.imaging.anatomy import LUNG, lung_mask
from itrialspace_assets.imaging.geometry import Box, Volume
from itrialspace_assets.profiles.measure import INSIDE_LUNG

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

#: Steps of a lung depth in one mm: those of the clearance map.
DEPTH_STEPS = STEPS
#: Greatest depth in steps: that of a byte. A reach (mm) beyond which none is told apart.
_DEEPEST, DEEPEST_MM = 255, 64.0
#: Share of the lungs' box that may be measured in parts before the whole is; ours: a few nodules need less.
_PARTS = 1 / 16
#: Voxels that are converted at a time; ours.
_SLAB = 1 << 17


def lung_depth(free: Volume, lungs: Box) -> Volume:
    """How deep in the lung each voxel lies, over the box of the lungs: measured once a host, read by every search.

    Args:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map.

    Returns:
        uint8 over the box, in quarters of a mm to the nearest voxel centre outside the lung's outline, rounded down,
        at most 63.75 mm; what lies outside the box counts as outside the lung.
    """
    part = free.crop(lungs)
    mm = edt.edt(_inside(np.asfortranarray(part.array)), anisotropy=tuple(free.spacing), black_border=True)
    return Volume(_steps(mm), part.affine)


@dataclass
class LungDepth:
    """``lung_depth`` of a host for those who read parts of it.

    Attributes:
        free: nodule-free label map (X, Y, Z), canonical RAS+.
        lungs: box of its lobes, in voxels of the map.
        whole: the whole, where it is known; else each part is measured when it is read, until they are many.
        measured: voxels of the parts that were measured.
    """

    free: Volume
    lungs: Box
    whole: Volume | None = None
    measured: int = 0

    def over(self, low: npt.ArrayLike, high: npt.ArrayLike, reach_mm: float) -> npt.NDArray[np.uint8]:
        """The depth of the voxels from ``low`` up to, not including, ``high``; 0 outside the box of the lungs.

        Args:
            low: voxel index (3,) of the map; may lie outside it.
            high: likewise.
            reach_mm: greatest depth that has to be exact; what lies deeper is only said to be no less deep.
        """
        first, last = np.asarray(low, dtype=np.int64), np.asarray(high, dtype=np.int64)
        pad = np.ceil(min(reach_mm, DEEPEST_MM) / self.free.spacing).astype(np.int64) + 1
        if self.whole is None:
            self.measured += int(np.prod(last - first + 2 * pad))
            if self.measured > _PARTS * np.prod([s.stop - s.start for s in self.lungs]):
                self.whole = lung_depth(self.free, self.lungs)
        if self.whole is not None:
            return self._part(self.whole.array, first, last)
        labels = self._part(self.free.array[self.lungs], first - pad, last + pad)
        mm = edt.edt(_inside(labels), anisotropy=tuple(self.free.spacing))
        x, y, z = (slice(p, n - p) for p, n in zip(pad, mm.shape, strict=True))
        return _steps(mm[x, y, z])

    def _part(self, over_lungs: Bytes, low: Ints, high: Ints) -> Bytes:
        """Part of an array over the box of the lungs; 0 outside it."""
        out = np.zeros(high - low, np.uint8)
        start = np.array([s.start for s in self.lungs]) - low
        a, b = np.maximum(start, 0), np.minimum(start + over_lungs.shape, out.shape)
        if np.all(b > a):
            source = tuple(slice(x, y) for x, y in zip(a - start, b - start, strict=True))
            out[tuple(slice(x, y) for x, y in zip(a, b, strict=True))] = over_lungs[source]
        return out


def _inside(labels: npt.NDArray[np.uint8]) -> npt.NDArray[np.uint8]:
    """1 inside the lung's outline; of the labels' shape and memory order."""
    inside = lung_mask(labels)
    for label in set(INSIDE_LUNG) - set(LUNG):
        inside |= labels == label
    return inside.view(np.uint8)


def _steps(mm: npt.NDArray[np.float32]) -> npt.NDArray[np.uint8]:
    """Distances in steps, rounded down, at most ``_DEEPEST``; of the array's memory order.

    A few slices are converted at a time, so that they stay in the processor's cache; ``mm`` is used up.
    """
    out = np.empty_like(mm, dtype=np.uint8)
    slabs, steps = (mm.T, out.T) if mm.flags.f_contiguous else (mm, out)
    each = max(1, _SLAB // max(1, slabs[:1].size))
    for first in range(0, len(slabs), each):
        part = slabs[first : first + each]
        np.multiply(part, DEPTH_STEPS, out=part)
        steps[first : first + each] = np.minimum(part, _DEEPEST, out=part)
    return out
