"""The shortcut test: whether size acts alike in every lobe, and whether natural weights alone tell the arms apart."""

from dataclasses import dataclass, replace

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Floats, Ints, codes
from itrialspace_assets.analysis.estimates.jackknife import Estimates, of_mean
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
    stacked,
    tested_sums,
    untestable,
)
from itrialspace_assets.analysis.scoring.level_contrasts import blocks
from itrialspace_assets.analysis.scoring.scored import Metric, Scored, coded, scored_of
from itrialspace_assets.analysis.scoring.strata import Factor
from itrialspace_assets.imaging.anatomy import LOBES, SIZE_BUCKETS


def _words(lobe: str) -> str:
    return lobe.replace("_lung_", " ").replace("_", " ")


_NAMES = tuple(f"{lobe}, {size}" for lobe in LOBES for size in SIZE_BUCKETS)
_SHOWN = tuple(f"{_words(lobe)}, {size}" for lobe in LOBES for size in SIZE_BUCKETS)
_CELLS = Factor("lobe, size_bucket", _NAMES, _SHOWN)


def factorial(presence: pl.DataFrame, factor: Factor, study: Study, root: int) -> Compared:
    """Lobe by size: whether size acts alike in every lobe, and whether natural weights alone tell the arms apart.

    The last arm has lobes and sizes balanced, the first as they occur. The balanced arm, weighted to the lobes and
    sizes of the other one, should come to the same sensitivity unless the reader leans on which of them are likely.

    Args:
        presence: observations of presence, with strata and weights.
        factor: levels that are compared, in declared order.
        study: alpha, clusters, least number of clusters.
        root: root seed, for the distribution of the largest statistic.
    """
    shown = presence.filter(
        pl.col("presence") == "present",
        pl.col("lobe").is_in(list(LOBES)),
        pl.col("size_bucket").is_in(list(SIZE_BUCKETS)),
    )
    if shown.is_empty():
        return Compared(_CELLS, pl.DataFrame(), pl.DataFrame())
    first, last = factor.levels[0], factor.levels[-1]
    rows = coded(shown, study)
    balanced = rows.filter(pl.col("arm") == last).with_columns(
        level=pl.concat_str("lobe", "size_bucket", separator=", ")
    )
    levels, tests = pl.DataFrame(), []
    if balanced.height:
        scored = scored_of(balanced, (*BLOCK, "level"))
        (metric,) = shares_of(scored, ("sensitivity",))
        levels = levels_table(scored, [metric], study)
        crossed = [_crossed(scored, metric.estimates, block, study) for block in _numbers(scored)]
        slopes = [a for c in crossed for a in c.slopes()]
        tests += [
            tested_sums(scored, metric, [c.trend() for c in crossed], study, root),
            tested_sums(scored, metric, [a for c in crossed for a in c.lobes()], study, root),
            at_once(tested_sums(scored, metric, slopes, study, root), 2),
            omnibus(scored, metric, slopes, "lobe, size_bucket", "the slope over size differs by lobe"),
        ]
    if first != last:
        tests.append(at_once(_reweighted(rows, first, last, study, root), 2))
    return Compared(_CELLS, levels, stacked(tests))


def _numbers(scored: Scored) -> range:
    return range(int(codes(scored.cells, BLOCK)[0].max(initial=-1)) + 1)


@dataclass(frozen=True)
class _Crossed:
    """Cells of one source, reader and condition by lobe and size; sizes are those that every lobe has.

    Attributes:
        block: which source, reader and condition.
        cells: cell of each lobe and size (lobes, sizes); empty: they cannot be compared, ``note`` says why.
        lobes_of: lobe of each row.
        steps: place of each size among the buckets.
        note: what is left out.
    """

    block: int
    cells: Ints
    lobes_of: list[str]
    steps: list[int]
    note: str | None

    def _asked(self, shape: Shape, stratum: str, what: str, weights: Floats) -> WeightedSum:
        weighted = dict(zip(self.cells.ravel().tolist(), weights.ravel().tolist(), strict=True))
        return WeightedSum(self.block, shape, stratum, what, weighted, self.note)

    def _slope(self) -> Floats:
        x = np.array(self.steps, dtype=np.float64)
        return np.asarray((x - x.mean()) / ((x - x.mean()) ** 2).sum())

    def trend(self) -> WeightedSum:
        """Slope over size buckets, mean over lobes."""
        if not self.cells.size:
            return WeightedSum(self.block, "trend", "size_bucket", "", note=self.note)
        weights = np.tile(self._slope(), (len(self.lobes_of), 1)) / len(self.lobes_of)
        return self._asked(
            "trend", "size_bucket", f"{SIZE_BUCKETS[self.steps[0]]} to {SIZE_BUCKETS[self.steps[-1]]}", weights
        )

    def lobes(self) -> list[WeightedSum]:
        """Each lobe less the mean of the others, mean over sizes."""
        flat = np.full(len(self.steps), 1 / max(len(self.steps), 1))
        return self._each("against_others", "lobe={}", "{} less the other lobes, mean over sizes", flat)

    def slopes(self) -> list[WeightedSum]:
        """Slope over size in each lobe less the mean slope of the others."""
        slope = self._slope() if self.cells.size else np.zeros(0)
        return self._each("interaction", "lobe={}", "slope over size in {} less in the other lobes", slope)

    def _each(self, shape: Shape, stratum: str, what: str, over_sizes: Floats) -> list[WeightedSum]:
        count = len(self.lobes_of)
        if not self.cells.size:
            return [WeightedSum(self.block, shape, "lobe", "", note=self.note)]
        found = []
        for place, lobe in enumerate(self.lobes_of):
            side = np.full(count, -1 / (count - 1))
            side[place] = 1.0
            found.append(
                self._asked(shape, stratum.format(lobe), what.format(_words(lobe)), np.outer(side, over_sizes))
            )
        return found


