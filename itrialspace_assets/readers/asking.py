"""Asks a loaded reader a list of requests, so that a bad one costs itself only. Opens no file and keeps nothing."""

import math
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

from itrialspace_assets.base.errors import ConfigError, Reason
from itrialspace_assets.readers.api import MOST_CHARACTERS, Generation, Read, Request


@dataclass(frozen=True)
class Returned:
    """What came back for a request: a generation and its share of the seconds, or why there is none."""

    generation: Generation | None
    seconds: float
    reason: Reason | None = None
    detail: str = ""


def ask(read: Read, requests: Sequence[Request]) -> list[Returned]:
    """What a reader returns, one for each request in their order.

    Where memory is too small, or the reader fails, each half is asked by itself, down to a single request. What the
    others return does not depend on it.

    Args:
        read: the loaded reader.
        requests: at most a batch.

    Raises:
        ConfigError: the reader found a setting that is wrong for every request.
    """
    if not requests:
        return []
    started = time.perf_counter()
    try:
        generations = read(requests)
        if len(generations) != len(requests):
            raise ValueError(f"expected {len(requests)} generations, got {len(generations)}")
    except ConfigError:
        raise
    except Exception as error:  # of the reader's own code, whatever it is; counted, never hidden
        if len(requests) > 1:
            middle = (len(requests) + 1) // 2
            return ask(read, requests[:middle]) + ask(read, requests[middle:])
        reason = Reason.OUT_OF_MEMORY if _is_memory(error) else Reason.UNEXPECTED
        return [Returned(None, time.perf_counter() - started, reason, _told(f"{type(error).__name__}: {error}"))]
    seconds = (time.perf_counter() - started) / len(requests)
    return [_checked(g, r, seconds) for g, r in zip(generations, requests, strict=True)]


def _is_memory(error: Exception) -> bool:
    """Whether memory was too small, of the machine or of a GPU (torch is not imported to tell)."""
    return isinstance(error, MemoryError) or type(error).__name__ == "OutOfMemoryError"


def _checked(generation: Generation, request: Request, seconds: float) -> Returned:
    if generation.failure is not None:
        return Returned(None, seconds, generation.reason, _told(str(generation.failure)))
    scores = generation.option_scores
    try:
        numbers = None if scores is None else tuple(map(float, scores))
        outside = None if generation.outside_log_mass is None else float(generation.outside_log_mass)
    except (TypeError, ValueError, OverflowError):
        return Returned(None, seconds, Reason.UNEXPECTED, f"expected finite scores, got {_told(str(scores))}")
    if wrong := _wrong_text(generation.raw_text) or _wrong_scores(numbers, outside, request):
        return Returned(None, seconds, Reason.UNEXPECTED, wrong)
    return Returned(replace(generation, option_scores=numbers, outside_log_mass=outside), seconds)


def _wrong_text(text: object) -> str:
    """What is wrong with an answer in words; empty if nothing is. Tables and files take no half of a surrogate pair."""
    if text is None:
        return ""
    if not isinstance(text, str):
        return f"expected a text, got {type(text).__name__}"
    if len(text) > MOST_CHARACTERS:
        return f"expected a text of at most {MOST_CHARACTERS} characters, got {len(text)}"
    return "" if _told(text) == text else f"expected a text in Unicode, got half a surrogate pair: {_told(text)[:60]!r}"


def _wrong_scores(scores: tuple[float, ...] | None, outside: float | None, request: Request) -> str:
    """What is wrong with an answer in scores; empty if nothing is."""
    if scores is not None and len(scores) != len(request.options):
        return f"expected {len(request.options)} option scores, got {len(scores)}"
    finite = all(map(math.isfinite, (*(scores or ()), outside or 0.0)))
    return "" if finite else f"expected finite scores, got {scores}"


def _told(text: str) -> str:
    """A text as files can hold it."""
    return text.encode("utf-8", "backslashreplace").decode()
