"""What is printed where the terminal or log lacks our characters."""

import io
import sys
from pathlib import Path

import pytest

from itrialspace_assets.cli import main


def test_an_ascii_log_gets_all_lines_and_no_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """As under a scheduler with LC_ALL=C; a folder's name is no ASCII."""
    log = io.BytesIO()
    monkeypatch.setenv("ITRIALSPACE_DATA_DIR", str(tmp_path / "Größe"))
    monkeypatch.setenv("COLUMNS", "400")
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(log, encoding="ascii", write_through=True))
    monkeypatch.setattr(sys, "argv", ["its", "config"])
    with pytest.raises(SystemExit) as end:
        main.main()
    assert end.value.code == 0
    assert b"Outputs: " in log.getvalue(), "the last line"
