"""Search, similarity and donors as the original's retriever answers them. Knows no server.

Facets are counted over the filtered index, each over all filters but its own; a missing distance is in no range.
"""

from typing import Any

import numpy as np
import polars as pl
from pydantic import Field

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.compat.nodes import is_among, is_between, label_is, met
from itrialspace_assets.explorer.search.columns import ABOUT, Columns, Mask, RowNumbers
from itrialspace_assets.explorer.search.filters import among
from itrialspace_assets.explorer.search.find import in_order
from itrialspace_assets.imaging.anatomy import SIZE_BUCKETS
from itrialspace_assets.index.query import FEATURES, MISMATCHES
from itrialspace_assets.records.tables import TABLES

#: Columns of a search result (published).
RESULT = (
    *("annotation_id", "dataset", "patient_id", "ct_path", "label", "lobe_name", "lung_side", "lung_zone"),
    *("central_peripheral", "nodule_mean_diam_mm", "pleural_distance_mm", "reinsertion_lobe"),
    *("reinsertion_nodule_diam_mm", "reinsertion_pleural_dist_mm", "reinsertion_lobe_cc_pct"),
)
_FACETS = {
    "datasets": "dataset",
    "lobes": "lobe_name",
    "zones": "lung_zone",
    "sides": "lung_side",
    "central_peripheral": "central_peripheral",
}
_LABELS = {"malignant": 1, "benign": 0, "unlabelled": None}
Words = str | list[str] | None


class SearchFilters(StrictModel):
    """Which nodules; all conditions together. ``label`` takes ``unlabelled`` as well, which the original cannot ask."""

    datasets: list[str] | None = None
    exclude_datasets: list[str] | None = None
    label: int | str | None = None
    lobe: Words = None
    lung_zone: Words = None
    lung_side: str | None = None
    central_peripheral: str | None = None
    diameter_min: float | None = None
    diameter_max: float | None = None
    pleural_distance_min: float | None = None
    pleural_distance_max: float | None = None
    airway_distance_min: float | None = None
    airway_distance_max: float | None = None
    reinsertion_lobe: Words = None
    reinsertion_zone: Words = None
    reinsertion_side: str | None = None
    reinsertion_diameter_min: float | None = None
    reinsertion_diameter_max: float | None = None
    reinsertion_pleural_min: float | None = None
    reinsertion_pleural_max: float | None = None
    reinsertion_cc_pct_min: float | None = None
    reinsertion_cc_pct_max: float | None = None
    n_nodules_min: int | None = None
    n_nodules_max: int | None = None
    population_type: str | None = None
    label_source: str | None = None
    limit: int | None = Field(None, ge=1, le=5000)
    offset: int = Field(0, ge=0)
    sample_n: int | None = Field(None, ge=1)
    sample_seed: int = Field(42, ge=0)
    sort_by: str | None = None
    sort_ascending: bool = True


class SimilarRequest(StrictModel):
    """Nodules like one."""

    annotation_id: str
    k: int = Field(10, ge=1, le=500)
    exclude_same_patient: bool = True
    include_datasets: list[str] | None = None
    exclude_datasets: list[str] | None = None
    label: int | None = Field(None, ge=0, le=1)


class MatchRequest(StrictModel):
    """A place for which donors are wanted."""

    lobe: str
    lobe_cc_pct: float | None = None
    pleural_dist_mm: float | None = None
    diameter_mm: float | None = None
    label: int | None = Field(None, ge=0, le=1)
    lung_zone: str | None = None
    lung_side: str | None = None
    include_datasets: list[str] | None = None
    exclude_datasets: list[str] | None = None
    k: int = Field(10, ge=1, le=500)


def conditions(columns: Columns, asked: SearchFilters) -> list[tuple[str, Mask | None]]:
    """The column that each filter is about, and which rows meet it; None: all.

    Raises:
        ConfigError: a value that no nodule has.
    """

    def words(column: str, given: Words) -> tuple[str, Mask | None]:
        return column, is_among(columns, column, [given] if isinstance(given, str) else given or [])

    excluded = is_among(columns, "dataset", asked.exclude_datasets or [])
    return [
        words("dataset", asked.datasets),
        ("dataset", None if excluded is None else ~excluded),
        ("label", label_is(columns, asked.label)),
        words("lobe_name", asked.lobe),
        words("lung_zone", asked.lung_zone),
        words("lung_side", asked.lung_side),
        words("central_peripheral", asked.central_peripheral),
        words("reinsertion_lobe", asked.reinsertion_lobe),
        words("reinsertion_lung_zone", asked.reinsertion_zone),
        words("reinsertion_lung_side", asked.reinsertion_side),
        words("population_type", asked.population_type),
        words("label_source", asked.label_source),
        *(
            (column, is_between(columns, column, low, high))
            for column, low, high in (
                ("nodule_mean_diam_mm", asked.diameter_min, asked.diameter_max),
                ("pleural_distance_mm", asked.pleural_distance_min, asked.pleural_distance_max),
                ("airway_distance_mm", asked.airway_distance_min, asked.airway_distance_max),
                ("reinsertion_nodule_diam_mm", asked.reinsertion_diameter_min, asked.reinsertion_diameter_max),
                ("reinsertion_pleural_dist_mm", asked.reinsertion_pleural_min, asked.reinsertion_pleural_max),
                ("reinsertion_lobe_cc_pct", asked.reinsertion_cc_pct_min, asked.reinsertion_cc_pct_max),
                ("n_nodules_in_patient", asked.n_nodules_min, asked.n_nodules_max),
            )
        ),
    ]


