"""A scan to measure, as one case of ``casework``: its files, and what a table knows of its nodules."""

from pathlib import Path
from typing import Literal

from itrialspace_assets.base.validation import StrictModel


class PixelFrame(StrictModel):
    """How a table counts pixels and slices.

    ``frame``: axes of columns and rows. ``z_unit``: z is a slice number, or already mm. ``slices_from``: where slice
    numbers begin. As in ``intake.annotation_sources.Centre``.
    """

    frame: Literal["LPS", "RAS"]
    z_unit: Literal["mm", "slice"]
    slices_from: Literal["superior", "inferior"]


class KnownNodule(StrictModel):
    """What a table knows of a nodule before it is measured.

    ``centre``: (x, y, z) in world mm (RAS), or, with ``pixel``, column, row and slice of the image, each from 0.
    ``mask``: the nodule's own mask, used if the file exists. ``diameter`` in mm.
    """

    id: str
    mask: Path | None = None
    centre: tuple[float, float, float] | None = None
    pixel: PixelFrame | None = None
    diameter: float | None = None


class MeasureCase(StrictModel):
    """A scan to measure. Without ``known``, every nodule of the map or of the nodule mask is measured.

    ``organ``: label map of organs. ``nodules``: one mask with all nodules of the scan, on the grid of ``organ``.
    """

    ct_id: str
    organ: Path
    nodules: Path | None = None
    known: tuple[KnownNodule, ...] = ()
