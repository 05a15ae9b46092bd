"""How a model may say an option: as one token, or as a sequence of tokens. Computes no probability."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from itrialspace_assets.base.errors import ConfigError

Tokens = tuple[int, ...]

#: Options that are said by other words too (ours).
_WORDS = {"present": ("yes", "present"), "absent": ("no", "absent")}
#: A blank before a word, as sentencepiece and byte-level vocabularies write it.
_BLANKS = str.maketrans({"▁": " ", "Ġ": " "})


@dataclass(frozen=True)
class ClosedSet:
    """The options of a task in a model's vocabulary.

    Attributes:
        first: of each option the tokens that are one of its words, in any case, with or without a blank before it;
            None where an option has no such token, or two options share one: their first tokens then tell nothing.
        sequences: of each option its forms as sequences of tokens.
    """

    first: tuple[Tokens, ...] | None
    sequences: tuple[tuple[Tokens, ...], ...]


def single_tokens(tokenizer: Any) -> dict[str, Tokens]:
    """The tokens of a vocabulary by the word that they are, in lower case and without blanks; no special tokens."""
    special = set(tokenizer.all_special_ids)
    found: dict[str, list[int]] = {}
    for token, number in tokenizer.get_vocab().items():
        if number not in special:
            found.setdefault(token.translate(_BLANKS).strip(" ").lower(), []).append(number)
    return {word: tuple(sorted(numbers)) for word, numbers in found.items()}


def spoken(option: str) -> str:
    """An option as one would say it: ``right upper lobe``, ``<5 mm``."""
    return re.sub(r"(\d)mm$", r"\1 mm", option.replace("_lung_", " ").replace("_", " "))


def closed_set(tokenizer: Any, words: Mapping[str, Tokens], options: Sequence[str]) -> ClosedSet:
    """How a model may say each of some options.

    Args:
        tokenizer: of transformers.
        words: its ``single_tokens``.
        options: of a task, in the order in which they are asked.

    Raises:
        ConfigError: two options are the same tokens, as in a vocabulary that does not know their words.
    """
    said = [_WORDS.get(option, (spoken(option),)) for option in options]
    first = tuple(tuple(sorted({t for word in of for t in words.get(word.lower(), ())})) for of in said)
    every = [token for of in first for token in of]
    sequences = tuple(_sequences(tokenizer, option, of) for option, of in zip(options, said, strict=True))
    tokens = [form for forms in sequences for form in forms]
    if len(tokens) != len(set(tokens)) or not all(tokens):
        raise ConfigError(
            f"options {', '.join(options)}: expected different tokens for each, got {sequences}; the tokenizer in the "
            "folder of weights does not know their words"
        )
    return ClosedSet(first if all(first) and len(every) == len(set(every)) else None, sequences)


def _sequences(tokenizer: Any, option: str, said: Sequence[str]) -> tuple[Tokens, ...]:
    texts = dict.fromkeys([option, *said, *(word.capitalize() for word in said)])
    return tuple(dict.fromkeys(tuple(tokenizer.encode(text, add_special_tokens=False)) for text in texts))
