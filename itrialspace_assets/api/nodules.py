"""Nodules in a notebook: questions about all of them as frames, the map, and one nodule with its volumes.

The answers are of ``index.query``, the images of ``explorer.images``.
"""

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import polars as pl

from itrialspace_assets.api.images import Images
from itrialspace_assets.api.tables import narrowed, row_of, rows_of
from itrialspace_assets.api.viewing import view
from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.nearest import not_found
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.imaging.geometry import Volume
from itrialspace_assets.index.query import Index, WantedDonor
from itrialspace_assets.records.tables import TABLES

#: Columns whose values are counted where nothing else is asked for: those that the original's search counts
#: (docs/facts/explorer.md).
FACETS = (
    "dataset",
    "reinsertion_lobe",
    "reinsertion_lung_zone",
    "reinsertion_lung_side",
    "central_peripheral",
    "label",
    "size_bucket",
)
#: Column that a tolerance of ``match`` bounds.
_PLACED = {
    "cc_pct": "reinsertion_lobe_cc_pct",
    "pleural_mm": "reinsertion_pleural_dist_mm",
    "diameter_mm": "reinsertion_nodule_diam_mm",
}


@dataclass(frozen=True, repr=False)
class Nodule:
    """A nodule of the index.

    Attributes:
        settings: where it is.
        row: its columns of ``nodules``.
    """

    settings: Settings
    row: dict[str, Any]

    @classmethod
    def named(cls, settings: Settings, uid: str) -> "Nodule":
        """The nodule of a ``nodule_uid``.

        Raises:
            NotFound: there is none; names near ones.
            TableError: there is no index yet; says how to make it.
        """
        return cls(settings, row_of(rows_of(settings, "nodules"), "nodule_uid", uid))

    @property
    def uid(self) -> str:
        """Its ``nodule_uid``."""
        return str(self.row["nodule_uid"])

    @property
    def volumes(self) -> Images:
        """Its volumes: ``real_ct``, ``host`` (organs, label 23 in nodules), ``mask``."""
        return Images(self.settings, self.uid, "nodule")

    @property
    def real_ct(self) -> Volume:
        """The CT of its scan (HU)."""
        return self.volumes["real_ct"]

    @property
    def host(self) -> Volume:
        """Organ labels of its scan, with 23 in every nodule."""
        return self.volumes["host"]

    @property
    def mask(self) -> Volume:
        """1 in its voxels."""
        return self.volumes["mask"]

    def view(self) -> Any:
        """Its CT with its mask over it, in the notebook: an ipyniivue widget.

        Raises:
            ConfigError: the extra ``notebook`` is not installed; says how to install it.
        """
        return view(self.volumes, "real_ct")

    def __repr__(self) -> str:
        """Id, size and place."""
        diameter = self.row["nodule_mean_diam_mm"]
        size = "size not known" if diameter is None else f"{diameter:g} mm"
        return f"Nodule({self.uid}: {size}, {self.row['lobe_name']})"


