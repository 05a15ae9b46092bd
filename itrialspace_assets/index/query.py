"""Questions to the nodule index: filters, similar nodules, donors for a place, counts.

The command line, Python and the explorer all ask through this module. It reads the table ``nodules`` into memory once.
Every answer is a frame, so it can be shown, saved or joined. Writes nothing.

    index = open_index(settings)
    index.where(["label=1", "nodule_mean_diam_mm=6..15", "lobe_name=right_lung_upper_lobe"])
    index.similar("LUNA16/abc", k=10)
"""

import difflib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import polars as pl

from itrialspace_assets.base.errors import ConfigError, NotFound
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, SIZE_BUCKETS, lobe_label
from itrialspace_assets.records.store import read_table

#: Weights of the features of similarity (published, docs/facts/index-queries.md#similar-nodules): short name ->
#: (column, weight).
FEATURES: Mapping[str, tuple[str, float]] = {
    "lobe_cc": ("reinsertion_lobe_cc_pct", 1.0),
    "lobe_ml": ("reinsertion_lobe_ml_pct", 0.8),
    "lobe_ap": ("reinsertion_lobe_ap_pct", 0.8),
    "lung_cc": ("reinsertion_lung_cc_pct", 0.6),
    "lung_ml": ("reinsertion_lung_ml_pct", 0.5),
    "lung_ap": ("reinsertion_lung_ap_pct", 0.5),
    "pleural": ("reinsertion_pleural_dist_mm", 1.2),
    "airway": ("reinsertion_airway_dist_mm", 0.7),
    "diameter": ("reinsertion_nodule_diam_mm", 1.0),
}
#: What a mismatch costs (published, the same page): a pair that differs in it alone is exactly this far apart.
MISMATCHES: Mapping[str, tuple[str, float]] = {
    "lobe": ("reinsertion_lobe", 3.0),
    "side": ("reinsertion_lung_side", 2.0),
    "zone": ("reinsertion_lung_zone", 1.5),
}
#: Weights of a donor's score for a place (published, docs/facts/index-queries.md#donor-score); lower is better.
DONOR_WEIGHTS: Mapping[str, float] = {"lobe": 5.0, "cc": 1.0, "pleural": 0.8, "diameter": 0.6}

#: Rows whose distances are worked out at once; ours, measured.
_ROWS = 1 << 15
Floats = npt.NDArray[np.float64]

_SHOWN = [
    "nodule_uid",
    "dataset",
    "label",
    "reinsertion_lobe",
    "reinsertion_nodule_diam_mm",
    "size_bucket",
    "reinsertion_pleural_dist_mm",
    "person_uid",
    "scan_uid",
]


@dataclass(frozen=True)
class WantedDonor:
    """Where a donor is wanted: percentage from inferior in the lobe, distance to the pleura and diameter in mm.

    ``label`` is 1 (malignant) or 0 (benign). ``person`` is the host's: that person's own nodules are left out. What is
    None is not asked for.
    """

    lobe: str
    cc_pct: float | None = None
    pleural_mm: float | None = None
    diameter_mm: float | None = None
    label: int | None = None
    person: str | None = None


@dataclass(frozen=True)
class Tolerance:
    """How far a donor may be from the ``WantedDonor``, both ends included. What has no value is not within it.

    None: any.
    """

    same_lobe: bool = False
    cc_pct: float | None = None
    pleural_mm: float | None = None
    diameter_mm: float | None = None


