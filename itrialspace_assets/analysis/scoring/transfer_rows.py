"""Synthetic against real slices: paired by finding where a trial has twins, else standardised to the real mix.

The real mix is that of lobe, size class and dataset. A comparison holds every cell (reader, task, condition) of one
mode, or of all modes that are no twins. Whether it may be made at all is asked first: of procedural anatomy the real
side was rendered too.
"""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Literal

import numpy as np
import polars as pl

from itrialspace_assets.analysis.estimates.cells import Flags, Floats, Ints, codes
from itrialspace_assets.analysis.estimates.equivalence import Verdicts, verdicts
from itrialspace_assets.analysis.estimates.standardise import CellAnswers, StandardisedSides, different, sides
from itrialspace_assets.analysis.estimates.transfer import (
    Transfer,
    Winners,
    drawn,
    rank_correlations,
    transfer,
    winners,
    without_each,
)
from itrialspace_assets.analysis.protocol.study import Study
from itrialspace_assets.analysis.scoring.answer_table import AnswerTable
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.seeds import named
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.tables import CONDITIONS, TASK_OPTIONS

PairingKind = Literal["paired", "standardised", "as_drawn"]
#: What a stratum of the real mix is made of; negatives have neither lobe nor size.
MIX = ["dataset", "lobe", "size_class", "negative_type"]
ALL_MODES = "all_modes"
PROCEDURAL = "not estimable by construction: anatomy is procedural, so the real side was rendered too"
_METHOD = "two-way leave-cluster-out jackknife, t"


@dataclass(frozen=True)
class TransferComparison:
    """All cells of one mode, or of all modes that are no twins, against the real slices.

    Attributes:
        source: the renderer.
        mode: the mode, or ``all_modes``.
        kind: paired by finding, standardised to the real mix, or as drawn (the published way: no strata).
        unseen: whether it leaves out people of datasets that reader or renderer were trained on.
        cells: reader, task, condition and measure of each cell (C rows), with counts of both sides.
        found: shares of both sides.
        verdicts: tests of each difference (C,).
        lacking: strata of the real mix without a counterpart in some cell, with their share of the real slices.
    """

    source: str
    mode: str
    kind: PairingKind
    unseen: bool
    cells: pl.DataFrame
    found: StandardisedSides
    verdicts: Verdicts
    lacking: pl.DataFrame

    @property
    def stratum(self) -> str:
        """How rows of ``metrics`` name it."""
        return f"{self.kind}{'_unseen' if self.unseen else ''}={self.mode}"

    @property
    def compared(self) -> Flags:
        """Cells over which ranks are compared (C,): as published, presence over slices that show a nodule."""
        return (self.cells["measure"] != "specificity").to_numpy() & np.isfinite(self.verdicts.tests.difference)


@dataclass(frozen=True)
class Ranks:
    """How the cells of a comparison are ordered by synthetic and by real slices.

    Attributes:
        all: correlations and gaps over all cells; None with fewer than three.
        low: lower limit of rho; None: none.
        high: upper limit.
        without_reader: rho without each reader.
        without_task: rho without each task.
        winners: whether the better reader is the same.
        note: why there are no limits.
    """

    all: Transfer | None
    low: float | None
    high: float | None
    without_reader: dict[str, float | None]
    without_task: dict[str, float | None]
    winners: Winners
    note: str | None


def why_not(found: AnswerTable) -> str | None:
    """Why real and synthetic slices cannot be compared; None: they can."""
    slices = found.counted
    if (slices["anatomy"] == "procedural").any():
        return PROCEDURAL
    real = slices["source"] == REAL
    if not real.any():
        return "no real slice was read: the data root holds no real CTs, or their lists are not frozen"
    return "no synthetic slice was read" if real.all() else None


def comparisons(
    found: AnswerTable, source: str, study: Study, *, margin: float, unseen: bool = False
) -> Iterator[TransferComparison]:
    """Every comparison of one renderer: each twin trial, all other modes together in two ways, each other mode.

    Args:
        found: answers on real anatomy, of all sources.
        source: the renderer.
        study: alpha, clusters.
        margin: largest difference that does not matter.
        unseen: whether ``found`` leaves out what reader and renderer were trained on.
    """
    slices = found.slices
    counts = found.filled & _like_negatives(found, source)
    made, real = ((slices["source"] == s).to_numpy() & counts for s in (source, REAL))
    native = made & slices["nodule_uid"].is_not_null().to_numpy()
    twins = slices["mode"].filter(pl.Series(native)).unique().sort().to_list()
    others = made & ~slices["mode"].is_in(twins).to_numpy()

    def compared(mode: str, kind: PairingKind, rows: Ints) -> TransferComparison:
        return _compared(found, rows, source, mode, kind, study, margin, unseen)

    for mode in twins:
        yield compared(mode, "paired", _pairs(slices, native & (slices["mode"] == mode).to_numpy(), real))
    modes = slices["mode"].filter(pl.Series(others)).unique().sort().to_list()
    if modes:
        once = slices.with_row_index("_at").filter(pl.Series(others)).unique("slice_uid", keep="first")
        rows = np.r_[once["_at"].sort().to_numpy(), np.flatnonzero(real)]  # modes may share a slice
        yield compared(ALL_MODES, "standardised", rows)
        yield compared(ALL_MODES, "as_drawn", rows)
    for mode in modes:
        yield compared(mode, "standardised", np.flatnonzero(real | others & (slices["mode"] == mode).to_numpy()))


