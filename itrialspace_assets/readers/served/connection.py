"""Sends requests to one server, and sends again what failed for a cause that may pass. Knows no task and no score.

Again: no connection, a dropped one, a time-out, status 408, 429 and 5xx. All else is a failure at once. Redirects are
not followed, whatever they lead to. What a server says is cut to a length, and the key never stands in it.
"""

import email.utils
import json
import logging
import os
import ssl
import threading
import time
import urllib.request
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import httpx
import tenacity

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.served.failures import Failed, Passing
from itrialspace_assets.readers.served.options import EndpointOptions, is_loopback

#: Tries of a request, seconds before the second one, and most seconds between two (ours).
ATTEMPTS, FIRST_WAIT_S, MOST_WAIT_S = 5, 0.5, 30.0
#: Most bytes of a reply: many times a long text with its log-probabilities (ours).
MOST_BYTES = 8 * 2**20
#: Characters of what a server says about an error that a message shows (ours).
_SHOWN = 200
#: Seconds to wait for a connection (ours).
_CONNECT_S = 10.0
#: Keys shorter than this are placeholders, and taking them out of texts would spoil words.
_SECRET = 8


@dataclass
class Connection:
    """An open connection to the server of an endpoint; threads may share it.

    ``down``: the server did not answer at all however often it was asked. Each request is then tried once only, so
    that a server that died costs a failure a request and not a row of waits, until one is answered again.
    """

    options: EndpointOptions
    client: httpx.Client = field(repr=False)
    key: str | None = field(repr=False)
    down: threading.Event = field(default_factory=threading.Event)

    def get(self, path: str) -> Any:
        """The JSON at a path, asked once.

        Raises:
            ConfigError: the server refuses the key, the path or the host.
            Failed: no usable reply.
        """
        return self._once("GET", path, None)

    def post(self, path: str, body: dict[str, Any]) -> Any:
        """The JSON that a path returns to some JSON.

        Args:
            path: below ``base_url``.
            body: what is sent.

        Raises:
            ConfigError: the server refuses the key, the path or the host.
            Failed: no usable reply, after at most ``ATTEMPTS`` tries and about twice the time-out.
        """
        tries = tenacity.Retrying(
            stop=tenacity.stop_after_attempt(1 if self.down.is_set() else ATTEMPTS)
            | tenacity.stop_after_delay(2 * self.options.timeout_s),
            wait=_wait,
            retry=tenacity.retry_if_exception_type(Passing),
            reraise=True,
        )
        try:
            reply = tries(self._once, "POST", path, body)
        except Passing as failure:
            if not failure.answered:
                self.down.set()
            raise
        self.down.clear()
        return reply

    def _once(self, method: str, path: str, body: dict[str, Any] | None) -> Any:
        until = time.monotonic() + self.options.timeout_s
        try:
            with self.client.stream(method, self.options.base_url + path, json=body) as response:
                return self._checked(response, _body(response, until))
        except httpx.TimeoutException:
            raise Passing(f"no answer within {self.options.timeout_s:g} s", answered=False) from None
        except httpx.HTTPError as error:
            raise Passing(f"no connection: {self.hide(str(error) or type(error).__name__)}", answered=False) from None

    def _checked(self, response: httpx.Response, data: bytes) -> Any:
        """The JSON of a reply.

        Raises:
            ConfigError: what is wrong is wrong for every request.
            Failed: what is wrong may be right for another one.
        """
        status, where = response.status_code, self.options.base_url
        said = f"{status} {self.hide(response.reason_phrase)[:40]}: {self._readable(data)}"
        if 300 <= status < 400:
            to = self.hide(response.headers.get("location", "another address"))
            raise ConfigError(
                f"{where}: it sends on to {to}, which is not followed; if that is right, make it base_url"
            )
        if status in (401, 403):
            key = "has no api_key_env" if self.key is None else f"uses the key of {self.options.api_key_env}"
            raise ConfigError(f"{where}: expected to be let in, got {said}; the reader {key}")
        if status in (404, 405):
            raise ConfigError(f"{where}: expected an OpenAI-compatible server with {response.url.path}, got {said}")
        if status in (408, 429) or status >= 500:
            wait = _retry_after(response.headers.get("retry-after"))
            if wait is not None and wait > MOST_WAIT_S:
                raise Failed(f"{said} (asks to wait {wait:.0f} s)")
            raise Passing(said, wait)
        if status != 200:
            raise Failed(said)
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != "application/json":
            raise Failed(
                f"expected application/json, got {self.hide(kind)[:60] or 'no content type'}: {self._readable(data)}"
            )
        try:
            reply = json.loads(data, object_pairs_hook=_once)
            json.dumps(reply, ensure_ascii=False).encode()  # no half of a surrogate pair, which no file can hold
            return reply
        except (ValueError, RecursionError) as error:
            raise Failed(f"expected JSON, got {type(error).__name__}: {self._readable(data)}") from None

    def _readable(self, data: bytes) -> str:
        """The beginning of what a server said, in one line; the key is taken out before the text is cut."""
        text = "".join(c for c in " ".join(data.decode("utf-8", "replace").split()) if c.isprintable())
        return self.hide(text)[:_SHOWN] or "nothing"

    def hide(self, text: str) -> str:
        """A text of the server without the key."""
        return text.replace(self.key, "[key]") if self.key and len(self.key) >= _SECRET else text


