"""The tour on a whole demo: as a script, and as the page that ``its notebook`` serves, closed without a token."""

import doctest
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

pytestmark = pytest.mark.slow
pytest.importorskip("marimo")
PAGE = Path(__file__).parents[2] / "docs" / "python.md"


def test_the_tour_of_a_demo_has_every_section(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from itrialspace_assets.api.tour import app

    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(demo / "data"))
    monkeypatch.setenv("ITRIALSPACE_OUTPUT_DIR", str(demo / "out"))
    outputs, defined = app.run()
    texts = [getattr(o, "text", "") for o in outputs]
    assert not [t for t in texts if "marimo-callout" in t], "nothing is missing"
    assert defined["pictures"]
    assert defined["found"].height > 0
    assert defined["behind"].height > 0
    assert defined["answer"]["cases"].sum() > 0


def test_every_example_of_the_page_holds(demo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(demo.parent)
    text = PAGE.read_text().replace('its.open(".demo")', f"its.open({demo.name!r})")
    blocks = "\n".join(re.findall(r"```pycon\n(.*?)```", text, re.DOTALL))
    found = doctest.DocTestParser().get_doctest(blocks, {}, PAGE.name, str(PAGE), 0)
    assert len(found.examples) > 20
    said: list[str] = []
    doctest.DocTestRunner(optionflags=doctest.ELLIPSIS).run(found, out=said.append)
    assert not said, "".join(said)


def test_the_notebook_listens_here_alone_and_asks_for_its_token(demo: Path, tmp_path: Path) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "itrialspace_assets.cli.main", "notebook", "--dir", str(demo), "--port", str(port)]
    python_path = os.pathsep.join(filter(None, (str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH"))))
    with subprocess.Popen(
        command, cwd=tmp_path, stdout=subprocess.PIPE, text=True, env=os.environ | {"PYTHONPATH": python_path}
    ) as process:
        try:
            assert process.stdout is not None
            lines = iter(process.stdout.readline, "")
            address = next(m[0] for m in (re.search(r"http://127\.0\.0\.1:\S+", line) for line in lines) if m)
            for _ in range(240):
                try:
                    refused = httpx.get(f"http://127.0.0.1:{port}/api/status")
                    break
                except httpx.TransportError:
                    time.sleep(0.25)
            assert refused.status_code == 401
            assert httpx.get(address, follow_redirects=True).status_code == 200
        finally:
            process.send_signal(signal.SIGINT)
            assert process.wait(60) == 0
    assert (tmp_path / "itrialspace_tour.py").read_text().startswith('"""A tour')
