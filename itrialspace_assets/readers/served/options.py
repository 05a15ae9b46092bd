"""What the options of kind ``endpoint`` are, and to which hosts pictures may go. Opens no connection."""

import ipaddress
from typing import Annotated, Any
from urllib.parse import urlsplit

from pydantic import Field, field_validator, model_validator

from itrialspace_assets.base.validation import WrittenModel

#: Fields of a request that this program fills in itself.
OWN_FIELDS = frozenset(
    (
        *("model", "messages", "temperature", "seed", "max_tokens", "n", "stream"),
        *("logprobs", "top_logprobs", "structured_outputs"),
    )
)


def is_loopback(host: str) -> bool:
    """Whether a host, as an address stands in a URL, is this machine itself."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


class EndpointOptions(WrittenModel):
    """Where a served model answers, and how it is asked.

    ``base_url`` ends in ``/v1`` with most servers. ``revision``: what you know of the weights that are served, such as
    the commit of their repository. ``hosts``: machines besides this one that pictures may be sent to. ``api_key_env``:
    name of the environment variable that holds the key. ``concurrency``: requests at once of each worker process.
    ``timeout_s``: seconds until a request has failed. ``structured_outputs``: let the server allow the options alone,
    where it can; the model then cannot refuse. ``extra``: more fields of each request, as the server knows them.
    """

    base_url: str
    model: str = Field(min_length=1)
    revision: str = Field(min_length=1)
    hosts: tuple[str, ...] = ()
    api_key_env: Annotated[str | None, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$")] = None
    concurrency: int = Field(8, ge=1, le=256)
    timeout_s: float = Field(120.0, gt=0, le=3600)
    max_tokens: int = Field(64, ge=1, le=100_000)
    structured_outputs: bool = False
    extra: dict[str, Any] = Field(default_factory=dict)

    @field_validator("base_url")
    @classmethod
    def _plain(cls, text: str) -> str:
        try:
            url = urlsplit(text)
            wrong = url.scheme not in ("http", "https") or not url.hostname or url.port == 0
        except ValueError as error:
            raise ValueError(f"expected an address such as http://127.0.0.1:8000/v1: {error}") from None
        if wrong or not text.isascii() or not text.isprintable() or " " in text or "\\" in text:
            raise ValueError("expected http:// or https:// and a host, such as http://127.0.0.1:8000/v1")
        if "@" in url.netloc or url.query or url.fragment:
            raise ValueError("expected no user, question mark or # in it; a key is named by api_key_env")
        return text.rstrip("/")

    @field_validator("extra")
    @classmethod
    def _others(cls, extra: dict[str, Any]) -> dict[str, Any]:
        if taken := sorted(OWN_FIELDS & extra.keys()):
            raise ValueError(f"expected other fields than {', '.join(taken)}, which this program fills in")
        return extra

    @model_validator(mode="after")
    def _allowed(self) -> "EndpointOptions":
        if not self.allows(self.host):
            raise ValueError(
                f"hosts: expected {self.host!r} among them: pictures would be sent to that machine; got "
                f"{', '.join(self.hosts) or 'none'}"
            )
        return self

    @property
    def host(self) -> str:
        """The host of ``base_url``, in lower case."""
        return urlsplit(self.base_url).hostname or ""

    def allows(self, host: str) -> bool:
        """Whether pictures may be sent to a host: this machine, or one that the user lists."""
        return is_loopback(host) or host in {h.lower() for h in self.hosts}