def connect(options: EndpointOptions) -> Connection:
    """A connection to an endpoint's server; nothing is sent yet.

    Raises:
        ConfigError: the host is not allowed, the key's variable is unset or no key, or a proxy of the environment is
            no allowed host.
    """
    if not options.allows(httpx.URL(options.base_url).host):  # as the library reads the address that it will call
        raise ConfigError(f"{options.base_url}: expected a host out of hosts, got {httpx.URL(options.base_url).host!r}")
    for library in ("httpx", "httpcore"):  # a line a request otherwise, and headers of replies
        logging.getLogger(library).setLevel(logging.WARNING)
    key = key_of(options)
    headers = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "itrialspace"}
    client = httpx.Client(
        headers=headers | ({} if key is None else {"Authorization": f"Bearer {key}"}),
        timeout=httpx.Timeout(options.timeout_s, connect=min(_CONNECT_S, options.timeout_s)),
        limits=httpx.Limits(max_connections=options.concurrency, max_keepalive_connections=options.concurrency),
        follow_redirects=False,
        trust_env=False,
        proxy=proxy_of(options),
        verify=_certificates(),
    )
    return Connection(options, client, key)


@lru_cache(maxsize=1)
def _certificates() -> ssl.SSLContext:
    """The authorities that servers are checked against: those of the environment (``SSL_CERT_FILE``), else usual ones.

    Loaded once a process, because they are many.
    """
    return httpx.create_ssl_context()


def key_of(options: EndpointOptions) -> str | None:
    """The key, from the variable that is named; None where none is.

    Raises:
        ConfigError: the variable is unset, or what it holds cannot be a key; does not show it.
    """
    name = options.api_key_env
    if name is None:
        return None
    key = os.environ.get(name, "").strip()
    if not key:
        raise ConfigError(f"variable {name}: expected the key of {options.base_url}, it is unset or empty; export it")
    if not key.isascii() or not key.isprintable() or " " in key:
        raise ConfigError(f"variable {name}: expected a key of printable ASCII without blanks, got another text")
    return key


def proxy_of(options: EndpointOptions) -> str | None:
    """The proxy of the environment for the server; None for this machine and where there is none.

    Raises:
        ConfigError: pictures would go through a host that is not listed.
    """
    if is_loopback(options.host):
        return None
    scheme = options.base_url.partition(":")[0].lower()
    proxies = urllib.request.getproxies()
    proxy = proxies.get(scheme) or proxies.get("all")
    if not proxy or urllib.request.proxy_bypass(options.host):
        return None
    host = httpx.URL(proxy if "://" in proxy else f"http://{proxy}").host
    if not options.allows(host):
        raise ConfigError(
            f"{options.base_url}: {scheme.upper()}_PROXY would carry pictures through {host!r}; add it to hosts of the "
            f"reader, or add {options.host} to NO_PROXY"
        )
    return proxy if "://" in proxy else f"http://{proxy}"


def _body(response: httpx.Response, until: float) -> bytes:
    """A reply's bytes, as they came.

    Raises:
        Failed: too many, packed, or still coming at the time-out.
    """
    if response.headers.get("content-encoding", "identity").lower() != "identity":
        raise Failed(f"expected a plain reply, got one packed with {response.headers['content-encoding'][:40]}")
    parts, size = [], 0
    for part in response.iter_raw():
        parts.append(part)
        size += len(part)
        if size > MOST_BYTES:
            raise Failed(f"expected a reply of at most {MOST_BYTES} bytes, got more")
        if time.monotonic() > until:
            raise Passing("the reply was still coming at the time-out", answered=False)
    return b"".join(parts)


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """An object of JSON.

    Raises:
        ValueError: it holds a key twice.
    """
    found = dict(pairs)
    if len(found) < len(pairs):
        raise ValueError("a key twice")
    return found


def _retry_after(value: str | None) -> float | None:
    """Seconds that a server asks to wait, as a number or until a date; None where it does not say."""
    if value is None:
        return None
    if value.strip().isascii() and value.strip().isdigit():
        return float(value)
    try:
        return max(0.0, email.utils.parsedate_to_datetime(value).timestamp() - time.time())
    except (ValueError, TypeError, OverflowError):
        return None


_backoff = tenacity.wait_exponential_jitter(initial=FIRST_WAIT_S, max=MOST_WAIT_S, jitter=FIRST_WAIT_S)


def _wait(state: tenacity.RetryCallState) -> float:
    """Seconds until the next try: what the server asks for, else longer each time."""
    failure = state.outcome.exception() if state.outcome is not None else None
    asked = failure.retry_after if isinstance(failure, Passing) else None
    return _backoff(state) if asked is None else asked