@dataclass(frozen=True, repr=False)
class Nodules:
    """The nodules of all datasets, read once.

    Attributes:
        settings: where the index is.
    """

    settings: Settings

    @cached_property
    def frame(self) -> pl.DataFrame:
        """Every nodule with every column, sorted by ``nodule_uid``.

        Raises:
            TableError: there is no index yet; says how to make it.
        """
        return self._index.nodules

    @property
    def columns(self) -> pl.DataFrame:
        """Name, unit and meaning of every column."""
        rows = [{"column": c.name, "unit": c.unit or "", "meaning": c.description} for c in TABLES["nodules"].columns]
        return pl.DataFrame(rows)

    def search(
        self, *filters: str, sort: str | None = None, descending: bool = False, limit: int | None = None, **wanted: Any
    ) -> pl.DataFrame:
        """Nodules that meet every filter.

        Example:
            >>> root.index.search("lobe_name~upper", label=1, nodule_mean_diam_mm=(6, 15))  # doctest: +SKIP

        Args:
            filters: as of ``its index search -w``: ``column=value``, ``column=a,b``, ``column=low..high``,
                ``column!=value``, ``column~text``, ``column=null``.
            sort: a column; ties by ``nodule_uid``.
            descending: greatest first.
            limit: most rows.
            wanted: by column: a value; a list (any of); a pair (low, high), both included; None (missing).

        Raises:
            ConfigError: no such column, or a value that it cannot hold.
        """
        found = narrowed(self._index.where(filters, sort, descending), wanted)
        return found if limit is None else found.head(limit)

    def row(self, uid: str) -> dict[str, Any]:
        """Every column of one nodule, by ``nodule_uid`` or by an annotation id that only one dataset has.

        Raises:
            ConfigError: none, or several; names near ones.
        """
        return self._index.row(uid).row(0, named=True)

    def similar(
        self,
        uid: str,
        *filters: str,
        k: int = 10,
        weights: Mapping[str, float] | None = None,
        same_person: bool = False,
    ) -> pl.DataFrame:
        """The ``k`` nodules most like one, nearest first, with ``distance`` (exact, standardised features).

        Args:
            uid: the nodule.
            filters: as in ``search``; the answer comes from those.
            k: how many, at most.
            weights: instead of the published ones, by the names of ``its index similar --weight``.
            same_person: whether nodules of the same person may be in it.

        Raises:
            ConfigError: no such nodule, weight or column.
        """
        return self._index.similar(uid, k, weights, filters, same_person)

    def match(
        self,
        lobe: str,
        *filters: str,
        cc_pct: float | None = None,
        pleural_mm: float | None = None,
        diameter_mm: float | None = None,
        label: int | None = None,
        host: str | None = None,
        within: Mapping[str, float] | None = None,
        k: int = 10,
    ) -> pl.DataFrame:
        """Donors for a place, best first, with ``score`` (lower is better).

        Args:
            lobe: RUL, RML, RLL, LUL, LLL or its full name.
            filters: as in ``search``; the answer comes from those.
            cc_pct: position in the lobe, % from inferior.
            pleural_mm: distance to the pleura.
            diameter_mm: diameter.
            label: 1 malignant, 0 benign.
            host: ``scan_uid`` of the host; nodules of the same person are left out.
            within: largest distance from the wanted ``cc_pct``, ``pleural_mm`` or ``diameter_mm``.
            k: how many, at most.

        Raises:
            ConfigError: no such lobe, host, column or tolerance.
        """
        asked = {"cc_pct": cc_pct, "pleural_mm": pleural_mm, "diameter_mm": diameter_mm}
        bounds = list(filters)
        for name, tolerance in (within or {}).items():
            at = asked.get(name)
            if at is None:
                raise ConfigError(f"within {name!r}: expected one of the places that are asked for, {_given(asked)}")
            bounds.append(f"{_PLACED[name]}={at - tolerance}..{at + tolerance}")
        place = WantedDonor(lobe, cc_pct, pleural_mm, diameter_mm, label, self._person(host))
        return self._index.donors_for(place, k, bounds)

    def facets(self, *filters: str, columns: Sequence[str] = FACETS, **wanted: Any) -> pl.DataFrame:
        """How many nodules each value has: ``column``, ``value``, ``nodules``.

        A column's counts are over the nodules that meet all filters of the *other* columns, so that they say what
        another choice would find.

        Args:
            filters: as in ``search``.
            columns: whose values are counted.
            wanted: as in ``search``.

        Raises:
            ConfigError: no such column, or a value that it cannot hold.
        """
        counted = []
        for column in columns:
            others = [f for f in filters if not re.match(rf"\s*{re.escape(column)}\s*(!=|~|=)", f)]
            rows = self.search(*others, **{k: v for k, v in wanted.items() if k != column})
            if column not in rows.columns:
                raise not_found("column", column, rows.columns)
            values = rows[column].cast(pl.String).alias("value")
            counted.append(
                values.to_frame()
                .group_by("value")
                .agg(nodules=pl.len())
                .sort("nodules", "value", descending=[True, False])
                .select(pl.lit(column).alias("column"), "value", "nodules")
            )
        return pl.concat(counted)

    def compare(self, uids: Collection[str]) -> pl.DataFrame:
        """Nodules side by side: a row for each column that one of them has, as text, and whether all are equal.

        Raises:
            ConfigError: no nodule, or one that is not there; names near ones.
        """
        if not uids:
            raise ConfigError("compare: expected one or more nodule_uids, got none")
        rows = [self.row(uid) for uid in uids]
        units = {c.name: c.unit or "" for c in TABLES["nodules"].columns}
        lines = []
        for name in self.frame.columns:
            values = [None if row[name] is None else str(row[name]) for row in rows]
            if any(v is not None for v in values):
                named = dict(zip((row["nodule_uid"] for row in rows), values, strict=True))
                lines.append({"column": name, "unit": units[name], "same": len(set(values)) == 1, **named})
        return pl.DataFrame(lines, infer_schema_length=None)

    def map(self, color: str = "dataset") -> Any:
        """The nodules on the two principal components of their features, coloured by a column: an Altair chart.

        Raises:
            ConfigError: no such column.
            TableError: there is no map yet; says how to make it.
        """
        from itrialspace_assets.api.figures import nodule_map

        return nodule_map(rows_of(self.settings, "nodule_map"), self.frame, color, self.settings.anatomy)

    @cached_property
    def _index(self) -> Index:
        return Index(rows_of(self.settings, "nodules").sort("nodule_uid"))

    def _person(self, scan: str | None) -> str | None:
        if scan is None:
            return None
        scans = rows_of(self.settings, "scans")
        found = scans.filter(pl.col("scan_uid") == scan)["person_uid"]
        if found.is_empty():
            raise not_found("host", scan, scans["scan_uid"].to_list())
        return str(found[0])

    def __len__(self) -> int:
        """Number of nodules."""
        return self.frame.height

    def __repr__(self) -> str:
        """Number of nodules by dataset."""
        counts = self.frame.group_by("dataset").len().sort("dataset").rows()
        return f"Nodules({len(self)}: " + ", ".join(f"{n} {name}" for name, n in counts) + ")"


def _given(asked: Mapping[str, float | None]) -> str:
    return ", ".join(name for name, value in asked.items() if value is not None) or "of which none is"
