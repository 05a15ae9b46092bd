"""The reports of an output folder as they were written: which there are, and the bytes of their files."""

import base64
import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.base.errors import NotFound
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import StrictModel

#: The page of a report.
PAGE = "report.html"
#: Kinds of files that a report has, with their media types.
MEDIA_TYPES = {
    ".html": "text/html; charset=utf-8",
    ".md": "text/markdown; charset=utf-8",
    ".csv": "text/csv; charset=utf-8",
    ".png": "image/png",
    ".pdf": "application/pdf",
    ".parquet": "application/vnd.apache.parquet",
}
_TITLE = re.compile(r"<title>(.*?)</title>", re.DOTALL)
_SCRIPT = re.compile(rb"<script[^>]*>(.*?)</script>", re.DOTALL)
#: Bytes of a page in which its title stands (ours).
_HEAD = 20_000


class ReportFiles(StrictModel):
    """A report: its name, its title, and its files below its own folder, the page first."""

    name: str
    title: str
    files: tuple[str, ...]


@dataclass(frozen=True)
class ReportFile:
    """Bytes of a file of a report, and what a browser may let it do (a Content-Security-Policy)."""

    data: bytes
    media_type: str
    policy: str


def reports(settings: Settings) -> tuple[ReportFiles, ...]:
    """Every report that has a page, by name."""
    found = _folders(settings).items()
    return tuple(ReportFiles(name=name, title=_title(f / PAGE), files=tuple(_files(f))) for name, f in found)


def report_file(settings: Settings, name: str, file: str) -> ReportFile:
    """A file of a report.

    Args:
        settings: the output folder.
        name: of the report.
        file: of its files, as ``reports`` names them.

    Raises:
        NotFound: there is no such report or file.
    """
    folder = _folders(settings).get(name)
    if folder is None or file not in _files(folder):
        raise NotFound(f"{name}/{file}: expected a file of a report, found none")
    data = (folder / file).read_bytes()
    return ReportFile(data, MEDIA_TYPES[Path(file).suffix], _policy(data if file.endswith(".html") else b""))


def _folders(settings: Settings) -> dict[str, Path]:
    """Folder of each report that has a page, by its name."""
    return {p.parent.name: p.parent for p in sorted((settings.output / "reports").glob(f"*/{PAGE}"))}


def _files(folder: Path) -> list[str]:
    """Files of a report by their paths below its folder, the page first; links are left out."""
    found = (p for p in folder.rglob("*") if p.suffix in MEDIA_TYPES and p.is_file() and not p.is_symlink())
    return sorted((p.relative_to(folder).as_posix() for p in found), key=lambda f: (f != PAGE, f))


def _title(page: Path) -> str:
    with page.open(encoding="utf-8", errors="replace") as handle:
        found = _TITLE.search(handle.read(_HEAD))
    return " ".join(found[1].split()) if found else page.parent.name


def _policy(page: bytes) -> str:
    """A policy that lets a page run the scripts that it holds and nothing else, in an origin of its own."""
    hashes = [base64.b64encode(hashlib.sha256(s).digest()).decode() for s in _SCRIPT.findall(page)]
    scripts = " ".join(f"'sha256-{h}'" for h in dict.fromkeys(hashes)) or "'none'"
    return (
        f"sandbox allow-scripts allow-popups allow-downloads; default-src 'none'; img-src 'self' data:; "
        f"style-src 'unsafe-inline'; script-src {scripts}; frame-ancestors 'none'"
    )