@dataclass(frozen=True)
class Index:
    """The nodules of all datasets, sorted by ``nodule_uid``."""

    nodules: pl.DataFrame

    def where(self, filters: Sequence[str] = (), sort: str | None = None, descending: bool = False) -> pl.DataFrame:
        """Rows that meet every filter.

        Args:
            filters: ``column=value``, ``column=a,b`` (any of), ``column=low..high`` (both included; one
                end may be left out), ``column!=value``, ``column~text`` (contains, whatever the case),
                ``column=null``.
            sort: a column; ties by ``nodule_uid``.
            descending: greatest first.

        Raises:
            ConfigError: no such column, or a value that the column cannot hold.
        """
        found = self.nodules.filter(*(self._condition(f) for f in filters)) if filters else self.nodules
        if sort:
            found = found.sort(self._column(sort), "nodule_uid", descending=[descending, False], nulls_last=True)
        return found

    def row(self, uid: str) -> pl.DataFrame:
        """One nodule (a frame of one row) by ``nodule_uid``, or by ``annotation_id`` where only one has it.

        Raises:
            NotFound: none, or several.
        """
        at = self._at(uid)
        return self.nodules[at : at + 1]

    def companions(self, uid: str) -> pl.DataFrame:
        """The other nodules of the same scan, nearest first, with ``distance_mm`` (null without centres)."""
        row = self.row(uid)
        offsets = sum((pl.col(f"coord{a}") - pl.lit(row[f"coord{a}"][0], pl.Float64)) ** 2 for a in "XYZ")
        same = (pl.col("scan_uid") == row["scan_uid"][0]) & (pl.col("nodule_uid") != row["nodule_uid"][0])
        found = self.nodules.filter(same).with_columns(distance_mm=offsets.sqrt())  # type: ignore[union-attr]
        return found.sort("distance_mm", "nodule_uid", nulls_last=True)

    def counts(self, rows: str, columns: str | None = None, filters: Sequence[str] = ()) -> pl.DataFrame:
        """How many nodules there are by one column, or by two as a table with totals.

        Args:
            rows: column that makes the rows.
            columns: column that makes the columns; size buckets in order of size.
            filters: as in ``where``.

        Raises:
            ConfigError: no such column.
        """
        found = self.where(filters)
        by = [self._column(rows)] + ([self._column(columns)] if columns else [])
        long = found.with_columns(pl.col(by).cast(pl.String()).fill_null("(none)")).group_by(by).len("nodules")
        if columns is None:
            return long.sort(by)
        order = {bucket: i for i, bucket in enumerate(SIZE_BUCKETS)}
        long = long.sort(
            pl.col(by[1]).replace_strict(order, default=None, return_dtype=pl.Int64), by[1], nulls_last=True
        )
        wide = long.pivot(by[1], index=by[0], values="nodules").fill_null(0).sort(by[0])
        return wide.with_columns(total=pl.sum_horizontal(pl.exclude(by[0])))

    def stats(self, filters: Sequence[str] = ()) -> pl.DataFrame:
        """Per dataset: nodules, people, labels, malignant share, diameters (mm); ``filters`` as in ``where``."""
        d = pl.col("nodule_mean_diam_mm")
        labelled, malignant = pl.col("label").is_not_null().sum(), (pl.col("label") == 1).sum()
        return (
            self.where(filters)
            .group_by("dataset")
            .agg(
                pl.len().alias("nodules"),
                pl.col("scan_uid").n_unique().alias("scans"),
                pl.col("person_uid").n_unique().alias("people"),
                labelled.alias("labelled"),
                malignant.alias("malignant"),
                pl.when(labelled > 0).then((malignant / labelled).round(4)).alias("malignant_share"),
                d.median().round(1).alias("diam_median"),
                d.mean().round(1).alias("diam_mean"),
                d.max().round(1).alias("diam_max"),
                pl.col("position_usable").mean().round(4).alias("position_usable"),
                pl.col("label_source").first(),
                pl.col("anatomy").first(),
            )
            .sort("dataset")
        )

    def similar(
        self,
        uid: str,
        k: int = 10,
        weights: Mapping[str, float] | None = None,
        filters: Sequence[str] = (),
        same_person: bool = False,
        among: npt.NDArray[np.bool_] | None = None,
    ) -> pl.DataFrame:
        """The ``k`` nearest nodules in standardised features, exact, nearest first.

        Distance² = Σ (weight · Δz)² + Σ penalty² of each mismatch. A missing value counts as the mean.

        Args:
            uid: the nodule to compare with.
            k: how many, at most.
            weights: instead of the published ones, by short name (``FEATURES``, ``MISMATCHES``).
            filters: as in ``where``; the answer comes from those rows.
            same_person: whether nodules of the same person may be in it.
            among: of each row of the index, whether it may be in the answer; None: every row.

        Raises:
            ConfigError: no such nodule, weight or column.
        """
        at = self._at(uid)
        allowed = self._mask(filters) if filters else np.ones(self.nodules.height, bool)
        if among is not None:
            allowed &= among
        if not same_person:
            people = self._person_codes
            allowed &= people != people[at]
        compared = {name: (self._numbers(column), self._moments[name]) for name, (column, _) in FEATURES.items()}
        rows, distance = most_alike(compared, self._codes, at, allowed, k, weights)
        return self.nodules[rows].with_columns(distance=pl.Series(distance))

    def donors_for(
        self,
        place: WantedDonor,
        k: int = 10,
        filters: Sequence[str] = (),
        tolerance: Tolerance | None = None,
    ) -> pl.DataFrame:
        """Nodules that suit a place, best first: the published score, with the host's own person left out.

        score = 5·[lobe differs] + 1·|Δcc|/100 + 0.8·|Δpleural|/Pmax + 0.6·|Δdiameter|/Dmax, maxima over the
        candidates; a candidate without a value pays the most. ``scale`` is what makes it the wanted size;
        ``scale_ok`` whether that lies within 1/1.5 to 1.5 (docs/facts/trials.md#scale).

        Args:
            place: lobe, position, diameter and label that are wanted.
            k: how many, at most.
            filters: as in ``where``; the answer comes from those rows.
            tolerance: what is further from the place is left out; the score is the same as without.

        Raises:
            ConfigError: no such lobe or column, or a tolerance for what is not asked for.
        """
        return best_donors(self.where(filters), place, k, tolerance)

    def short(self, found: pl.DataFrame) -> pl.DataFrame:
        """The columns of an answer that people look at first."""
        extra = [c for c in found.columns if c not in self.nodules.columns]
        return found.select([*extra, *_SHOWN])

    # ---- what the methods above share; computed once

    def _column(self, name: str) -> str:
        if name not in self.nodules.columns:
            near = difflib.get_close_matches(name, self.nodules.columns, 3, 0.5)
            raise ConfigError(f"column {name!r}: not in the index; near: {', '.join(near) or 'see its dictionary'}")
        return name

    def _condition(self, text: str) -> pl.Expr:
        for mark in ("!=", "~", "="):
            name, found, value = text.partition(mark)
            if found and name.strip().isidentifier():
                break
        else:
            raise ConfigError(f"filter {text!r}: expected column=value, column=low..high, column!=value or column~text")
        column, value = self._column(name.strip()), value.strip()
        dtype = self.nodules.schema[column]
        if mark == "~":
            return pl.col(column).cast(pl.String()).str.to_lowercase().str.contains(value.lower(), literal=True)
        if ".." in value and dtype.is_numeric():
            low, _, high = value.partition("..")
            bounds = [pl.col(column) >= self._value(text, low, dtype)] if low else []
            bounds += [pl.col(column) <= self._value(text, high, dtype)] if high else []
            return pl.all_horizontal(bounds) if bounds else pl.col(column).is_not_null()
        if value == "null":
            return pl.col(column).is_null() if mark == "=" else pl.col(column).is_not_null()
        values = [self._value(text, v.strip(), dtype) for v in value.split(",")]
        return pl.col(column).is_in(values) if mark == "=" else ~pl.col(column).is_in(values)

    @staticmethod
    def _value(text: str, value: str, dtype: pl.DataType) -> float | int | bool | str:
        try:
            if dtype == pl.Boolean():
                return {"true": True, "1": True, "false": False, "0": False}[value.lower()]
            return int(value) if dtype.is_integer() else float(value) if dtype.is_numeric() else value
        except (KeyError, ValueError):
            raise ConfigError(
                f"filter {text!r}: expected {'true or false' if dtype == pl.Boolean() else 'a number'}, got {value!r}"
            ) from None

    def _mask(self, filters: Sequence[str]) -> npt.NDArray[np.bool_]:
        met = pl.all_horizontal(self._condition(f) for f in filters)
        return self.nodules.select(met.fill_null(False)).to_series().to_numpy().copy()

    def _at(self, uid: str) -> int:
        uids = self.nodules["nodule_uid"]
        found = int(uids.search_sorted(uid))
        if found < uids.len() and uids[found] == uid:
            return found
        rows = (self.nodules["annotation_id"] == uid).arg_true()
        if len(rows) == 1:
            return int(rows[0])
        near = difflib.get_close_matches(uid, self.nodules["nodule_uid"].head(20_000).to_list(), 3, 0.6)
        what = (
            f"{len(rows)} nodules have it, give <dataset>/<id>"
            if len(rows)
            else f"none has it; near: {', '.join(near) or 'none'}"
        )
        raise NotFound(f"nodule {uid!r}: {what}")

    def _numbers(self, column: str) -> Floats:
        return self.nodules[column].cast(pl.Float64).to_numpy()

    @cached_property
    def _moments(self) -> dict[str, tuple[float, float]]:
        return {name: moments(self._numbers(column)) for name, (column, _) in FEATURES.items()}

    @cached_property
    def _codes(self) -> dict[str, npt.NDArray[np.uint32]]:
        return {name: self._code(column) for name, (column, _) in MISMATCHES.items()}

    @cached_property
    def _person_codes(self) -> npt.NDArray[np.uint32]:
        return self._code("person_uid")

    def _code(self, column: str) -> npt.NDArray[np.uint32]:
        return self.nodules[column].rank("dense").to_numpy()


