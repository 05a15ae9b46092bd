"""How values read in a report, the same in HTML, Markdown and captions: numbers, limits, counts and flags.

Knows neither HTML nor Markdown, and computes no estimate.
"""

from collections.abc import Iterable
from string import ascii_lowercase

from itrialspace_assets.analysis.reports.document import Estimate, Link, Number, Table, Value

#: What stands where there is no number.
NONE = "–"


def number(value: float) -> str:
    """A number with three decimals, or with one from 10 on; whole numbers as they are."""
    if isinstance(value, int):
        return str(value)
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.3f}"


def limits(estimate: Estimate) -> str:
    """Its limits, ``0.710 to 0.930``; empty where there are none."""
    if estimate.low is None or estimate.high is None:
        return ""
    return f"{number(estimate.low)} to {number(estimate.high)}"


def counts(estimate: Estimate) -> str:
    """Successes over what was counted, ``38/45``; ``n 45`` where the number is no share; empty without counts."""
    if estimate.n is None:
        return ""
    return f"n {estimate.n}" if estimate.k is None else f"{estimate.k}/{estimate.n}"


def words(value: Value) -> str:
    """A value in one line of plain text, a flag in words behind the number."""
    if value is None:
        return NONE
    if isinstance(value, Link):
        return value.text
    if isinstance(value, str | bool):
        return str(value)
    if not isinstance(value, Estimate):
        return number(value)
    shown = NONE if value.value is None else number(value.value)
    inside = ", ".join(filter(None, (limits(value), counts(value))))
    return " ".join(filter(None, (shown, f"({inside})" if inside else "", f"[{value.flag}]" if value.flag else "")))


def footnotes(table: Table) -> dict[str, str]:
    """Letter of each flag of a table's estimates, in the order of their first number: a, b, …, z, aa, ab, …"""
    flags = (v.flag for row in table.rows for v in row if isinstance(v, Estimate) and v.flag)
    return {flag: _letter(i) for i, flag in enumerate(dict.fromkeys(flags))}


def _letter(place: int) -> str:
    first, last = divmod(place, len(ascii_lowercase))
    return (_letter(first - 1) if first else "") + ascii_lowercase[last]


def is_numeric(value: Value) -> bool:
    """Whether a value is set as a number: to the right, digits under digits."""
    return isinstance(value, int | float | Estimate) and not isinstance(value, bool)


def headline_words(numbers: Iterable[Number]) -> str:
    """The numbers of a headline in one line."""
    return "; ".join(f"{n.of}: {words(n.estimate)}" for n in numbers)
