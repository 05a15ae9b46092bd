"""Finds nodules: how many there are, a page of them, how often each value occurs, how numbers are distributed."""

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search.columns import Columns, Mask, RowNumbers, Value, about
from itrialspace_assets.explorer.search.filters import Filter, Name, all_of, column_of, mask_of, mask_of_text
from itrialspace_assets.records.tables import TABLES

#: Columns of a nodule that people look at first.
SHOWN = (
    "nodule_uid",
    "dataset",
    "label",
    "reinsertion_lobe",
    "reinsertion_nodule_diam_mm",
    "size_bucket",
    "reinsertion_pleural_dist_mm",
    "person_uid",
    "scan_uid",
)
MAX_FILTERS = 40
#: From so many rows on it pays to count codes in pairs; ours, measured.
_MANY = 200_000
Bins = npt.NDArray[np.uint8]


class NoduleQuery(StrictModel):
    """Which nodules: those that meet every filter and hold ``text`` in an id or in their dataset's name."""

    filters: tuple[Filter, ...] = Field((), max_length=MAX_FILTERS)
    text: str = Field("", max_length=200)


class NoduleSearch(NoduleQuery):
    """Which nodules, and what of them to say.

    Attributes:
        sort: column to sort by; ties by ``nodule_uid``, missing values last.
        descending: greatest first.
        offset: rows to pass over.
        limit: rows at most.
        columns: what to say of each row.
        facets: columns whose values are counted.
        histograms: columns of numbers whose distribution is counted.
        bins: of each histogram, equally wide between the least and the greatest value of the whole index.
    """

    sort: Name | None = None
    descending: bool = False
    offset: int = Field(0, ge=0, le=100_000_000)
    limit: int = Field(50, ge=0, le=1000)
    columns: tuple[Name, ...] = Field(SHOWN, max_length=100)
    facets: tuple[Name, ...] = Field((), max_length=40)
    histograms: tuple[Name, ...] = Field((), max_length=20)
    bins: int = Field(30, ge=2, le=200)


class ValueCount(StrictModel):
    """How many nodules have a value; null: it is missing."""

    value: Value
    count: int


class Facet(StrictModel):
    """Counts of every value of a column, 0 too, over all *other* filters."""

    column: str
    values: tuple[ValueCount, ...]


class Histogram(StrictModel):
    """Counts of nodules in bins, over all *other* filters.

    ``edges`` are one more than ``counts``; a bin holds its lower edge, the last one both. No edges: no value at all.
    """

    column: str
    unit: str
    edges: tuple[float, ...]
    counts: tuple[int, ...]
    missing: int


class SearchResult(StrictModel):
    """What a search found: ``rows`` are one page, in the order that was asked for."""

    total: int
    rows: list[dict[str, Value]]
    facets: tuple[Facet, ...]
    histograms: tuple[Histogram, ...]


class _Counter:
    """Counts codes over all filters but those of a column; what columns share is found once."""

    def __init__(self, columns: Columns, asked: NoduleQuery) -> None:
        masks = [(column_of(one), mask_of(columns, one)) for one in asked.filters]
        text = [(None, mask_of_text(columns, asked.text))] if asked.text else []
        self._columns, self._masks = columns, [*masks, *text]
        self._filtered = {column for column, _ in masks if column is not None}
        self._others: dict[str | None, pl.Series | None] = {}
        self.mask = all_of(columns.height, [mask for _, mask in self._masks])

    def mask_without(self, column: str) -> pl.Series | None:
        """Which rows meet every filter but those of a column; None: all rows."""
        key = column if column in self._filtered else None
        if key not in self._others:
            others = [mask for name, mask in self._masks if key is None or name != key]
            self._others[key] = pl.Series(all_of(self._columns.height, others)) if others else None
        return self._others[key]

    def counts(self, column: str, key: tuple[object, ...], codes: Bins, n: int) -> list[int]:
        """How often each of the codes 0 to ``n`` occurs.

        Args:
            column: whose filters do not count.
            key: of the codes, under which counts over all rows are kept.
            codes: of every row.
            n: greatest code.
        """
        mask = self.mask_without(column)
        if mask is None:
            return self._columns.kept(("counts", *key), lambda: _counted(codes, n))
        return _counted(pl.Series(codes).filter(mask).to_numpy(), n)


def _counted(codes: Bins, n: int) -> list[int]:
    """How often each of the codes 0 to ``n`` occurs."""
    if len(codes) < _MANY:
        return [int(count) for count in np.bincount(codes, minlength=n + 1)]
    even = len(codes) // 2 * 2  # two codes at once, as one number of 16 bits: half the time
    table = np.bincount(codes[:even].view(np.uint16), minlength=2**16).reshape(2**8, 2**8)
    counts = table.sum(axis=0) + table.sum(axis=1) + np.bincount(codes[even:], minlength=2**8)
    return [int(count) for count in counts[: n + 1]]


