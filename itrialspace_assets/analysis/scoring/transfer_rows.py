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
from itrialspace_assets.analysis.estimates.standardise import Answers, Sides, joint_covariance, sides
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
from itrialspace_assets.analysis.scoring.rows import Analysis, MetricRow
from itrialspace_assets.base.seeds import named
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.tables import CONDITIONS, TASK_OPTIONS

Kind = Literal["paired", "standardised", "as_drawn"]
CELL = ["reader", "task", "condition", "measure"]
#: What a stratum of the real mix is made of; negatives have neither lobe nor size.
MIX = ["dataset", "lobe", "size_class", "negative_type"]
ALL_MODES = "all_modes"
PROCEDURAL = "not estimable by construction: anatomy is procedural, so the real side was rendered too"
_METHOD = "two-way leave-cluster-out jackknife, t"


@dataclass(frozen=True)
class Comparison:
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
    kind: Kind
    unseen: bool
    cells: pl.DataFrame
    found: Sides
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


def why_not(found: pl.DataFrame) -> str | None:
    """Why real and synthetic slices cannot be compared; None: they can."""
    if (found["anatomy"].cast(pl.String) == "procedural").any():
        return PROCEDURAL
    real = (found["source"].cast(pl.String) == REAL).any()
    if not real:
        return "no real slice was read: the data root holds no real CTs, or their lists are not frozen"
    if (found["source"].cast(pl.String) == REAL).all():
        return "no synthetic slice was read"
    return None


def comparisons(
    found: pl.DataFrame, source: str, study: Study, *, margin: float, unseen: bool = False
) -> list[Comparison]:
    """Every comparison of one renderer: each twin trial, each other mode, and all other modes together in two ways.

    Args:
        found: outcomes of ``outcomes.outcomes`` on real anatomy, of all sources.
        source: the renderer.
        study: alpha, clusters.
        margin: largest difference that does not matter.
        unseen: whether ``found`` leaves out what reader and renderer were trained on.
    """
    made = found.filter(pl.col("source").cast(pl.String) == source)
    real = found.filter(pl.col("source").cast(pl.String) == REAL)
    made, real = _like_negatives(made, real)
    twins = made.filter(pl.col("nodule_uid").is_not_null())
    twin_modes = twins["mode"].cast(pl.String).unique().sort().to_list()
    others = made.filter(~pl.col("mode").cast(pl.String).is_in(twin_modes))
    out = []
    for mode in twin_modes:
        out.append(_paired(twins.filter(pl.col("mode").cast(pl.String) == mode), real, mode, study, margin, unseen))
    once = others.unique([*CELL, "slice_uid"], keep="first", maintain_order=True)  # modes may share a slice
    sets: list[tuple[str, Kind, pl.DataFrame]] = []
    if once.height:
        sets = [(ALL_MODES, "standardised", once), (ALL_MODES, "as_drawn", once)]
    for mode in others["mode"].cast(pl.String).unique().sort():
        sets.append((mode, "standardised", others.filter(pl.col("mode").cast(pl.String) == mode)))
    for mode, kind, rows in sets:
        both = pl.concat([rows.with_columns(_studied=True), real.with_columns(_studied=False)])
        out.append(_compared(both, source, mode, kind, study, margin, unseen))
    return out


def _like_negatives(made: pl.DataFrame, real: pl.DataFrame) -> tuple[pl.DataFrame, pl.DataFrame]:
    """Both sides with those negatives alone that both have: a lesion-free twin is no level of another scan."""
    kinds = set(made["negative_type"].drop_nulls().cast(pl.String)) & set(
        real["negative_type"].drop_nulls().cast(pl.String)
    )
    kept = (pl.col("measure").cast(pl.String) != "specificity") | pl.col("negative_type").cast(pl.String).is_in(
        sorted(kinds)
    )
    return made.filter(kept), real.filter(kept)


def _paired(
    twins: pl.DataFrame, real: pl.DataFrame, mode: str, study: Study, margin: float, unseen: bool
) -> Comparison:
    on = [*CELL, "nodule_uid", "negative_type"]
    keys = twins.select(on).with_row_index("_pair")
    pairs = keys.join(real.with_row_index("_real"), on=on, how="inner", nulls_equal=True).sort("_pair")
    studied = twins[pairs["_pair"].to_numpy()].with_columns(_studied=True)
    target = real[pairs["_real"].to_numpy()].with_columns(_studied=False)
    source = str(twins["source"][0]) if twins.height else ""
    return _compared(pl.concat([studied, target]), source, mode, "paired", study, margin, unseen)


