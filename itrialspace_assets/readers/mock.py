"""A reader that looks at nothing and answers by chance, to try a study design or the platform itself.

What it returns is drawn from the request's key, so that it depends neither on order nor on batches. It is no reader to
compare others with: its accuracy is that of guessing, or, with ``planted``, what its options declare (``planted``).
"""

import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from pydantic import Field

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.base.validation import WrittenModel
from itrialspace_assets.readers.api import Generation, Read, Reader, Request
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment, ReaderKind, reader_of
from itrialspace_assets.readers.planted import Planted, Truth, chance, truths
from itrialspace_assets.readers.prompts import prompts_of

VERSION = "1"
TRAINED_ON = "nothing (answers by chance)"
SIMULATED = "nothing (simulated: answers from the truth by declared chances)"
REFUSAL = "I cannot answer that."


class MockOptions(WrittenModel):
    """How the mock reader behaves: milliseconds an answer, shares (0 to 1) of failures and refusals, scores or none.

    ``planted`` makes it a simulated reader that knows the truth and is right by declared chances.
    """

    delay_ms: float = Field(0.0, ge=0, le=60_000)
    error_rate: float = Field(0.0, ge=0, le=1)
    refusal_rate: float = Field(0.0, ge=0, le=1)
    scores: bool = True
    seed: int = Field(0, ge=0)
    planted: Planted | None = None


def load(options: MockOptions, output: Path | None = None) -> Read:
    """What reads as these options say; ``output`` is the folder of the tables that the truth is planted from."""

    def read(requests: Sequence[Request]) -> list[Generation]:
        time.sleep(options.delay_ms / 1000 * len(requests))
        if options.planted is None:
            return [answer(options, request) for request in requests]
        uids = {request.ids.slice_uid for request in requests if request.ids is not None}
        known = truths(output, uids) if output is not None else {}
        return [simulated(options, request, known) for request in requests]

    return read


def simulated(options: MockOptions, request: Request, known: Mapping[str, Truth]) -> Generation:
    """The right answer by the planted chance, else another option; a failure where the truth is not known.

    Args:
        options: with ``planted``.
        request: with its ids.
        known: truth by slice.
    """
    assert options.planted is not None
    assert request.ids is not None
    made = answer(options, request)
    truth = known.get(request.ids.slice_uid)
    if truth is None:
        return Generation(failure=f"expected slice {request.ids.slice_uid} in the table slices, found none")
    right = truth.answer(request.task)
    if made.failure is not None or made.raw_text == REFUSAL or right not in request.options:
        return made
    drawn, *scores = uniform(draws(options.seed, "planted", request.key, n=1 + len(request.options))).tolist()
    others = [option for option in request.options if option != right]
    said = right if drawn < chance(options.planted, truth, request.condition) else others[int(scores[0] * len(others))]
    if not options.scores:
        return Generation(said)
    rest = iter(sorted(scores)[:-1])
    return Generation(said, tuple(max(scores) if option == said else next(rest) for option in request.options))


def answer(options: MockOptions, request: Request) -> Generation:
    """What the mock reader returns for a request: a failure, a refusal, or one of the options by chance."""
    fails, refuses, *drawn = uniform(draws(options.seed, request.key, n=2 + len(request.options))).tolist()
    if fails < options.error_rate:
        return Generation(failure="the mock reader fails on this share of requests (error_rate)")
    if refuses < options.refusal_rate:
        return Generation(raw_text=REFUSAL)
    chosen = request.options[max(range(len(drawn)), key=drawn.__getitem__)]
    return Generation(chosen, tuple(drawn) if options.scores else None)


def build(entry: ReaderEntry, options: MockOptions, place: ReaderEnvironment) -> Reader:
    """The mock reader of an entry.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: where tables lie, for planted effects.

    Raises:
        ConfigError: a task has no words.
    """
    tasks = entry.tasks or ("presence", "lobe", "size")
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, entry.options], 16),
            partial(load, options, place.output),
            scorer="text",
            tasks=tasks,
            prompts=prompts_of(entry, tasks),
            trained_on=TRAINED_ON if options.planted is None else SIMULATED,
            licence="Apache-2.0",
        ),
        seed=options.seed,
        by_id=options.planted is not None,
        sees=options.planted is None,  # it answers from the tables; opening pictures took 40 % of its time
    )


KIND = ReaderKind("mock", MockOptions, build)