def moments(values: Floats) -> tuple[float, float]:
    """Mean of the values (n,) that are known, and their standard deviation; NaN is a missing one."""
    known = ~np.isnan(values)
    count = max(1, int(known.sum()))
    mean = values.sum(where=known) / count
    spread = np.sqrt(((values - mean) ** 2).sum(where=known) / count)
    return float(mean), float(spread)


def most_alike(
    numbers: Mapping[str, tuple[Floats, tuple[float, float]]],
    categories: Mapping[str, npt.NDArray[Any]],
    at: int,
    allowed: npt.NDArray[np.bool_],
    k: int,
    weights: Mapping[str, float] | None = None,
) -> tuple[npt.NDArray[np.intp], Floats]:
    """Rows of the nodules that are nearest to one, nearest first, and their distance: ``Index.similar`` of arrays.

    Args:
        numbers: by the names of ``FEATURES``: values (n,) and their ``moments``.
        categories: by the names of ``MISMATCHES``: a code of each row (n,).
        at: row of the nodule; it is not in the answer.
        allowed: of each row, whether it may be.
        k: how many, at most.
        weights: as of ``Index.similar``.

    Raises:
        ConfigError: no such weight.
    """
    scale = _weights(weights)
    square = np.zeros(len(allowed))
    for first in range(0, len(square), _ROWS):  # what is worked out of a block stays in the processor's cache
        block = slice(first, first + _ROWS)
        for name, (values, (mean, spread)) in numbers.items():
            own, some = values[at], values[block]
            own_z = 0.0 if np.isnan(own) else (own - mean) / max(spread, 1e-8)
            z = np.where(np.isnan(some), 0.0, (some - mean) / max(spread, 1e-8))
            square[block] += ((z - own_z) * scale[name]) ** 2
        for name, codes in categories.items():
            square[block] += scale[name] ** 2 * (codes[block] != codes[at])
    rows = np.flatnonzero(allowed)
    rows = rows[rows != at]
    if 0 < k < len(rows):  # to sort all would take a third of a second of a million
        rows = rows[~(square[rows] > np.partition(square[rows], k - 1)[k - 1])]
    rows = rows[np.lexsort((rows, square[rows]))[:k]]
    return rows, np.sqrt(square[rows]).round(6)