def _like_negatives(found: AnswerTable, source: str) -> Flags:
    """Slices (n,) without those negatives that one side alone has: a lesion-free twin is no level of another scan."""
    slices = found.slices
    kinds = [set(slices.filter(source=s)["negative_type"].drop_nulls()) for s in (source, REAL)]
    return (slices["negative_type"].is_null() | slices["negative_type"].is_in(sorted(kinds[0] & kinds[1]))).to_numpy()


def _pairs(slices: pl.DataFrame, twins: Flags, real: Flags) -> Ints:
    """Places of twins (m,), then those of their real slices (m,): the same finding, shown or as the same negative."""
    on = ["nodule_uid", "negative_type"]
    places = slices.select(*on).with_row_index("_at")
    found = places.filter(pl.Series(twins)).join(
        places.filter(pl.Series(real)), on=on, how="inner", suffix="_real", nulls_equal=True
    )
    found = found.sort("_at", "_at_real")
    return np.concatenate([found[c].to_numpy() for c in ("_at", "_at_real")]).astype(np.int64, copy=False)


def _compared(
    table: AnswerTable, rows: Ints, source: str, mode: str, kind: PairingKind, study: Study, margin: float, unseen: bool
) -> TransferComparison:
    """Cells of a comparison.

    Args:
        table: all answers.
        rows: places of the slices of both sides; of pairs the studied ones first, both in one order.
        source: the renderer.
        mode: the mode, or ``all_modes``.
        kind: how both sides are made alike.
        study: alpha, clusters.
        margin: largest difference that does not matter.
        unseen: as ``TransferComparison.unseen``.
    """
    slices, right = table.slices[rows], table.right[rows]
    studied = (slices["source"] != REAL).to_numpy()
    if kind == "paired":  # a pair that one side lacks counts on neither
        first, second = np.split(right, 2)
        lost = np.tile((first < 0) | (second < 0), (2, 1))
        right = np.where(lost, -1, right).astype(np.int8)
    mix = slices if kind == "standardised" else slices.with_columns(pl.lit(None).alias(c) for c in MIX)
    stratum, strata = codes(mix, MIX)
    some = ((right >= 0) & studied[:, None]).any(axis=0)
    right, cells = right[:, some], table.cells.filter(pl.Series(some))
    persons = {"host_person_uid": codes(slices, ["_host"])[0], "donor_person_uid": codes(slices, ["_donor"])[0]}
    host, donor = persons[study.clusters[0]], persons[study.clusters[-1]]
    found = sides(CellAnswers(stratum, host, donor, studied, right), strata.height)
    alike = np.asarray(np.equal(*np.split(right, 2)).all(axis=0)) if kind == "paired" else found.alike
    judged = verdicts(found.apart, alike, margin=margin, alpha=study.alpha, min_clusters=study.min_clusters)
    there = right >= 0
    counts = {
        "n": (there & studied[:, None]).sum(axis=0),
        "n_real": (there & ~studied[:, None]).sum(axis=0),
        **{f"n_{way}s": different(persons[f"{way}_person_uid"], there & studied[:, None]) for way in ("host", "donor")},
    }
    counted = cells.with_columns(pl.Series(name, of, dtype=pl.Int64) for name, of in counts.items())
    lacking = _lacking(found, strata, cells) if kind == "standardised" else pl.DataFrame(schema=_LACKING)
    return TransferComparison(source, mode, kind, unseen, counted, found, judged, lacking)


_LACKING = pl.Schema({"task": pl.String(), "stratum": pl.String(), "n_real": pl.Int64(), "share": pl.Float64()})


