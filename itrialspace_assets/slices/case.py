"""What the cutting of one case reads: a rendered case, or a finding of a real scan.

Lesions are texts of ``imaging.lesions.pack_bits``: voxels over the host's grid, canonical RAS+.
"""

from itrialspace_assets.base.validation import StrictModel


class RenderedImage(StrictModel):
    """A row of ``cts``, as far as opening the image needs it."""

    source: str
    image_uid: str
    twin_uid: str
    is_lesion_free: bool
    path: str  # below the output folder
    sha256: str
    kept: str


class ImageToCut(RenderedImage):
    """An image that slices are cut of."""

    paired: bool | None  # None for a lesion-free twin


class SliceNodule(StrictModel):
    """An inserted nodule, as it was realised and as it was planned; of the case's first one also its empty place."""

    lesion: str
    present: bool
    lobe: str
    lobe_share: float
    asked_lobe: str
    diameter_mm: float
    planned_diameter_mm: float
    size_bucket: str
    label: int | None
    empty: str | None  # packed voxels of a place that guidance on the twin surrounds
    empty_site: str | None
    host_person_uid: str
    donor_person_uid: str


class SliceCase(StrictModel):
    """A rendered case. The first nodule is the target; the lesion image comes before its lesion-free twin."""

    case_uid: str
    mode: str
    dataset: str
    arm: str
    anatomy: str
    published_id: str
    images: tuple[ImageToCut, ...]
    nodules: tuple[SliceNodule, ...]


class RealSliceCase(StrictModel):
    """A finding of a real scan, with all that is known of the scan's nodules."""

    case_uid: str
    dataset: str
    scan_uid: str
    person_uid: str
    ct_path: str
    ct_sha256: str | None  # None where there is no CT
    map_sha256: str
    shape: tuple[int, int, int]  # grid of the organ map: voxels along x, y, z
    spacing: tuple[float, float, float]  # mm
    origin: tuple[float, float, float]  # world mm of voxel 0
    lesion: str
    all_lesions: tuple[str, ...]  # every nodule of the scan whose voxels are known
    cleared: str  # voxels of label 23 that were cleared from the organ map
    extents: tuple[tuple[float, float], ...]  # world z (mm) from and to of every annotated nodule
    lobe: str | None
    lobe_share: float | None
    mask_grown: bool
    label: int | None
    anatomy: str
    complete: bool  # every nodule of the scan is known to lie in ``extents``: a negative plane may be looked for
    published_id: str
    seed: int
