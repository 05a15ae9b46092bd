"""Which contrast of a trial makes which tests: from observations to a table of levels and one of tests.

Reads no file. Predictive values over prevalence are in ``predictive``, variance components in ``variance_rows``.
"""

import polars as pl

from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.cell_tests import Compared, Shape
from itrialspace_assets.analysis.scoring.factorial import factorial
from itrialspace_assets.analysis.scoring.level_contrasts import by_level, by_reader
from itrialspace_assets.analysis.scoring.pair_contrasts import against_real, counterfactual
from itrialspace_assets.analysis.scoring.strata import Factor
from itrialspace_assets.trials.model import Contrast

#: Contrasts over levels: the test, and the metrics of presence that it is of.
_LEVELS: dict[Contrast, tuple[Shape, tuple[str, ...]]] = {
    "size_bucket": ("trend", ("sensitivity",)),
    "lobe": ("against_others", ("sensitivity",)),
    "stratum": ("against_others", ("sensitivity", "specificity")),
    "arm": ("against_others", ("sensitivity", "specificity")),
    "donor_dataset": ("against_others", ("sensitivity",)),
    "round": ("trend", ("sensitivity", "specificity")),
    "companions": ("against_others", ("sensitivity",)),
    "replicate": ("spread_ratio", ("sensitivity", "specificity")),
}


def compare_modes(
    contrast: Contrast,
    factor: Factor,
    observations: pl.DataFrame,
    study: Study,
    root: int,
    real: pl.DataFrame | None = None,
) -> Compared | None:
    """The tests of a trial's contrast; None of one that compares nothing by them (none, prevalence, crossing).

    Args:
        contrast: of the trial file.
        factor: of ``strata.factor_of``.
        observations: of ``observations.observe`` for all sources and readers, ``with_datasets``.
        study: alpha and clusters.
        root: root seed, for the distribution of the largest statistic.
        real: observations of real slices of the same findings (isolation, complete).
    """
    presence = observations.filter(pl.col("task") == "presence")
    if contrast in ("none", "prevalence", "crossing"):
        return None
    if contrast in ("isolation", "complete"):
        return against_real(observations, real, study, root)
    if contrast == "reader":
        return by_reader(presence, study, root)
    if contrast == "counterfactual":
        return counterfactual(presence, factor, study, root)
    if contrast == "lobe_size":
        return factorial(presence, factor, study, root)
    shape, metrics = _LEVELS[contrast]
    return by_level(presence, factor, shape, metrics, study, root)
