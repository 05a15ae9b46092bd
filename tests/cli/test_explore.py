"""``its explore``: when a token is asked for, and which is printed. The server itself is tested with the explorer."""

from pathlib import Path

import pytest

from itrialspace_assets.explorer import serve as serving
from itrialspace_assets.explorer.server.security import Access
from tests.cli.conftest import Its


@pytest.fixture
def served(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[Access]:
    """Access rules of the servers that would have been started, over a data root without nodules."""
    (tmp_path / "data" / "profiles").mkdir(parents=True)
    monkeypatch.setattr("itrialspace_assets.cli.earlier.index_first", lambda settings: None)
    found: list[Access] = []

    def serve(settings, access, host, port, ready) -> None:
        found.append(access)
        ready(f"http://{host}:{port}/")

    monkeypatch.setattr(serving, "serve", serve)
    return found


def test_a_token_is_asked_for_elsewhere_than_on_loopback(
    its: Its, served: list[Access], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = ("--dir", str(tmp_path))
    assert its("explore", *folder).out == "Result: http://127.0.0.1:8422/ (Ctrl-C ends it)\n"
    assert served[-1].token is None
    printed = its("explore", *folder, "--host", "0.0.0.0").out
    first = served[-1].token
    assert first and len(first) >= 32 and f"/?token={first} " in printed
    its("explore", *folder, "--host", "0.0.0.0")
    assert served[-1].token not in (None, first), "made again each time"
    monkeypatch.setenv("ITS_EXPLORE_TOKEN", "a-token-of-our-own")
    its("explore", *folder, "--name", "Explorer.Example")
    assert served[-1].token == "a-token-of-our-own" and served[-1].allows_host("explorer.example")


@pytest.mark.parametrize("token", ["short", "has spaces in it, long", "semicolon;semicolon;", "ünïcödé-tokens-are-no"])
def test_a_token_that_is_weak_or_no_cookie_is_refused(
    its: Its, served: list[Access], tmp_path: Path, token: str
) -> None:
    done = its("explore", "--dir", str(tmp_path), "--token", token)
    assert done.code == 2 and "--token: expected 16" in done.err and not served
