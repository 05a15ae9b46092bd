"""The case of the stage ``hosts``: one scan, its nodules and its person, as the worker reads them."""

from itrialspace_assets.base.validation import StrictModel


class HostNodule(StrictModel):
    """A published nodule of the scan.

    ``centre`` is in world mm (RAS+); None where its table states no centre. ``row`` is its row of the profile CSV,
    from 0.
    """

    nodule_uid: str
    annotation_id: str
    centre: tuple[float, float, float] | None
    row: int


class HostCase(StrictModel):
    """A scan that becomes a host; its nodules become donors. ``age`` is in years."""

    scan_uid: str
    dataset: str
    ct_id: str
    person_uid: str
    anatomy: str
    age: float | None
    sex: str | None
    smoking: str | None
    nodules: tuple[HostNodule, ...]
