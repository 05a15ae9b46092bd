"""Kind ``callable``: a user's own Python function reads. Its module is imported when the reader is loaded."""

import importlib
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from importlib.machinery import PathFinder
from pathlib import Path
from typing import Annotated, Any, cast

from pydantic import Field, model_validator

from itrialspace_assets.base.errors import CaseRejected, ConfigError, Reason
from itrialspace_assets.base.fingerprints import FileHashes, digest
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.api import Generation, Mark, Need, Read, Reader, Request, Scan
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.prompts import prompts_of

VERSION = "1"
_TASKS = ("presence", "lobe", "size")
EntryPoint = Annotated[str, Field(pattern=r"^[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*$")]


class CallableOptions(WrittenModel):
    """Which functions read, as ``package.module:function``.

    ``read`` is given a list of ``api.Request`` and returns as many ``api.Generation``; ``mark`` is given an
    ``api.Scan`` and returns a list of ``api.Mark``. ``version`` is to be changed when something changes that the
    module's file does not show, such as a library. ``by_id``: ``read`` is told the names of what it reads.
    """

    read: EntryPoint | None = None
    mark: EntryPoint | None = None
    version: str = Field("1", min_length=1)
    by_id: bool = False

    @model_validator(mode="after")
    def _something(self) -> "CallableOptions":
        if self.read is None and self.mark is None:
            raise ValueError("expected read, mark or both: package.module:function")
        return self


@dataclass(frozen=True)
class Functions:
    """The functions of one entry: their entry points, and where hashes of files are remembered."""

    name: str
    read: str | None
    mark: str | None
    fingerprints: Path

    def _modules(self) -> list[str]:
        return sorted({point.partition(":")[0] for point in (self.read, self.mark) if point is not None})

    def needs(self) -> list[Need]:
        """The modules that Python does not find; imports none."""
        return [
            Need(
                f"module {name}: expected a file that Python can import, found none",
                f"install its package beside this one or set PYTHONPATH, or change options of {self.name}",
            )
            for name in self._modules()
            if find_module(name) is None
        ]

    def files(self) -> str:
        """Hash over the files of the modules.

        Raises:
            ConfigError: one is missing.
        """
        if needs := self.needs():
            raise ConfigError(f"reader {self.name}: {needs[0].what}; {needs[0].fix}")
        with FileHashes(self.fingerprints) as hashes:
            return digest([[name, hashes.get(find_module(name) or Path(name))] for name in self._modules()])


def find_module(name: str) -> Path | None:
    """The file of a module, found without importing it or a package above it; None where there is none."""
    folders, spec = None, None
    parts = name.split(".")
    for until in range(1, len(parts) + 1):
        spec = PathFinder.find_spec(".".join(parts[:until]), folders)
        if spec is None:
            return None
        folders = None if spec.submodule_search_locations is None else list(spec.submodule_search_locations)
        if folders is None and until < len(parts):
            return None
    return None if spec is None or spec.origin is None else Path(spec.origin)


@lru_cache(maxsize=16)
def _function(reader: str, point: str) -> Callable[[Any], Any]:
    """The function of an entry point, imported once a process.

    Raises:
        ConfigError: its module cannot be imported, or has no such function.
    """
    module, _, name = point.partition(":")
    try:
        found = getattr(importlib.import_module(module), name, None)
    except (Exception, SystemExit) as error:  # of the user's own code, whatever it is
        raise ConfigError(
            f"reader {reader}: {module}: expected to import it, got {type(error).__name__}: {error}"
        ) from error
    if not callable(found):
        raise ConfigError(
            f"reader {reader}: {point}: expected a function, found {'none' if found is None else type(found).__name__}"
        )
    return cast(Callable[[Any], Any], found)


def load(functions: Functions) -> Read:
    """What reads with the user's function; whatever else than generations it returns is an error of its requests."""
    if functions.read is None:
        return lambda requests: []
    call = _function(functions.name, functions.read)

    def read(requests: Sequence[Request]) -> list[Generation]:
        try:
            returned = list(call(list(requests)))
        except SystemExit as error:  # it would end the worker
            raise RuntimeError(f"{functions.read}: expected a function that returns, got SystemExit({error})") from None
        if wrong := [type(g).__name__ for g in returned if not isinstance(g, Generation)]:
            raise TypeError(f"{functions.read}: expected a list of Generation, got {wrong[0]}")
        return returned

    return read


def mark(functions: Functions, scan: Scan) -> list[Mark]:
    """The marks that the user's function makes, best first.

    Raises:
        CaseRejected: it fails, or returns something else than marks.
    """
    assert functions.mark is not None
    call = _function(functions.name, functions.mark)
    try:
        marks = list(call(scan))
    except CaseRejected:
        raise
    except (Exception, SystemExit) as error:  # of the user's own code; counted, never hidden
        detail = f"{functions.mark}: {type(error).__name__}: {error}"
        raise CaseRejected(Reason.UNEXPECTED, detail) from error
    for found in marks:
        if not isinstance(found, Mark) or not _is_whole(found):
            expected = "expected marks of three coordinates, a diameter above 0 or None, and a score, all finite"
            raise CaseRejected(Reason.UNEXPECTED, f"{functions.mark}: {expected}; got {found!r}")
    return sorted(marks, key=lambda m: (-m.score, m.world))


def _is_whole(found: Mark) -> bool:
    diameter = 1.0 if found.diameter_mm is None else found.diameter_mm
    return len(found.world) == 3 and diameter > 0 and all(map(math.isfinite, (*found.world, diameter, found.score)))


def build(entry: ReaderEntry, options: CallableOptions, place: ReaderEnvironment) -> Reader:
    """The reader of an entry.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where hashes are remembered.

    Raises:
        ConfigError: a task has no words.
    """
    tasks = () if options.read is None else tuple(entry.tasks or _TASKS)
    functions = Functions(entry.name, options.read, options.mark, place.fingerprints)
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, entry.options], 16),
            partial(load, functions),
            scorer="text",
            tasks=tasks,
            prompts=prompts_of(entry, tasks),
        ),
        mark=None if options.mark is None else partial(mark, functions),
        files=functions.files,
        needs=functions.needs,
        by_id=options.by_id,
    )


KIND = ReaderKind("callable", CallableOptions, build)