def page(columns: Columns, asked: SearchFilters, most: int | None) -> tuple[int, RowNumbers]:
    """How many nodules match, and the rows of those that are shown: filtered, then drawn, then sorted, then cut.

    Args:
        columns: of the index.
        asked: filters, sample, order and page.
        most: rows where ``limit`` is not given; None: all.

    Raises:
        ConfigError: a value that no nodule has, or no such column to sort by.
    """
    rows = np.flatnonzero(met(columns, (mask for _, mask in conditions(columns, asked))))
    total = len(rows)
    if asked.sample_n is not None and asked.sample_n < total:
        rows = np.sort(np.random.default_rng(asked.sample_seed).choice(rows, asked.sample_n, replace=False))
    limit = asked.limit or most
    end = len(rows) if limit is None else min(len(rows), asked.offset + limit)
    if asked.sort_by is not None:
        if asked.sort_by not in ABOUT:
            raise ConfigError(f"sort_by {asked.sort_by!r}: expected a column of the index")
        rows = in_order(columns, rows, asked.sort_by, not asked.sort_ascending, end)
    return total, rows[asked.offset : end]


def facets(columns: Columns, asked: SearchFilters) -> dict[str, dict[str, int]]:
    """Nodules by value of each facet, over all filters but those of the facet's own column.

    Raises:
        ConfigError: a value that no nodule has.
    """
    every = conditions(columns, asked)

    def counted(column: str, *own: str) -> dict[Any, int]:
        """Values that occur, in their order; none for a missing one but of labels."""
        coded, kept = columns.coded(column), met(columns, (mask for of, mask in every if of not in (column, *own)))
        counts = np.bincount(coded.codes[kept], minlength=len(coded.values) + 1).tolist()
        return {value: n for value, n in zip((None, *coded.values), counts, strict=True) if n}

    found: dict[str, dict[str, int]] = {}
    for name, column in _FACETS.items():
        values = counted(column)
        found[name] = {value: values[value] for value in sorted(v for v in values if v is not None)}
    labels, sizes = counted("label"), counted("size_bucket", "nodule_mean_diam_mm", "reinsertion_nodule_diam_mm")
    found["labels"] = {name: labels.get(label, 0) for name, label in _LABELS.items()}
    found["size_buckets"] = {bucket: sizes.get(bucket, 0) for bucket in SIZE_BUCKETS}
    return found


def within_datasets(columns: Columns, include: list[str] | None, exclude: list[str] | None) -> Mask:
    """Which rows are of some datasets and not of others.

    Args:
        columns: of the index.
        include: any of these; None or empty: all.
        exclude: none of these.

    Raises:
        ConfigError: there is no such dataset.
    """
    is_among(columns, "dataset", [*(include or []), *(exclude or [])])
    wanted = among(columns, "dataset", include) if include else None
    return met(columns, (wanted, ~among(columns, "dataset", exclude) if exclude else None))


def whole_rows(columns: Columns, rows: RowNumbers) -> pl.DataFrame:
    """Every column of some rows, in their order; the table is read once, some thousand rows at a time.

    Args:
        columns: of the index.
        rows: row numbers, each once.
    """
    if not len(rows):
        return TABLES["nodules"].empty()
    mask = np.zeros(columns.height, bool)
    mask[rows] = True
    return pl.concat(list(columns.batches(mask)))[np.argsort(np.argsort(rows))]


def deltas(reference: dict[str, Any], candidate: dict[str, Any]) -> dict[str, float | str | None]:
    """What a candidate has more than the reference, in % and mm, and its categories; null where one is missing.

    Args:
        reference: row of the index.
        candidate: row of the index.
    """
    found: dict[str, float | str | None] = {}
    for column, _ in FEATURES.values():
        a, b = reference[column], candidate[column]
        found[column] = None if a is None or b is None else round(b - a, 4)
    return found | {column: candidate[column] for column, _ in MISMATCHES.values()}
