"""Reports are served as they are, from their own folders alone, with a policy that lets only their own scripts run."""

import base64
import hashlib

import pytest
from fastapi.testclient import TestClient

from itrialspace_assets.base.errors import NotFound
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.explorer.app import create_app
from itrialspace_assets.explorer.results.reports import report_file, reports
from itrialspace_assets.explorer.server.security import Access

SCRIPT = "drawn = 1 < 2;"


@pytest.fixture
def root(settings: Settings) -> Settings:
    """One report with a figure, a folder without a page, a link out, and a secret beside the reports."""
    folder = settings.output / "reports" / "m01"
    (folder / "figures").mkdir(parents=True)
    page = f"<title>Report:\n m01</title><script type='application/json'>{{}}</script><script>{SCRIPT}</script>"
    (folder / "report.html").write_text(page)
    (folder / "figures" / "curve.png").write_bytes(b"png")
    (folder / "notes.sqlite").write_bytes(b"secret")
    (settings.output / "reports" / "none").mkdir()
    (settings.output / "secret.csv").write_text("secret")
    (folder / "out.csv").symlink_to(settings.output / "secret.csv")
    return settings


def test_a_report_is_listed_by_its_title_with_its_page_first(root: Settings) -> None:
    (found,) = reports(root)
    assert (found.name, found.title, found.files) == ("m01", "Report: m01", ("report.html", "figures/curve.png"))


@pytest.mark.parametrize(
    ("name", "file"),
    [
        ("m01", "out.csv"),
        ("m01", "notes.sqlite"),
        ("m01", "../../secret.csv"),
        ("..", "secret.csv"),
        ("", "m01/report.html"),
        ("m01/figures", "curve.png"),
        ("m01", "figures"),
    ],
)
def test_nothing_else_is_served(root: Settings, name: str, file: str) -> None:
    with pytest.raises(NotFound):
        report_file(root, name, file)


def test_only_the_scripts_of_the_page_may_run_and_in_an_origin_of_their_own(root: Settings) -> None:
    client = TestClient(create_app(root, Access()), base_url="http://localhost")
    answer = client.get("/api/reports/m01/report.html")
    rules = dict(rule.strip().partition(" ")[::2] for rule in answer.headers["content-security-policy"].split(";"))
    own = base64.b64encode(hashlib.sha256(SCRIPT.encode()).digest()).decode()
    assert f"'sha256-{own}'" in rules["script-src"] and "unsafe" not in rules["script-src"]
    assert rules["default-src"] == "'none'" and "allow-same-origin" not in rules["sandbox"]
    assert answer.text.count(SCRIPT) == 1 and answer.headers["content-type"].startswith("text/html")
    picture = client.get("/api/reports/m01/figures/curve.png")
    assert (picture.content, picture.headers["content-type"]) == (b"png", "image/png")
    assert "script-src 'none'" in picture.headers["content-security-policy"]
    assert client.get("/api/reports/m01/..%2f..%2fsecret.csv").status_code == 422
