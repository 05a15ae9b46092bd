"""What an unknown name is answered with: the names that are near it. Knows no table."""

import difflib
from collections.abc import Sequence

from itrialspace_assets.base.errors import NotFound

#: Names that are compared, at most (ours): more would take seconds.
_COMPARED = 20_000


def not_found(kind: str, name: str, known: Sequence[str]) -> NotFound:
    """The error of a name that is not there; names up to three that are near it, or else some.

    Args:
        kind: what is named, for the message.
        name: what was asked for.
        known: the names that there are.
    """
    near = difflib.get_close_matches(name, known[:_COMPARED], 3, 0.4)
    some = f"near: {', '.join(near)}" if near else f"for example {', '.join(known[:3])}" if known else "there is none"
    return NotFound(f"{kind} {name!r}: expected one that is there, found none; {some}")