def _compared(
    both: pl.DataFrame, source: str, mode: str, kind: Kind, study: Study, margin: float, unseen: bool
) -> Comparison:
    """Cells of a comparison.

    Args:
        both: outcomes of both sides with ``_studied``; of pairs the studied ones first, both in one order.
        source: the renderer.
        mode: the mode, or ``all_modes``.
        kind: how both sides are made alike.
        study: alpha, clusters.
        margin: largest difference that does not matter.
        unseen: as ``Comparison.unseen``.
    """
    keys, cells = _small(both, CELL)
    if kind == "standardised":
        negative = pl.col("measure").cast(pl.String) == "specificity"
        mixed = both.select("dataset", "negative_type", *(pl.when(~negative).then(c).alias(c) for c in MIX[1:3]))
        stratum, strata = _small(mixed, MIX)
    else:
        stratum, strata = np.zeros(both.height, np.int64), pl.DataFrame({"stratum": ["all"]})
    studied, right = both["_studied"].to_numpy(), both["right"].to_numpy()
    persons = {"host_person_uid": _persons(both, "host_person_uid"), "donor_person_uid": _persons(both)}
    host, donor = persons[study.clusters[0]], persons[study.clusters[-1]]
    found = sides(Answers(keys, stratum, host, donor, studied, right), cells.height, strata.height)
    apart = found.apart
    alike = _concordant(keys, studied, right, cells.height) if kind == "paired" else found.alike
    judged = verdicts(apart, alike, margin=margin, alpha=study.alpha, min_clusters=study.min_clusters)
    return Comparison(
        source,
        mode,
        kind,
        unseen,
        _counted(cells, keys, studied, persons),
        found,
        judged,
        _lacking(found, strata, cells) if kind == "standardised" else pl.DataFrame(schema=_LACKING),
    )


def _small(rows: pl.DataFrame, columns: list[str]) -> tuple[Ints, pl.DataFrame]:
    """Equal rows of some columns as equal whole numbers, and what each stands for as text."""
    code, known = codes(rows, columns)
    return code, known.select(pl.col(columns).cast(pl.String))


def _persons(rows: pl.DataFrame, column: str = "donor_person_uid") -> Ints:
    """Person of each row from 0; a row without one is a cluster of its own, by its slice."""
    slices = rows["slice_uid"].to_physical().to_numpy().astype(np.int64)
    physical = rows[column].to_physical()
    person = physical.cast(pl.Int64).fill_null(-1).to_numpy()
    place: Ints = np.where(person < 0, slices + (int(person.max(initial=0)) + 1), person)
    return np.unique(place, return_inverse=True)[1].astype(np.int64)


def _concordant(cell: Ints, studied: Flags, right: Flags, cells: int) -> Flags:
    """Cells (C,) without a pair of which one alone is right."""
    apart = right[studied] != right[~studied]
    return np.asarray(np.bincount(cell[studied], weights=apart, minlength=cells) == 0)


def _counted(cells: pl.DataFrame, cell: Ints, studied: Flags, persons: dict[str, Ints]) -> pl.DataFrame:
    def different(of: Ints) -> Ints:
        pairs = np.unique(cell[studied] * (int(of.max(initial=0)) + 1) + of[studied])
        return np.bincount(pairs // (int(of.max(initial=0)) + 1), minlength=cells.height)

    return cells.with_columns(
        n=pl.Series(np.bincount(cell[studied], minlength=cells.height)),
        n_real=pl.Series(np.bincount(cell[~studied], minlength=cells.height)),
        n_hosts=pl.Series(different(persons["host_person_uid"])),
        n_donors=pl.Series(different(persons["donor_person_uid"])),
    )


_LACKING = pl.Schema({"task": pl.String(), "stratum": pl.String(), "n_real": pl.Int64(), "share": pl.Float64()})


def _lacking(found: Sides, strata: pl.DataFrame, cells: pl.DataFrame) -> pl.DataFrame:
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


def ranks(of: Comparison, study: Study, root: int) -> Ranks:
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


def _limits(of: Comparison, at: Ints, study: Study, root: int) -> tuple[float | None, float | None, str | None]:
    if not (of.verdicts.tests.effective[at] >= study.min_clusters).all():  # NaN: none at all
        return None, None, f"a cell has fewer than {study.min_clusters} effective clusters"
    both = np.stack([2 * at, 2 * at + 1], axis=1).ravel()
    covariance = joint_covariance(of.found.estimates)[np.ix_(both, both)]
    seed = named(root, "transfer", of.source, of.stratum)
    values: Floats = drawn(of.found.estimates.value[both], covariance, seed)
    found = rank_correlations(values[:, 0::2], values[:, 1::2])
    if not np.isfinite(found).all():
        return None, None, f"{int((~np.isfinite(found)).sum())} of {len(found)} draws have no correlation"
    low, high = np.quantile(found, [study.alpha / 2, 1 - study.alpha / 2])
    return round(float(low), 4), round(float(high), 4), None


def transfer_rows(of: Comparison, analysis: Analysis) -> Iterator[MetricRow]:
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
        none = of.found.estimates.reason[2 * at] if judged.verdict[at] is None else None
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
