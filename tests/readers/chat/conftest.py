"""Tiny language models on disk, made once a session; the libraries are imported when the first one is asked for."""

from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from itrialspace_assets.readers.api import Read, Request
from itrialspace_assets.records.tables import TASK_OPTIONS

FAMILIES = ("gemma", "llava", "qwen")


@pytest.fixture(scope="session")
def published(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """LLaVA-Med with the published names."""
    from tests.support import tiny_chat

    return tiny_chat.llava_med_as_published(tmp_path_factory.mktemp("published") / "llava-med")


@pytest.fixture(scope="session")
def weights(tmp_path_factory: pytest.TempPathFactory, published: Path) -> Path:
    """A folder of weights: ``gemma``, ``qwen``, and ``llava`` converted from the published names."""
    from itrialspace_assets.readers.chat.llava_med import convert
    from tests.support import tiny_chat

    root = tmp_path_factory.mktemp("weights")
    tiny_chat.gemma(root / "gemma")
    tiny_chat.qwen(root / "qwen")
    convert(published, root / "llava", None, lambda _: None)
    return root


@pytest.fixture(scope="session")
def loaded(weights: Path) -> Callable[..., Read]:
    """What reads with a model's folder, loaded once for the same options."""
    from itrialspace_assets.readers.chat.engine import load
    from itrialspace_assets.readers.chat.options import ChatOptions

    @cache
    def get(name: str, **options: object) -> Read:
        return load(weights / name, ChatOptions(**{"dtype": "float32", "batch": 3, "new_tokens": 3} | options), "cpu")

    return get


def ask(number: int, task: str, pictures: int = 1, shape: tuple[int, ...] = (12, 10)) -> Request:
    """A request about random pictures."""
    draws = np.random.default_rng(number)
    options = TASK_OPTIONS[task]
    return Request(
        key=f"{number} {task} {pictures}",
        pictures=tuple(draws.integers(0, 255, shape, dtype=np.uint8) for _ in range(pictures)),
        pixel_mm=(0.7, 0.7),
        condition="plain",
        control="none",
        task=task,
        prompt_id="p",
        prompt=f"Is it visible? {', '.join(options)}",
        options=options,
    )