def _lacking(found: StandardisedSides, strata: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
    """Strata of each task that lack a counterpart in the cell in which they are most, commonest first."""
    negative, place = pl.col("negative_type"), [pl.col(c).fill_null(f"{c} not known") for c in MIX[:3]]
    name = pl.when(negative.is_null()).then(pl.concat_str(place, separator=", "))
    names = strata.select(name.otherwise(pl.concat_str(place[0], pl.lit("negative"), negative, separator=", ")))
    total = found.target.sum(axis=1, keepdims=True)
    at, which = np.nonzero((found.target > 0) & ~found.supported)
    share = found.target[at, which] / total[at, 0]
    rows = pl.DataFrame(
        {
            "task": cells["task"].gather(at),
            "stratum": names.to_series().gather(which),
            "n_real": found.target[at, which].astype(np.int64),
            "share": share.round(10),
        },
        schema=_LACKING,
    )
    worst = rows.group_by("task", "stratum").agg(pl.col("n_real").max(), pl.col("share").max())
    return worst.sort("task", "share", "stratum", descending=[False, True, False])


def ranks(of: TransferComparison, study: Study, root: int) -> Ranks:
    """Order of the cells of a comparison on both sides, with limits that know which cells share persons.

    Args:
        of: the comparison.
        study: alpha, and from how many clusters on there are limits.
        root: root seed.
    """
    at = np.flatnonzero(of.compared)
    cells, made, real = of.cells[at], of.found.studied[at], of.found.targeted[at]
    whole = transfer(made, real)
    low, high, note = _limits(of, at, study, root) if whole and whole.rho is not None else (None, None, None)
    if whole is None:
        note = f"{len(at)} cells: expected three or more"
    elif whole.rho is None:
        note = "shares do not vary over cells on one side"
    block = codes(cells, ["task", "condition"])[0] if cells.height else np.zeros(0, np.int64)
    readers, tasks = (cells[c].to_list() for c in ("reader", "task"))
    return Ranks(
        whole,
        low,
        high,
        without_each(made, real, readers) if len(set(readers)) > 1 else {},
        without_each(made, real, tasks) if len(set(tasks)) > 1 else {},
        winners(made, real, block),
        note,
    )


def _limits(of: TransferComparison, at: Ints, study: Study, root: int) -> tuple[float | None, float | None, str | None]:
    if not (of.verdicts.tests.effective[at] >= study.min_clusters).all():  # NaN: none at all
        return None, None, f"a cell has fewer than {study.min_clusters} effective clusters"
    both = np.r_[at, len(of.found.studied) + at]
    seed = named(root, "transfer", of.source, of.stratum)
    value: Floats = np.concatenate([of.found.studied, of.found.targeted])[both]
    values = drawn(value, of.found.covariance[np.ix_(both, both)], seed)
    found = rank_correlations(*np.split(values, 2, axis=1))
    if not np.isfinite(found).all():
        return None, None, f"{int((~np.isfinite(found)).sum())} of {len(found)} draws have no correlation"
    low, high = np.quantile(found, [study.alpha / 2, 1 - study.alpha / 2])
    return round(float(low), 4), round(float(high), 4), None


def transfer_rows(of: TransferComparison, analysis: Analysis) -> Iterator[MetricRow]:
    """Rows of ``metrics``: synthetic less real with limits, and p that it lies within the margin, for every cell.

    Args:
        of: the comparison.
        analysis: what is reported.
    """
    tests, judged = of.verdicts.tests, of.verdicts
    order = {c: i for i, c in enumerate((*TASK_OPTIONS, *CONDITIONS))}
    rows = of.cells.with_row_index("at").to_dicts()
    for cell in sorted(rows, key=lambda r: (order[r["task"]], r["reader"], order[r["condition"]], r["measure"])):
        at = cell["at"]
        none = of.found.reason[at] if judged.verdict[at] is None else None
        same = asdict(analysis) | {
            "source": of.source,
            "reader": cell["reader"],
            "task": cell["task"],
            "condition": cell["condition"],
            "stratum": of.stratum,
            "flag": none or judged.flag[at],
            "n_slices": cell["n"],
            "n_hosts": cell["n_hosts"],
            "n_donors": cell["n_donors"],
        }
        low, high = _number(tests.low[at]), _number(tests.high[at])
        yield MetricRow(
            **same,
            metric=f"{cell['measure']}_less_real",
            estimate=_number(tests.difference[at]),
            low=low,
            high=high,
            method=_METHOD if low is not None else "none",
        )
        yield MetricRow(
            **same,
            metric=f"{cell['measure']}_equivalence_p",
            estimate=_number(judged.p[at]),
            low=None,
            high=None,
            method="two one-sided tests",
        )


def _number(value: float) -> float | None:
    """Ten decimals, or None."""
    return round(float(value), 10) if np.isfinite(value) else None
