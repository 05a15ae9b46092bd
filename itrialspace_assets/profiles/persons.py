"""Which records of several datasets belong to one person.

LUNA16 names scans only; its scans are scans of LIDC-IDRI, whose publisher pairs them with patients. Those pairs are
shipped in ``aliases/`` (LIDC-IDRI, CC BY 3.0, The Cancer Imaging Archive). A scan whose person is not named counts as
a person of its own, marked with a question mark.
"""

import csv
from functools import lru_cache
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.profiles.registry import Dataset

_ALIASES = Path(__file__).parent / "aliases"


@lru_cache(maxsize=4)
def alias_table(aliases: str) -> dict[str, str]:
    """Id that a dataset uses -> ``person_uid``.

    Args:
        aliases: ``lidc_series_patients`` (shipped), or the path of a CSV with the columns ``id`` and
            ``person_uid``.

    Raises:
        ConfigError: no such table, or not these columns.
    """
    shipped = aliases == "lidc_series_patients"
    path = _ALIASES / f"{aliases}.csv" if shipped else Path(aliases).expanduser()
    columns = ("series_uid", "patient_id") if shipped else ("id", "person_uid")
    try:
        with path.open(newline="", encoding="utf-8-sig") as source:
            rows = list(csv.DictReader(source))
            return {row[columns[0]]: f"LIDC-IDRI/{row[columns[1]]}" if shipped else row[columns[1]] for row in rows}
    except (OSError, KeyError) as error:
        raise ConfigError(
            f"aliases {aliases!r}: expected a CSV with the columns {' and '.join(columns)}, got {error}"
        ) from None


def person_uids(dataset: Dataset, patient: pl.Series, series: pl.Series | None, scan: pl.Series) -> pl.Series:
    """``person_uid`` of each row: the alias of its series, else the dataset's own patient, else ``<scan>?``.

    Args:
        dataset: names the table of aliases, if there is one.
        patient: patient id of each row, null if it is not named.
        series: series UID of each row; None: aliases are by patient.
        scan: ``scan_uid`` of each row.
    """
    own = pl.select(pl.concat_str(pl.lit(f"{dataset.name}/"), pl.lit(patient.cast(pl.String())))).to_series()
    unnamed = pl.select(pl.concat_str(pl.lit(scan), pl.lit("?"))).to_series()
    found = own.fill_null(unnamed)
    if dataset.aliases:
        key = series if series is not None else patient
        alias = key.cast(pl.String()).replace_strict(
            alias_table(dataset.aliases), default=None, return_dtype=pl.String()
        )
        found = alias.fill_null(found)
    return found
