"""A bad request costs itself: batches are halved around it, and what the others get does not change."""

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError, Reason
from itrialspace_assets.readers import mock
from itrialspace_assets.readers.api import Generation, Request
from itrialspace_assets.readers.asking import ask

OPTIONS = ("present", "absent")


def request(key: str) -> Request:
    return Request(
        key, (np.zeros((4, 4), np.uint8),), (1.0, 1.0), "plain", "none", "presence", "p_1", "Is it?", OPTIONS
    )


REQUESTS = [request(f"k{i:03}") for i in range(40)]


class Limited:
    """Reads as the mock reader does, up to so many requests at once; fails on some keys."""

    def __init__(self, most: int = 1000, bad: tuple[str, ...] = (), error: Exception | None = None) -> None:
        self.most, self.bad, self.error, self.sizes = most, bad, error or RuntimeError("bad"), []  # type: ignore[var-annotated]
        self.read = mock.load(mock.MockOptions(refusal_rate=0.2))

    def __call__(self, requests: list[Request]) -> list[Generation]:
        self.sizes.append(len(requests))
        if len(requests) > self.most:
            raise MemoryError
        if any(r.key in self.bad for r in requests):
            raise self.error
        return self.read(requests)


def test_too_little_memory_halves_the_batch_and_changes_nothing() -> None:
    whole, small = Limited(), Limited(most=6)
    assert [r.generation for r in ask(small, REQUESTS)] == [r.generation for r in ask(whole, REQUESTS)]
    assert whole.sizes == [40]
    assert small.sizes == [40, 20, 10, 5, 5, 10, 5, 5, 20, 10, 5, 5, 10, 5, 5]


def test_a_request_that_does_not_fit_alone_is_out_of_memory() -> None:
    assert {r.reason for r in ask(Limited(most=0), REQUESTS[:3])} == {Reason.OUT_OF_MEMORY}

    class OutOfMemoryError(RuntimeError):
        """As a GPU library calls it."""

    (found,) = ask(Limited(bad=("k000",), error=OutOfMemoryError("8 GiB")), REQUESTS[:1])
    assert (found.reason, found.detail) == (Reason.OUT_OF_MEMORY, "OutOfMemoryError: 8 GiB")


def test_a_bad_request_costs_itself() -> None:
    found = ask(Limited(bad=("k007", "k031")), REQUESTS)
    assert [i for i, r in enumerate(found) if r.reason] == [7, 31]
    good = ask(Limited(), REQUESTS)
    assert all(a.generation == b.generation for a, b in zip(found, good, strict=True) if a.reason is None)
    with pytest.raises(ConfigError):
        ask(Limited(bad=("k000",), error=ConfigError("no weights")), REQUESTS)


@pytest.mark.parametrize(
    ("generations", "detail"),
    [
        ([], "expected 1 generations, got 0"),
        ([Generation("present", (0.5,))], "expected 2 option scores, got 1"),
        ([Generation("present", (0.5, float("nan")))], "expected finite scores"),
        ([Generation("present", None, float("inf"))], "expected finite scores"),
        ([Generation("present", ("a", "b"))], "expected finite scores"),
        ([Generation("present", (10**400, 1))], "expected finite scores"),
        ([Generation("present", np.array([1.0, np.inf]))], "expected finite scores, got (1.0, inf)"),
        ([Generation(5)], "expected a text, got int"),
        ([Generation("a\ud800")], "expected a text in Unicode, got half a surrogate pair: 'a\\\\ud800'"),
        ([Generation("x" * 100_001)], "expected a text of at most 100000 characters, got 100001"),
        ([Generation(failure="the server said \ud800")], "the server said \\ud800"),
    ],
)
def test_what_is_no_generation_is_a_failure(generations: list[Generation], detail: str) -> None:
    (found,) = ask(lambda _: generations, REQUESTS[:1])
    assert found.reason is Reason.UNEXPECTED
    assert detail in found.detail


def test_the_mock_reader_depends_on_the_request_alone() -> None:
    read = mock.load(mock.MockOptions(error_rate=0.1, refusal_rate=0.2))
    together = read(REQUESTS)
    assert together == [read([r])[0] for r in REQUESTS]
    assert together[::-1] == read(REQUESTS[::-1])
    many = read([request(f"m{i}") for i in range(4000)])
    assert sum(g.failure is not None for g in many) / 4000 == pytest.approx(0.1, abs=0.02)
    assert sum(g.raw_text == mock.REFUSAL for g in many) / 4000 == pytest.approx(0.18, abs=0.02)
    answered = [g for g in many if g.option_scores]
    assert sum(g.raw_text == "present" for g in answered) / len(answered) == pytest.approx(0.5, abs=0.04)
    assert all(g.raw_text == OPTIONS[int(np.argmax(g.option_scores))] for g in answered)
