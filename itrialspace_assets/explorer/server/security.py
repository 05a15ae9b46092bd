"""Who may ask the explorer what: host names, token, origin of a request, ids, size of a body, headers of every answer.

Nothing here knows a route. ``Guard`` stands before all of them, so that none can forget a rule.
"""

import hashlib
import hmac
import ipaddress
import json
import socket
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Annotated
from urllib.parse import parse_qsl, urlencode

from pydantic import AfterValidator, Field
from starlette.datastructures import Headers, MutableHeaders
from starlette.exceptions import HTTPException
from starlette.types import ASGIApp, Message, Receive, Scope, Send

#: Largest body of a request in bytes: about 200,000 ids of a selection; ours.
MAX_BODY = 8 * 2**20
#: Most parameters of an address; ours.
MAX_PARAMETERS = 64
LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
#: What the page may load. ``blob:`` and ``wasm-unsafe-eval`` are for workers and decoders of NiiVue; charts and tables
#: set styles in the page; nothing comes from elsewhere.
POLICY = "; ".join(
    (
        "default-src 'self'",
        "script-src 'self' 'wasm-unsafe-eval'",
        "worker-src 'self' blob:",
        "connect-src 'self' blob: data:",
        "img-src 'self' blob: data:",
        "font-src 'self' data:",
        "style-src 'self' 'unsafe-inline'",
        "object-src 'none'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    )
)
#: Headers of every answer that does not set them itself.
HEADERS: Mapping[str, str] = {
    "content-security-policy": POLICY,
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cross-origin-resource-policy": "same-origin",
    "cross-origin-opener-policy": "same-origin",
    "cache-control": "no-store",
}


def plain_id(value: str) -> str:
    """An id that could be no path out of a folder.

    Raises:
        ValueError: it is absolute, or holds NUL, a backslash or a part that is ``..``.
    """
    if "\0" in value or "\\" in value or value.startswith("/") or ".." in value.split("/"):
        raise ValueError("expected an id, got a path: ids hold no '..', no backslash, no NUL, and begin without '/'")
    return value


#: An id in a body or in an address.
Uid = Annotated[str, Field(min_length=1, max_length=300), AfterValidator(plain_id)]


@dataclass(frozen=True)
class Access:
    """Who may ask.

    Attributes:
        token: what every request must know; None: whoever reaches the server may ask.
        names: host names under which the server may be reached, in lower case and without a port.
        addresses: whether it may be reached under any numeric address too, which no rebound name can pretend to be.
    """

    token: str | None = field(default=None, repr=False)
    names: frozenset[str] = LOOPBACK
    addresses: bool = False

    def allows_host(self, host: str) -> bool:
        """Whether a ``Host`` header names this server."""
        name = host.lower().strip()
        name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
        return name in self.names or (self.addresses and _is_address(name))

    @property
    def cookie(self) -> str:
        """Name of the cookie; servers on other ports of this host have other names."""
        return f"its_{hashlib.sha256((self.token or '').encode()).hexdigest()[:12]}"

    def knows(self, given: str | None) -> bool:
        """Whether a given token is the right one, in a time that says nothing about it."""
        return self.token is not None and hmac.compare_digest((given or "").encode(), self.token.encode())


def access_for(host: str, token: str | None, names: Collection[str] = ()) -> Access:
    """The rules of a server that listens on ``host``; see ``Access``.

    Args:
        host: address that it listens on.
        token: what a request must know.
        names: further names under which it may be reached, as behind a proxy.

    Raises:
        ValueError: another host than loopback without a token.
    """
    if is_loopback(host):
        return Access(token, LOOPBACK | {n.lower() for n in names})
    if not token:
        raise ValueError(f"host {host}: expected a token")
    own = {host, socket.gethostname(), socket.getfqdn(), *names}
    return Access(token, LOOPBACK | {n.lower() for n in own}, addresses=True)


def is_loopback(host: str) -> bool:
    """Whether only this computer reaches an address."""
    return host == "localhost" or (_is_address(host) and ipaddress.ip_address(host).is_loopback)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True


class _Refused(Exception):
    """A request that goes no further."""

    def __init__(self, status: int, detail: str, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(detail)
        self.status, self.detail, self.headers = status, detail, dict(headers or {})


class Guard:
    """Stands before all routes: refuses what ``Access`` does not allow, and sets the headers of every answer."""

    def __init__(self, app: ASGIApp, access: Access) -> None:
        self.app, self.access = app, access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})
            return
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return

        async def send_guarded(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                for name, value in HEADERS.items():
                    headers.setdefault(name, value)
            await send(message)

        headers = Headers(scope=scope)
        try:
            parameters = _parameters(scope)
            self._require_host(headers)
            self._require_token(scope, headers, parameters)
            _require_same_site(scope, headers)
            _require_json(scope, headers)
            _require_plain(scope, parameters)
            receive = _limited(headers, receive)
        except _Refused as refused:
            await _answer(refused, send_guarded)
            return
        await self.app(scope, receive, send_guarded)

    def _require_host(self, headers: Headers) -> None:
        hosts = headers.getlist("host")
        if len(hosts) != 1 or not self.access.allows_host(hosts[0]):
            raise _Refused(
                400,
                "Host: expected a name of this server. Open the address that `its explore` printed, or name this one "
                "with --name",
            )

    def _require_token(self, scope: Scope, headers: Headers, parameters: list[tuple[str, str]]) -> None:
        if self.access.token is None:
            return
        given = dict(parameters).get("token")
        if given is not None and self.access.knows(given):
            if scope["method"] != "GET":
                return
            # what a proxy says of the browser's side; who sends it falsely keeps the cookie from itself alone
            encrypted = "https" in (scope["scheme"], headers.get("x-forwarded-proto", "").lower())
            secure = "; Secure" if encrypted else ""
            rest = urlencode([(n, v) for n, v in parameters if n != "token"])
            # one slash: two would make the browser leave for another server
            path = "/" + scope["raw_path"].decode("latin-1").lstrip("/")
            raise _Refused(
                303,
                "",
                {
                    "location": path + (f"?{rest}" if rest else ""),
                    "set-cookie": f"{self.access.cookie}={given}; Path=/; HttpOnly; SameSite=Lax{secure}",
                },
            )
        kind, _, bearer = headers.get("authorization", "").partition(" ")
        cookies = dict(p.strip().partition("=")[::2] for p in headers.get("cookie", "").split(";"))
        if self.access.knows(cookies.get(self.access.cookie)) or (
            kind.lower() == "bearer" and self.access.knows(bearer.strip())
        ):
            return
        raise _Refused(
            401,
            "Token: expected the one that `its explore` printed, as ?token=... in the address, or as the header "
            "Authorization: Bearer ...",
            {"www-authenticate": "Bearer"},
        )


def _parameters(scope: Scope) -> list[tuple[str, str]]:
    try:
        return parse_qsl(scope["query_string"].decode("latin-1"), keep_blank_values=True, max_num_fields=MAX_PARAMETERS)
    except ValueError:
        raise _Refused(422, f"address: expected at most {MAX_PARAMETERS} parameters") from None


def _require_same_site(scope: Scope, headers: Headers) -> None:
    """Refuse what another site's page asks for; a link to the page may come from anywhere."""
    if scope["method"] in ("GET", "HEAD"):
        link = headers.get("sec-fetch-mode") == "navigate" and headers.get("sec-fetch-dest") == "document"
        if headers.get("sec-fetch-site") in ("cross-site", "same-site") and not link:
            raise _Refused(403, "expected a request of the explorer's own page, got one of another site")
        return
    origin = headers.get("origin")
    if origin is None:  # no browser: those send the origin of every POST
        return
    scheme, _, netloc = origin.partition("://")
    if scheme not in ("http", "https") or netloc.lower() != headers["host"].lower():
        raise _Refused(403, "Origin: expected the explorer's own page, got another site")


def _require_json(scope: Scope, headers: Headers) -> None:
    """No form of another site can send this type, and a script of it would have to ask first."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if scope["method"] not in ("GET", "HEAD", "OPTIONS") and kind != "application/json":
        raise _Refused(415, f"Content-Type: expected application/json, got {kind[:60]!r}")


def _require_plain(scope: Scope, parameters: list[tuple[str, str]]) -> None:
    for name, value in [("address", scope["path"].lstrip("/")), *parameters]:
        try:
            plain_id(value)
        except ValueError as error:
            raise _Refused(422, f"{name[:60]}: {error}") from None


def _limited(headers: Headers, receive: Receive) -> Receive:
    """Receive a body of at most ``MAX_BODY`` bytes, whatever its headers say."""
    says = f"body: expected at most {MAX_BODY} bytes"
    stated = headers.get("content-length", "0")
    if not stated.isdigit() or int(stated[:20]) > MAX_BODY:
        raise _Refused(413, says)
    seen = 0

    async def receive_limited() -> Message:
        nonlocal seen
        message = await receive()
        if message["type"] == "http.request":
            seen += len(message.get("body", b""))
            if seen > MAX_BODY:
                raise HTTPException(413, says)
        return message

    return receive_limited


async def _answer(refused: _Refused, send: Send) -> None:
    body = json.dumps({"detail": refused.detail}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refused.headers}
    raw = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refused.status, "headers": raw})
    await send({"type": "http.response.body", "body": body})
