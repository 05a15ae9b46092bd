"""By what the report of a mode splits its slices: the columns, and their levels in the order of the trial.

Host and donor datasets are told apart: the strata are ``host_dataset=`` and ``donor_dataset=``. Which tests compare the
levels is in ``mode_contrasts``.
"""

from dataclasses import dataclass

import polars as pl

from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS
from itrialspace_assets.trials.model import Contrast

#: Contrasts whose arms are told apart by another stratum, or that have one arm.
_ARMS_SAY_NOTHING: tuple[Contrast, ...] = (
    *("none", "prevalence", "size_bucket", "donor_dataset", "reader", "isolation", "complete"),
)


@dataclass(frozen=True)
class Factor:
    """A column of observations, its levels in declared order, and what a reader of the report is shown of each."""

    column: str
    levels: tuple[str, ...]
    shown: tuple[str, ...]

    def order(self) -> dict[str, int]:
        """Place of each level."""
        return {level: at for at, level in enumerate(self.levels)}


def with_datasets(observations: pl.DataFrame, nodules: pl.DataFrame) -> pl.DataFrame:
    """Observations with ``host_dataset``, ``donor_dataset`` and ``donor_nodule_uid`` of the nodule that slices are of.

    Args:
        observations: of ``observations.observe``.
        nodules: rows of ``case_nodules``; slices are of the first nodule of their case.
    """
    first = nodules.filter(pl.col("nodule_idx") == 0).select("case_uid", "donor_dataset", "donor_nodule_uid")
    return observations.with_columns(host_dataset=pl.col("dataset")).join(
        first, on="case_uid", how="left", maintain_order="left"
    )


def factors_of(contrast: Contrast) -> list[str]:
    """Columns whose levels are strata of a mode's report."""
    own = ["size_bucket", "lobe", "host_dataset", "donor_dataset"]
    return own if contrast in _ARMS_SAY_NOTHING else [*own, "arm"]


def factor_of(contrast: Contrast, arms: pl.DataFrame) -> Factor:
    """What a contrast compares.

    Args:
        contrast: of the trial.
        arms: rows of the table ``arms`` of the mode.
    """
    arms = arms.sort("number")
    declared = arms["level"].to_list()
    if contrast == "size_bucket":
        return Factor(
            "size_bucket", SIZE_BUCKETS, tuple(b.replace("-", "–").replace("mm", " mm") for b in SIZE_BUCKETS)
        )
    if contrast == "lobe":
        first = [level for level in declared if level in LOBES]
        lobes = tuple(dict.fromkeys((*first, *LOBES)))
        return Factor("lobe", lobes, tuple(lobe.replace("_lung_", " ").replace("_", " ") for lobe in lobes))
    if contrast == "donor_dataset":
        return Factor("donor_dataset", (given := tuple(dict.fromkeys(declared))), given)
    names = tuple(arms["arm"])
    return Factor("arm", names, tuple(declared) if len(set(declared)) == len(names) else names)
