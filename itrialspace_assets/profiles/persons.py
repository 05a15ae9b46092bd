"""Which records of several datasets belong to one person.

LUNA16 names scans only; its scans are scans of LIDC-IDRI, whose publisher pairs them with patients. Those pairs are
shipped in ``aliases/`` (LIDC-IDRI, CC BY 3.0, The Cancer Imaging Archive). A scan whose person is not named counts as
a person of its own, marked with a question mark.
"""

from functools import lru_cache
from pathlib import Path

import polars as pl

from itrialspace_assets.base.errors import ConfigError, TableError
from itrialspace_assets.profiles.registry import Dataset
from itrialspace_assets.records.text_tables import read_text_table

_ALIASES = Path(__file__).parent / "aliases"


@lru_cache(maxsize=4)
def alias_table(aliases: str) -> dict[str, str]:
    """Id that a dataset uses -> ``person_uid``.

    Args:
        aliases: ``lidc_series_patients`` (shipped), or the path of a CSV with the columns ``id`` and
            ``person_uid``.

    Raises:
        ConfigError: no such table, not these columns, a row without an id or a person, or two people for one id.
    """
    shipped = aliases == "lidc_series_patients"
    path = _ALIASES / f"{aliases}.csv" if shipped else Path(aliases).expanduser()
    columns = ("series_uid", "patient_id") if shipped else ("id", "person_uid")
    wanted = f"aliases {aliases!r}: expected a CSV with the columns {' and '.join(columns)}"
    try:
        table = read_text_table(path, "aliases")
    except TableError as error:
        raise ConfigError(f"{wanted}: {error}") from None
    if missing := [c for c in columns if c not in table.columns]:
        raise ConfigError(f"{wanted}, got {', '.join(table.columns)}; missing {' and '.join(missing)}")
    if (blank := table.select(pl.any_horizontal(pl.col(columns).is_null())).to_series().arg_true()).len():
        raise ConfigError(f"{wanted} in every row, got row {blank[0]} without one ({blank.len()} rows)")
    ids, people = table.select(columns).unique(maintain_order=True).get_columns()
    if (twice := ids.filter(ids.is_duplicated())).len():
        raise ConfigError(f"{wanted}: one person for an id, got several for {twice[0]!r}")
    return dict(zip(ids, (f"LIDC-IDRI/{p}" for p in people) if shipped else people, strict=True))


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
