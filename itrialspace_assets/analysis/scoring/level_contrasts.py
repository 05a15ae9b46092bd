"""Contrasts over the levels of one factor, and between readers: which weighted sums of cells they ask for.

A level with too few clusters is left out of tests and named.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import codes
from itrialspace_assets.analysis.estimates.jackknife import Estimates
from itrialspace_assets.analysis.estimates.variance import variance
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.cell_tests import (
    BLOCK,
    Compared,
    Shape,
    WeightedSum,
    at_once,
    levels_table,
    omnibus,
    shares_of,
    spread_of,
    stacked,
    tested_sums,
    why_out,
)
from itrialspace_assets.analysis.scoring.observations import strata_of
from itrialspace_assets.analysis.scoring.scored import Scored, coded, scored_of
from itrialspace_assets.analysis.scoring.strata import Factor
from itrialspace_assets.analysis.scoring.tasks import metrics_of


@dataclass(frozen=True)
class ComparableLevels:
    """The levels of one source, reader and condition that can be compared.

    Attributes:
        number: of the block.
        factor: column, levels and how they are shown.
        cells: cell of each level that can be used, in declared order.
        places: place of each of them among the declared levels.
        note: which others there are, and why they are left out.
    """

    number: int
    factor: Factor
    cells: list[int]
    places: list[int]
    note: str | None

    def asked(self, shape: Shape) -> list[WeightedSum]:
        """The tests of a shape; one that says why, where there are fewer than two levels."""
        if shape == "trend":
            return [self._trend()]
        if len(self.cells) == 2:
            return [self._pair()]
        return self.against_others()

    def _names(self) -> list[str]:
        return [self.factor.shown[p] for p in self.places]

    def _nothing(self, shape: Shape) -> WeightedSum:
        one = "one level only" if len(self.cells) == 1 else "no level"
        return WeightedSum(self.number, shape, self.factor.column, "", note="; ".join(filter(None, (one, self.note))))

    def _trend(self) -> WeightedSum:
        """Slope of the least-squares line over the levels, one step a level."""
        if len(self.cells) < 2:
            return self._nothing("trend")
        x = np.array(self.places, dtype=np.float64)
        slope = (x - x.mean()) / ((x - x.mean()) ** 2).sum()
        names = self._names()
        what = f"{names[0]} to {names[-1]}"
        weights = dict(zip(self.cells, slope.tolist(), strict=True))
        return WeightedSum(self.number, "trend", self.factor.column, what, weights, self.note)

    def _pair(self) -> WeightedSum:
        (first, second), names = self.cells, self._names()
        what = f"{names[1]} less {names[0]}"
        stratum = f"{self.factor.column}={self.factor.levels[self.places[1]]}"
        return WeightedSum(self.number, "difference", stratum, what, {second: 1.0, first: -1.0}, self.note)

    def against_others(self) -> list[WeightedSum]:
        """Each level less the mean of the others."""
        if len(self.cells) < 2:
            return [self._nothing("against_others")]
        rest = -1 / (len(self.cells) - 1)
        found = []
        for cell, place, name in zip(self.cells, self.places, self._names(), strict=True):
            weights = dict.fromkeys(self.cells, rest) | {cell: 1.0}
            stratum = f"{self.factor.column}={self.factor.levels[place]}"
            found.append(
                WeightedSum(self.number, "against_others", stratum, f"{name} less the others", weights, self.note)
            )
        return found


def blocks(scored: Scored, estimates: Estimates, factor: Factor, study: Study) -> Iterator[ComparableLevels]:
    """Each source, reader and condition with the levels that can be compared there.

    Args:
        scored: rows of one task with cells and clusters.
        estimates: of all cells.
        factor: levels that are compared, in declared order.
        study: alpha, clusters, least number of clusters.
    """
    block = codes(scored.cells, BLOCK)[0]
    few = variance(estimates).clusters < study.min_clusters
    place = [factor.order().get(level, -1) for level in scored.cells["level"]]
    for number in range(int(block.max(initial=-1)) + 1):
        cells = sorted(np.flatnonzero(block == number).tolist(), key=place.__getitem__)
        unread = [scored.why[c] for c in cells if scored.why[c] is not None]
        cells = [c for c in cells if place[c] >= 0 and scored.why[c] is None]
        lost = {c: why_out(c, estimates, few, study) for c in cells}
        note = "; ".join(f"without {factor.shown[place[c]]}: {why}" for c, why in lost.items() if why)
        used = [c for c in cells if lost[c] is None]
        yield ComparableLevels(number, factor, used, [place[c] for c in used], note or next(iter(unread), None))


def _levelled(observations: pl.DataFrame, column: str, study: Study) -> pl.DataFrame:
    """Coded observations with ``level``; a negative has the level of the nodule that it is paired with."""
    level = strata_of(observations, [column])[column].str.strip_prefix(f"{column}=")
    return coded(observations.with_columns(level=level).filter(pl.col("level").is_not_null()), study)


def by_level(
    presence: pl.DataFrame, factor: Factor, shape: Shape, metrics: Sequence[str], study: Study, root: int
) -> Compared:
    """Levels of a factor compared in some metrics.

    Args:
        presence: observations of the task presence.
        factor: column and levels in order.
        shape: trend, levels or spread.
        metrics: sensitivity, specificity.
        study: alpha and clusters.
        root: root seed.
    """
    rows = _levelled(presence, factor.column, study)
    if rows.is_empty():
        return Compared(factor, pl.DataFrame(), pl.DataFrame())
    scored = scored_of(rows, (*BLOCK, "level"))
    shares = shares_of(scored, metrics)
    tests = []
    for metric in shares:
        these = list(blocks(scored, metric.estimates, factor, study))
        every = [a for block in these for a in block.against_others()]
        if shape == "spread_ratio":
            tests.append(spread_of(scored, metric, every, study))
            continue
        asked = [a for block in these for a in block.asked(shape)]
        tests += [tested_sums(scored, metric, asked, study, root), omnibus(scored, metric, every, factor.column)]
    tests = [at_once(table, len(shares)) for table in tests]
    return Compared(factor, levels_table(scored, shares, study), stacked(tests))


def by_reader(presence: pl.DataFrame, study: Study, root: int) -> Compared:
    """Every two readers in the primary endpoint's metric; in sensitivity and specificity if it is not of presence.

    Args:
        presence: observations of presence, with strata and weights.
        study: alpha, clusters, least number of clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    rows = coded(presence, study).with_columns(level=pl.col("reader"))
    names = tuple(dict.fromkeys(rows["reader"]))
    factor = Factor("reader", names, names)
    if rows.is_empty():
        return Compared(factor, pl.DataFrame(), pl.DataFrame())
    scored = scored_of(rows, (*BLOCK, "level"))
    if study.primary.task == "presence":
        shares = [m for m in metrics_of(scored, "presence") if m.name == study.primary.metric]
    else:
        shares = shares_of(scored, ("sensitivity", "specificity"))
    block, known = codes(scored.cells, ["source", "condition"])
    tests = []
    for metric in shares:
        asked, few = [], variance(metric.estimates).clusters < study.min_clusters
        for number in range(known.height):
            cells = sorted(
                np.flatnonzero(block == number).tolist(), key=lambda c: names.index(scored.cells["level"][c])
            )
            of = [c for c in cells if scored.why[c] is None]
            lost = {c: why_out(c, metric.estimates, few, study) for c in of}
            note = "; ".join(f"without {scored.cells['reader'][c]}: {why}" for c, why in lost.items() if why) or None
            used = [c for c in of if lost[c] is None]
            if len(used) < 2:
                one = "one reader only" if len(used) == 1 else "no reader"
                asked.append(WeightedSum(cells[0], "difference", "all", "", note="; ".join(filter(None, (one, note)))))
            asked += [
                WeightedSum(
                    a, "difference", "all", f"{_reader(scored, a)} less {_reader(scored, b)}", {a: 1.0, b: -1.0}, note
                )
                for i, a in enumerate(used)
                for b in used[i + 1 :]
            ]
        tests.append(_between(tested_sums(scored, metric, asked, study, root)))
    tests = [at_once(table, len(shares)) for table in tests]
    return Compared(factor, levels_table(scored, shares, study), stacked(tests))


def _reader(scored: Scored, cell: int) -> str:
    """Reader of a cell."""
    return str(scored.cells["reader"][cell])


def _between(tests: pl.DataFrame) -> pl.DataFrame:
    """The metric of a comparison of two readers names the second, since rows of ``metrics`` have one reader."""
    other = pl.col("what").str.split(" less ").list.get(1, null_on_oob=True)
    return tests.with_columns(
        metric=pl.when(other.is_null()).then("metric").otherwise(pl.format("{}_to_{}", "metric", other))
    )
