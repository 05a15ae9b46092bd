"""A served model as a reader, against a small real server that stalls, drops, refuses, and says strange things."""

import json
import logging
import math
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import numpy as np
import polars as pl
import pytest
import tenacity
import yaml
from hypothesis import given
from hypothesis import strategies as st
from polars.testing import assert_frame_equal

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.readers import build
from itrialspace_assets.readers.api import Generation, Reader, Request
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import make
from itrialspace_assets.readers.served import connection
from itrialspace_assets.readers.served.options import EndpointOptions
from itrialspace_assets.readers.served.replies import Reply, Token, read_reply, score_options
from itrialspace_assets.records.layout import REAL
from itrialspace_assets.records.store import read_table, write_table
from tests.readers.conftest import PART, WHERE, slice_rows
from tests.support.chat_server import MODEL, ChatServer, Said, chat_server, completion, is_probe, tokens_of, usual

OPTIONS = ("present", "absent")
DEEP = json.loads("[" * 300 + "]" * 300)
KEY = "sk-a-secret-of-this-test-0123456789"


@pytest.fixture
def server() -> Iterator[ChatServer]:
    with chat_server() as running:
        yield running


@pytest.fixture
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """No waiting between tries, where the server does not ask for it."""
    monkeypatch.setattr(connection, "_backoff", tenacity.wait_none())


Endpoint = Callable[..., Reader]


@pytest.fixture
def endpoint(server: ChatServer, tmp_path: Path) -> Endpoint:
    """The reader of the running server; options as given."""

    def made(prompts: Any = {}, **options: Any) -> Reader:  # noqa: B006 (an entry without words of its own)
        own = {"base_url": server.base_url, "model": MODEL, "revision": "r1", "timeout_s": 5.0}
        entry = ReaderEntry(name="served", kind="endpoint", options=own | options, tasks=("presence",), prompts=prompts)
        return make(entry, ReaderEnvironment(None, tmp_path / "work" / "fingerprints.sqlite"))

    return made


def request(value: int = 0, task: str = "presence", text: str = "A nodule?", pictures: int = 1) -> Request:
    drawn = tuple(np.full((6, 4), value + i, np.uint8) for i in range(pictures))
    return Request(f"k{value}", drawn, (0.7, 0.7), "plain", "none", task, "p", text, OPTIONS)


def ask(reader: Reader, *requests: Request) -> list[Generation]:
    reader.prepare()
    return reader.load()(requests or (request(),))


def test_pictures_come_first_and_the_question_last(server: ChatServer, endpoint: Endpoint) -> None:
    reader = endpoint(extra={"chat_template_kwargs": {"enable_thinking": False}})
    ask(reader, request(5), request(5, text="How large?"), request(7, pictures=3))
    first, second, third = sorted(server.read(), key=lambda b: (len(str(b)), "large" in str(b)))
    parts, others = first["messages"][0]["content"], second["messages"][0]["content"]
    assert [p["type"] for p in parts] == ["image_url", "text"]
    assert parts[:-1] == others[:-1], "tasks share all but the question"
    assert parts[0]["image_url"]["url"].startswith("data:image/png;base64,iVBOR")
    several = third["messages"][0]["content"]
    assert [p.get("text") for p in several] == [None, "SLICE 1", None, "SLICE 2", None, "SLICE 3", "A nodule?"]
    assert (first["temperature"], first["seed"], first["top_logprobs"]) == (0, 0, 20)
    assert first["chat_template_kwargs"] == {"enable_thinking": False}
    assert "Authorization" not in server.headers[-1]


def test_requests_are_sent_at_once_and_returned_in_their_order(server: ChatServer, endpoint: Endpoint) -> None:
    together = threading.Barrier(4, timeout=10)

    def slow_for_the_first(body: dict[str, Any], number: int) -> Said:
        if is_probe(body):
            return usual(body, number)
        together.wait()
        said = body["messages"][0]["content"][-1]["text"]
        return Said(completion(said).body, stall_s=0.05 * (4 - int(said)))

    server.answer = slow_for_the_first
    read = ask(endpoint(concurrency=4), *(request(i, text=str(i)) for i in range(4)))
    assert [g.raw_text for g in read] == ["0", "1", "2", "3"]


