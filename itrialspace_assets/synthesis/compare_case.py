"""What the comparison of CTs reads: an image whose features are taken, a twin and its host's real CT, or a lesion.

Reads no table and no image.
"""

from itrialspace_assets.base.validation import StrictModel


class RealCt(StrictModel):
    """The real CT of a scan: ``ct_path`` as profiles have it, and the hash of what lies there."""

    ct_path: str
    sha256: str | None


class RenderedCt(StrictModel):
    """The columns of ``cts`` that open a rendered CT, see ``images.open_ct``."""

    source: str
    image_uid: str
    twin_uid: str
    is_lesion_free: bool
    path: str
    sha256: str
    kept: str


class FeatureCase(StrictModel):
    """An image whose features are taken; ``uid`` is its scan_uid or image_uid."""

    uid: str
    image: RealCt | RenderedCt


class OverlapCase(StrictModel):
    """A lesion-free twin whose HU histogram is compared with that of its host's real CT.

    Attributes:
        twin: the twin.
        real: the host's real CT.
        scan_uid: the host's scan.
        dataset: its dataset.
        map_sha256: hash of its label map in the store.
    """

    twin: RenderedCt
    real: RealCt
    scan_uid: str
    dataset: str
    map_sha256: str


class LesionOf(StrictModel):
    """What a rendered lesion is: columns of ``nodule_fidelity``."""

    source: str
    image_uid: str
    nodule_idx: int
    case_uid: str
    attenuation: str
    nodule_uid: str
    host_person_uid: str
    donor_person_uid: str
    diameter_mm: float


class LesionCase(StrictModel):
    """A rendered lesion that is compared with its donor nodule in the donor's real CT.

    Attributes:
        image: the image with the lesion.
        lesion: its packed voxels on the host's grid.
        real: the real CT of the donor's scan.
        real_lesion: the nodule's packed voxels on that scan's grid.
        map_sha256: hash of that scan's label map in the store.
        row: what the lesion is.
    """

    image: RenderedCt
    lesion: str
    real: RealCt
    real_lesion: str
    map_sha256: str
    row: LesionOf
