"""The files of a reader's weights: where they lie, which are missing and how to get them, and one hash of all.

Looks at names and sizes and hashes files; imports no library of models, opens no weights, and downloads nothing.
"""

import importlib.util
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.readers.api import Need
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment

#: A folder of weights, as the option ``weights`` of an entry names it: below ITRIALSPACE_WEIGHTS_DIR, nowhere else.
FOLDER_NAME = r"^[A-Za-z0-9_-][A-Za-z0-9._-]*(/[A-Za-z0-9_-][A-Za-z0-9._-]*)*$"
#: What a file begins with that stands in for a large one which git-lfs did not fetch.
_POINTER = b"version https://git-lfs"
#: Most bytes of such a file.
_POINTER_BYTES = 1024


@dataclass(frozen=True)
class ExpectedFiles:
    """What a folder of weights must hold.

    Attributes:
        files: one item a file: names that it may have, of which one must be there, for example
            ``("model.safetensors", "model.safetensors.index.json")``.
        source: where the files come from, for example the id of a repository of models.
        licence: what must be done before one may fetch them, for example whose terms are accepted where.
    """

    files: tuple[tuple[str, ...], ...]
    source: str
    licence: str


@dataclass(frozen=True)
class ReaderWeights:
    """The folder of a reader's weights, which may not be there, and what it must hold.

    ``folder`` is None where ITRIALSPACE_WEIGHTS_DIR is not set; ``name`` is its name below that.
    """

    reader: str
    name: str
    folder: Path | None
    expected: ExpectedFiles
    fingerprints: Path

    def needs(self) -> list[Need]:
        """What is missing or is no file of weights; looks at names, sizes, first bytes, and the indices of shards."""
        wanted = ", ".join(" or ".join(names) for names in self.expected.files)
        fix = f"put the files of {self.expected.source} there ({self.expected.licence})"
        if self.folder is None:
            return [
                Need(
                    "ITRIALSPACE_WEIGHTS_DIR is not set: expected a folder of readers' weights",
                    f"set it to a folder with a folder {self.name} in it that holds {wanted}; {fix}",
                )
            ]
        if not self.folder.is_dir():
            return [Need(f"{self.folder}: expected a folder with {wanted}, found none", f"make it; {fix}")]
        absent = [names for names in self.expected.files if not any((self.folder / name).is_file() for name in names)]
        missing = [" or ".join(names) for names in absent] + _missing_shards(self.folder)
        found = [Need(f"{self.folder}: expected {', '.join(missing)}, found none", fix)] if missing else []
        present = (self.folder / name for names in self.expected.files for name in names)
        return found + [Need(what, fix) for path in present if path.is_file() for what in _not_whole(path)]

    def sha256(self) -> str:
        """One hash over the names and contents of all files of the folder, but hidden ones and ``*.md``.

        Raises:
            ConfigError: a file is missing, or is no file of weights; says what to do.
        """
        if needs := self.needs():
            raise ConfigError(f"reader {self.reader}: " + "; ".join(f"{need.what}: {need.fix}" for need in needs))
        assert self.folder is not None
        with FileHashes(self.fingerprints) as hashes:
            return digest([[path.relative_to(self.folder).as_posix(), hashes.get(path)] for path in files(self.folder)])


def weights_of(
    entry: ReaderEntry, name: str | None, place: ReaderEnvironment, expected: ExpectedFiles
) -> ReaderWeights:
    """The folder of an entry's weights.

    Args:
        entry: of ``readers.yaml``.
        name: its option ``weights``; None: the folder has the reader's name.
        place: where folders of weights lie.
        expected: what the folder must hold.
    """
    name = entry.name if name is None else name
    folder = None if place.weights_dir is None else place.weights_dir.expanduser().absolute() / name
    return ReaderWeights(entry.name, name, folder, expected, place.fingerprints)


def files(folder: Path) -> list[Path]:
    """Every file of a folder of weights by its name, but hidden ones (a downloader's notes) and texts in ``*.md``."""
    found = (path.relative_to(folder) for path in folder.rglob("*") if path.is_file() and path.suffix != ".md")
    return [folder / path for path in sorted(found) if not any(part.startswith(".") for part in path.parts)]


def missing_packages(names: Sequence[str]) -> list[Need]:
    """Those of some packages that are not installed; imports none of them."""
    absent = [name for name in names if importlib.util.find_spec(name) is None]
    if not absent:
        return []
    return [
        Need(
            f"expected the Python packages {', '.join(names)}, found no {', '.join(absent)}",
            "install them with `pip install 'itrialspace-assets[models]'`",
        )
    ]


def _missing_shards(folder: Path) -> list[str]:
    """Files that an index of shards names and that are not there; of an unreadable index the index itself."""
    missing = set()
    for index in sorted(folder.glob("*.index.json")):
        try:
            shards = set(json.loads(index.read_bytes())["weight_map"].values())
            missing |= {name for name in shards if not (folder / name).is_file()}
        except (ValueError, KeyError, TypeError, AttributeError, OSError):
            missing.add(f"{index.name} with a weight_map")
    return sorted(missing)


def _not_whole(path: Path) -> list[str]:
    """What is wrong with a file that is empty, or that only points at the real one."""
    size = path.stat().st_size
    if size == 0:
        return [f"{path}: expected a file of weights, got an empty file"]
    if size <= _POINTER_BYTES and path.read_bytes().startswith(_POINTER):
        return [f"{path}: expected the file itself, got git-lfs's pointer to it (`git lfs pull` fetches it)"]
    return []
