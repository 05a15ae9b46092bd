"""The nodules in a real browser: search, similarity, donors, side by side, downloads and the link."""

import json
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.index.query import Tolerance, WantedDonor, open_index
from tests.support.browser import serious
from tests.support.explorer import faults, total, until, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]
TASKS = ("search", "similar&like={uid}", "match", "compare&beside={uid}*{other}")


def _rows(page: Any) -> list[list[str]]:
    page.wait_for_selector("table tbody tr")
    return [row.locator("th, td").all_inner_texts() for row in page.locator("table tbody tr").all()]


def test_facets_text_and_order_are_those_of_the_index(explorer: str, browser: Any, explored: Settings) -> None:
    index = open_index(explored)
    with view(browser, f"{explorer}#/nodules") as (page, said):
        assert len(_rows(page)) == total(page) == index.nodules.height
        page.locator(".facet").get_by_label("LUNA25").check()
        wanted = index.where(["dataset=LUNA25"], "reinsertion_nodule_diam_mm", True)["nodule_uid"].to_list()
        until(page, f"document.querySelectorAll('table tbody tr').length === {len(wanted)}")
        page.get_by_role("button", name="Diameter (mm)").click()
        page.wait_for_selector("th[aria-sort=ascending] >> text=Diameter")
        page.get_by_role("button", name="Diameter (mm)").click()
        page.wait_for_selector("th[aria-sort=descending] >> text=Diameter")
        until(page, f"document.querySelector('table tbody th').textContent.includes({wanted[0]!r})")
        assert [row[1] for row in _rows(page)] == wanted
        lobes = page.locator("fieldset.facet", has_text="Lobe").first.locator(".n").all_inner_texts()
        assert sum(map(int, lobes)) == len(wanted)  # counts follow the dataset's filter
        datasets = page.locator("fieldset.facet", has_text="Dataset").first.locator(".n").all_inner_texts()
        assert sum(map(int, datasets)) == index.nodules.height  # but not their own
        page.get_by_label("Diameter from").fill("10")
        page.get_by_label("Diameter to").fill("40")
        page.keyboard.press("Tab")
        n = index.where(["dataset=LUNA25", "reinsertion_nodule_diam_mm=10..40"]).height
        until(page, f"document.querySelector('.selection .total strong').textContent === '{n}'")
        until(page, "location.hash.includes('within.reinsertion_nodule_diam_mm=10*40')")
        with view(browser, page.evaluate("location.href")) as (other, also):
            assert len(_rows(other)) == total(other) == n and also == []
        page.locator("table tbody th button").first.click()
        page.wait_for_selector("aside .values")
        assert faults(page, said) == []


def test_downloads_hold_the_selection(explorer: str, browser: Any) -> None:
    import io

    import polars as pl

    with view(browser, f"{explorer}#/nodules?in.dataset=LUNA25") as (page, said):
        uids = [row[1] for row in _rows(page)]
        for format, read in (("CSV", pl.read_csv), ("JSON", None), ("Parquet", pl.read_parquet)):
            with page.expect_download() as waited:
                page.get_by_role("button", name=format, exact=True).click()
            data = waited.value.path().read_bytes()
            if read is None:
                found = [row["nodule_uid"] for row in json.loads(data)]
            else:
                found = read(io.BytesIO(data))["nodule_uid"].to_list()
            assert found == uids, format
        assert said == []


def test_similar_nodules_and_donors_follow_weights_and_tolerances(
    explorer: str, browser: Any, explored: Settings
) -> None:
    index = open_index(explored)
    uid = index.nodules["nodule_uid"][3]
    with view(browser, f"{explorer}#/nodules?task=similar&like={uid}") as (page, said):
        wanted = index.similar(uid, 10)
        page.wait_for_selector("caption:has-text('Nodules like')")
        assert [row[2] for row in _rows(page)] == wanted["nodule_uid"].to_list()
        assert [float(row[3]) for row in _rows(page)] == pytest.approx(wanted["distance"].to_list(), abs=6e-4)
        slider = page.get_by_label("Weight of Lobe", exact=True)
        slider.focus()
        page.keyboard.press("Home")
        changed = index.similar(uid, 10, {"lobe": 0.0})["nodule_uid"].to_list()
        until(page, "location.hash.includes('w=lobe.0')")
        page.wait_for_timeout(1500)
        assert [row[2] for row in _rows(page)] == changed
        page.get_by_role("button", name="Published weights").click()
        page.get_by_label("Nodules of the same person too").check()
        page.get_by_role("button", name="Donors for a place").click()
        page.wait_for_selector("caption:has-text('Donors')")
        page.get_by_role("combobox", name="Lobe", exact=True).select_option("RUL")
        page.get_by_label("Diameter in mm").fill("10")
        page.get_by_label("Diameter in mm").press("Tab")
        page.get_by_label("Diameter: tolerance in mm").fill("3")
        page.get_by_label("Diameter: tolerance in mm").press("Tab")
        within = index.donors_for(WantedDonor("RUL", diameter_mm=10), 10, tolerance=Tolerance(diameter_mm=3))
        until(page, f"document.querySelectorAll('main table tbody tr').length === {within.height}")
        differences = [float(row[8].replace("−", "-").replace("+", "")) for row in _rows(page)]
        assert differences and all(abs(d) <= 3 for d in differences)
        assert faults(page, said) == []


def test_six_nodules_at_most_stand_side_by_side(explorer: str, browser: Any, explored: Settings) -> None:
    with view(browser, f"{explorer}#/nodules") as (page, said):
        boxes = page.locator("table.nodules tbody input[type=checkbox]")
        page.wait_for_selector("table.nodules tbody input")
        for i in range(6):
            boxes.nth(i).focus()
            page.keyboard.press("Space")
        assert boxes.nth(6).is_disabled()
        page.get_by_role("button", name="Compare (6 of 6)").click()
        until(page, "[...document.querySelectorAll('table.compare img')].filter(i => i.naturalWidth).length === 6")
        uids = page.locator("table.compare thead th").all_inner_texts()[1:]
        index = open_index(explored)
        first, second = (index.row(uid)["reinsertion_nodule_diam_mm"][0] for uid in uids[:2])
        row = page.locator("table.compare tbody tr", has_text="Diameter (mm)").first
        shown = row.locator(".delta").first.inner_text().replace("−", "-").replace("+", "").replace("±", "")
        assert float(shown) == pytest.approx(second - first, rel=0.01, abs=0.01)
        page.get_by_role("button", name=f"Remove {uids[0]}").click()
        page.wait_for_selector("text=Compare (5 of 6)")
        assert faults(page, said) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_use_the_nodules_on_a_phone_and_on_a_desk(
    explorer: str, browser: Any, scheme: str, explored: Settings
) -> None:
    uid, other = open_index(explored).nodules["nodule_uid"][:2]
    for task in TASKS:
        for width in (390, 1400):
            address = f"{explorer}#/nodules?task={task.format(uid=uid, other=other)}"
            with view(browser, address, width, color_scheme=scheme) as (page, said):
                page.wait_for_selector("table tbody tr")
                assert faults(page, said) == [] and serious(page) == [], task
