"""The map in a real browser: each control once, by pointer and by keyboard, wide and narrow, light and dark."""

from typing import Any

import pytest

from tests.support.browser import serious
from tests.support.explorer import faults, total, until, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def _ready(page: Any, tag: str = "Map of") -> Any:
    page.wait_for_selector(".picture canvas", timeout=30_000)
    until(page, "document.querySelectorAll('.legend li, .legend .scale').length > 0")
    return page.locator(f".picture[aria-label^='{tag}']")


def _inked(page: Any) -> int:
    """Pixels of the map that are drawn."""
    shot = page.locator(".picture canvas").screenshot()
    import io

    import numpy as np
    from PIL import Image

    pixels = np.asarray(Image.open(io.BytesIO(shot)).convert("RGB")).astype(int)
    return int((np.abs(pixels - pixels[5, 5]).sum(axis=2) > 15).sum())


def _settled(page: Any, n: int) -> None:
    until(page, f"document.querySelector('.selection .total strong').textContent === '{n}'")


def test_pointing_at_the_map_selects_shows_and_narrows(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/map") as (page, said):
        picture = _ready(page)
        everything = total(page)
        assert everything > 20 and _inked(page) > 500
        box = picture.bounding_box()
        left, top, w, h = box["x"], box["y"], box["width"], box["height"]

        page.get_by_role("button", name="Lasso").click()
        page.mouse.move(left + 2, top + 2)
        page.mouse.down()
        for x, y in ((w / 2, 2), (w / 2, h - 2), (2, h - 2)):
            page.mouse.move(left + x, top + y, steps=5)
        page.mouse.up()
        page.wait_for_selector(".tags button")
        until(page, f"+document.querySelector('.selection .total strong').textContent < {everything}")
        some = total(page)
        assert 0 < some < everything
        until(page, "/[?&](rows|uids)=/.test(location.hash)")
        with view(browser, page.evaluate("location.href")) as (other, also_said):
            _ready(other)
            _settled(other, some)
            assert also_said == []
        page.get_by_role("button", name="Clear all").click()
        _settled(page, everything)

        bars = page.locator(".histogram svg").first.bounding_box()
        page.mouse.move(bars["x"] + 2, bars["y"] + 20)
        page.mouse.down()
        page.mouse.move(bars["x"] + bars["width"] / 2, bars["y"] + 20, steps=5)
        page.mouse.up()
        page.wait_for_selector(".tags button:has-text('Diameter (mm): ')")
        until(page, "location.hash.includes('within.reinsertion_nodule_diam_mm=')")
        page.get_by_role("button", name="Clear Diameter").click()
        _settled(page, everything)

        page.locator(".facet").get_by_label("LUNA25").check()
        until(page, f"+document.querySelector('.selection .total strong').textContent < {everything}")
        inked = _inked(page)
        page.get_by_label("Show the others faintly").uncheck()
        page.wait_for_timeout(300)
        assert 0 < _inked(page) < inked
        page.get_by_role("searchbox").fill("no such nodule")
        _settled(page, 0)
        page.get_by_role("button", name="Clear all").click()
        for name, value in (
            ("Colour by", "reinsertion_nodule_diam_mm"),
            ("Neighbours", "3"),
            ("Near by", "feature_l2"),
        ):
            page.get_by_role("combobox", name=name, exact=True).select_option(value)
        page.wait_for_selector(".legend .scale")
        for button in ("Zoom in", "Zoom out", "Show all"):
            page.get_by_role("button", name=button).click()
        assert faults(page, said) == []


def test_a_nodule_its_neighbours_and_the_next_are_reached_by_keyboard_alone(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/map") as (page, said):
        _ready(page)
        first = page.locator("section[aria-label^='First nodules'] tbody button").first
        first.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("aside .thumbnail img")
        until(page, "document.querySelector('aside .thumbnail img').naturalWidth > 0")
        rows = page.locator("table.near tbody tr")
        page.wait_for_selector("table.near tbody tr")
        assert rows.count() == 5 and page.locator(".picture line.edge").count() == 5
        distances = [float(t) for t in page.locator("table.near tbody td:nth-child(3)").all_inner_texts()]
        assert distances == sorted(distances)
        second = rows.first.get_by_role("button")
        uid = second.inner_text()
        second.focus()
        page.keyboard.press("Enter")
        until(page, f"document.querySelector('aside h2').textContent.includes({uid!r})")
        picture = page.locator(".picture")
        picture.focus()
        ring = page.locator(".picture circle.picked")
        page.wait_for_selector(".picture circle.picked")
        before = float(ring.get_attribute("cx"))
        page.keyboard.press("ArrowRight")
        until(page, f"+document.querySelector('circle.picked').getAttribute('cx') < {before} - 20")
        for key in "+-0":
            page.keyboard.press(key)
        assert faults(page, said) == []


def test_slices_show_where_a_reader_is_wrong(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/map?of=slices") as (page, said):
        _ready(page)
        keys = page.locator(".legend li").all_inner_texts()
        assert {k.split()[0] for k in keys} <= {"right", "wrong", "refused", "not", "no"} and keys
        readers = page.get_by_label("Reader").locator("option")
        page.get_by_label("Reader").select_option(index=readers.count() - 1)
        page.get_by_label("Task").select_option(index=0)
        page.get_by_label("Condition").select_option(index=0)
        wrong = page.locator("table tbody button")
        until(page, "document.querySelector('.legend li')")
        if wrong.count():
            wrong.first.click()
            page.wait_for_selector("aside .thumbnail img")
            until(page, "document.querySelector('aside .thumbnail img').naturalWidth > 0")
            assert "wrong" in page.locator("aside dl").inner_text()
        assert faults(page, said) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("of", ["nodules", "slices"])
def test_everybody_can_use_the_map_on_a_phone_and_on_a_desk(explorer: str, browser: Any, scheme: str, of: str) -> None:
    for width in (390, 1400):
        with view(browser, f"{explorer}#/map?of={of}", width, color_scheme=scheme) as (page, said):
            _ready(page)
            assert faults(page, said) == [] and serious(page) == []
