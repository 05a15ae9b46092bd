"""The network goes away while a served model reads: bounded tries, nothing lost, and only the rest is asked again."""

import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
import tenacity

from itrialspace_assets.readers.served import connection
from tests.readers.test_endpoint import run, study
from tests.support.chat_server import ChatServer, Said, chat_server, is_probe, question, usual

#: Requests that are answered before the network is gone: in the middle of the third batch of five.
ANSWERED = 12
TIMEOUT_S = 0.2


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


def pictured(body: dict[str, Any]) -> str:
    """What tells one request from another."""
    return question(body) + str(body["messages"][0]["content"][:-1])


@pytest.mark.slow
def test_what_was_answered_is_kept_and_a_rerun_asks_the_rest(
    server: ChatServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(connection, "_backoff", tenacity.wait_none())
    quiet = study(server, tmp_path, "quiet", workers=1)
    _, undisturbed, answers = run(quiet, "r")
    settings = study(server, tmp_path, "out", workers=1)
    config = settings.readers_config
    assert config is not None
    config.write_text(config.read_text().replace("timeout_s: 5.0", f"timeout_s: {TIMEOUT_S}"))
    server.asked.clear()
    answered: list[str] = []

    def gone(body: dict[str, Any], number: int) -> Said:
        if is_probe(body):
            return usual(body, number)
        if len(answered) >= ANSWERED:
            return Said(b"", stall_s=20 * TIMEOUT_S)
        answered.append(pictured(body))
        return usual(body, number)

    server.answer = gone
    began = time.monotonic()
    result, generations, _ = run(settings, "r1")
    failed = generations.filter(pl.col("failure").is_not_null())
    assert result.retryable == result.rejected == failed.height == 36 - ANSWERED, "the partition is not up to date"
    assert failed["failure"].str.contains("no answer within").all()
    most = max(Counter(map(pictured, server.read())).values())
    assert most <= connection.ATTEMPTS
    assert time.monotonic() - began < 36 * connection.ATTEMPTS * TIMEOUT_S + 30, "tries are bounded"
    server.answer = usual
    server.asked.clear()
    result, generations, again = run(settings, "r2")
    assert (result.computed, result.rejected) == (36 - ANSWERED, 0)
    assert not {pictured(body) for body in server.read()} & set(answered), "only what is missing is asked"
    assert len(server.read()) == 36 - ANSWERED
    same = [c for c in undisturbed.columns if c != "reader_revision"]
    assert generations.select(same).equals(undisturbed.select(same))
    assert again["status"].equals(answers["status"])
