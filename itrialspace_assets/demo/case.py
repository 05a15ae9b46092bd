"""A procedural host to make, as one case of ``casework``: which nodules it gets, and from which seed it is drawn."""

from itrialspace_assets.base.validation import StrictModel


class PhantomNodule(StrictModel):
    """A nodule to draw: its cohort bucket (``anatomy.SIZE_BUCKETS``) and its label, 1 malignant, 0 benign."""

    bucket: str
    label: int


class PhantomCase(StrictModel):
    """One scan to make.

    ``number`` counts the scans of a dataset and ``person`` its people, both from 0; two scans of one person share
    their anatomy. ``spacing`` is the voxel size in mm along x, y and z.
    """

    dataset: str
    number: int
    person: int
    ct_id: str
    nodules: tuple[PhantomNodule, ...]
    seed: int
    spacing: tuple[float, float, float]

    @property
    def uid(self) -> str:
        """``<dataset>/<ct id>``."""
        return f"{self.dataset}/{self.ct_id}"
