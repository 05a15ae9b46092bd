"""What every part of a release is listed as, and how its small tables are read. Judges nothing."""

import csv
import os
from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError

#: Hash of every file, in the format of sha256sum; ``its import-release --hashes`` checks it.
SUMS = "SHA256SUMS"


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


def read_sums(root: Path) -> dict[str, str]:
    """What ``SHA256SUMS`` of a release states: path below the release -> SHA-256.

    Raises:
        ConfigError: there is none, or a line is none of a hash and a path inside the release.
    """
    sums = root / SUMS
    if not sums.exists():
        raise ConfigError(f"{sums}: expected the hashes of the release's files, found none; leave out --hashes")
    found = {}
    for line in sums.read_text(encoding="utf-8", errors="replace").splitlines():
        sha, _, name = line.partition(" ")
        name = name.lstrip(" *")  # text and binary mode of sha256sum
        if not name or not inside(root, name):
            raise ConfigError(f"{sums}: expected lines of a hash and a path inside the release, got {line!r}")
        found[name] = sha.lower()
    return found


def inside(root: Path, stated: str) -> bool:
    """Whether a stated path stays within the release; its files may be links, as in the cache of a hub."""
    return not Path(stated).is_absolute() and Path(os.path.normpath(root / stated)).is_relative_to(root)
