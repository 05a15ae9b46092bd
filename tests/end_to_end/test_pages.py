"""Every report of a demo in a real browser, as the platform formed it."""

from pathlib import Path
from typing import Any

import pytest

from tests.support.browser import WIDTHS, opened, problems, serious

pytestmark = [pytest.mark.slow, pytest.mark.browser]


def test_every_report_of_a_demo_can_be_read(demo: Path, browser: Any) -> None:
    pages = sorted((demo / "out/reports").glob("*/report.html"))
    names = {p.parent.name for p in pages}
    assert {"m02_size_detection_curve", "m11_digital_twin_isolation", "study"} < names
    assert sum(name.startswith("real-") for name in names) == 7
    wrong = {}
    for path in pages:
        for width in WIDTHS:
            with opened(browser, path, width) as (page, said):
                wrong[path.parent.name, width] = problems(page, said)
                if width == 1000:
                    wrong[path.parent.name, "axe"] = serious(page)
    assert {at: found for at, found in wrong.items() if found} == {}
