"""What a notebook imports: an output folder as frames and arrays, and scores of a user's own files. Writes nothing.

    import itrialspace_assets.api as its

    root = its.open(".demo")
    root.index.search(label=1, nodule_mean_diam_mm=(6, 15))
    root.case("size_detection_curve/10_15mm/00000").ct

``froc`` scores marks on scans, ``mrmc`` a reader study, ``auc`` a table of scored cases.
"""

from itrialspace_assets.api.cases import Case
from itrialspace_assets.api.nodules import Nodule, Nodules
from itrialspace_assets.api.results import Results
from itrialspace_assets.api.root import Root
from itrialspace_assets.api.root import open_root as open
from itrialspace_assets.api.scoring import AucResult, FrocResult, auc, froc, mrmc
from itrialspace_assets.api.slices import Slices
from itrialspace_assets.api.trials import Trial, Trials

__all__ = [
    "AucResult",
    "Case",
    "FrocResult",
    "Nodule",
    "Nodules",
    "Results",
    "Root",
    "Slices",
    "Trial",
    "Trials",
    "auc",
    "froc",
    "mrmc",
    "open",
]
