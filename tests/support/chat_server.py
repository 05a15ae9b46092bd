"""A small real server of chat completions on 127.0.0.1 that can be told to misbehave."""

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MODEL = "tiny/model"


@dataclass(frozen=True)
class Said:
    """What is sent back: after a stall, or dropped after so many bytes of the body."""

    body: bytes = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    kind: str | None = "application/json"
    stall_s: float = 0.0
    drop_after: int | None = None
    trickle_s: float = 0.0


def tokens_of(*places: dict[str, float]) -> list[dict[str, Any]]:
    """Log-probabilities as a server lists them; the first token of each place is the one that was said."""
    listed = [[{"token": t, "logprob": p} for t, p in place.items()] for place in places]
    return [{**place[0], "top_logprobs": place} for place in listed]


def completion(text: Any, tokens: list[dict[str, Any]] | None = None, **message: Any) -> Said:
    choice: dict[str, Any] = {"index": 0, "message": {"role": "assistant", "content": text, **message}}
    if tokens is not None:
        choice["logprobs"] = {"content": tokens}
    return Said(json.dumps({"object": "chat.completion", "choices": [choice]}).encode())


def question(body: dict[str, Any]) -> str:
    """The question of a request: the last part of its only message."""
    return str(body["messages"][0]["content"][-1]["text"])


def is_probe(body: dict[str, Any]) -> bool:
    """Whether a request is one of those that take a revision."""
    return question(body).startswith(("Name five", "Describe this", "Say hello"))


def usual(body: dict[str, Any], number: int) -> Said:
    """An answer that depends on the request alone, with log-probabilities where they are asked for."""
    if is_probe(body):
        yes = tokens_of({"five": -0.5, "six": -1.5})
        return completion(f"{len(body['messages'][0]['content'])} words", yes if body.get("logprobs") else None)
    yes = sum(question(body).encode() + str(body["messages"][0]["content"][0]).encode()) % 2 == 0
    said, other = ("present", "absent") if yes else ("absent", "present")
    return completion(said, tokens_of({said: -0.25, other: -2.0}) if body.get("logprobs") else None)


@dataclass
class ChatServer:
    """A running server; ``answer`` is given a request's body and how many came before."""

    base_url: str
    answer: Callable[[dict[str, Any], int], Said] = usual
    models: Any = None
    asked: list[dict[str, Any]] = field(default_factory=list)
    headers: list[dict[str, str]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def read(self) -> list[dict[str, Any]]:
        """The requests that came from reading, not from taking the revision."""
        return [body for body in self.asked if not is_probe(body)]


@contextmanager
def chat_server() -> Iterator[ChatServer]:
    """A server that listens on a free port until the context ends."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            listed = {"object": "list", "data": [{"id": MODEL, "created": time.time_ns(), "owned_by": "tests"}]}
            self._send(Said(json.dumps(server.models or listed).encode()))

        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            with server.lock:
                number = len(server.asked)
                server.asked.append(body)
                server.headers.append(dict(self.headers))
            self._send(server.answer(body, number))

        def _send(self, said: Said) -> None:
            time.sleep(said.stall_s)
            self.send_response(said.status)
            for name, value in (({"Content-Type": said.kind} if said.kind else {}) | said.headers).items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(said.body)))
            self.end_headers()
            if said.trickle_s:
                for i in range(len(said.body)):
                    self.wfile.write(said.body[i : i + 1])
                    self.wfile.flush()
                    time.sleep(said.trickle_s)
                return
            self.wfile.write(said.body[: said.drop_after])
            if said.drop_after is not None:
                self.wfile.flush()
                self.connection.close()
                self.close_connection = True

        def handle(self) -> None:
            with suppress(OSError):  # the client left
                super().handle()

        def log_message(self, *_: Any) -> None:
            pass

    class Quiet(ThreadingHTTPServer):
        daemon_threads = True
        block_on_close = False
        request_queue_size = 64

    running = Quiet(("127.0.0.1", 0), Handler)
    server = ChatServer(f"http://127.0.0.1:{running.server_port}/v1")
    thread = threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        running.shutdown()
        running.server_close()
