"""Nodules like one, and donors for a place: the index's own answers, with what differs in millimetres and percent."""

import functools
from collections.abc import Mapping
from dataclasses import replace
from typing import Annotated

import numpy as np
import numpy.typing as npt
import polars as pl
from pydantic import Field

from itrialspace_assets.base.errors import NotFound
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.explorer.search.columns import Columns, Mask, RowNumbers, Value, about
from itrialspace_assets.explorer.search.filters import Name, rows_of
from itrialspace_assets.explorer.search.find import SHOWN, NoduleQuery
from itrialspace_assets.imaging.anatomy import LOBE_NAMES, lobe_label
from itrialspace_assets.index.query import (
    FEATURES,
    MISMATCHES,
    Tolerance,
    WantedDonor,
    best_donors,
    moments,
    most_alike,
)
from itrialspace_assets.records.store import read_table

#: Columns that the index needs for its answers.
_NEEDED = tuple(
    dict.fromkeys((*SHOWN, *(column for column, _ in FEATURES.values()), *(c for c, _ in MISMATCHES.values())))
)
#: Numbers of a place.
_PLACED = ("reinsertion_lobe_cc_pct", "reinsertion_pleural_dist_mm", "reinsertion_nodule_diam_mm")
#: Bytes that a candidate takes while it is scored and sorted; ours, measured.
_SCORED = 128
K = Annotated[int, Field(ge=1, le=500)]
Millimetres = Annotated[float, Field(ge=0, le=1000, allow_inf_nan=False)]
Percent = Annotated[float, Field(ge=0, le=100, allow_inf_nan=False)]
Weight = Annotated[float, Field(ge=0, le=1e6, allow_inf_nan=False)]


class SimilarQuery(NoduleQuery):
    """Nodules like ``uid``; filters and text say which may be in the answer.

    Attributes:
        uid: the nodule.
        k: how many, at most.
        weights: instead of the published ones, by their short names.
        same_person: whether nodules of the same person may be in the answer.
        columns: what to say of each.
    """

    uid: str = Field(min_length=1, max_length=300)
    k: K = 10
    weights: dict[str, Weight] = Field(default_factory=dict, max_length=len(FEATURES) + len(MISMATCHES))
    same_person: bool = False
    columns: tuple[Name, ...] = Field(SHOWN, max_length=100)


class DonorQuery(NoduleQuery):
    """Donors for a place; filters and text say which may be in the answer. What is left out is not asked for.

    Attributes:
        lobe: name of the lobe, or RUL, RML, RLL, LUL, LLL.
        cc_pct: percentage from inferior in the lobe.
        pleural_mm: distance to the pleura.
        diameter_mm: diameter.
        label: 1 malignant, 0 benign.
        host: scan_uid of the host, whose person's own nodules are left out.
        same_lobe: whether donors of another lobe are left out.
        cc_tolerance_pct: most difference of cc_pct.
        pleural_tolerance_mm: most difference of pleural_mm.
        diameter_tolerance_mm: most difference of diameter_mm.
        k: how many, at most.
        columns: what to say of each.
    """

    lobe: str = Field(min_length=1, max_length=60)
    cc_pct: Percent | None = None
    pleural_mm: Millimetres | None = None
    diameter_mm: Annotated[float, Field(gt=0, le=1000, allow_inf_nan=False)] | None = None
    label: Annotated[int, Field(ge=0, le=1)] | None = None
    host: str | None = Field(None, min_length=1, max_length=300)
    same_lobe: bool = False
    cc_tolerance_pct: Percent | None = None
    pleural_tolerance_mm: Millimetres | None = None
    diameter_tolerance_mm: Millimetres | None = None
    k: K = 10
    columns: tuple[Name, ...] = Field(SHOWN, max_length=100)


class ColumnDifference(StrictModel):
    """What a nodule has minus what is compared with; null: one of the two is missing."""

    name: str
    column: str
    unit: str
    difference: float | None


class NearNodule(StrictModel):
    """A nodule of an answer.

    Attributes:
        row: the columns that were asked for.
        distance: from the nodule that was given, in weighted standard deviations; null for a donor.
        score: of a donor, lower is better; null for a like nodule.
        scale: what makes a donor the wanted size; null where none is wanted.
        scale_ok: whether that is allowed.
        differences: of the numbers that count.
        differs: short names of the categories that differ.
    """

    row: dict[str, Value]
    distance: float | None
    score: float | None
    scale: float | None
    scale_ok: bool | None
    differences: tuple[ColumnDifference, ...]
    differs: tuple[str, ...]


class Nearest(StrictModel):
    """Nodules, best first; ``candidates`` is how many meet filters and text."""

    candidates: int
    nodules: tuple[NearNodule, ...]


def similar(columns: Columns, asked: SimilarQuery) -> Nearest:
    """Nodules like one (docs/facts/index-queries.md#similar-nodules).

    Raises:
        NotFound: there is no such nodule.
        ConfigError: no such weight or column.
    """
    at, mask = columns.row(asked.uid), rows_of(columns, asked.filters, asked.text)
    rows, distance = alike(columns, at, mask, asked.k, asked.weights, asked.same_person)
    found = columns.frame(_NEEDED, rows).with_columns(distance=pl.Series(distance))
    given = columns.frame(_NEEDED, np.array([at])).row(0, named=True)
    wanted = {name: (column, given[column]) for name, (column, _) in FEATURES.items()}
    categories = {name: (column, given[column]) for name, (column, _) in MISMATCHES.items()}
    near = _nearest(columns, rows, found, asked.columns, wanted, categories)
    return Nearest(candidates=int(mask.sum()), nodules=near)


