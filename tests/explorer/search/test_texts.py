"""Searches in texts as bytes, against plain Python."""

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.explorer.search import texts
from itrialspace_assets.explorer.search.texts import texts_of

#: Few letters, so that texts meet at their ends; signs next to letters in ASCII; two bytes; their capitals.
LETTERS = st.text("aAbzZ@[`{é", max_size=4)


def lower(text: str) -> str:
    """Upper case of a to z only."""
    return "".join(c.lower() if c.isascii() else c for c in text)


@given(st.lists(st.none() | LETTERS, max_size=12), LETTERS.filter(bool), st.sampled_from([1, 2, 5, 1000]))
def test_a_text_is_found_whatever_its_case_and_never_across_two(
    rows: list[str | None], wanted: str, block: int
) -> None:
    found = texts_of(pa.chunked_array([pa.array(rows, pa.large_string())]))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(texts, "_BLOCK", block)
        holding = found.holding(wanted).tolist()
    assert holding == [row is not None and lower(wanted) in lower(row) for row in rows]
    assert found.among([wanted, "a"]).tolist() == [row in (wanted, "a") for row in rows]
    assert found.missing().tolist() == [row is None for row in rows]
    assert found.series("x").to_list() == rows
    order = sorted({row for row in rows if row is not None})
    ranks = [None if np.isnan(r) else order[int(r)] for r in found.ranks()]
    assert ranks == rows
    if None not in rows and rows == order:
        assert [found.place(row) for row in order] == list(range(len(order)))
        assert found.place("~") is None
