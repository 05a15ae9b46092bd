"""One strict model for every file that people write, and one message for what is wrong with it: by path, with the
nearest known key."""

import difflib
from collections.abc import Iterator, Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError, model_validator


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WrittenModel(StrictModel):
    """A model of a file that people write: a number is finite, and true is none."""

    model_config = ConfigDict(allow_inf_nan=False)

    @model_validator(mode="before")
    @classmethod
    def _no_truth_for_a_number(cls, given: Any) -> Any:
        for name, value in given.items() if isinstance(given, dict) else ():
            if isinstance(value, bool) and name in cls.model_fields:
                kinds = set(_kinds_in(cls.model_fields[name].annotation))
                if kinds & {int, float} and not kinds & {bool, Any}:
                    raise ValueError(f"{name}: expected a number, got {str(value).lower()}")
        return given


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """What is wrong with a file, by path; an unknown key gets the nearest known one."""
    return "; ".join(_one(e, model) for e in error.errors())


def _one(error: Any, model: type[BaseModel]) -> str:
    path = [str(p) for p in error["loc"]]
    where = (
        ".".join(p for p in path if not p.startswith(("dict[", "list[", "literal[", "LogNormal", "tuple["))) or "file"
    )
    if error["type"] == "extra_forbidden":
        known = _fields_at(model, path[:-1])
        near = difflib.get_close_matches(path[-1], known, 1, 0.5)
        return (
            f"{where}: unknown key{f'; did you mean {near[0]!r}' if near else ''}; expected one of "
            f"{', '.join(sorted(known))}"
        )
    given = error["input"]
    quoted = (
        "; put a text that looks like a number in quotes" if error["type"] == "string_type" and _bare(given) else ""
    )
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (got {str(given)[:60]!r}{quoted})"


def _bare(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    at: Any = model
    for key in path:
        field = getattr(at, "model_fields", {}).get(key)
        if field is None:
            continue  # a list index, or a branch of a union
        at = next(_models_in(field.annotation), at)
    return list(getattr(at, "model_fields", {}))


def _kinds_in(kind: Any) -> Iterator[Any]:
    """Kinds of values in an annotation, whatever they are wrapped in."""
    yield kind
    for part in getattr(kind, "__args__", ()):
        yield from _kinds_in(part)


def _models_in(kind: Any) -> Iterator[type[BaseModel]]:
    """Models in an annotation, whatever they are wrapped in."""
    if isinstance(kind, type) and issubclass(kind, BaseModel):
        yield kind
    for part in getattr(kind, "__args__", ()):
        yield from _models_in(part)
