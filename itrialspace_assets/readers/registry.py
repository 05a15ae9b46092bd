"""Which readers there are and which are enabled, read from ``readers.yaml``. Loads none of them."""

import difflib
import os
from collections.abc import Iterator
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.base.validation import explain
from itrialspace_assets.base.yaml_files import read_yaml
from itrialspace_assets.readers import mock, spots
from itrialspace_assets.readers.api import Read, Reader
from itrialspace_assets.readers.chat import kinds as chat
from itrialspace_assets.readers.detector import kind as detector
from itrialspace_assets.readers.elsewhere import function, table
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind
from itrialspace_assets.readers.outside import container
from itrialspace_assets.readers.served import endpoint
from itrialspace_assets.readers.vision import kind as vision

#: A file of this name at the top of a data root names tables of answers that came with it.
OWN_READERS = "readers.yaml"
#: A file of this name in the folder ``readings`` of the outputs names tables of answers of people who read there.
PEOPLE = "readers.yaml"
#: Every kind of reader by its name.
KINDS: dict[str, ReaderKind] = {
    kind.name: kind
    for kind in (
        spots.KIND,
        mock.KIND,
        *chat.KINDS,
        vision.CLIP,
        vision.BIOMEDCLIP,
        detector.KIND,
        container.KIND,
        endpoint.KIND,
        table.KIND,
        function.KIND,
    )
}


def own_readers(settings: Settings) -> Path | None:
    """The file of the data root that names the tables of answers that came with it; None without one."""
    path = settings.data / OWN_READERS
    return path if path.is_file() else None


def people(settings: Settings) -> Path | None:
    """The file of the outputs that names tables of answers that people gave in the explorer; None without one."""
    path = settings.output / "readings" / PEOPLE
    return path if path.is_file() else None


def entries(config: Path | None, own: Path | None = None, people: Path | None = None) -> dict[str, ReaderEntry]:
    """Every entry by name, enabled or not: those that come with the platform, changed and added to by three files.

    Args:
        config: the user's file.
        own: that of the data root, which the user's file can change. It may name tables alone: data runs no code.
        people: that of people's answers, which the user's file can change too. It may name tables alone as well.

    Raises:
        ConfigError: an entry is wrong; names the key and what is allowed.
    """
    trees: dict[str, dict[str, Any]] = {}
    for path in (Path(__file__).with_name("readers.yaml"), own, people, config):
        if path is None:
            continue
        tree = read_yaml(path)
        if not isinstance(tree, dict) or not isinstance(tree.get("readers"), dict):
            got = "other keys, or no mapping below it" if isinstance(tree, dict) else type(tree).__name__
            raise ConfigError(f"{path}: expected a mapping with the key 'readers', got {got}")
        for name, entry in tree["readers"].items():
            if not isinstance(entry, dict | None):
                raise ConfigError(f"{path}: readers.{name}: expected a mapping, got {type(entry).__name__}")
            given = dict(entry or {})
            if "name" in given:
                raise ConfigError(f"{path}: readers.{name}: name: expected none: the key {str(name)!r} is the name")
            if given.get("options"):  # paths in them start at the file that states them
                given = {"folder": str(path.absolute().parent)} | given
            trees[str(name)] = {**trees.get(str(name), {}), **given}
            if path in (own, people):
                _require_own_table(path, str(name), entry or {}, trees[str(name)].get("kind"))
    found = {}
    for name, tree in trees.items():
        try:
            found[name] = ReaderEntry.model_validate({"name": name, **tree})
        except ValidationError as error:
            raise ConfigError(f"readers.yaml: readers.{name}: {explain(error, ReaderEntry)}") from None
        if found[name].kind not in KINDS:
            near = difflib.get_close_matches(found[name].kind, KINDS, 1)
            raise ConfigError(
                f"readers.yaml: readers.{name}: kind: expected one of {', '.join(KINDS)}, got {found[name].kind!r}"
                + (f"; did you mean {near[0]!r}" if near else "")
            )
    return found