def _weights(given: Mapping[str, float] | None) -> dict[str, float]:
    weights = {name: weight for name, (_, weight) in (*FEATURES.items(), *MISMATCHES.items())}
    for name, value in (given or {}).items():
        if name not in weights or not value >= 0:
            raise ConfigError(f"weight {name}={value}: expected a number >= 0 for one of {', '.join(weights)}")
        weights[name] = value
    return weights


def best_donors(
    candidates: pl.DataFrame, place: WantedDonor, k: int, tolerance: Tolerance | None = None, tie: str = "nodule_uid"
) -> pl.DataFrame:
    """The best of some candidates for a place, with ``score``: ``Index.donors_for`` of a frame.

    Args:
        candidates: ``tie``, and the columns that the place is about.
        place: what is wanted.
        k: how many, at most.
        tolerance: what is further from the place is left out.
        tie: column whose order decides between equal scores.

    Raises:
        ConfigError: no such lobe, or a tolerance for what is not asked for.
    """
    label = lobe_label(place.lobe)
    if label is None:
        raise ConfigError(
            f"lobe {place.lobe!r}: expected one of {', '.join(LOBE_NAMES.values())} or RUL, RML, RLL, LUL, LLL"
        )
    found = candidates.filter(pl.col("reinsertion_nodule_diam_mm").is_not_null())
    if place.label is not None:
        found = found.filter(pl.col("label") == place.label)
    if place.person is not None:
        found = found.filter(pl.col("person_uid") != place.person)
    score = DONOR_WEIGHTS["lobe"] * pl.col("reinsertion_lobe").ne_missing(pl.lit(LOBE_NAMES[label])).cast(pl.Float64)
    terms = (
        ("cc", "reinsertion_lobe_cc_pct", place.cc_pct),
        ("pleural", "reinsertion_pleural_dist_mm", place.pleural_mm),
        ("diameter", "reinsertion_nodule_diam_mm", place.diameter_mm),
    )
    for name, column, wanted in terms:
        if wanted is not None:
            most = pl.lit(100.0) if name == "cc" else pl.max_horizontal(pl.col(column).max(), 1.0)
            score = score + DONOR_WEIGHTS[name] * ((pl.col(column) - wanted).abs() / most).fill_null(1.0)
    found = found.with_columns(score=score.round(9))
    if tolerance is not None:
        if tolerance.same_lobe:
            found = found.filter(pl.col("reinsertion_lobe") == LOBE_NAMES[label])
        most_apart = {"cc": tolerance.cc_pct, "pleural": tolerance.pleural_mm, "diameter": tolerance.diameter_mm}
        for name, column, wanted in terms:
            most_off = most_apart[name]
            if most_off is not None and wanted is None:
                raise ConfigError(f"tolerance {name}: expected with a wanted value of it")
            if most_off is not None:
                found = found.filter((pl.col(column) - wanted).abs() <= most_off)
    if found.height > k:  # to sort a million rows takes longest
        found = found.filter(pl.col("score") <= found["score"].bottom_k(k).max())
    found = found.sort("score", tie).head(k)
    if place.diameter_mm is not None:
        scale = place.diameter_mm / pl.col("reinsertion_nodule_diam_mm")
        found = found.with_columns(scale=scale.round(4), scale_ok=scale.is_between(1 / 1.5, 1.5))
    return found


def open_index(settings: Settings) -> Index:
    """The index as last built.

    Raises:
        TableError: there is none yet, or it was accepted under another contract.
    """
    return Index(read_table(settings.output, "nodules").sort("nodule_uid"))
