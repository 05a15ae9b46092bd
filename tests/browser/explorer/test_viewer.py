"""The volume viewer in a real browser: sides on an asymmetric volume, controls, keyboard, and the static case page."""

import io
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import polars as pl
import pytest
from PIL import Image

from itrialspace_assets.base.settings import Settings
from itrialspace_assets.catalog.casepage import write_page
from itrialspace_assets.explorer.images.volumes import volumes_of
from itrialspace_assets.imaging.geometry import Volume, read_volume
from itrialspace_assets.imaging.packing import write_volume
from itrialspace_assets.records.store import read_all
from itrialspace_assets.synthesis.images import image_path
from tests.explorer.small_case import write_case
from tests.support.browser import serious
from tests.support.explorer import faults, served, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]
WAIT = 120_000  # milliseconds: WebGL is drawn by the processor here


@pytest.fixture(scope="module")
def corner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A case whose CT is dark but for its left front upper corner; the viewer's address and the case."""
    settings, uid = write_case(tmp_path_factory.mktemp("corner"))
    row = read_all(settings.output, "cts").filter(~pl.col("is_lesion_free")).row(0, named=True)
    whole = read_volume(settings.output / row["path"])
    array = np.full(whole.array.shape, -1300, np.int16, order="F")
    write_volume(settings.output / image_path(row["source"], row["twin_uid"]), Volume(array.copy("F"), whole.affine))
    array[:8, -8:, -8:] = 100  # RAS+: x from left to right, y from back to front, z from feet to head
    write_volume(settings.output / row["path"], Volume(array, whole.affine))
    at = ",".join(f"{mm:.1f}" for mm in whole.to_world([3, array.shape[1] - 4, array.shape[2] - 4]))
    with served(settings) as address:
        yield f"{address}#/viewer?uid={uid}&mask=no&at={at}", uid


def bright(picture: bytes) -> tuple[float, float]:
    """Where white pixels lie in a picture: shares of its width and height; letters and crosshair are yellow."""
    pixels = np.asarray(Image.open(io.BytesIO(picture)).convert("RGB")).astype(int)
    volume = np.argwhere(pixels.sum(axis=2) > 9)  # without the black around it
    rows, columns = np.nonzero(pixels.min(axis=2) > 200)
    assert len(rows) > 20, "nothing bright"
    low, high = volume.min(axis=0), volume.max(axis=0)
    y, x = (np.array([rows.mean(), columns.mean()]) - low) / (high - low)
    return float(x), float(y)


@pytest.mark.parametrize("draw", ["", "&draw=pictures"])
@pytest.mark.parametrize(
    ("planes", "is_right", "letters"),
    [("axial", True, "RLAP"), ("coronal", True, "RLSI"), ("sagittal", False, "APSI")],
)
def test_a_bright_corner_lies_left_in_front_and_on_top(
    corner: tuple[str, str], browser: Any, planes: str, is_right: bool, letters: str, draw: str
) -> None:
    with view(browser, f"{corner[0]}&planes={planes}{draw}") as (page, said):
        if draw:
            page.locator(".plane img").wait_for()
            page.wait_for_load_state("networkidle")
            shown = page.locator(".plane")
            assert "".join(shown.locator(".side").all_inner_texts()) == letters
            picture = shown.locator("img").screenshot()
        else:
            page.locator("[data-ready=whole]").wait_for(timeout=WAIT)
            picture = page.locator(".canvas canvas").screenshot(timeout=WAIT)
        x, y = bright(picture)
        assert (x > 0.6) == is_right and (x < 0.4) != is_right, f"{planes}: {x:.2f} from the left"
        assert y < 0.4, f"{planes}: {y:.2f} from the top"
        assert said == []


@pytest.fixture(scope="module")
def case(explored: Settings) -> str:
    """A case that a reader of whole scans marked."""
    marked = read_all(explored.output, "detections")["image_uid"].unique().to_list()
    cts = read_all(explored.output, "cts").filter(~pl.col("is_lesion_free"), pl.col("image_uid").is_in(marked))
    return str(cts.sort("case_uid")["case_uid"][0])


