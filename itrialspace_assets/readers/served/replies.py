"""Reads a reply of chat completions: the text that was said, and scores of options from its first token.

A score is given only where the server lists a token that is a whole word of each option, and where the text that was
said begins with the token that the server says it began with. Asks nothing.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from itrialspace_assets.readers.served.failures import Failed

#: Options that are said by other words too (ours).
WORDS = {"present": ("present", "yes"), "absent": ("absent", "no")}
#: A blank before a word, as vocabularies write it where a server shows them raw.
_BLANKS = str.maketrans({"▁": " ", "Ġ": " ", "Ċ": "\n"})
#: Least mass outside the options that can be told from none: servers round log-probabilities to single precision.
_LEAST = 2.0**-23
#: Log-probabilities above 0 by more than rounding are none.
_ROUNDING = 1e-3
#: Probabilities of options that come to more than 1 by more than rounding are none.
_MORE = 1e-2


class Token(BaseModel):
    """A token of an answer, and those that were likely at its place."""

    token: str
    logprob: float = Field(strict=True)
    top_logprobs: tuple["Token", ...] = ()


@dataclass(frozen=True)
class Reply:
    """What was said, and the tokens of it where the server gave them."""

    text: str
    tokens: tuple[Token, ...] | None


@dataclass(frozen=True)
class ReplyScores:
    """log p of the first token saying each option, and of its saying anything else."""

    scores: tuple[float, ...]
    outside: float


def read_reply(reply: Any) -> Reply:
    """The text of a reply, or the refusal in its place.

    Raises:
        Failed: the reply is no chat completion, or holds no text.
    """
    try:
        choice = reply["choices"][0]
        message = choice["message"]
        text = message.get("content")
        text = message.get("refusal") if text is None else text
    except (KeyError, IndexError, TypeError, AttributeError):
        raise Failed(f"expected a chat completion with choices and a message, got {_outline(reply)}") from None
    if not isinstance(text, str):
        raise Failed(f"expected a text in the message, got {type(text).__name__}")
    return Reply(text, _tokens(choice.get("logprobs")))


def _outline(reply: Any) -> str:
    return f"the keys {', '.join(sorted(map(str, reply))[:8])}" if isinstance(reply, dict) else type(reply).__name__


def _tokens(logprobs: Any) -> tuple[Token, ...] | None:
    """The tokens with their log-probabilities; None where there are none, or they are not what they should be."""
    content = logprobs.get("content") if isinstance(logprobs, dict) else None
    if not isinstance(content, list) or not content:
        return None
    try:
        tokens = tuple(Token.model_validate(t) for t in content)
    except ValidationError:
        return None
    every = [t.logprob for token in tokens for t in (token, *token.top_logprobs)]
    return tokens if all(math.isfinite(p) and p <= _ROUNDING for p in every) else None


def score_options(reply: Reply, options: Sequence[str], written: Mapping[str, str]) -> ReplyScores | None:
    """Scores of options from the first token of an answer that is no blank; None where the server does not say.

    Where an answer begins with blanks, an option's probability is that of its being said at once, and that of the
    blanks and then the option, together.

    Args:
        reply: of the server.
        options: in the order in which they were asked.
        written: how an option was written in the question, where it was written otherwise.
    """
    if reply.tokens is None:
        return None
    said = {
        word.lower(): i
        for i, option in enumerate(options)
        for word in (*WORDS.get(option, (option,)), written.get(option, option))
    }
    masses, before = [0.0] * len(options), 0.0
    for place, token in enumerate(reply.tokens):
        listed = {t.token: t.logprob for t in (token, *token.top_logprobs)}
        for text, logprob in listed.items():
            option = said.get(text.translate(_BLANKS).strip().lower())
            if option is not None:
                masses[option] += math.exp(before + logprob)
        if not token.token.translate(_BLANKS).strip():
            before += token.logprob
            continue
        if min(masses) <= 0.0 or sum(masses) > 1.0 + _MORE or not _begins_so(reply, place, said):
            return None
        return ReplyScores(tuple(map(math.log, masses)), math.log(max(1.0 - sum(masses), _LEAST)))
    return None


def _begins_so(reply: Reply, place: int, said: dict[str, int]) -> bool:
    """Whether the text begins with the token at a place, and that, if it is an option's word, is the whole word."""
    assert reply.tokens is not None
    first = reply.tokens[place].token.translate(_BLANKS).strip()
    if not reply.text.strip().startswith(first):
        return False
    after = reply.text.strip()[len(first) :][:1]
    return first.lower() not in said or not after.isalnum()
