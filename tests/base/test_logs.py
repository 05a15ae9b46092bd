"""Log records as lines of JSON."""

import json
import logging
import sys

import pytest

from itrialspace_assets.base.logs import ASSETS, Facts, configure


def test_records_are_lines_of_json_by_a_switch(capsys: pytest.CaptureFixture[str]) -> None:
    log = logging.getLogger(ASSETS)
    try:
        configure("json")
        configure("json")  # a second code location in the process adds nothing
        log.info("made\ntwice %s", "“x”", extra={"facts": Facts("hosts", "LUNA16", seconds=1.5, rejected=0)})
        logging.getLogger("itrialspace.read").debug("too fine")
        try:
            raise OSError("no disk")
        except OSError:
            log.exception("failed")
        first, second = map(json.loads, capsys.readouterr().err.splitlines())
        assert list(first)[:4] == ["time", "level", "logger", "message"]
        assert first["time"].endswith("+00:00") and first["message"] == "made\ntwice “x”"
        rest = {k: v for k, v in first.items() if k not in ("time", "message", "logger")}
        assert rest == {"level": "INFO", "asset": "hosts", "partition": "LUNA16", "seconds": 1.5, "rejected": 0}
        assert second["level"] == "ERROR" and "OSError: no disk" in second["traceback"]
        configure("text")
        log.error("said elsewhere")
        assert capsys.readouterr().err == ""
        logging.getLogger("itrialspace.read").warning("text")
        assert not any(h.get_name() == "itrialspace json" for h in logging.getLogger("itrialspace").handlers)
    finally:
        configure("text")
        sys.stderr.flush()
