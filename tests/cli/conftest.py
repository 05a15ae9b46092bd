"""The command line in this process, with its exit code and what it prints."""

import sys
from collections.abc import Callable
from typing import NamedTuple

import pytest

from itrialspace_assets.cli import main


class Done(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str


Its = Callable[..., Done]


@pytest.fixture
def its(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Its:
    """Run ``its`` with arguments through its entry point."""

    def call(*arguments: str) -> Done:
        capsys.readouterr()
        monkeypatch.setattr(sys, "argv", ["its", *arguments])
        with pytest.raises(SystemExit) as end:
            main.main()
        code = end.value.code
        assert isinstance(code, int)
        return Done(code, *capsys.readouterr())

    return call
