"""Planes of a volume as pictures lie: radiological, with pixel size and affine, resampled where a profile says so.

On every picture the patient's right is on the left and the head or the front on top; a sagittal one shows the front on
its left. Knows no window, no guidance and no file.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt
from PIL import Image

from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.imaging.lesions import Lesion
from itrialspace_assets.imaging.pictures import radiological
from itrialspace_assets.slices.windows import PreprocessProfile

Bools = npt.NDArray[np.bool_]

#: A resampled pixel belongs to a mask if at least this share of its area does; ours.
COVERED = 0.5


@dataclass(frozen=True, eq=False)
class Plane:
    """A plane of a volume as a profile shows it.

    Attributes:
        part: HU (X, Y, Z), canonical RAS+; a whole scan, or some levels of one.
        profile: gives axis and pixel size.
        index: along the profile's axis, in ``part``.
    """

    part: Volume
    profile: PreprocessProfile
    index: int

    @cached_property
    def axes(self) -> tuple[int, int]:
        """The volume's axes along the picture's columns and rows."""
        across, down = (a for a in range(3) if a != self.profile.axis)
        return across, down

    @cached_property
    def pixel(self) -> tuple[float, float]:
        """Width and height of a pixel (mm)."""
        across, down = (float(self.part.spacing[a]) for a in self.axes)
        return (across, down) if self.profile.pixel_mm is None else (self.profile.pixel_mm, self.profile.pixel_mm)

    @cached_property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels; a resampled picture ends with the last whole pixel."""
        given = [self.part.array.shape[a] for a in self.axes]
        ratio = [self.part.spacing[a] / p for a, p in zip(self.axes, self.pixel, strict=True)]
        width, height = (max(1, int(n * r + 1e-9)) for n, r in zip(given, ratio, strict=True))
        return width, height

    @cached_property
    def affine(self) -> list[float]:
        """The 3×4 matrix, row by row, from (column, row, 0) to world mm (RAS); the third axis is the next slice."""
        matrix = np.zeros((3, 4))
        origin, spacing, shape = self.part.affine[:3, 3], self.part.spacing, self.part.array.shape
        matrix[self.profile.axis, 2] = spacing[self.profile.axis]
        matrix[self.profile.axis, 3] = origin[self.profile.axis] + self.index * spacing[self.profile.axis]
        for column, (axis, pixel) in enumerate(zip(self.axes, self.pixel, strict=True)):
            matrix[axis, column] = -pixel
            matrix[axis, 3] = origin[axis] + spacing[axis] * (shape[axis] - 0.5) - pixel / 2
        return [float(v) for v in np.round(matrix, 6).ravel()]

    def hu(self) -> npt.NDArray[np.generic]:
        """HU (H, W)."""
        plane = radiological(np.moveaxis(self.part.array, self.profile.axis, 0)[self.index])  # a view
        return plane if self.profile.pixel_mm is None else self._resampled(plane, Image.Resampling.BILINEAR)

    def mask(self, lesion: Lesion) -> Bools:
        """Pixels (H, W) of a lesion in the grid of ``part``; of a small one that is resampled at least one."""
        axis = self.profile.axis
        mask = np.zeros([self.part.array.shape[a] for a in self.axes], bool)
        local = self.index - lesion.offset[axis]
        if not 0 <= local < lesion.mask.shape[axis]:
            return np.zeros(self.size[::-1], bool)
        mask[tuple(lesion.box[a] for a in self.axes)] = np.moveaxis(lesion.mask, axis, 0)[local]
        shown = radiological(mask)
        if self.profile.pixel_mm is None:
            return np.asarray(shown, dtype=bool)
        share = self._resampled(shown, Image.Resampling.BOX)
        return np.asarray((share >= min(COVERED, float(share.max()))) & (share > 0), dtype=bool)

    def _resampled(self, plane: npt.NDArray[np.generic], how: Image.Resampling) -> npt.NDArray[np.float32]:
        """A plane (H, W) at the profile's pixel size; means over the pixels' area where they grow."""
        spans = zip(self.size, self.pixel, self.axes, strict=True)
        right, lower = (n * pixel / float(self.part.spacing[axis]) for n, pixel, axis in spans)
        box = (0.0, 0.0, min(right, float(plane.shape[1])), min(lower, float(plane.shape[0])))
        image = Image.fromarray(np.ascontiguousarray(plane, dtype=np.float32))
        return np.asarray(image.resize(self.size, how, box=box), dtype=np.float32)
