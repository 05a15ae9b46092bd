"""The file of a reading session: lines are added under a lock and never changed, so a kill or a reload loses nothing.

readings/<reader>-<number>.jsonl    the header, then a line for each item shown and each answer
"""

import json
import os
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from itrialspace_assets.base.errors import NotFound, PlatformError, TableError
from itrialspace_assets.base.fingerprints import replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.reading.model import (
    Answered,
    CaseAnswer,
    Header,
    PairAnswer,
    SessionPicture,
    require_fitting,
)

_ID = re.compile(r"^(?P<reader>[a-z0-9_]{1,30})-(?P<number>[1-9][0-9]{0,5})$")


class Moved(PlatformError):
    """The session is at another item: an answer is not changed once it is given."""


@dataclass(frozen=True)
class Session:
    """A session as its file has it now; ``shown`` is when each item was first shown, by its place."""

    header: Header
    shown: dict[int, str]
    answers: tuple[Answered, ...]

    @property
    def name(self) -> str:
        return self.header.session

    @property
    def at(self) -> int:
        """Place of the item that comes next; the number of items at the end."""
        return len(self.answers)

    @property
    def finished(self) -> bool:
        return self.at == len(self.header.items)


def folder(settings: Settings) -> Path:
    """Where the sessions of an output folder lie."""
    return settings.output / "readings"


def sessions(settings: Settings) -> list[Session]:
    """Every session, by reader and number."""
    found = [m for p in folder(settings).glob("*.jsonl") if (m := _ID.match(p.stem))]
    return [session(settings, m[0]) for m in sorted(found, key=lambda m: (m["reader"], int(m["number"])))]


def session(settings: Settings, name: str) -> Session:
    """A session.

    Raises:
        NotFound: there is none of this name.
        TableError: its file is damaged.
    """
    return _read(_path(settings, name))


def start(settings: Settings, make: Callable[[str, str], Header], reader: str) -> Session:
    """Begin the next session of a reader.

    Args:
        settings: output folder.
        make: the header of a session of a name that starts at a time.
        reader: name of the person.
    """
    where = folder(settings)
    with locked(where / "new.lock"):
        taken = [int(m["number"]) for p in where.glob(f"{reader}-*.jsonl") if (m := _ID.match(p.stem))]
        name = f"{reader}-{max(taken, default=0) + 1}"
        replace_file(where / f"{name}.jsonl", _line({"header": make(name, _now()).model_dump(mode="json")}))
    return session(settings, name)


def show(settings: Settings, name: str) -> Session:
    """Write down that the present item is shown, if it was not before; the session."""
    path = _path(settings, name)
    with locked(path.with_suffix(".lock")):
        now = _read(path)
        if now.finished or now.at in now.shown:
            return now
        _append(path, {"shown": {"item": now.at, "at": _now()}})
        return _read(path)


def answer(
    settings: Settings, name: str, token: str, given: CaseAnswer | PairAnswer, seconds: float, paused: float
) -> Session:
    """Add an answer to the present item; the session.

    Args:
        settings: output folder.
        name: of the session.
        token: of the item's first picture.
        given: the answer.
        seconds: that it took, without pauses.
        paused: seconds of pauses.

    Raises:
        ConfigError: it is no answer to what the session asks.
        Moved: the item was answered before, or another one is next.
        NotFound: there is no such session.
    """
    path = _path(settings, name)
    with locked(path.with_suffix(".lock")):
        now = _read(path)
        require_fitting(now.header.asked, given)
        if now.finished or now.header.items[now.at].pictures[0].token != token:
            raise Moved(f"{name}: expected an answer to item {now.at + 1}, got one to another; open the session again")
        said = Answered(
            item=now.at,
            case=given if isinstance(given, CaseAnswer) else None,
            pair=given if isinstance(given, PairAnswer) else None,
            seconds=seconds,
            paused=paused,
            shown_at=now.shown.get(now.at),
            at=_now(),
        )
        _append(path, {"answer": said.model_dump(mode="json")})
        return _read(path)


def picture_of(now: Session, token: str) -> SessionPicture:
    """The picture with a token, if it was shown already.

    Raises:
        NotFound: the session has no such picture, or has not come to it yet.
    """
    for item in now.header.items[: now.at + 1]:
        for picture in item.pictures:
            if picture.token == token:
                return picture
    raise NotFound(f"{now.name}: expected a picture that this session has shown, found none")


def _path(settings: Settings, name: str) -> Path:
    path = folder(settings) / f"{name}.jsonl"
    if not _ID.match(name) or not path.is_file():
        raise NotFound(f"{name[:60]}: expected a reading session, found none")
    return path


def _read(path: Path) -> Session:
    """The session in a file; what was being written when a process was killed does not count."""
    lines = path.read_bytes().split(b"\n")[:-1]
    try:
        entries: list[dict[str, Any]] = [json.loads(line) for line in lines]
        found = Session(
            Header.model_validate(entries[0]["header"]),
            {int(e["shown"]["item"]): str(e["shown"]["at"]) for e in entries if "shown" in e},
            tuple(Answered.model_validate(e["answer"]) for e in entries if "answer" in e),
        )
        if found.name != path.stem:
            raise ValueError(f"the session {found.name}")
        if [a.item for a in found.answers] != list(range(len(found.answers))) or found.at > len(found.header.items):
            raise ValueError("answers that are not one to each item in turn")
        return found
    except (ValueError, KeyError, IndexError, TypeError, AttributeError, RecursionError) as error:
        raise TableError(f"readings/{path.name}: expected a reading session, got: {str(error)[:200]}") from None


def _append(path: Path, entry: dict[str, Any]) -> None:
    """Add a line that is on the disk when this returns; half a line at the end is taken away before."""
    with path.open("r+b") as handle:
        data = handle.read()
        whole = data.rfind(b"\n") + 1
        handle.truncate(whole)
        handle.seek(whole)
        handle.write(_line(entry))
        handle.flush()
        os.fsync(handle.fileno())


def _line(entry: dict[str, Any]) -> bytes:
    return json.dumps(entry, allow_nan=False).encode() + b"\n"


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="milliseconds")