def test_every_control_is_kept_in_the_address(explorer: str, browser: Any, explored: Settings, case: str) -> None:
    with view(browser, f"{explorer}#/viewer?of=case&uid={case}") as (page, said):
        page.locator("[data-ready=whole]").wait_for(timeout=WAIT)
        told = page.locator(".told")
        assert "Synthetic CT, lung window, axial plane" in told.inner_text()
        page.get_by_label("Window").select_option("bone")
        page.get_by_role("button", name="Coronal").click()
        page.get_by_role("checkbox", name="Mask").uncheck()
        page.get_by_label("Marks of").select_option("blob")
        page.get_by_role("button", name="Add").click()
        page.locator("[data-ready=whole]").nth(1).wait_for(timeout=WAIT)
        assert "Synthetic CT beside Lesion-free twin, bone window, coronal plane" in told.inner_text()
        assert "Marks of blob" in told.inner_text()
        for name in ("Axial", "Sagittal", "3-D", "All planes", "Coronal"):
            page.get_by_role("button", name=name, exact=True).click()
        readable = [e.what for e in volumes_of(explored, case, "case") if e.shape]
        page.locator(".pane select").nth(1).select_option(readable[-1])
        page.get_by_role("button", name="Go to mark 1 of blob").first.click()
        for part in ("window=bone", "planes=coronal", "mask=no", "marks=blob", "at="):
            page.wait_for_function("part => location.href.includes(part)", arg=part, timeout=WAIT)
        address = page.url
        with view(browser, f"{address}&draw=pictures") as (other, _):
            other.locator(".told").wait_for()
            assert other.locator(".told").inner_text().split(". C")[0] == told.inner_text().split(". C")[0]
        page.get_by_label("Draw as pictures").check()
        page.locator(".plane img").nth(1).wait_for()
        page.get_by_role("button", name="Remove").click()
        assert page.locator(".pane").count() == 1
        assert faults(page, said) == []


def test_the_keyboard_alone_steps_and_chooses(explorer: str, browser: Any, case: str) -> None:
    with view(browser, f"{explorer}#/viewer?of=case&uid={case}&draw=pictures&planes=axial") as (page, said):
        page.locator(".panes").wait_for()
        for _ in range(60):
            page.keyboard.press("Tab")
            if page.evaluate("document.activeElement.className") == "panes":
                break

        def told() -> str:
            page.wait_for_timeout(50)
            return str(page.locator(".told").inner_text())

        def plane() -> int:
            return int(told().split(" plane ")[1].split(" of ")[0])

        first = plane()
        page.keyboard.press("PageUp")
        assert plane() == first + 1
        page.keyboard.press("PageDown")
        page.keyboard.press("PageDown")
        assert plane() == first - 1
        before = told()
        page.keyboard.press("ArrowLeft")
        assert told() != before
        page.keyboard.press("n")
        assert plane() == first and "nodule 0: 0.0 mm away" in told()
        for key, then in (("2", "mediastinum window"), ("s", "sagittal plane"), ("m", "")):
            assert then == "" or then not in told()
            page.keyboard.press(key)
            assert then in told()
        assert "Nodules are shown" not in told()
        assert said == []


@pytest.mark.parametrize("draw", ["", "&draw=pictures"])
def test_nobody_is_kept_out(explorer: str, browser: Any, case: str, draw: str) -> None:
    for width, scheme in ((1400, "light"), (390, "dark")):
        address = f"{explorer}#/viewer?of=case&uid={case}&marks=blob{draw}"
        with view(browser, address, width, color_scheme=scheme) as (page, said):
            page.locator("[data-ready=whole], [data-ready=planes]").first.wait_for(timeout=WAIT)
            assert faults(page, said) == []
            assert serious(page) == []


def test_an_unknown_case_and_no_case_say_what_to_do(explorer: str, browser: Any) -> None:
    with view(browser, f"{explorer}#/viewer") as (page, _):
        page.get_by_label("Its id").fill("no/such/case")
        page.get_by_role("button", name="Open").click()
        page.locator(".warning").first.wait_for()
        assert "no/such/case" in page.locator(".warning").first.inner_text()
        assert "uid=no%2Fsuch%2Fcase" in page.url


def test_the_static_case_page_shows_volumes_without_a_server(browser: Any, explored: Settings, case: str) -> None:
    path: Path = write_page(explored, case)
    assert path.stat().st_size < 6e6
    page = browser.new_page(viewport={"width": 390, "height": 900})
    said: list[str] = []
    page.on("console", lambda m: said.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda e: said.append(str(e)))
    page.on("request", lambda r: said.append(r.url) if r.url.startswith("http") else None)
    page.goto(path.as_uri())
    page.locator("[data-ready=whole]").wait_for(timeout=WAIT)
    for name in ("Axial", "3-D", "All planes"):
        page.get_by_role("button", name=name, exact=True).click()
    page.get_by_label("Window").select_option("mediastinum")
    page.get_by_role("checkbox", name="Mask").uncheck()
    page.locator(".panes select").nth(1).select_option(label="Difference")
    page.wait_for_timeout(500)
    wide, inner = page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert (said, wide <= inner, serious(page)) == ([], True, [])
    page.close()
