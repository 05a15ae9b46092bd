"""Takes and keeps the revision of a served model: what can be known of it from outside.

Nobody can hash the weights behind a server. In their place stand the revision that the user declares, what the server
lists about the model, and its answers to two fixed questions, one with a picture. All of it is marked unverified.

The record lies in ``work/served/<reader>.json`` of the output folder. It is taken before requests are planned and
compared then each time; so the graph is built without the server, and old answers keep their revision while it is
off. A server that answers otherwise gets a new record, and with it everything is asked again.
"""

import logging
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from pydantic import ValidationError
from pydantic_core import PydanticSerializationError, to_json

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.fingerprints import digest, replace_file
from itrialspace_assets.base.locks import locked
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.readers.served.chat import data_url, messages
from itrialspace_assets.readers.served.failures import Failed
from itrialspace_assets.readers.served.replies import read_reply

if TYPE_CHECKING:
    from itrialspace_assets.readers.served.connection import Connection

#: What is asked of every server (ours): answers of some length tell models apart, short ones repeat exactly.
QUESTIONS = {
    "text": ("Name five words that rhyme with light, separated by commas.", False),
    "picture": ("Describe this picture in one short sentence.", True),
}
_WORDS = 24
#: Tokens at each place that are asked for: as many as most servers give, else fewer (docs/facts/readers.md#endpoint).
_TOP = (20, 5)
#: Two words that no model says to a greeting: one comes back only where the server obeys the choice.
_CHOICES = ("zebra", "quince")
#: What servers list of a model that stays the same while it is served; others are times.
_LISTED = ("id", "root", "parent", "owned_by", "max_model_len", "meta")
_LOG = logging.getLogger("itrialspace.read")


class ServerRecord(StrictModel):
    """What a server was when its revision was taken.

    ``made_for``: hash of the reader's code and options. ``listed``: its entry of ``/models``. ``answers``: to the fixed
    questions, null where two answers differed. ``top_logprobs``: how many tokens with log-probabilities it gives at
    each place, null where it gives none. ``obeys_choices``: whether it keeps an answer to given options.
    """

    made_for: str
    listed: dict[str, Any]
    answers: dict[str, str | None]
    top_logprobs: int | None
    obeys_choices: bool


def probe_picture() -> np.ndarray[Any, np.dtype[np.uint8]]:
    """A grey picture (64, 64) that is drawn: a ramp with a bright square."""
    picture = np.broadcast_to(np.arange(0, 128, 2, dtype=np.uint8), (64, 64)).copy()
    picture[20:36, 12:28] = 250
    return picture


def read_record(path: Path, made_for: str) -> ServerRecord | None:
    """The record of a reader; None where there is none, or it was made for other options.

    Args:
        path: its file.
        made_for: hash of the reader's code and options.
    """
    try:
        record = ServerRecord.model_validate_json(path.read_bytes())
    except (FileNotFoundError, ValidationError):
        return None
    return record if record.made_for == made_for else None


def renew(path: Path, made_for: str, connection: "Connection") -> ServerRecord:
    """Compare a server with its record, and take a new one where it is another.

    Args:
        path: file of the record.
        made_for: hash of the reader's code and options.
        connection: to the server.

    Raises:
        ConfigError: the server cannot be asked, does not serve the model, or takes no pictures.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with locked(path.with_suffix(".lock")):
        known = read_record(path, made_for)
        listed = listed_model(connection)
        if known is not None and listed == known.listed and _agrees(known, connection):
            return known
        record = ServerRecord(
            made_for=made_for,
            listed=listed,
            answers={name: _twice(connection, *question) for name, question in QUESTIONS.items()},
            top_logprobs=next((top for top in _TOP if _gives_logprobs(connection, top)), None),
            obeys_choices=connection.options.structured_outputs and _obeys_choices(connection),
        )
        if record == known:  # it answered otherwise once, and as before when it was asked again
            return known
        if known is not None:
            _LOG.warning("%s answers otherwise than when it was asked first: all is asked again", path.stem)
        replace_file(path, record.model_dump_json(indent=1).encode())
        return record


def digest_of(record: ServerRecord) -> str:
    """Hash over all that the record says."""
    return digest(record.model_dump(mode="json"))


def listed_model(connection: "Connection") -> dict[str, Any]:
    """What a server lists about the model, without times.

    Raises:
        ConfigError: it does not answer, or lists no such model.
    """
    options = connection.options
    try:
        reply = connection.get("/models")
        models = [m for m in reply["data"] if isinstance(m, dict)]
    except Failed as failure:
        raise ConfigError(
            f"{options.base_url}: expected a server that answers, got: {failure}; start it, or change base_url"
        ) from None
    except (KeyError, TypeError):
        raise ConfigError(f"{options.base_url}/models: expected a list of models, got something else") from None
    found = next((m for m in models if m.get("id") == options.model), None)
    if found is None:
        ids = connection.hide(", ".join(sorted(str(m.get("id"))[:80] for m in models)[:10])) or "none"
        raise ConfigError(f"{options.base_url}: expected it to serve {options.model!r}, got {ids}; change model")
    listed = {key: found[key] for key in _LISTED if key in found}
    try:
        to_json(listed)
    except PydanticSerializationError:
        raise ConfigError(
            f"{options.base_url}/models: expected a flat description of {options.model!r}, got one that is too deep"
        ) from None
    return listed


def _ask(connection: "Connection", text: str, with_picture: bool, **more: Any) -> Any:
    """The reply to a fixed question.

    Raises:
        ConfigError: there is none.
    """
    options = connection.options
    pictures = [data_url(probe_picture())] if with_picture else []
    body = {"model": options.model, "messages": messages(pictures, text), "temperature": 0, "seed": 0}
    try:
        return connection.post("/chat/completions", options.extra | body | {"max_tokens": _WORDS} | more)
    except Failed as failure:
        what = "a picture" if with_picture else "a question"
        raise ConfigError(
            f"{options.base_url}: expected {options.model} to answer {what}, got: {failure}; a reader needs a model "
            "that takes pictures"
        ) from None


def _text(connection: "Connection", text: str, with_picture: bool, **more: Any) -> str:
    reply = _ask(connection, text, with_picture, **more)
    try:
        return connection.hide(read_reply(reply).text)
    except Failed as failure:
        raise ConfigError(f"{connection.options.base_url}: {failure}") from None


def _twice(connection: "Connection", text: str, with_picture: bool) -> str | None:
    """An answer that the server gives twice; None where it does not."""
    first, second = (_text(connection, text, with_picture) for _ in range(2))
    return first if first == second else None


def _agrees(record: ServerRecord, connection: "Connection") -> bool:
    """Whether a server answers the fixed questions as its record says, as far as its answers repeat."""
    kept = {name: said for name, said in record.answers.items() if said is not None}
    return all(_text(connection, *QUESTIONS[name]) == said for name, said in kept.items())


def _gives_logprobs(connection: "Connection", top: int) -> bool:
    """Whether a server gives so many tokens at each place; some refuse, and some leave them out without a word."""
    try:
        reply = _ask(connection, QUESTIONS["text"][0], False, logprobs=True, top_logprobs=top, max_tokens=1)
        tokens = read_reply(reply).tokens
    except (ConfigError, Failed):
        return False
    return tokens is not None and len(tokens[0].top_logprobs) > 1


def _obeys_choices(connection: "Connection") -> bool:
    """Whether a server keeps an answer to given options; some refuse the field, some leave it out without a word."""
    try:
        said = _text(connection, "Say hello.", False, structured_outputs={"choice": list(_CHOICES)})
    except ConfigError:
        return False
    return said.strip() in _CHOICES