#: What a server does to a request, how often it is asked in all, and what the failure says; None: it is answered.
MISBEHAVIOUR = {
    "busy": (Said(b'{"error": "slow down"}', 429, {"Retry-After": "0"}), 5, "429 Too Many Requests: {"),
    "busy until a date": (Said(b"", 429, {"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}), 5, "429"),
    "busy for long": (Said(b"", 429, {"Retry-After": "3600"}), 1, "(asks to wait 3600 s)"),
    "busy for two": (Said(b"", 429, {"Retry-After": "\u00b2"}), 5, "429"),  # a digit, and no number
    "busy for what": (Said(b"", 429, {"Retry-After": "soon"}), 5, "429"),
    "broken": (Said(b"oh\n no", 500), 5, "500 Internal Server Error: oh no"),
    "overloaded": (Said(b"", 503), 5, "503 Service Unavailable: nothing"),
    "stalls": (Said(b"{}", stall_s=1.0), 2, "no answer within 0.3 s"),
    "trickles": (Said(b"x" * 100, trickle_s=0.02), 2, "still coming at the time-out"),
    "drops before": (Said(b"", status=200, drop_after=0, headers={"X": "y"}), 1, "expected JSON"),
    "drops in the middle": (Said(completion("yes").body, drop_after=20), 5, "no connection: "),
    "refuses the request": (Said(b'{"error": {"message": "too long"}}', 400), 1, '400 Bad Request: {"error"'),
    "garbage": (Said(b"{not json"), 1, "expected JSON, got JSONDecodeError: {not json"),
    "garbage deep": (Said(b"[" * 100_000), 1, "expected JSON, got RecursionError"),
    "not text": (Said(b"\xff\xfe\x00"), 1, "expected JSON"),
    "empty": (Said(b""), 1, "expected JSON"),
    "another JSON": (
        Said(b'{"detail": []}'),
        1,
        "choices and a message, got the keys detail",
    ),
    "a list": (Said(b"[1]"), 1, "expected a chat completion with choices and a message, got list"),
    "no choice": (Said(b'{"choices": []}'), 1, "expected a chat completion"),
    "a number": (completion(3), 1, "expected a text in the message, got int"),
    "a tool": (completion(None, tool_calls=[{}]), 1, "expected a text in the message, got NoneType"),
    "half a character": (completion("a\ud800"), 1, "expected JSON, got UnicodeEncodeError"),
    "two answers": (Said(b'{"choices": [{"message": {"content": "a", "content": "b"}}]}'), 1, "got ValueError: {"),
    "a page": (Said(b"<html>Sign in</html>", kind="text/html"), 1, "expected application/json, got text/html: <html>"),
    "no type": (Said(b"{}", kind=None), 1, "got no content type"),
    "packed": (Said(b"\x1f\x8b", headers={"Content-Encoding": "gzip"}), 1, "one packed with gzip"),
    "huge": (Said(b" " * (connection.MOST_BYTES + 1)), 1, "expected a reply of at most 8388608 bytes"),
}


@pytest.mark.parametrize("what", MISBEHAVIOUR)
def test_what_a_server_does_wrong_is_a_failure_of_the_request(
    server: ChatServer, endpoint: Endpoint, soon: None, what: str
) -> None:
    said, tries, message = MISBEHAVIOUR[what]
    reader = endpoint(timeout_s=0.3 if what in ("stalls", "trickles") else 5.0)
    reader.prepare()
    read = reader.load()
    server.answer = lambda body, number: said if "bad" in str(body) else usual(body, number)
    bad, good = read([request(1, text="bad")]) + read([request(2)])
    assert message in (bad.failure or "")
    assert (bad.raw_text, bad.option_scores) == (None, None)
    assert good.failure is None, "the next one is answered"
    assert sum("bad" in str(body) for body in server.asked) == tries


def test_what_passes_is_asked_again_and_answered(server: ChatServer, endpoint: Endpoint, soon: None) -> None:
    reader = endpoint()
    reader.prepare()
    trouble = [Said(b"", 429, {"Retry-After": "0"}), Said(b"", 502), Said(b"{", drop_after=0), completion("yes")]
    server.answer = lambda body, number: trouble[len(server.read()) - 1]
    trouble[2] = Said(completion("no").body, drop_after=3)
    (said,) = reader.load()([request()])
    assert (said.raw_text, len(server.read())) == ("yes", 4)


def test_a_server_that_died_costs_each_request_one_try(endpoint: Endpoint, server: ChatServer, soon: None) -> None:
    reader = endpoint(concurrency=1)
    reader.prepare()
    read = reader.load()
    server.answer = lambda body, number: Said(b"{}", drop_after=1)
    before = len(server.asked)
    failed = read([request(i) for i in range(4)])
    assert all("no connection" in g.failure for g in failed)
    assert len(server.asked) - before == connection.ATTEMPTS + 3
    server.answer = usual
    assert [g.failure for g in read([request(i) for i in range(2)])] == [None, None]


@pytest.mark.parametrize(
    ("said", "message"),
    [
        (Said(b"", 401), "expected to be let in, got 401 Unauthorized: nothing; the reader has no api_key_env"),
        (Said(b"no such model", 404), "expected an OpenAI-compatible server with /v1/chat/completions, got 404"),
        (Said(b"", 307, {"Location": "http://192.0.2.1/v1"}), "sends on to http://192.0.2.1/v1, which is not followed"),
    ],
)
def test_what_is_wrong_for_every_request_stops_the_work(
    server: ChatServer, endpoint: Endpoint, said: Said, message: str
) -> None:
    reader = endpoint()
    reader.prepare()
    read = reader.load()
    server.answer = lambda body, number: said
    with pytest.raises(ConfigError) as error:
        read([request(i) for i in range(3)])
    assert message in str(error.value)


def test_a_redirect_leads_nowhere(server: ChatServer, endpoint: Endpoint) -> None:
    with chat_server() as other:
        reader = endpoint()
        reader.prepare()
        server.answer = lambda body, number: Said(b"", 308, {"Location": f"{other.base_url}/chat/completions"})
        with pytest.raises(ConfigError, match="not followed"):
            reader.load()([request()])
        assert other.asked == []


@pytest.mark.parametrize(
    ("text", "places", "scores", "outside"),
    [
        ("present", [{"present": 0.6, "absent": 0.3}], (0.6, 0.3), 0.1),
        (" Yes.", [{" Yes": 0.5, "yes": 0.1, "No": 0.25, " NO": 0.05, "maybe": 0.1}], (0.6, 0.3), 0.1),
        ("▁yes"[1:], [{"▁yes": 0.6, "Ġno": 0.3}], (0.6, 0.3), 0.1),
        (" yes", [{" ": 0.5, "yes": 0.2, "no": 0.1}, {"yes": 0.5, "no": 0.25}], (0.2 + 0.25, 0.1 + 0.125), 0.325),
        ("present", [{"present": 0.6, "maybe": 0.3}], None, None),  # nothing is known of the other option
        ("present", [{"pres": 0.6, "abs": 0.3}, {"ent": 1.0}], None, None),  # no token is a whole word
        ("Nodule", [{"No": 0.6, "Yes": 0.3}, {"dule": 1.0}], None, None),  # the word goes on
        ("absent", [{"present": 0.6, "absent": 0.3}], None, None),  # not what was said
        ("I see", [{"I": 0.9, "yes": 0.05, "no": 0.01}], (0.05, 0.01), 0.94),
        ("", [{" ": 1.0}], None, None),
        ("present", [{"present": float("nan"), "absent": 0.3}], None, None),
        ("present", [{"present": 1.0, "absent": 1.0}], None, None),  # no probabilities
    ],
)
def test_scores_are_what_the_first_token_says(
    text: str, places: list[dict[str, float]], scores: Any, outside: float | None
) -> None:
    listed = tokens_of(*({t: math.log(p) for t, p in place.items()} for place in places))
    reply = read_reply(json.loads(completion(text, listed).body))
    found = score_options(reply, OPTIONS, {})
    if scores is None:
        assert found is None
    else:
        assert [math.exp(s) for s in found.scores] == pytest.approx(scores)
        assert math.exp(found.outside) == pytest.approx(outside)
        turned = score_options(reply, OPTIONS[::-1], {})
        assert turned.scores == found.scores[::-1]


@hypothesis.settings(max_examples=50, deadline=None)
@given(st.dictionaries(st.text("yesnoprabt ", min_size=1, max_size=8), st.floats(-20, 0), min_size=1, max_size=20))
def test_no_option_gets_mass_that_no_token_of_its_has(place: dict[str, float]) -> None:
    reply = Reply(next(iter(place)), tuple(Token.model_validate(t) for t in tokens_of(place)))
    found = score_options(reply, OPTIONS, {})
    if found is not None:
        for score, words in zip(found.scores, (("present", "yes"), ("absent", "no")), strict=True):
            mass = sum(math.exp(p) for t, p in place.items() if t.strip() in words)
            assert math.exp(score) == pytest.approx(mass)


def test_lobes_share_their_first_tokens_and_get_no_scores() -> None:
    reply = Reply("right", tuple(Token.model_validate(t) for t in tokens_of({"right": -0.1, "left": -3.0})))
    lobes = {"right_lung_upper_lobe": "right upper lobe", "left_lung_upper_lobe": "left upper lobe"}
    assert score_options(reply, tuple(lobes), lobes) is None
    told = score_options(reply, tuple(lobes), dict(zip(lobes, ("right", "left"), strict=True)))
    assert told.scores == pytest.approx((-0.1, -3.0)), "written so, they do not"


def test_a_server_without_logprobs_is_told_by_asking(server: ChatServer, endpoint: Endpoint, tmp_path: Path) -> None:
    def silent(body: dict[str, Any], number: int) -> Said:
        return completion("yes")

    def refuses(body: dict[str, Any], number: int) -> Said:
        return Said(b"no logprobs", 400) if "logprobs" in body else completion("yes")

    def few(body: dict[str, Any], number: int) -> Said:
        return Said(b"at most 5", 400) if body.get("top_logprobs", 0) > 5 else usual(body, number)

    for answer, wanted in ((silent, None), (refuses, None), (few, 5)):
        server.answer = answer
        (tmp_path / "work" / "served" / "served.json").unlink(missing_ok=True)
        (said,) = ask(endpoint())
        record = json.loads((tmp_path / "work" / "served" / "served.json").read_text())
        assert record["top_logprobs"] == wanted
        assert (said.option_scores is None) == (wanted is None)
        assert said.raw_text is not None
        assert server.asked[-1].get("top_logprobs") == wanted


def test_options_are_given_where_the_server_obeys_them(server: ChatServer, endpoint: Endpoint) -> None:
    def obeys(body: dict[str, Any], number: int) -> Said:
        choice = body.get("structured_outputs", {}).get("choice")
        if choice is None:
            return usual(body, number)
        return completion(choice[0], tokens_of({choice[0]: -0.1, choice[1]: -3.0}))

    def refuses(body: dict[str, Any], number: int) -> Said:
        return Said(b"unknown field", 400) if "structured_outputs" in body else usual(body, number)

    server.answer = obeys
    (said,) = ask(endpoint(structured_outputs=True))
    assert server.asked[-1]["structured_outputs"] == {"choice": ["present", "absent"]}
    assert (said.raw_text, said.outside_log_mass) == ("present", None)
    assert said.option_scores == pytest.approx((-0.1, -3.0))
    for answer in (refuses, usual):  # refused, or left out without a word
        server.answer = answer
        (said,) = ask(endpoint(structured_outputs=True, revision=answer.__name__))
        assert "structured_outputs" not in server.asked[-1]
        assert said.outside_log_mass is not None
    server.answer = obeys
    (said,) = ask(endpoint(prompts="published_1", structured_outputs=True, revision="yes"))
    assert server.asked[-1]["structured_outputs"] == {"choice": ["yes", "no"]}, "as the question writes them"
    assert said.raw_text == "yes"
    ask(endpoint(revision="free"))
    assert not any("structured_outputs" in body for body in server.asked[-3:]), "free answers are the default"


def test_the_revision_is_that_of_the_server_and_marked_unverified(
    server: ChatServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    reader = endpoint()
    with pytest.raises(ConfigError, match=r"expected the revision of its server, found none: it is taken when reading"):
        _ = reader.revision
    assert build.options_of(reader, load_settings(data_dir=tmp_path)) == {"weights": "missing"}
    assert server.asked == [], "nobody is asked to build the graph"
    reader.prepare()
    first = reader.revision
    assert first.endswith("-unverified")
    reader.prepare()
    moved = endpoint(concurrency=2, timeout_s=9.0)
    assert (reader.revision, moved.revision) == (first, first)
    server.answer = lambda body, number: completion("other weights", tokens_of({"a": -1.0, "b": -2.0}))
    assert reader.revision == first, "a server that is not asked changes nothing"
    reader.prepare()
    second = reader.revision
    assert second != first
    server.models = {"data": [{"id": MODEL, "max_model_len": 4096}]}
    reader.prepare()
    assert reader.revision not in (first, second)
    assert endpoint(revision="r2").code != reader.code
    assert endpoint(max_tokens=5).code != reader.code


def test_answers_that_do_not_repeat_are_left_out_of_the_revision(
    server: ChatServer, endpoint: Endpoint, tmp_path: Path
) -> None:
    def restless(body: dict[str, Any], number: int) -> Said:
        return completion(f"answer {number}") if "rhyme" in str(body) else usual(body, number)

    server.answer = restless
    reader = endpoint()
    reader.prepare()
    first = reader.revision
    record = json.loads((tmp_path / "work" / "served" / "served.json").read_text())
    assert record["answers"] == {"picture": "2 words", "text": None}
    reader.prepare()
    assert reader.revision == first


@pytest.mark.parametrize(
    ("models", "answer", "message"),
    [
        ({"data": [{"id": "b"}, {"id": "a"}]}, usual, f"expected it to serve '{MODEL}', got a, b; change model"),
        ({"models": []}, usual, "expected a list of models, got something else"),
        ([], usual, "expected a list of models"),
        ({"data": [{"id": MODEL, "meta": DEEP}]}, usual, "expected a flat descr"),
        (None, lambda b, n: completion("\ud800"), "expected JSON, got UnicodeEncodeError"),
        (None, lambda b, n: Said(b"no images", 400) if "image_url" in str(b) else usual(b, n), "takes pictures"),
        (None, lambda b, n: Said(b"[]"), "expected a chat completion"),
    ],
)
def test_a_server_that_will_not_do_is_refused_before_work(
    server: ChatServer, endpoint: Endpoint, models: Any, answer: Any, message: str
) -> None:
    server.models, server.answer = models, answer
    if models == []:
        server.models = [0]
    with pytest.raises(ConfigError, match=message):
        endpoint().prepare()


def test_a_server_that_is_off_is_a_need(endpoint: Endpoint, server: ChatServer) -> None:
    assert endpoint().needs() == []
    (need,) = endpoint(base_url="http://127.0.0.1:9/v1").needs()
    assert need.what.startswith("http://127.0.0.1:9/v1: expected a server that answers, got: no connection")
    assert need.fix == "start it, or change base_url"
    (need,) = endpoint(model="other").needs()
    assert (need.what, need.fix) == (f"{server.base_url}: expected it to serve 'other', got {MODEL}", "change model")


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/v1", "http://10.0.0.7:8000/v1", "http://127.0.0.1.example.org/v1", "http://0.0.0.0:1/v1",
        "http://localhost.example.org", "https://[2001:db8::1]/v1", "http://2130706433/v1", "http://0x7f.1/v1",
    ],
)  # fmt: skip
def test_pictures_go_to_listed_hosts_only(endpoint: Endpoint, url: str) -> None:
    with pytest.raises(ConfigError, match="among them: pictures would be sent to that machine"):
        endpoint(base_url=url)
    host = url.split("//")[1].split("/")[0].rsplit(":", 1)[0] if "[" not in url else "2001:db8::1"
    assert endpoint(base_url=url, hosts=[host.upper()]).name == "served"


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost@example.org/v1", "http://user:pass@127.0.0.1/v1", "ftp://127.0.0.1", "127.0.0.1:8000",
        "http:///v1", "http://127.0.0.1/v1?key=1", "http://127.0.0.1\\@example.org/", "http://127.0.0.1:x/", "http://[::1",
        "http://127.0.0.1/\n", "http://ｌocalhost/v1",
    ],
)  # fmt: skip
def test_odd_addresses_are_refused(endpoint: Endpoint, url: str) -> None:
    with pytest.raises(ConfigError, match=r"options: base_url: "):
        endpoint(base_url=url)


