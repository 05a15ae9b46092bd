"""One strict model for every file that people write, and one message for what is wrong with it: by path, with the
nearest known key."""

import difflib
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict, ValidationError


class StrictModel(BaseModel):
    """A frozen model that refuses unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True)


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
        return f"{where}: unknown key{f'; did you mean {near[0]!r}' if near else ''}; expected one of {', '.join(sorted(known))}"
    return f"{where}: {error['msg'].removeprefix('Value error, ')} (got {str(error['input'])[:60]!r})"


def _fields_at(model: type[BaseModel], path: Sequence[str]) -> list[str]:
    at: Any = model
    for key in path:
        field = getattr(at, "model_fields", {}).get(key)
        if field is None:
            continue  # a list index, or a branch of a union
        options = [field.annotation, *getattr(field.annotation, "__args__", ())]
        inner = [
            o
            for o in options
            for o in (o, *getattr(o, "__args__", ()))
            if isinstance(o, type) and issubclass(o, BaseModel)
        ]
        at = inner[0] if inner else at
    return list(getattr(at, "model_fields", {}))
