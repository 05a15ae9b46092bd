"""Hosts and donors as the index declares them: for planning from profiles alone, with no mask at hand.

Every scan of the index is a host in whose lobes everything fits, and every nodule with a diameter is a donor at its
declared place. Nothing here was measured, so each planned row says ``fit: unverified`` and insertion verifies it once
the masks are there. Opens no file.
"""

import numpy as np
import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES
from itrialspace_assets.records.layout import PROCEDURAL
from itrialspace_assets.trials.pool import HOST_COLUMNS, CandidatePool, joined_donors

#: Columns of the index that stand for those of a donor.
PLACE_COLUMNS = (
    "dataset",
    "scan_uid",
    "person_uid",
    "reinsertion_nodule_diam_mm",
    "position_usable",
    *(f"reinsertion_lobe_{a}_pct" for a in ("cc", "ml", "ap")),
)
#: Radius (mm) that a lobe is taken to hold: more than any nodule needs; ours.
_ANY_MM = 1000.0


def declared_pool(nodules: pl.DataFrame, scans: pl.DataFrame, donors: pl.DataFrame) -> CandidatePool:
    """The candidate pool of an index without masks.

    Args:
        nodules: the index. A nodule without a diameter is no donor; one whose published place breaks a rule has no
            percentages, and serves where its place is not asked for.
        scans: its scans.
        donors: the donor store, of which only the procedural ones are taken.
    """
    usable = pl.col("position_usable")
    own = nodules.filter(pl.col("reinsertion_nodule_diam_mm").is_not_null()).select(
        "nodule_uid",
        "dataset",
        "scan_uid",
        "person_uid",
        lobe="reinsertion_lobe",
        diameter_mm="reinsertion_nodule_diam_mm",
        **{f"{a}_pct": pl.when(usable).then(f"reinsertion_lobe_{a}_pct") for a in ("cc", "ml", "ap")},
    )
    hosts = scans.select(HOST_COLUMNS).sort("scan_uid")
    drawn = donors.filter(pl.col("dataset") == PROCEDURAL).select(own.columns)
    everything_fits = np.full((hosts.height, len(LOBES)), _ANY_MM)
    return CandidatePool(joined_donors(own, drawn, nodules), hosts, everything_fits, verified=False)
