"""Reports in a real browser: nothing cut, broken or logged; usable with a keyboard, in the dark, on paper."""

from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.analysis.reports.files import write_report
from tests.analysis.documents import every_block, mode_like, observations
from tests.support.browser import WIDTHS, opened, problems, serious

pytestmark = pytest.mark.browser
KINDS = ("every", "m02_size_detection_curve", "real-LUNA16")


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory, browser: Any) -> dict[str, Path]:
    """Every block; a mode with two readers; a real dataset without negatives."""
    root = tmp_path_factory.mktemp("pages")
    reports = (
        every_block(),
        mode_like(KINDS[1], observations()),
        mode_like(KINDS[2], observations(n=24, readers=("blob",), negatives=False)),
    )
    for report in reports:
        write_report(root, report)
    return {r.name: root / "reports" / r.name / "report.html" for r in reports}


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("kind", KINDS)
def test_nothing_is_cut_broken_or_logged(browser: Any, pages: dict[str, Path], kind: str, width: int) -> None:
    with opened(browser, pages[kind], width) as (page, said):
        assert problems(page, said) == []
        assert page.locator("figure.chart").count() >= 1


@pytest.mark.parametrize("kind", KINDS)
def test_nobody_is_kept_out(browser: Any, pages: dict[str, Path], kind: str) -> None:
    """Light and dark; what is folded is opened where the tables are short."""
    with opened(browser, pages[kind], 1000) as (page, _):
        if kind == "every":
            page.evaluate("document.querySelectorAll('details').forEach(d => { d.open = true })")
        assert serious(page) == []
        page.emulate_media(color_scheme="dark")
        assert serious(page) == []


def test_a_chart_is_read_with_the_keyboard(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["every"], 1000) as (page, _):
        page.keyboard.press("Tab")
        assert page.evaluate("document.activeElement.className") == "skip"
        figure = page.locator("figure.chart").first
        figure.locator("[data-step][tabindex='0']").focus()
        said = figure.locator(".said")
        assert said.text_content() == "blob, lt5mm: 0.5, limits 0.4 to 0.9, 6 of 12 (1 of 6)"
        page.keyboard.press("ArrowRight")
        assert "5_10mm: 0.6, limits 0.4 to 0.9, 6 of 13; fewer than 10 clusters (2 of 6)" in said.text_content()
        assert page.evaluate("document.activeElement.dataset.step") == "1"
        page.keyboard.press("End")
        assert "(6 of 6)" in said.text_content()
        page.keyboard.press("ArrowRight")
        assert "(6 of 6)" in said.text_content(), "the last one stays"
        page.keyboard.press("Home")
        assert "(1 of 6)" in said.text_content()
        hollow = figure.locator("[data-step]").evaluate_all("all => all.map(m => m.getAttribute('fill'))")
        assert hollow.count("white") == 2, "the flagged ones"


def test_charts_fit_a_window_that_changes(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["every"], 1400) as (page, said):
        wide = page.locator(".plot svg").first.bounding_box()["width"]
        page.set_viewport_size({"width": 390, "height": 900})
        page.wait_for_function("document.querySelector('.plot svg').getBoundingClientRect().width < innerWidth - 40")
        page.wait_for_timeout(600)
        assert wide > 600
        assert problems(page, said) == []


def test_it_prints_on_paper(browser: Any, pages: dict[str, Path]) -> None:
    with opened(browser, pages["m02_size_detection_curve"], 1000) as (page, _):
        printed = page.pdf(format="A4")
        assert printed.startswith(b"%PDF") and printed.count(b"/Type /Page\n") >= 3
        page.emulate_media(media="print")
        assert not page.locator("nav").is_visible()
        assert page.locator(".plot svg").first.is_visible()


def test_it_says_the_same_without_scripts(browser: Any, pages: dict[str, Path]) -> None:
    with browser.new_context(java_script_enabled=False) as context:
        page = context.new_page()
        page.goto(pages["every"].as_uri())
        shown = page.locator("figure.chart noscript img, figure.chart > img")
        assert shown.count() == 4
        assert all(one.bounding_box()["height"] > 100 for one in shown.all())
