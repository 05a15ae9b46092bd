"""What is kept lately: within its bytes, the oldest goes first, and what holds no array stays."""

import numpy as np
import polars as pl

from itrialspace_assets.explorer import lately as lately_module
from itrialspace_assets.explorer.lately import Budget, Lately, bytes_of


def test_the_oldest_goes_when_room_is_needed() -> None:
    lately, made = Lately(Budget(250)), []

    def get(name: str, size: int) -> int:
        def make() -> np.ndarray:
            made.append(name)
            return np.zeros(size, np.uint8)

        return len(lately.get(name, make))

    for name in "abab":
        assert get(name, 100) == 100
    assert made == ["a", "b"]
    assert lately.get("of no size", lambda: (1, "a")) == (1, "a")
    get("a", 100)  # b is the oldest now
    get("c", 100)
    assert (lately.has("a"), lately.has("b"), lately.has("c")) == (True, False, True)
    get("large", 1000)
    assert [name for name in ("a", "c", "large") if lately.has(name)] == ["large"], "the newest stays"
    assert lately.get("of no size", lambda: None) == (1, "a")
    get("d", 100)
    assert not lately.has("large")
    get("e", 100)
    assert lately.has("d"), "what went is not counted any more"


def test_bytes_are_those_of_the_arrays() -> None:
    assert bytes_of((np.zeros(3), pl.Series([1, 2]), (np.zeros(2, np.uint8), "text"), None)) == 24 + 16 + 2


def test_two_share_a_room_and_make_room_for_what_is_worked_out() -> None:
    budget = Budget(250)
    one, other = Lately(budget), Lately(budget)
    for lately in (one, other):
        assert lately.get("same key", lambda lately=lately: np.full(100, id(lately)))[0] == id(lately)
    assert not one.has("same key"), "each took 800 bytes"
    other.get("small", lambda: np.zeros(20, np.uint8), needs=lately_module._BETWEEN)
    assert other.has("small")
    assert other.get("more", lambda: other.has("small") or np.zeros(1), needs=lately_module._BETWEEN + 240).size
    assert not other.has("small"), "it went before the next one was made"
