"""Everything about one nodule: all its columns, and the other nodules of its scan."""

import numpy as np

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search.columns import Columns, Value
from itrialspace_assets.explorer.search.find import SHOWN
from itrialspace_assets.index.query import Index

_PLACE = ("annotation_id", "coordX", "coordY", "coordZ")


class Detail(StrictModel):
    """A nodule; ``companions`` are the others of its scan, nearest first, with ``distance_mm``."""

    values: dict[str, Value]
    companions: list[dict[str, Value]]


def detail(columns: Columns, uid: str) -> Detail:
    """One nodule by its ``nodule_uid``.

    Raises:
        NotFound: there is no such nodule.
    """
    at = columns.row(uid)
    values = columns.whole(at).row(0, named=True)
    rows = np.flatnonzero(columns.texts("scan_uid").among([values["scan_uid"]]))
    others = Index(columns.together((*SHOWN, *_PLACE), rows)).companions(uid)
    return Detail.model_construct(values=values, companions=others.select(*SHOWN, "distance_mm").to_dicts())
