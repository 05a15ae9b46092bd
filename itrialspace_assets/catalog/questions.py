"""Ready questions about the catalog: their SQL, what they ask, and the values that a user may set. Runs none.

A value stands in the SQL as ``$name`` and is declared in the comments at its head: ``-- $name: meaning`` where it must
be given, ``-- $name = value: meaning`` where it has a value of its own. Values are bound, never pasted into the SQL.
"""

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.catalog.rebuild import questions

_DECLARED = re.compile(r"^-- \$(?P<name>[a-z_]+)(?: = (?P<value>\S+))?: (?P<meaning>.+)$", re.MULTILINE)


@dataclass(frozen=True)
class QuestionParameter:
    """A value that a question takes; ``default`` None: it must be given."""

    name: str
    meaning: str
    default: str | None


@dataclass(frozen=True)
class Question:
    """A ready question: its name, what it asks, the values that it takes, its SQL."""

    name: str
    asks: str
    values: tuple[QuestionParameter, ...]
    sql: str

    def bound(self, given: Sequence[str]) -> dict[str, str]:
        """Every value by name.

        Args:
            given: ``name=value`` of each that the user sets.

        Raises:
            ConfigError: a value is not of this question, is no ``name=value``, or one that must be given is missing.
        """
        found = {v.name: v.default for v in self.values if v.default is not None}
        for word in given:
            name, equals, value = word.partition("=")
            if not equals or name not in {v.name for v in self.values}:
                known = ", ".join(v.name for v in self.values) or "none: the question takes no values"
                near = difflib.get_close_matches(name, [v.name for v in self.values], 1)
                raise ConfigError(
                    f"--set {word!r}: expected NAME=VALUE of {self.name}, with one of the names {known}"
                    + (f"; did you mean {near[0]!r}?" if near and near[0] != name else "")
                )
            found[name] = value
        if missing := [v for v in self.values if v.name not in found]:
            wanted = "; ".join(f"--set {v.name}=… ({v.meaning})" for v in missing)
            raise ConfigError(f"-q {self.name}: expected {wanted}")
        return found


def ready() -> Mapping[str, Question]:
    """Every ready question by name."""
    return {name: _question(name, text) for name, text in questions().items()}


def _question(name: str, sql: str) -> Question:
    values = tuple(QuestionParameter(m["name"], m["meaning"], m["value"]) for m in _DECLARED.finditer(sql))
    return Question(name, sql.splitlines()[0].removeprefix("-- "), values, sql)
