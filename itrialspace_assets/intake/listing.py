"""Lists that users write: the scans to import, and the nodules of a scan by place and diameter."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason, TableError
from itrialspace_assets.profiles.load import SAFE_ID
from itrialspace_assets.records.text_tables import NUMBER, read_text_table

_PLACE = ("x", "y", "z", "diameter_mm")


@dataclass(frozen=True)
class OwnScan:
    """Files and demographics of one scan, as its user states them; empty text: not stated.

    Without ``nodules`` the scan has no nodule: it can be a host or a negative.
    """

    ct: str
    organs: str = ""
    nodules: str = ""
    ct_id: str = ""
    patient: str = ""
    age: str = ""
    sex: str = ""

    @property
    def id(self) -> str:
        """The stated id, else the name of the CT's file."""
        return self.ct_id or stem(Path(self.ct))


def read_list(path: Path) -> list[OwnScan]:
    """Scans of a CSV with the columns of ``OwnScan``; paths are relative to the CSV.

    Raises:
        ConfigError: no ``ct`` column, an unknown one, a row without a CT, or an age that is none; names the row.
        TableError: no table; names the row and the column.
    """
    table = read_text_table(path, "scans")
    known = list(OwnScan.__dataclass_fields__)
    if "ct" not in table.columns or set(table.columns) - set(known):
        raise ConfigError(
            f"{path}: expected the columns ct and any of {', '.join(known[1:])}, got {', '.join(table.columns)}"
        )
    if (bare := table["ct"].is_null()).any():
        raise ConfigError(
            f"{path}: ct: expected a path in every row, rows {', '.join(map(str, bare.arg_true().head(3)))} have none"
        )
    rows = []
    for number, row in enumerate(table.fill_null("").iter_rows(named=True)):
        paths = {k: str((path.parent / row[k]).absolute()) if row.get(k) else "" for k in ("ct", "organs", "nodules")}
        if not is_age(row.get("age", "")):
            raise ConfigError(f"{path}: row {number}: age: expected years from 0 to 120 or nothing, got {row['age']!r}")
        rows.append(OwnScan(**(row | paths)))
    return rows


def is_age(text: str) -> bool:
    """Whether a text is an age in years, as the table of profiles allows it, or empty."""
    return not text or (re.fullmatch(NUMBER, text) is not None and 0 <= float(text) <= 120)


def files_of(scans: Sequence[OwnScan]) -> list[Path]:
    """Every file and folder that some scans name."""
    return [Path(p) for scan in scans for p in (scan.ct, scan.organs, scan.nodules) if p]


def stem(path: Path) -> str:
    """Name of a file without ``.nii``, ``.gz`` and ``.dcm``."""
    return path.name.removesuffix(".gz").removesuffix(".nii").removesuffix(".dcm")


def is_cut_off(path: Path) -> bool:
    """Whether the last line of a list has no line end, as of a file of which the end is missing."""
    return not path.read_bytes().rstrip(b"\0").endswith((b"\n", b"\r"))


@dataclass(frozen=True)
class ListedNodule:
    """A row of a list of nodules: place (mm, in the axes of the list), diameter (mm) and, if known, its label.

    ``row``: number in the file, from 0. ``label``: 1 malignant, 0 benign, null unknown.
    """

    row: int
    name: str
    place: tuple[float, float, float]
    diameter: float
    label: int | None


def read_nodules(path: Path) -> list[ListedNodule]:
    """The nodules of a CSV with the columns x, y, z, diameter_mm and, if known, id and label; empty rows are left out.

    Raises:
        CaseRejected: no table, a missing column, no row, or a cell that is none of its kind; names the row.
    """
    try:
        table = read_text_table(path, "nodules")
    except TableError as error:
        raise CaseRejected(Reason.UNREADABLE_VOLUME, f"{path.parent}/{error}") from None
    rows = table.filter(~pl.all_horizontal(pl.all().is_null())).to_dicts()
    if not rows or (missing := [c for c in _PLACE if c not in rows[0]]):
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME,
            f"{path}: expected rows with the columns {', '.join(_PLACE)} and, if known, id and label, got "
            f"{', '.join(table.columns) or 'none'}; missing {', '.join(missing) if rows else 'all'}",
        )
    found = []
    for number, row in enumerate(rows):
        if wrong := [c for c in _PLACE if not re.fullmatch(NUMBER, row[c] or "")]:
            raise CaseRejected(
                Reason.BAD_POSITION,
                f"{path}: row {number}: expected numbers for {', '.join(_PLACE)}, got {row[wrong[0]] or 'nothing'} as "
                f"{wrong[0]}",
            )
        x, y, z, diameter = (float(row[c]) for c in _PLACE)
        name = (row.get("id") or f"N{number + 1}").strip()
        if not re.fullmatch(SAFE_ID, name):
            raise CaseRejected(
                Reason.UNREADABLE_VOLUME, f"{path}: row {number}: expected an id without a path, got {name!r}"
            )
        label = _label(row.get("label"), f"{path}: row {number}")
        found.append(ListedNodule(number, name, (x, y, z), diameter, label))
    return found


def _label(text: str | None, where: str) -> int | None:
    """1 malignant, 0 benign, None where nothing is written."""
    word = (text or "").strip().lower()
    known = {"": None, "nan": None, "malignant": 1, "cancer": 1, "benign": 0, "1": 1, "0": 0, "1.0": 1, "0.0": 0}
    if word not in known:
        raise CaseRejected(
            Reason.UNREADABLE_VOLUME, f"{where}: label: expected 1, 0, malignant, benign or nothing, got {text!r}"
        )
    return known[word]