@pytest.mark.parametrize("host", ["127.0.0.1", "127.8.9.1", "[::1]", "localhost", "LOCALHOST"])
def test_this_machine_needs_no_list(endpoint: Endpoint, host: str) -> None:
    assert endpoint(base_url=f"http://{host}:9/v1").name == "served"


def test_options_are_checked(endpoint: Endpoint) -> None:
    for options, message in (
        ({"concurency": 3}, "did you mean 'concurrency'"),
        ({"extra": {"messages": []}}, "expected other fields than messages"),
        ({"api_key_env": "sk-this is a key"}, "api_key_env"),
        ({"revision": ""}, "revision"),
        ({"timeout_s": float("nan")}, "timeout_s"),
    ):
        with pytest.raises(ConfigError, match=message):
            endpoint(**options)


def test_proxies_of_the_environment_carry_no_picture_by_accident(
    endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("http_proxy", "https_proxy", "all_proxy", "no_proxy", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HTTP_PROXY", "http://proxy.example.org:3128")
    assert ask(endpoint())[0].failure is None, "this machine is called directly"
    far = {"base_url": "http://gpu7.example.org/v1", "hosts": ["gpu7.example.org"]}
    (need,) = endpoint(**far).needs()  # before anything is sent
    assert "HTTP_PROXY would carry pictures through 'proxy.example.org'" in need.what
    assert need.fix == "add it to hosts of the reader, or add gpu7.example.org to NO_PROXY"
    options = {"model": MODEL, "revision": "r1"}
    both = EndpointOptions(**options | far | {"hosts": ["gpu7.example.org", "proxy.example.org"]})
    assert connection.proxy_of(both) == "http://proxy.example.org:3128"
    monkeypatch.setenv("NO_PROXY", "gpu7.example.org")
    assert connection.proxy_of(EndpointOptions(**options | far)) is None


def test_the_key_is_sent_and_stands_nowhere(
    server: ChatServer,
    endpoint: Endpoint,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    tmp_path: Path,
    soon: None,
) -> None:
    reader = endpoint(api_key_env="TEST_SERVER_KEY")
    assert [n.what for n in reader.needs()] == [
        f"variable TEST_SERVER_KEY: expected the key of {server.base_url}, it is unset or empty"
    ]
    monkeypatch.setenv("TEST_SERVER_KEY", "a key\nof two lines")
    assert "two lines" not in reader.needs()[0].what
    monkeypatch.setenv("TEST_SERVER_KEY", KEY)
    assert reader.needs() == []
    caplog.set_level(logging.DEBUG)
    echo = f"{'x' * 190}{KEY}"
    server.models = {"data": [{"id": MODEL, "owned_by": "me"}, {"id": KEY}]}
    texts = []
    for answer in (
        lambda b, n: completion(f"you sent {KEY}", tokens_of({"you": -1.0, "b": -2.0})),
        lambda b, n: Said(echo.encode(), 400),
        lambda b, n: Said(echo.encode(), 503),
        lambda b, n: Said(b"{}", kind=KEY),
        lambda b, n: Said(b"", 301, {"Location": f"http://192.0.2.1/{KEY}"}),
        lambda b, n: Said(KEY.encode(), 401),
    ):
        server.answer = usual
        reader.prepare()
        read = reader.load()
        server.answer = answer
        try:
            texts += [repr(read([request()]))]
        except ConfigError as error:
            texts += [str(error)]
    with pytest.raises(ConfigError) as error:
        endpoint(api_key_env="TEST_SERVER_KEY", model="other").prepare()
    texts += [str(error.value), repr(reader), caplog.text]
    server.answer = lambda b, n: completion(KEY)
    reader.prepare()
    texts += [p.read_text(errors="replace") for p in tmp_path.rglob("*") if p.is_file()]
    assert server.headers[-1]["Authorization"] == f"Bearer {KEY}"
    assert sum("[key]" in text for text in texts) >= 6
    assert not any(KEY[: len(KEY) // 2] in text for text in texts)


def test_a_placeholder_of_a_key_takes_no_word_away(
    server: ChatServer, endpoint: Endpoint, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TEST_SERVER_KEY", "EMPTY")
    server.answer = lambda b, n: completion("EMPTY")
    assert ask(endpoint(api_key_env="TEST_SERVER_KEY"))[0].raw_text == "EMPTY"


def study(server: ChatServer, tmp_path: Path, name: str, **more: Any) -> Settings:
    options = {"base_url": server.base_url, "model": MODEL, "revision": "r1", "timeout_s": 5.0, "concurrency": 3}
    tree = {"blob": {"enabled": False}, "tiny": {"kind": "endpoint", "options": options}}
    (tmp_path / "readers.yaml").write_text(yaml.safe_dump({"readers": tree}))
    (tmp_path / "data" / "profiles").mkdir(parents=True, exist_ok=True)
    made = load_settings(
        **{
            "data_dir": tmp_path / "data", "output_dir": tmp_path / name, "readers_config": tmp_path / "readers.yaml",
            "workers": 2, "batch": 5,
        } | more
    )  # fmt: skip
    write_table(made.output, "slices", slice_rows(made.output, range(6)), **WHERE)
    return made


def run(settings: Settings, name: str) -> tuple[Any, pl.DataFrame, pl.DataFrame]:
    for shard in build.plan(settings, REAL, "tiny", PART, name):
        build.work(settings, REAL, "tiny", PART, name, shard)
    result = build.collect(settings, REAL, "tiny", PART, name)
    tables = (read_table(settings.output, t, reader="tiny", **WHERE) for t in ("generations", "answers"))
    generations, answers = tables
    return result, generations, answers


@pytest.mark.slow
def test_a_partition_is_read_alike_by_any_number_of_workers(server: ChatServer, tmp_path: Path) -> None:
    def restless(body: dict[str, Any], number: int) -> Said:
        busy = not is_probe(body) and number % 3 == 0
        return Said(b"", 429, {"Retry-After": "0"}) if busy else usual(body, number)

    server.answer = restless
    result, generations, answers = run(study(server, tmp_path, "two"), "r")
    assert (result.computed, result.rejected) == (36, 0)
    assert generations["reader_revision"][0].endswith("-unverified")
    assert set(answers["status"]) <= {"ok", "unparsed"}
    assert answers.filter(task="presence")["score"].null_count() == 0
    server.answer = usual
    _, one, _ = run(study(server, tmp_path, "one", workers=1, batch=1), "r")
    assert_frame_equal(one, generations)


def test_failures_are_asked_again_and_a_dead_server_is_said_before_work(
    server: ChatServer, tmp_path: Path, soon: None
) -> None:
    settings = study(server, tmp_path, "out", workers=1)
    server.answer = lambda body, number: Said(b"{", 200) if "diameter" in str(body) else usual(body, number)
    result, generations, answers = run(settings, "r1")
    failed = generations.filter(pl.col("failure").is_not_null())
    assert set(failed["task"]) == {"size"}
    assert result.rejected == result.retryable == failed.height == 12
    assert failed["failure"][0].startswith(f"unexpected_error: {server.base_url}: expected JSON")
    assert answers.filter(status="error").height == 12
    server.answer = usual
    result, generations, _ = run(settings, "r2")
    assert (result.computed, generations["failure"].null_count()) == (12, 36)
    settings.readers_config.write_text(
        settings.readers_config.read_text().replace(server.base_url, "http://127.0.0.1:9")
    )
    with pytest.raises(ConfigError, match=r"http://127\.0\.0\.1:9: expected a server that answers, got: no connection"):
        build.plan(settings, REAL, "tiny", PART, "r3")
    assert build.plan(settings.model_copy(update={"ask": False}), REAL, "tiny", PART, "r4") == []
    assert build.collect(settings, REAL, "tiny", PART, "r4").computed == 0, "rescored without the server"
