"""Who is the same human being over datasets.

LUNA16 names scans only; its scans are scans of LIDC-IDRI, whose publisher pairs them with patients.
Those pairs are shipped in ``aliases/`` (LIDC-IDRI, CC BY 3.0, The Cancer Imaging Archive). A scan
whose person nobody names stands for one person, marked with a question mark, never for "unknown".
"""

import csv
from functools import lru_cache
from pathlib import Path

import polars as pl

from itrialspace_assets.profiles.registry import Dataset

_ALIASES = Path(__file__).parent / "aliases" / "lidc_series_patients.csv"


@lru_cache(maxsize=1)
def series_persons() -> dict[str, str]:
    """Series UID -> LIDC-IDRI patient id."""
    with _ALIASES.open(newline="", encoding="utf-8") as source:
        return {row["series_uid"]: row["patient_id"] for row in csv.DictReader(source)}


def person_uids(dataset: Dataset, patient: pl.Series, series: pl.Series | None, scan: pl.Series) -> pl.Series:
    """``person_uid`` of each row: alias, else the dataset's own patient, else ``<scan>?``."""
    aliases = series_persons()
    out = []
    for p, s, scan_uid in zip(patient, series if series is not None else [None] * len(scan), scan, strict=True):
        if s is not None and s in aliases:
            out.append(f"LIDC-IDRI/{aliases[s]}")
        elif p is not None:
            out.append(f"{dataset.name}/{p}")
        else:
            out.append(f"{scan_uid}?")
    return pl.Series(out, dtype=pl.String())
