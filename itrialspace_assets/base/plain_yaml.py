"""YAML as people mean it: a key stands once, words stay words, and no file is larger inside than it looks.

Of the plain values of YAML, ``true``, ``false``, ``null`` and numbers in digits are what they say. ``no``, ``on``,
``010``, ``1:30`` and ``2026-01-02`` stay text, which YAML 1.1 would make false, true, 8, 90 and a date. Opens no file
and replaces no variable: ``yaml_files.read_yaml`` does.
"""

import re
from collections import Counter
from typing import Any, ClassVar

import yaml

#: libyaml's parser, ten times as fast as PyYAML's own, which stands in where it is missing.
YAML_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
#: Keys and lists inside each other, at most; libyaml ends the process at some ten thousand. Ours.
_MOST_DEPTH = 50
#: Values that a file may hold, each alias counted as all that it stands for; ours.
_MOST_VALUES = 200_000
_TAG = "tag:yaml.org,2002:"
#: Plain values that are no text, and the characters that they begin with. PyYAML's own, without YAML 1.1's numbers to
#: base 2, 8 and 60, its other words for true and false, and its dates.
_PLAIN = (
    ("bool", r"true|True|TRUE|false|False|FALSE", "tTfF"),
    ("int", r"[-+]?(?:0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)", "-+0123456789"),
    (
        "float",
        r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+][0-9]+)?|\.[0-9][0-9_]*(?:[eE][-+][0-9]+)?|\.(?:inf|Inf|INF))"
        r"|\.(?:nan|NaN|NAN)",
        "-+0123456789.",
    ),
)


class NotPlain(Exception):
    """A text is no YAML, or says a thing twice; the message says what was found, and the line."""


class _Loader(YAML_LOADER):  # type: ignore[misc,valid-type]
    """Builds plain values; refuses a key that stands twice."""

    yaml_implicit_resolvers: ClassVar[dict[str, list[tuple[str, re.Pattern[str]]]]] = {
        first: [(tag, pattern) for tag, pattern in of if tag in (f"{_TAG}null", f"{_TAG}merge")]
        for first, of in YAML_LOADER.yaml_implicit_resolvers.items()
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.looked_at: set[int] = set()

    def flatten_mapping(self, node: yaml.MappingNode) -> None:
        if id(node) not in self.looked_at:  # later it holds what it was merged from as well
            self.looked_at.add(id(node))
            _refuse_twice(node)
        super().flatten_mapping(node)


for _name, _pattern, _first in _PLAIN:
    _Loader.add_implicit_resolver(f"{_TAG}{_name}", re.compile(f"^(?:{_pattern})$"), list(_first))


def _refuse_twice(node: yaml.MappingNode) -> None:
    keys = [(key.tag, key.value) for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
    if len(set(keys)) < len(keys):
        twice = next(key for key, n in Counter(keys).items() if n > 1)
        lines = [key.start_mark.line + 1 for key, _ in node.value if (key.tag, key.value) == twice]
        raise NotPlain(f"the key {twice[1]} more than once, in lines {', '.join(map(str, lines))}; keep one of them")


def load_yaml(text: str) -> Any:
    """What a YAML text says.

    Raises:
        NotPlain: it is no YAML, holds a key twice, or is too deep or too large.
    """
    try:
        _require_small(text)
        return yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark
        where = "" if at is None else f" (line {at.line + 1}, column {at.column + 1})"
        raise NotPlain(f"{error.problem or error.context}{where}") from None
    except yaml.YAMLError as error:
        raise NotPlain(" ".join(str(error).split())) from None
    except ValueError:
        raise NotPlain("a number of thousands of digits; write it in quotes if it is a text") from None


def _require_small(text: str) -> None:
    """Refuse a text before it is built: nesting would end the process, and aliases multiply.

    Raises:
        NotPlain: it is too deep or too large.
    """
    open_: list[tuple[str | None, int]] = []
    sizes: dict[str | None, int] = {}
    size = 0
    for event in yaml.parse(text, Loader=YAML_LOADER):
        line = 0 if event.start_mark is None else event.start_mark.line + 1
        if isinstance(event, yaml.AliasEvent):
            if any(anchor == event.anchor for anchor, _ in open_):
                raise NotPlain(f"an alias of what it stands in (line {line})")
            size += sizes.get(event.anchor, 1)
        elif isinstance(event, yaml.NodeEvent):
            if isinstance(event, yaml.CollectionStartEvent):
                open_.append((event.anchor, size))
            elif event.anchor is not None:
                sizes[event.anchor] = 1
            size += 1
        elif isinstance(event, yaml.CollectionEndEvent):
            anchor, before = open_.pop()
            if anchor is not None:
                sizes[anchor] = size - before
        for most, what, got in ((_MOST_DEPTH, "levels", len(open_)), (_MOST_VALUES, "values", size)):
            if got > most:
                raise NotPlain(f"more than {most} {what} (line {line})")
