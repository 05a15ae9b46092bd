"""Reads 3-D marks that were made elsewhere; keeps nothing.

A scan that was read and has no mark is a row with its id and blank coordinates; a scan without any row was not read.
"""

from pathlib import Path

import polars as pl

from itrialspace_assets.readers.api import Mark
from itrialspace_assets.readers.elsewhere.options import TableOptions
from itrialspace_assets.readers.elsewhere.tables import (
    numbers,
    open_table,
    refuse,
    refuse_duplicates,
    require_columns,
    without_blanks,
)

_WORLD = ("world_x", "world_y", "world_z")
_NUMBERS = (*_WORLD, "diameter_mm", "score")
#: What every mark has; some readers give positions without a diameter.
_NEEDED = (*_WORLD, "score")
#: Largest diameter and coordinate (mm; ours): beyond, squares of distances overflow.
_MOST_DIAMETER_MM, _MOST_MM = 1e3, 1e6


def read_marks(path: Path, options: TableOptions) -> dict[str, list[Mark]]:
    """The marks of each scan that was read, best first, world mm (RAS).

    Args:
        path: a table with ``image_uid`` (of a real scan its scan id), ``world_x``, ``world_y``, ``world_z`` (mm),
            ``diameter_mm`` (blank where it is not known) and ``score``.
        options: names of its columns, and the axes of its coordinates.

    Raises:
        ConfigError: no table, or rows that are no marks; names the rows.
    """
    rows = open_table(path, options.mark_columns)
    require_columns(path, rows, ["image_uid", *_NUMBERS])
    rows = numbers(path, without_blanks(rows, ["image_uid"]), _NUMBERS)
    refuse(path, rows, pl.col("image_uid").is_null(), "the id of a scan in every row", "image_uid")
    some = pl.any_horizontal(pl.col(_NUMBERS).is_not_null())
    whole = pl.all_horizontal(pl.col(_NEEDED).is_not_null())
    refuse(path, rows, some & ~whole, "coordinates and score, or none of them", "image_uid")
    diameter = pl.col("diameter_mm")
    wrong = (diameter <= 0) | (diameter > _MOST_DIAMETER_MM)
    refuse(path, rows, wrong, f"a diameter above 0 mm, and of at most {_MOST_DIAMETER_MM:g} mm", "diameter_mm")
    for axis in _WORLD:
        refuse(path, rows, pl.col(axis).abs() > _MOST_MM, f"a coordinate of at most {_MOST_MM:g} mm", axis)
    refuse_duplicates(path, rows, ["image_uid", *_WORLD, "score"])
    said = rows.filter(whole).group_by("image_uid").len()["image_uid"]
    refuse(path, rows, ~whole & pl.col("image_uid").is_in(said.implode()), "no marks beside a row without", "image_uid")
    if options.frame == "LPS":
        rows = rows.with_columns(-pl.col("world_x"), -pl.col("world_y"))
    ordered = rows.sort("score", *_WORLD, descending=[True, False, False, False], nulls_last=True)
    found: dict[str, list[Mark]] = {uid: [] for uid in rows["image_uid"].unique().sort()}
    for uid, x, y, z, diameter, score in ordered.filter(whole).select("image_uid", *_NUMBERS).iter_rows():
        found[uid].append(Mark((x, y, z), diameter, score))
    return found
