"""The reading room in a real browser: two kinds of session, keyboard alone, reload, pause, and that all stays blind."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from itrialspace_assets.base.settings import Settings, load_settings
from itrialspace_assets.explorer.reading import journal
from tests.support.browser import serious
from tests.support.explorer import faults, served, until, view

pytestmark = [pytest.mark.slow, pytest.mark.browser]


@pytest.fixture(scope="module")
def root(demo: Path, tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """What a session needs of the demo, linked into an output folder of its own."""
    out = tmp_path_factory.mktemp("reading") / "out"
    for part in ("tables/slices", "store/slices", "splits"):
        shutil.copytree(demo / "out" / part, out / part, copy_function=os.link)
    return load_settings(data_dir=demo / "data", output_dir=out, workers=1)


@pytest.fixture(scope="module")
def rooms(root: Settings) -> Iterator[str]:
    with served(root) as address:
        yield address


def _begin(page: Any, name: str, cases: int, pairs: bool = False) -> None:
    page.wait_for_selector("form.begin")
    page.get_by_label("Name of the reader").fill(name)
    if pairs:
        page.get_by_label("Which of two is synthetic?").check()
    else:
        page.get_by_label("cases drawn from").check()
        page.locator("[name=modes]").select_option(["m02_size_detection_curve", "real"])
    page.locator("[name=cases]").fill(str(cases))
    page.get_by_role("button", name="Begin", exact=True).click()
    page.wait_for_selector("#item:has-text('1 of')")


def test_a_session_is_read_by_keyboard_left_and_resumed(rooms: str, browser: Any, root: Settings) -> None:
    with view(browser, f"{rooms}#/reading") as (page, said):
        _begin(page, "ann", 3)
        name = page.url.split("session=")[1]
        n = len(journal.session(root, name).header.items)
        page.get_by_label("Yes").press(" ")
        page.get_by_label("How sure").press("ArrowRight")
        for legend in ("Lobe", "Size"):
            page.locator("fieldset", has=page.locator(f"legend:text-is('{legend}')")).locator("input").first.press(" ")
        picture = page.locator(".frame svg")
        picture.focus()
        for key in ("ArrowRight", "Shift+ArrowUp", "Enter", "ArrowLeft", "Enter", "Backspace"):
            page.keyboard.press(key)
        assert picture.locator("circle").count() == 1
        page.get_by_role("button", name="Pause").click()
        assert not page.locator(".frame img").is_visible()
        page.get_by_role("button", name="Go on").click()
        page.get_by_role("button", name="Next").press("Enter")
        page.wait_for_selector("#item:has-text('2 of')")
        until(page, "document.activeElement.id === 'item'")
        first = journal.session(root, name).answers[0]
        picture_of = journal.session(root, name).header.items[0].pictures[0]
        assert first.case is not None and (first.case.presence, first.case.confidence) == ("present", 55)
        assert [(m.x, m.y) for m in first.case.marks] == [
            (round(picture_of.width / 2 + 0.001) + 1, round(picture_of.height / 2 + 0.001) - 10)
        ]
        page.reload()
        page.wait_for_selector("#item:has-text('2 of')")
        for i in range(2, n + 1):
            page.wait_for_selector(f"#item:has-text('{i} of')")
            page.get_by_label("No", exact=True).check()
            page.get_by_label("How sure").press("ArrowRight")
            page.get_by_role("button", name="Next").click()
        page.wait_for_selector("#item:has-text('Finished')")
        assert journal.session(root, name).finished
        assert faults(page, said) == []


def test_nothing_that_the_browser_gets_tells_the_truth(rooms: str, browser: Any, root: Settings) -> None:
    with view(browser, f"{rooms}#/reading") as (page, _):
        got: list[str] = []
        page.on(
            "response",
            lambda r: got.append(
                f"{r.url} {r.headers} {r.text() if 'json' in r.headers.get('content-type', '') else ''}"
            ),
        )
        _begin(page, "eve", 4)
        page.wait_for_selector(".frame img")
        items = journal.session(root, page.url.split("session=")[1]).header.items
        told = " ".join(text for text in got if "/api/" in text and "/offers" not in text)
        assert items[0].pictures[0].token in told
        names = [name for item in items for p in item.pictures for name in (p.slice_uid, p.path, p.sha256)]
        words = ["tissue", "twin", "presence", '"source', "case_uid", "last-modified", "etag", "filename"]
        assert [word for word in [*names, *words] if word in told.lower()] == []
        assert [p.token for item in items[1:] for p in item.pictures if p.token in told] == []


def test_pairs_are_chosen_and_counted(rooms: str, browser: Any, root: Settings) -> None:
    with view(browser, f"{rooms}#/reading") as (page, said):
        _begin(page, "ben", 2, pairs=True)
        name = page.url.split("session=")[1]
        for i, side in enumerate(("left", "right"), start=1):
            page.wait_for_selector(f"#item:has-text('{i} of 2')")
            assert page.locator(".sides img").count() == 2
            page.get_by_label(f"the {side} one").check()
            page.get_by_label("How sure").press("ArrowLeft")
            page.get_by_role("button", name="Next").click()
        page.wait_for_selector("#item:has-text('Finished')")
        said_of = [a.pair.synthetic for a in journal.session(root, name).answers if a.pair is not None]
        assert said_of == ["left", "right"]
        page.get_by_role("link", name="All sessions").click()
        page.wait_for_selector(f"tr:has-text('{name}'):has-text('finished')")
        assert faults(page, said) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [390, 1400])
def test_everybody_can_read(rooms: str, browser: Any, width: int, scheme: str) -> None:
    with view(browser, f"{rooms}#/reading", width, color_scheme=scheme) as (page, said):
        page.wait_for_selector("form.begin")
        assert faults(page, said) + serious(page) == []
        _begin(page, "eye", 2)
        page.get_by_label("Yes").check()
        page.locator(".frame svg").click(position={"x": 90, "y": 70})
        assert faults(page, said) + serious(page) == []
        page.goto(f"{rooms}#/reading")
        _begin(page, "eye", 2, pairs=True)
        page.wait_for_selector(".sides img")
        assert faults(page, said) + serious(page) == []