def _require_own_table(path: Path, name: str, given: dict[str, Any], kind: object) -> None:
    """Refuse what a file that came with data may not name: anything but tables that came with it.

    Args:
        path: the file.
        name: of the entry.
        given: what the file says of it.
        kind: of the entry, wherever it is stated.

    Raises:
        ConfigError: it is no table, or one that lies elsewhere.
    """
    if kind != table.KIND.name:
        raise ConfigError(f"{path}: readers.{name}: expected kind: table, got {kind!r}")
    options = given.get("options")
    files = [options.get(key) for key in ("answers", "marks")] if isinstance(options, dict) else []
    for text in (given.get("folder"), *files):
        if isinstance(text, str) and (text.startswith(("/", "~")) or Path(os.path.normpath(text)).parts[:1] == ("..",)):
            raise ConfigError(
                f"{path}: readers.{name}: expected a table below {path.parent}, got {text!r}; a table elsewhere "
                "is named in the file of ITRIALSPACE_READERS_CONFIG"
            )


def entries_of(settings: Settings) -> dict[str, ReaderEntry]:
    """Every entry by name, enabled or not, of the files that are in force."""
    return entries(settings.readers_config, own_readers(settings), people(settings))


def make(entry: ReaderEntry, place: ReaderEnvironment) -> Reader:
    """The reader of an entry, not loaded.

    Raises:
        ConfigError: its options are wrong; names the key and what is allowed.
    """
    kind = KINDS[entry.kind]
    try:
        options = kind.options.model_validate(entry.options)
    except ValidationError as error:
        raise ConfigError(f"readers.yaml: readers.{entry.name}: options: {explain(error, kind.options)}") from None
    return replace(kind.build(entry, options, place), sources=entry.sources)


#: The user's file, that of the data root and that of people, each with the time of its last change: another text is
#: read again.
_Files = tuple[tuple[Path | None, int], ...]


def _files(settings: Settings) -> _Files:
    paths = (settings.readers_config, own_readers(settings), people(settings))
    return tuple((p, p.stat().st_mtime_ns if p is not None and p.exists() else 0) for p in paths)


@lru_cache(maxsize=8)
def _readers(files: _Files, place: ReaderEnvironment) -> dict[str, Reader]:
    config, own, of_people = (path for path, _ in files)
    return {name: make(entry, place) for name, entry in entries(config, own, of_people).items() if entry.enabled}


def readers(settings: Settings) -> dict[str, Reader]:
    """The enabled readers by name.

    Raises:
        ConfigError: an entry is wrong; names the key and what is allowed.
    """
    return _readers(_files(settings), ReaderEnvironment.of(settings))


def slice_readers(settings: Settings, source: str) -> tuple[str, ...]:
    """Names of the enabled readers that are asked about slices of a source: lists and reports of slices are theirs.

    Raises:
        ConfigError: an entry is wrong; names the key and what is allowed.
    """
    found = readers(settings).items()
    return tuple(name for name, reader in found if reader.scan_levels is None and reader.reads(source))


@lru_cache(maxsize=4)
def _loaded(files: _Files, place: ReaderEnvironment, name: str, revision: str) -> Read:
    return _readers(files, place)[name].load()  # revision: other weights are loaded again


def loaded(settings: Settings, name: str) -> Read:
    """What an enabled reader reads with; loaded once in a process, and again when its weights change.

    Raises:
        ConfigError: something that the reader needs is missing.
    """
    return _loaded(_files(settings), ReaderEnvironment.of(settings), name, readers(settings)[name].revision)


def prepare_all(settings: Settings) -> Iterator[str]:
    """Ask running services what they serve, so that revisions are known; yields what to say of those that fail."""
    for name, reader in readers(settings).items():
        try:
            reader.prepare()
        except ConfigError as error:
            yield f"reader {name}: {error}"