def search(columns: Columns, asked: NoduleSearch) -> SearchResult:
    """Find nodules.

    Raises:
        ConfigError: there is no such column, or it cannot be counted or compared in this way.
    """
    counter = _Counter(columns, asked)
    page = page_of(columns, counter.mask, asked)
    return SearchResult.model_construct(
        total=int(np.count_nonzero(counter.mask)),
        rows=columns.frame(asked.columns, page).to_dicts() if asked.columns else [],
        facets=tuple(_facet(columns, counter, name) for name in dict.fromkeys(asked.facets)),
        histograms=tuple(_histogram(columns, counter, name, asked.bins) for name in dict.fromkeys(asked.histograms)),
    )


def _facet(columns: Columns, counter: _Counter, name: str) -> Facet:
    coded = columns.coded(name)
    missing, *counts = counter.counts(name, ("facet", name), coded.codes, len(coded.values))
    pairs = [(v, n) for v, n in zip(coded.values, counts, strict=True)] + ([(None, missing)] if missing else [])
    return Facet.model_construct(
        column=name, values=tuple(ValueCount.model_construct(value=v, count=n) for v, n in pairs)
    )


def _histogram(columns: Columns, counter: _Counter, name: str, bins: int) -> Histogram:
    edges, codes = columns.kept(("bins", name, bins), lambda: _binned(columns.numbers(name), bins))
    missing, *counts = counter.counts(name, ("bins", name, bins), codes, max(0, len(edges) - 1))
    return Histogram.model_construct(
        column=name, unit=about(name).unit, edges=edges, counts=tuple(counts), missing=missing
    )


def _binned(values: npt.NDArray[np.float64], bins: int) -> tuple[tuple[float, ...], Bins]:
    """Edges, and for each value the number of its bin from 1; 0 where it is missing."""
    known = ~np.isnan(values)
    if not known.any():
        return (), np.zeros(len(values), np.uint8)
    low, high = float(values[known].min()), float(values[known].max())
    edges = np.linspace(low, high if high > low else low + 1.0, bins + 1)
    codes = np.searchsorted(edges[1:-1], values, side="right") + 1
    return tuple(edges.tolist()), np.where(known, codes, 0).astype(np.uint8)


def page_of(columns: Columns, mask: Mask, asked: NoduleSearch) -> RowNumbers:
    """Row numbers of a page.

    Args:
        columns: of the index.
        mask: rows that were found.
        asked: says order, offset and limit.

    Raises:
        ConfigError: there is no such column to sort by.
    """
    end = asked.offset + asked.limit
    rows = np.flatnonzero(mask)
    if asked.sort is not None:
        rows = in_order(columns, rows, asked.sort, asked.descending, end)
    return rows[asked.offset : end]


def in_order(columns: Columns, rows: RowNumbers, name: str, descending: bool, n: int) -> RowNumbers:
    """The first ``n`` rows in the order of a column; ties by ``nodule_uid``, missing values last.

    Args:
        columns: of the index.
        rows: row numbers, rising.
        name: of the column.
        descending: greatest first.
        n: how many, at most.

    Raises:
        ConfigError: there is no such column.
    """
    keys = _keys(columns, name)[rows]
    return rows[_first(-keys if descending else keys, n)]


def _keys(columns: Columns, name: str) -> npt.NDArray[np.float64]:
    """Numbers that sort as a column does; NaN where it is missing."""
    if about(name).type in ("number", "integer"):
        return columns.numbers(name)

    def make() -> npt.NDArray[np.float64]:
        coded = columns.few(name)
        if coded is None:
            return columns.texts(name).ranks()
        order = pl.Series(coded.values, dtype=TABLES["nodules"].schema[name]).rank("dense").cast(pl.Float64)
        return np.append(np.nan, order.to_numpy())[coded.codes]

    return columns.kept(("keys", name), make)


def _first(keys: npt.NDArray[np.float64], n: int) -> RowNumbers:
    """Places of the ``n`` least keys in their order, ties in order of place, NaN last."""
    keys = np.where(np.isnan(keys), np.inf, keys)
    if n < len(keys):  # to sort all would take half a second of a million
        last = np.partition(keys, n - 1)[n - 1] if n else -np.inf
        below = np.flatnonzero(keys < last)
        places = np.sort(np.concatenate([below, np.flatnonzero(keys == last)[: n - len(below)]]))
    else:
        places = np.arange(len(keys))
    return places[np.argsort(keys[places], kind="stable")]
