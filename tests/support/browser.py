"""A headless Chromium that looks at a report: what is wrong with a page, and pages at the widths that people use."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

#: A telephone, a small window, a desk.
WIDTHS = (390, 1000, 1400)
_NAMES = ("chromium", "chromium-browser", "google-chrome")
_SOFTWARE = ("--use-gl=angle", "--use-angle=swiftshader", "--enable-unsafe-swiftshader", "--ignore-gpu-blocklist")
_BROKEN = "[...document.images].filter(i => !(i.complete && i.naturalWidth)).map(i => i.alt)"
_HEADINGS = "[...document.querySelectorAll('h1,h2,h3,h4')].map(h => +h.tagName[1])"
_CUT = """[...document.querySelectorAll('main *, header *, nav *')].filter(e => !e.closest('.wide, svg, .skip'))
  .filter(e => e.getBoundingClientRect().right > innerWidth + 1).map(e => e.outerHTML.slice(0, 80))"""


@contextmanager
def chromium() -> Iterator[Any]:
    """A browser that also draws WebGL, in software; the test is skipped with the reason where there is none.

    A process can have one: ask for it by the fixture ``browser`` of the session.
    """
    api = pytest.importorskip("playwright.sync_api", reason="the extra browser is not installed")
    path = next(filter(None, map(shutil.which, _NAMES)), None)
    if path is None:
        pytest.skip(f"no browser: none of {', '.join(_NAMES)} is on PATH")
    with api.sync_playwright() as started:
        # as root a Chromium has no sandbox; the pages are our own
        browser = started.chromium.launch(executable_path=path, args=["--no-sandbox", *_SOFTWARE])
        yield browser
        browser.close()


@contextmanager
def opened(browser: Any, path: Path, width: int, **context: Any) -> Iterator[tuple[Any, list[str]]]:
    """A page with its charts drawn, and what it logged or asked for beside itself.

    Args:
        browser: of ``chromium``.
        path: the page's file.
        width: of the window in pixels.
        context: further options of the window, for example ``color_scheme``.
    """
    page = browser.new_page(viewport={"width": width, "height": 900}, **context)
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: said.append(r.url) if r.url[:5] not in ("file:", "data:") else None)
    page.goto(path.as_uri())
    if page.locator("figure.chart").count():
        page.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
    yield page, said
    page.close()


def problems(page: Any, said: list[str]) -> list[str]:
    """What is wrong with a page as it is shown now; empty: nothing."""
    found = [f"said: {text}" for text in said]
    found += [f"broken picture: {alt}" for alt in page.evaluate(_BROKEN)]
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    found += [f"{wide} pixels wide in a window of {inner}"] if wide > inner else []
    found += [f"beyond the right edge: {html}" for html in page.evaluate(_CUT)]
    levels = page.evaluate(_HEADINGS)
    found += ["not one h1, first"] if levels[0] != 1 or levels.count(1) != 1 else []
    found += [f"heading {b} after {a}" for a, b in pairwise(levels) if b > a + 1]
    found += [] if page.evaluate("document.documentElement.lang") == "en" else ["no language"]
    found += ["a table's heading without scope"] * page.locator("th:not([scope])").count()
    for figure in page.locator("figure.chart").all():
        rows, marks = figure.locator("tbody tr").count(), figure.locator("[data-step]").count()
        name = figure.get_attribute("data-chart")
        found += [f"chart {name}: {marks} marks of {rows} numbers"] if marks != rows else []
    return found


def serious(page: Any) -> list[str]:
    """Findings of axe-core that keep somebody out."""
    from axe_playwright_python.sync_playwright import Axe

    return [
        f"{v['id']}: {v['nodes'][0]['html'][:120]}"
        for v in Axe().run(page).response["violations"]
        if v["impact"] in ("serious", "critical")
    ]
