"""What two resolved trials ask differently, field by field. Reads no data."""

from collections.abc import Iterator, Mapping
from typing import Any

from itrialspace_assets.trials.build import resolved_content
from itrialspace_assets.trials.resolve import Resolved

ABSENT = "(absent)"
#: Parts of a trial file that are already in its resolved arms.
_RESOLVED = ("sizes", "arms", "cohort")


def differences(first: Resolved, second: Resolved) -> list[tuple[str, str, str]]:
    """(field, value in the first, value in the second) wherever two trials differ; ``ABSENT`` where it is missing."""
    a, b = (dict(_flat(_fields(trial))) for trial in (first, second))
    return [(path, a.get(path, ABSENT), b.get(path, ABSENT)) for path in sorted({*a, *b}) if a.get(path) != b.get(path)]


def _fields(resolved: Resolved) -> dict[str, Any]:
    content = resolved_content(resolved)
    return {
        "trial": {key: value for key, value in content["trial"].items() if key not in _RESOLVED},
        "size": content["size"],
        "arm": {arm.pop("name"): arm for arm in content["arms"]},
    }


def _flat(value: Any, path: str = "") -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        for key, inner in value.items():
            yield from _flat(inner, f"{path}.{key}" if path else str(key))
    else:
        yield path, str(value)
