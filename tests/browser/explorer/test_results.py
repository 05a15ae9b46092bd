"""Results in a real browser: figures that name their cases, two readers, reports in an origin of their own."""

from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.rebuild import connect
from itrialspace_assets.explorer.results.flips import flips
from tests.support.browser import serious
from tests.support.explorer import faults, until, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]
REPORT = "m02_size_detection_curve"
TABS = (f"numbers&analysis={REPORT}", "flips", "reports")


def _point(page: Any, level: str) -> Any:
    page.wait_for_selector(".holder .point")
    return page.locator(f".holder .point[aria-label^='{level},']").first


def _behind(settings: Settings, level: str) -> set[str]:
    """Cases of the slices that sensitivity of a size bucket is computed from."""
    with connect(settings) as db:
        rows = db.execute(
            "SELECT DISTINCT case_uid FROM metric_cases WHERE analysis = ? AND task = 'presence' "
            "AND condition = 'plain' AND truth = 'present' AND list_contains(strata, ?)",
            [REPORT, f"size_bucket={level}"],
        ).fetchall()
    return {uid for (uid,) in rows}


def test_a_point_names_the_cases_behind_it_by_mouse_and_by_keyboard(
    explorer: str, browser: Any, explored: Settings
) -> None:
    with view(browser, f"{explorer}#/results?analysis={REPORT}&metric=sensitivity&by=size_bucket") as (page, said):
        for level, choose in (("5-10mm", lambda p: p.click()), ("10-15mm", lambda p: p.press("Enter"))):
            choose(_point(page, level))
            page.wait_for_selector(f"#behind h2:has-text('{level}')")
            page.wait_for_selector("#behind .card img")
            shown = {uid.inner_text() for uid in page.locator("#behind .card p.small").all()}
            assert shown == _behind(explored, level)
        picture = page.locator("#behind img").first
        picture.scroll_into_view_if_needed()
        until(page, "document.querySelector('#behind img').naturalWidth > 0")
        links = page.locator("#behind .card").first.locator("a")
        uid = page.locator("#behind .card p.small").first.inner_text()
        assert [href.split("?")[0] for href in links.evaluate_all("all => all.map(a => a.getAttribute('href'))")] == [
            "#/viewer",
            "#/cases",
        ]
        assert uid.replace("/", "%2F") in (links.first.get_attribute("href") or "")
        with view(browser, page.url) as (again, also):  # the address restores the point
            again.wait_for_selector("#behind h2:has-text('10-15mm')")
            assert also == []
        page.locator("summary:has-text('The same as a table')").click()
        page.locator("tr:has-text('>30mm') button").first.click()
        page.wait_for_selector("#behind h2:has-text('>30mm')")
        for name, value in (("task", "size"), ("condition", "bbox"), ("metric", "accuracy"), ("by", "all")):
            page.locator(f"select[name={name}]").select_option(value)
        _point(page, "all cases").press(" ")
        page.wait_for_selector("#behind .card")
        assert faults(page, said) == []


def test_flips_are_those_of_its_compare(explorer: str, browser: Any, explored: Settings) -> None:
    wanted = flips(explored, "blob", "table_example", "presence", "plain", 100)
    with view(browser, f"{explorer}#/results?tab=flips") as (page, said):
        page.locator("select[name=a]").select_option("blob")
        page.locator("select[name=b]").select_option("table_example")
        page.wait_for_selector("caption:has-text('A blob, B table_example')")
        shown = page.locator(".card p.small").all_inner_texts()
        assert sorted(shown) == sorted(f.case_uid for f in wanted.flips) and shown
        page.locator("select[name=b]").select_option("blob")
        page.wait_for_selector("text=Choose two different readers")
        assert faults(page, said) == []


def test_a_report_opens_in_its_own_tab_and_draws_its_charts(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/results?tab=reports") as (page, said):
        with page.context.expect_page() as opened:
            page.get_by_role("link", name=f"Report: {REPORT}").click()
        report = opened.value
        report.wait_for_selector("html[data-charts=drawn]", timeout=60_000)
        # an origin of its own: what a report runs cannot ask the explorer
        assert report.evaluate("self.origin") == "null"
        assert report.evaluate("fetch('/api/root').then(() => 'answered', () => 'refused')") == "refused"
        report.close()
        assert faults(page, said) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
@pytest.mark.parametrize("tab", TABS)
def test_everybody_can_read_it(explorer: str, browser: Any, tab: str, width: int, scheme: str) -> None:
    with view(browser, f"{explorer}#/results?tab={tab}", width, color_scheme=scheme) as (page, said):
        page.wait_for_selector(".holder .point, .card, .reports li")
        if tab.startswith("numbers"):
            _point(page, "5-10mm").click()
            page.wait_for_selector("#behind .card")
        assert faults(page, said) + serious(page) == []
