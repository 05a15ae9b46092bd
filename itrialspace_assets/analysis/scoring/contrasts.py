"""The metric of the primary endpoint compared: readers under one condition, conditions with the plain picture.

The comparisons of one source and kind are a family, corrected as the study declares (``PairedTests`` of its file).
"""

from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Floats, Ints, codes
from itrialspace_assets.analysis.estimates.comparisons import PairedTests, cell_pairs, holm, max_t, tested, ties
from itrialspace_assets.analysis.estimates.jackknife import Estimates
from itrialspace_assets.analysis.estimates.variance import Differences, differences
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.scored import coded, scored_of
from itrialspace_assets.analysis.scoring.tasks import metrics_of

_AXES = {"reader": None, "condition": "plain"}
_CELL = ("source", "reader", "condition")


@dataclass(frozen=True)
class Contrasts:
    """A table of comparisons, and in words which readers are tied under which condition."""

    table: pl.DataFrame
    ties: str


def contrasts(observations: pl.DataFrame, study: Study, root: int) -> Contrasts | None:
    """Comparisons of the primary endpoint's metric over all slices; None where nothing can be compared.

    Args:
        observations: of ``observations.observe``, for all readers.
        study: names task and metric, alpha and clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    rows = coded(observations.filter(pl.col("task") == study.primary.task), study)
    if rows.is_empty():
        return None
    scored = scored_of(rows, _CELL)
    metrics = {m.name: m.estimates for m in metrics_of(scored, study.primary.task)}
    if (found := metrics.get(study.primary.metric)) is None:  # predictive values of a trial without weights
        return None
    tables, said = [], ""
    for axis, against in _AXES.items():
        first, second = cell_pairs(scored.cells, axis, against)
        known = np.isfinite(found.value[first]) & np.isfinite(found.value[second])
        first, second = first[known], second[known]
        if len(first):
            table, tests = _table(scored.cells, found, (first, second), axis, study, root)
            tables.append(table)
            said += _ties(scored.cells, found, (first, second), tests) if axis == "reader" else ""
    return Contrasts(pl.concat(tables), said.strip()) if tables else None


def _table(
    cells: pl.DataFrame, found: Estimates, pairs: tuple[Ints, Ints], axis: str, study: Study, root: int
) -> tuple[pl.DataFrame, PairedTests]:
    first, second = pairs
    apart = differences(found, first, second)
    tests = tested(apart, study.alpha, study.min_clusters)
    a, b = cells[first], cells[second]
    family = codes(a, ["source"])[0]
    numbers = {
        "difference": tests.difference,
        "low": tests.low,
        "high": tests.high,
        "p": tests.p,
        **_corrected(apart, tests, family, study, root),
        "resolves": tests.floor,
    }
    rest = "condition" if axis == "reader" else "reader"
    table = a.select(
        "source",
        pl.lit(axis).alias("compared"),
        pl.col(rest).alias("within"),
        pl.col(axis).alias("first"),
        b[axis].alias("second"),
        *(pl.Series(name, values).fill_nan(None).round(4) for name, values in numbers.items()),
        pl.Series("note", tests.flag.tolist(), dtype=pl.String),
    )
    return table, tests


def _corrected(apart: Differences, tests: PairedTests, family: Ints, study: Study, root: int) -> dict[str, Floats]:
    """P of each comparison (M,) by the correction that the study declares, under its name."""
    if study.tests.correction == "holm":
        return {"p (Holm)": holm(tests.p, family)}
    return {"p (largest t)": max_t(apart, tests, family, root)}


def _ties(cells: pl.DataFrame, found: Estimates, pairs: tuple[Ints, Ints], tests: PairedTests) -> str:
    """Which readers cannot be told apart, by source and condition."""
    first, second = pairs
    block, names = codes(cells, ["source", "condition"])
    said = []
    for one, (source, condition) in enumerate(names.iter_rows()):
        at = np.flatnonzero(block == one)
        here = block[first] == one
        if here.any():
            place = np.searchsorted(at, first[here]), np.searchsorted(at, second[here])
            tie = ties(cells["reader"].gather(at).to_list(), found.value[at], *place, tests.tied[here])
            groups = "; ".join(" = ".join(g) for g in tie.groups)
            said.append(f"{source}, {condition}: {tie.k} of {tie.m} pairwise intervals include zero ({groups}).")
    return " ".join(said)
