"""The explorer as people open it: its server over a root, and its page in a Chromium that draws WebGL in software."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings

_CUT = """[...document.querySelectorAll('main *')].filter(e => !e.closest('.wide, svg, pre'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""
_CONTROLS = """[...document.querySelectorAll('main button, main input, main select')].filter(e => e.checkVisibility()
  && !(e.textContent.trim() || e.getAttribute('aria-label') || e.labels?.length)).map(e => e.outerHTML.slice(0, 80))"""


@contextmanager
def served(settings: Settings) -> Iterator[str]:
    """The address of the explorer over these settings; the test is skipped where its page is not built."""
    import uvicorn

    from itrialspace_assets.explorer.app import create_app
    from itrialspace_assets.explorer.server.page import PAGE
    from itrialspace_assets.explorer.server.security import Access

    if not (PAGE / "index.html").is_file():
        pytest.skip("the page of the explorer is not built: run `make explore`")
    config = uvicorn.Config(create_app(settings, Access()), port=0, log_level="error", lifespan="off")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    until = time.monotonic() + 60
    while not server.started:
        assert time.monotonic() < until and thread.is_alive(), "the server did not start"
        time.sleep(0.05)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}/"
    server.should_exit = True
    thread.join(20)


@contextmanager
def view(browser: Any, address: str, width: int = 1400, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """A view of the explorer, and what its console said or the server refused.

    Args:
        browser: of ``browser.chromium``.
        address: of the view.
        width: of the window in pixels.
        context: further options of the window, for example ``color_scheme``.
    """
    page = browser.new_page(viewport={"width": width, "height": 900}, **context)
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("response", lambda r: said.append(f"{r.status} {r.url}") if r.status >= 400 else None)
    page.goto(address)
    page.wait_for_selector("h1", timeout=30_000)
    yield page, said
    page.close()


def until(page: Any, holds: str, timeout_s: float = 20) -> None:
    """Wait until an expression of JavaScript holds; the page's policy forbids playwright's own way to wait for one."""
    end = time.monotonic() + timeout_s
    while not page.evaluate(holds):
        assert time.monotonic() < end, f"not within {timeout_s} s: {holds}"
        page.wait_for_timeout(50)


def faults(page: Any, said: list[str]) -> list[str]:
    """What is wrong with a view as it is shown now; empty: nothing."""
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    return [
        *said,
        *([f"{wide} pixels wide in a window of {inner}"] if wide > inner else []),
        *(f"beyond the right edge: {html}" for html in page.evaluate(_CUT)),
        *(f"a control without a name: {html}" for html in page.evaluate(_CONTROLS)),
        *(["a table's heading without scope"] * page.locator("th:not([scope])").count()),
        *(["not one h1"] if page.locator("h1").count() != 1 else []),
    ]


def total(page: Any) -> int:
    """How many nodules the selection says that it has."""
    return int(page.locator(".selection .total strong").inner_text().replace(",", ""))
