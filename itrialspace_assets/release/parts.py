"""What every part of a release is listed as, and how its small tables are read. Judges nothing."""

import csv
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, kw_only=True)
class ReleasedRow:
    """A row of ``released``: one artefact of a release, what it counts, and whether it is as stated."""

    kind: str
    mode: str | None = None
    dataset: str | None = None
    path: str
    rows: int | None = None
    status: str
    detail: str | None = None
    sha256: str | None = None


def read_rows(path: Path) -> list[dict[str, str]]:
    """Rows of a table as text; a file that is no table gives no rows, and every caller reports that."""
    try:
        with path.open(newline="", encoding="utf-8-sig") as source:
            return [{str(k): str(v or "") for k, v in row.items()} for row in csv.DictReader(source)]
    except (UnicodeDecodeError, csv.Error):
        return []
