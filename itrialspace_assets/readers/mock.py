"""A reader that looks at nothing and answers by chance, to try a study design or the platform itself.

What it returns is drawn from the request's key, so that it depends neither on order nor on batches. It is no reader to
compare others with: its accuracy is that of guessing.
"""

import time
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from pydantic import Field

from itrialspace_assets.base.fingerprints import digest
from itrialspace_assets.base.seeds import draws, uniform
from itrialspace_assets.base.validation import StrictModel
from itrialspace_assets.readers.api import Generation, Read, Reader, Request
from itrialspace_assets.readers.entry import Kind, Place, ReaderEntry, reader_of
from itrialspace_assets.readers.prompts import prompts_of

VERSION = "1"
TRAINED_ON = "nothing (answers by chance)"
REFUSAL = "I cannot answer that."


class MockOptions(StrictModel):
    """How the mock reader behaves: milliseconds an answer, shares (0 to 1) of failures and refusals, scores or none."""

    delay_ms: float = Field(0.0, ge=0, le=60_000)
    error_rate: float = Field(0.0, ge=0, le=1)
    refusal_rate: float = Field(0.0, ge=0, le=1)
    scores: bool = True
    seed: int = Field(0, ge=0)


def load(options: MockOptions) -> Read:
    """What reads as these options say."""

    def read(requests: Sequence[Request]) -> list[Generation]:
        time.sleep(options.delay_ms / 1000 * len(requests))
        return [answer(options, request) for request in requests]

    return read


def answer(options: MockOptions, request: Request) -> Generation:
    """What the mock reader returns for a request: a failure, a refusal, or one of the options by chance."""
    fails, refuses, *drawn = uniform(draws(options.seed, request.key, n=2 + len(request.options))).tolist()
    if fails < options.error_rate:
        return Generation(failure="the mock reader fails on this share of requests (error_rate)")
    if refuses < options.refusal_rate:
        return Generation(raw_text=REFUSAL)
    chosen = request.options[max(range(len(drawn)), key=drawn.__getitem__)]
    return Generation(chosen, tuple(drawn) if options.scores else None)


def build(entry: ReaderEntry, options: MockOptions, place: Place) -> Reader:
    """The mock reader of an entry.

    Args:
        entry: of ``readers.yaml``.
        options: its options, checked.
        place: not used; the reader has no files.

    Raises:
        ConfigError: a task has no words.
    """
    tasks = entry.tasks or ("presence", "lobe", "size")
    return replace(
        reader_of(
            entry,
            digest([entry.kind, VERSION, entry.options], 16),
            partial(load, options),
            scorer="text",
            tasks=tasks,
            prompts=prompts_of(entry, tasks),
            trained_on=TRAINED_ON,
            licence="Apache-2.0",
        ),
        seed=options.seed,
    )


KIND = Kind("mock", MockOptions, build)