def alike(
    columns: Columns,
    at: int,
    among: Mask,
    k: int,
    weights: Mapping[str, float] | None = None,
    same_person: bool = False,
) -> tuple[RowNumbers, npt.NDArray[np.float64]]:
    """Rows (k,) of the nodules most like one, nearest first, and their distance (k,): as ``Index.similar``.

    Args:
        columns: of the index.
        at: row of the nodule.
        among: of each row, whether it may be in the answer, shape (n,).
        k: how many, at most.
        weights: instead of the published ones, by their short names.
        same_person: whether nodules of the same person may be in the answer.

    Raises:
        ConfigError: no such weight.
    """
    numbers = {}
    for name, (column, _) in FEATURES.items():
        values = columns.numbers(column)
        numbers[name] = values, columns.kept(("moments", column), functools.partial(moments, values))
    categories = {name: columns.codes(column) for name, (column, _) in MISMATCHES.items()}
    if not same_person:
        people = columns.codes("person_uid")
        among = among & (people != people[at])
    return most_alike(numbers, categories, at, among, k, weights)


def donors(
    columns: Columns, place: WantedDonor, among: Mask, k: int, tolerance: Tolerance | None = None
) -> tuple[RowNumbers, pl.DataFrame]:
    """Rows of the donors that suit a place, best first, and their ``score``: as ``Index.donors_for``.

    Args:
        columns: of the index.
        place: what is wanted.
        among: of each row, whether it may be in the answer.
        k: how many, at most.
        tolerance: what is further from the place is left out.

    Raises:
        ConfigError: no such lobe, or a tolerance for what is not asked for.
    """
    if place.person is not None:
        among = among & ~columns.texts("person_uid").among([place.person])
    rows = np.flatnonzero(among)
    columns.budget.clear(_SCORED * len(rows))
    lobes, codes = columns.values("reinsertion_lobe"), columns.codes("reinsertion_lobe")[rows]
    known = pl.Enum(list(dict.fromkeys((*lobes, *map(str, LOBE_NAMES.values())))))
    candidates = pl.DataFrame(
        {
            "row": rows,
            "reinsertion_lobe": pl.Series([None, *lobes], dtype=known)[codes.astype(np.intp)],
            "label": columns.frame(["label"], rows)["label"],
            **{c: pl.Series(columns.numbers(c)[rows], nan_to_null=True) for c in _PLACED},
        }
    )
    found = best_donors(candidates, replace(place, person=None), k, tolerance, tie="row")
    return found["row"].to_numpy(), found.drop("row", "label", "reinsertion_lobe", *_PLACED)


def match(columns: Columns, settings: Settings, asked: DonorQuery) -> Nearest:
    """Donors for a place (docs/facts/index-queries.md#donor-score), within tolerances where such are given.

    Args:
        columns: of the index.
        settings: of the data root, whose scans say which person a host is.
        asked: the place.

    Raises:
        NotFound: there is no such host.
        ConfigError: no such lobe or column, or a tolerance for what is not wanted.
    """
    person = None
    if asked.host is not None:
        scans = read_table(settings.output, "scans", ["scan_uid", "person_uid"]).filter(
            pl.col("scan_uid") == asked.host
        )
        if scans.is_empty():
            raise NotFound(f"host {asked.host!r}: expected a scan_uid of the index")
        person = scans["person_uid"][0]
    mask = rows_of(columns, asked.filters, asked.text)
    place = WantedDonor(asked.lobe, asked.cc_pct, asked.pleural_mm, asked.diameter_mm, asked.label, person)
    tolerance = Tolerance(
        asked.same_lobe, asked.cc_tolerance_pct, asked.pleural_tolerance_mm, asked.diameter_tolerance_mm
    )
    rows, scores = donors(columns, place, mask, asked.k, tolerance)
    found = pl.concat([columns.frame(_NEEDED, rows), scores], how="horizontal")
    terms = {
        "cc": ("reinsertion_lobe_cc_pct", asked.cc_pct),
        "pleural": ("reinsertion_pleural_dist_mm", asked.pleural_mm),
        "diameter": ("reinsertion_nodule_diam_mm", asked.diameter_mm),
    }
    wanted = {name: term for name, term in terms.items() if term[1] is not None}
    lobe = {"lobe": ("reinsertion_lobe", str(LOBE_NAMES[lobe_label(asked.lobe) or 0]))}
    return Nearest(candidates=int(mask.sum()), nodules=_nearest(columns, rows, found, asked.columns, wanted, lobe))


def _nearest(
    columns: Columns,
    places: RowNumbers,
    found: pl.DataFrame,
    shown: tuple[str, ...],
    wanted: Mapping[str, tuple[str, float | None]],
    categories: Mapping[str, tuple[str, str]],
) -> tuple[NearNodule, ...]:
    rows = columns.frame(shown, places).to_dicts() if shown else [{} for _ in places]
    extra = found.select(c for c in ("distance", "score", "scale", "scale_ok") if c in found.columns).to_dicts()
    return tuple(
        NearNodule(
            row=row,
            **{name: e.get(name) for name in ("distance", "score", "scale", "scale_ok")},
            differences=tuple(
                ColumnDifference(
                    name=name, column=column, unit=about(column).unit, difference=_minus(values[column], given)
                )
                for name, (column, given) in wanted.items()
            ),
            differs=tuple(name for name, (column, given) in categories.items() if values[column] != given),
        )
        for row, e, values in zip(rows, extra, found.to_dicts(), strict=True)
    )


def _minus(value: float | None, given: float | None) -> float | None:
    return None if value is None or given is None else round(value - given, 4)
