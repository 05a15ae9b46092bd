"""Making a trial in a real browser: feasibility that follows, the file, the commands, the way to the Dagster UI."""

from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.index.query import open_index
from itrialspace_assets.trials.files import read_trial
from tests.support.browser import serious
from tests.support.explorer import faults, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_a_selection_becomes_a_trial_file(explorer: str, browser: Any, explored: Settings) -> None:
    assert explored.trials_dir is not None
    with view(browser, f"{explorer}#/trial?in.dataset=LUNA25*LUNA16&base=m08_algorithm_comparison") as (page, said):
        page.wait_for_selector(".verdict")
        page.get_by_label("Cases of each arm").fill("1")
        page.wait_for_selector(".verdict.good")
        page.get_by_label("Cases of each arm").fill("900")
        page.wait_for_selector(".verdict.short")
        assert "too few" in page.locator("table.arms").inner_text()
        assert "what would help" in page.locator("section.note").first.inner_text()
        page.get_by_text("the hosts (scans").click()
        page.wait_for_selector("text=the scans are the hosts")
        page.get_by_text("the donors (nodules").click()
        page.get_by_label("Cases of each arm").fill("2")
        page.wait_for_selector(".verdict.good")
        page.get_by_text("Donors and hosts left after each constraint").click()
        page.get_by_text("Text of the trial file").click()
        page.get_by_label("Name").fill("of_page")
        save = page.get_by_role("button", name="Save the trial")
        save.focus()
        page.keyboard.press("Enter")
        page.wait_for_selector("h2:has-text('Saved as x_of_page.yaml')")

        trial = read_trial(explored.trials_dir / "x_of_page.yaml")
        chosen = open_index(explored).where(["dataset=LUNA25,LUNA16"])["nodule_uid"].to_list()
        assert trial.cohort.donors.nodules == chosen and trial.sizes["demo"]["n_cases"] == 2
        assert "# Dataset: LUNA25, LUNA16" in (explored.trials_dir / "x_of_page.yaml").read_text()

        page.context.grant_permissions(["clipboard-read", "clipboard-write"])
        page.get_by_role("button", name="Copy the command that runs it").click()
        assert page.evaluate("navigator.clipboard.readText()") == "its run --modes x_of_page"
        page.get_by_label("Address of the UI").fill("http://127.0.0.1:1025")
        page.get_by_label("Address of the UI").press("Tab")
        page.wait_for_selector("text=The UI is not running at port 1025")
        href = page.get_by_role("link", name="Open the asset").get_attribute("href")
        assert href == "http://127.0.0.1:1025/assets/cohort_manifests?view=partitions&partition=x_of_page"
        assert faults(page, said) == []

        save.click()  # the same name again
        page.wait_for_selector("text=a trial of this name is there already")
        assert said and all("409" in line for line in said)


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_everybody_can_make_a_trial_on_a_phone_and_on_a_desk(explorer: str, browser: Any, scheme: str) -> None:
    for width in (390, 1400):
        with view(browser, f"{explorer}#/trial?cases=200", width, color_scheme=scheme) as (page, said):
            page.wait_for_selector(".verdict.short")
            assert faults(page, said) == [] and serious(page) == []
