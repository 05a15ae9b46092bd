"""Trials and cases in a real browser: flow, contact sheet, one case, and people who accept or reject it."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import polars as pl
import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.analysis.splits import rejected_by_people
from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.server.security import Access
from itrialspace_assets.records.store import read_all, table_files
from tests.support.browser import serious
from tests.support.explorer import faults, served, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]
MODE = "m02_size_detection_curve"


@pytest.fixture(scope="module")
def own(explored: Settings, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """The demo with tables of its own, since reviews are written here."""
    out: Path = tmp_path_factory.mktemp("own") / "out"
    shutil.copytree(explored.output / "tables", out / "tables")
    (out / "store").symlink_to(explored.output / "store")
    return load_settings(data_dir=explored.data, output_dir=out, workers=1)


@pytest.fixture(scope="module")
def page_address(own: Settings) -> Iterator[str]:
    """The address of the view over it."""
    with served(own) as address:
        yield f"{address}#/cases"


def test_trials_lead_to_a_sheet_of_cases_and_it_to_one_case(page_address: str, browser: Any, own: Settings) -> None:
    cases = read_all(own.output, "cases", mode=MODE)
    with view(browser, page_address) as (page, said):
        page.locator("table tbody tr").first.wait_for()
        assert page.locator("table tbody th a").count() == len(table_files(own.output, "cases"))
        page.get_by_role("link", name="m02 size detection curve").click()
        page.locator(".card img").first.wait_for()
        assert f"{cases.height} cases" in page.get_by_role("status").filter(has_text="cases").inner_text()
        arm = cases["arm"][0]
        page.get_by_role("combobox", name="Arm").select_option(arm)
        n = cases.filter(cases["arm"] == arm).height
        page.get_by_text(f"{n} cases", exact=True).wait_for()
        assert page.locator(".card").count() == n
        page.get_by_text("Balance:").click()
        assert page.get_by_role("table", name="Balance of").is_visible()
        page.get_by_label("Reviewed").select_option("reject")
        page.get_by_text("No case is like that").wait_for()
        page.get_by_label("Reviewed").select_option("")
        page.locator(".card a").first.click()
        page.get_by_role("heading", name="Pictures as readers got them").wait_for()
        assert page.get_by_role("table", name="Asked and got").is_visible()
        page.wait_for_load_state("networkidle")
        broken = page.evaluate("[...document.images].filter(i => i.complete && !i.naturalWidth).length")
        assert (broken, faults(page, said)) == (0, [])
        with page.expect_download() as waited:
            page.get_by_role("link", name="Download the case page").click()
        assert b"<!doctype html>" in waited.value.path().read_bytes()[:40]
        page.get_by_role("link", name="Open its volumes in the viewer").click()
        page.get_by_role("heading", name="Viewer").wait_for()


def test_a_plane_is_the_picture_that_readers_got(own: Settings) -> None:
    client = TestClient(create_app(own, Access()), base_url="http://localhost")
    slices = read_all(own.output, "slices", mode=MODE).filter(
        pl.col("condition") == "plain", pl.col("profile") == "lung_axial", pl.col("z_offset") == 0
    )
    for row in slices.unique("target_uid", maintain_order=True).head(12).iter_rows(named=True):
        what = "ct" if row["presence"] == "present" else "lesion_free"
        asked = {"uid": row["case_uid"], "what": what, "index": row["slice_z"], "window": "lung"}
        plane = client.get("/api/plane.png", params=asked).content
        kept = client.get("/api/slice.png", params={"slice_uid": row["slice_uid"]}).content
        assert plane == kept == (own.output / row["path"]).read_bytes()


def test_pages_of_the_sheet_follow_each_other(page_address: str, browser: Any, own: Settings) -> None:
    n = read_all(own.output, "cases", mode=MODE).height
    assert n > 24, "the demo has more than one page"
    with view(browser, f"{page_address}?mode={MODE}") as (page, said):
        page.locator(".card").nth(23).wait_for()
        first = page.locator(".card .name").all_inner_texts()
        page.get_by_role("button", name="Next").click()
        page.get_by_text("page 2 of").wait_for()
        page.wait_for_timeout(800)
        second = page.locator(".card .name").all_inner_texts()
        assert len(second) == min(24, n - 24) and not set(first) & set(second)
        page.get_by_role("button", name="Previous").click()
        page.get_by_text("page 1 of").wait_for()
        assert faults(page, said) == []


def test_a_case_is_rejected_and_accepted_by_name_with_the_keyboard(
    page_address: str, browser: Any, own: Settings
) -> None:
    uid = read_all(own.output, "cases", mode=MODE)["case_uid"][1]
    with view(browser, f"{page_address}?case={uid}") as (page, said):
        page.get_by_role("button", name="Reject").focus()
        page.keyboard.press("Enter")
        page.locator(".warning").wait_for()
        assert "Give your name" in page.locator(".warning").inner_text()
        page.get_by_label("Your name").focus()
        page.keyboard.type("Ada")
        page.get_by_role("button", name="Reject").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Give a reason").wait_for()
        page.get_by_label("Reason").focus()
        page.keyboard.type("it floats")
        page.get_by_role("button", name="Reject").focus()
        page.keyboard.press("Enter")
        page.get_by_text("Rejected by Ada: it floats.").wait_for()
        assert rejected_by_people(own) == {uid}
        with view(browser, f"{page_address}?mode={MODE}&verdict=reject") as (sheet, _):
            sheet.get_by_text("✗ rejected by Ada").wait_for()
        page.get_by_role("button", name="Accept").click()
        page.get_by_text("Accepted by Ada.").wait_for()
        assert rejected_by_people(own) == frozenset()
        assert page.get_by_role("table", name="Reviews of this case").locator("tbody tr").count() == 2
        assert said == []


def test_nobody_is_kept_out(page_address: str, browser: Any, own: Settings) -> None:
    uid = read_all(own.output, "cases", mode=MODE)["case_uid"][0]
    for where in (f"?mode={MODE}", f"?case={uid}"):
        for width, scheme in ((390, "light"), (1400, "dark")):
            with view(browser, page_address + where, width, color_scheme=scheme) as (page, said):
                page.locator(".card img").first.wait_for()
                assert faults(page, said) == []
                assert serious(page) == []