def _crossed(scored: Scored, estimates: Estimates, block: int, study: Study) -> _Crossed:
    """Lobes and sizes of a block whose cells all have enough clusters."""
    few = variance(estimates).clusters < study.min_clusters
    at = np.flatnonzero(codes(scored.cells, BLOCK)[0] == block)
    names = scored.cells["level"].gather(at).to_list()
    good = {name: int(c) for name, c in zip(names, at, strict=True) if np.isfinite(estimates.value[c]) and not few[c]}
    lobes = [lobe for lobe in LOBES if any(name.startswith(f"{lobe}, ") for name in good)]
    steps = [i for i, size in enumerate(SIZE_BUCKETS) if lobes and all(f"{lobe}, {size}" in good for lobe in lobes)]
    lost = [name for name in names if not any(name == f"{lobe}, {SIZE_BUCKETS[i]}" for lobe in lobes for i in steps)]
    note = f"without {len(lost)} of {len(names)} cells of lobe and size: fewer than {study.min_clusters} clusters there"
    if len(lobes) < 2 or len(steps) < 2:
        few_cells = f"fewer than two lobes and two sizes have {study.min_clusters} clusters in every cell"
        return _Crossed(block, np.zeros((0, 0), np.int64), [], [], few_cells)
    cells = np.array([[good[f"{lobe}, {SIZE_BUCKETS[i]}"] for i in steps] for lobe in lobes])
    return _Crossed(block, cells, lobes, steps, note if lost else None)


def _reweighted(rows: pl.DataFrame, first: str, last: str, study: Study, root: int) -> pl.DataFrame:
    """Sensitivity of an arm less that of another one weighted to the lobes and sizes of the first.

    Args:
        rows: coded observations of slices with a nodule.
        first: the arm with natural weights.
        last: the balanced arm.
        study: alpha and clusters.
        root: root seed.
    """
    cell, place = [*BLOCK, "arm"], ["lobe", "size_bucket"]
    counted = rows.filter(pl.col("arm").is_in([first, last])).with_columns(_n=pl.len().over(*cell, *place))
    natural = counted.filter(pl.col("arm") == first).select(*BLOCK, *place, _natural="_n").unique()
    there = counted.filter(pl.col("arm") == last).select(*BLOCK, *place, _there=pl.lit(True)).unique()
    on = [*BLOCK, *place]
    both = counted.join(natural, on=on, how="left", maintain_order="left").join(
        there, on=on, how="left", maintain_order="left"
    )
    kept = both.filter(pl.col("_natural").is_not_null(), pl.col("_there").is_not_null()).with_columns(
        level="arm",
        _weight=pl.when(pl.col("arm") == first).then(1.0).otherwise(pl.col("_natural") / pl.col("_n")),
    )
    out = both.filter(pl.col("arm") == first).group_by(BLOCK).agg(_out=pl.col("_there").is_null().mean())
    if kept.is_empty():
        return untestable(rows, "reweighted", "sensitivity", "the arms share no lobe and size").drop("task")
    scored = scored_of(kept, (*BLOCK, "level"))
    said = scored.answered & scored.flags(pl.col("answer").cast(pl.String) == "present")
    used = np.ones(kept.height, bool)
    weighted = of_mean(scored.clusters, said, used, "no positives", weight=scored.numbers("_weight"))
    metric = Metric("sensitivity", weighted)
    factor = Factor("arm", (last, first), (f"{last} at its lobes and sizes", first))
    asked = [
        replace(b.asked("difference")[0], shape="reweighted", stratum="all")
        for b in blocks(scored, weighted, factor, study)
    ]
    left_out = pl.format(
        "{}% of {} lie in lobes and sizes that {} lacks",
        (pl.col("_out") * 100).round(0).cast(pl.Int64),
        pl.lit(first),
        pl.lit(last),
    )
    return (
        tested_sums(scored, metric, asked, study, root)
        .join(out, on=BLOCK, how="left", maintain_order="left")
        .with_columns(
            flag=pl.concat_str(
                "flag", pl.when(pl.col("_out") > 0).then(left_out), separator="; ", ignore_nulls=True
            ).replace("", None)
        )
        .drop("_out")
    )
