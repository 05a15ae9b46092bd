"""The SQL console in a real browser: questions with values, Ctrl+Enter, refusals, the dictionary, CSV."""

import csv
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.questions import ready
from itrialspace_assets.catalog.rebuild import connect
from tests.support.browser import serious
from tests.support.explorer import faults, until, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def _caption(page: Any, text: str) -> None:
    page.wait_for_selector(f".answer caption:has-text('{text}')", timeout=30_000)


def test_a_ready_question_is_answered_with_its_values_and_saved(
    explorer: str, browser: Any, explored: Settings
) -> None:
    question = ready()["cases_of"]
    values = {"analysis": "m02_size_detection_curve", "metric": "accuracy", "stratum": "size_bucket=5-10mm"}
    with connect(explored) as db:
        rows = db.execute(question.sql, question.bound([f"{k}={v}" for k, v in values.items()])).fetchall()
    with view(browser, f"{explorer}#/sql") as (page, said):
        page.get_by_label("Ready question").select_option("cases_of")
        for name, value in values.items():
            page.get_by_label(f"${name} ", exact=False).first.fill(value)
        page.get_by_label("SQL (DuckDB)").press("Control+Enter")
        _caption(page, f"{len(rows)} rows")
        with page.expect_download() as waited:
            page.get_by_role("button", name="Save as CSV").click()
        saved = list(csv.DictReader(waited.value.path().read_text().splitlines()))
        assert waited.value.suggested_filename == "cases_of.csv"
        assert [row["case_uid"] for row in saved] == [row[2] for row in rows]
        assert faults(page, said) == []


def test_limits_and_refusals_are_said(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/sql?sql=SELECT+*+FROM+slices") as (page, said):
        page.get_by_label("Rows at most").fill("7")
        page.get_by_label("Rows at most").press("Tab")
        page.get_by_role("button", name="Run (Ctrl+Enter)").click()
        _caption(page, "7 rows, there are more")
        assert said == []
        page.get_by_label("SQL (DuckDB)").fill("SELECT * FROM read_text('/etc/passwd')")
        page.get_by_label("SQL (DuckDB)").press("Control+Enter")
        page.wait_for_selector("[role=alert]:has-text('read_text(): expected tables and views')")
        assert [text for text in said if "422" not in text] == []


def test_the_dictionary_finds_and_inserts(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/sql") as (page, said):
        page.get_by_label("SQL (DuckDB)").fill("SELECT")
        page.get_by_role("searchbox").fill("option_scores")
        until(page, "document.querySelectorAll('.dictionary details').length === 1")
        page.locator(".dictionary summary").press("Enter")
        page.get_by_role("button", name="Insert raw_text").click()
        page.locator("summary").first.press("Enter")
        assert page.get_by_label("SQL (DuckDB)").input_value() == "SELECT raw_text"
        assert faults(page, said) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_everybody_can_use_it(explorer: str, browser: Any, width: int, scheme: str) -> None:
    with view(browser, f"{explorer}#/sql?question=size_curve", width, color_scheme=scheme) as (page, said):
        page.locator(".dictionary summary").first.click()
        page.get_by_role("button", name="Run (Ctrl+Enter)").click()
        page.wait_for_selector(".answer tbody tr", timeout=30_000)
        assert faults(page, said) + serious(page) == []
