"""Tiny CLIP models, made once a run of the tests, and no way to the network."""

import socket
from pathlib import Path
from typing import Any

import pytest


@pytest.fixture(scope="session")
def clip_weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of weights with ``biomedclip`` and ``clip`` in it."""
    from .tiny import tiny_biomedclip, tiny_clip

    folder = tmp_path_factory.mktemp("weights")
    tiny_biomedclip(folder / "biomedclip")
    tiny_clip(folder / "clip")
    return folder


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever looks for a machine's address fails the test."""

    def refuse(*_: Any, **__: Any) -> None:
        raise AssertionError("a reader went to the network")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
