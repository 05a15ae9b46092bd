"""Batches of texts of similar length; where and how a network computes."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.base.settings import Settings
from itrialspace_assets.readers import build, compute
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.records.layout import REAL

from .conftest import PART


@given(st.lists(st.integers(0, 900), max_size=80), st.integers(1, 9), st.integers(1, 2000))
def test_every_text_is_in_one_batch_that_fits(lengths: list[int], most: int, tokens: int) -> None:
    found = compute.batches(lengths, most, tokens)
    assert sorted(i for batch in found for i in batch) == list(range(len(lengths)))
    padded = 0
    for batch in found:
        longest = max(lengths[i] for i in batch)
        assert 1 <= len(batch) <= most
        assert len(batch) == 1 or len(batch) * longest <= tokens
        padded += len(batch) * longest
    ordered = [lengths[i] for batch in found for i in batch]
    assert ordered == sorted(lengths, reverse=True), "longest first, so that padding is least"
    assert padded >= sum(lengths)


def test_texts_of_two_lengths_are_not_mixed_where_they_need_not_be() -> None:
    found = compute.batches([900, 10, 900, 10, 10, 900], 3, 5000)
    np.testing.assert_array_equal(found, [[0, 2, 5], [1, 3, 4]])


def test_a_network_computes_where_location_and_setting_agree(monkeypatch: pytest.MonkeyPatch) -> None:
    place = ReaderEnvironment(None, Path("hashes.sqlite"), "cuda")
    assert compute.device_of(ReaderEntry(name="a", kind="clip", location="gpu"), place) == "cuda"
    assert compute.device_of(ReaderEntry(name="a", kind="clip", location="cpu"), place) == "cpu"
    assert (
        compute.device_of(ReaderEntry(name="a", kind="clip", location="gpu"), ReaderEnvironment(None, Path("h"), "cpu"))
        == "cpu"
    )
    monkeypatch.setattr(compute.importlib.util, "find_spec", lambda name: object())
    assert compute.attention_of("cuda:1", "bfloat16") == "flash_attention_2"
    assert compute.attention_of("cuda", "float32") == compute.attention_of("cpu", "bfloat16") == "sdpa"
    monkeypatch.setattr(compute.importlib.util, "find_spec", lambda name: None)
    assert compute.attention_of("cuda", "bfloat16") == "sdpa"


def test_gpus_are_shared_in_turns_and_asked_for_before_any_work(
    monkeypatch: pytest.MonkeyPatch, study: Callable[..., Settings], tmp_path: Path
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(ConfigError, match="ITRIALSPACE_DEVICE=cuda: expected a GPU that torch can use, found none"):
        compute.start("cuda")
    assert compute.start("cpu") == "cpu" and torch.get_num_threads() == 1
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    settings = study(4).model_copy(update={"per_gpu": 3, "workers": 5})
    assert compute.at_once(settings, "cuda") == 2
    assert compute.at_once(settings, "cpu") == compute.at_once(settings, None) == 5
    config = tmp_path / "own.yaml"
    config.write_text("readers: {retinanet: {enabled: true}}")
    with pytest.raises(ConfigError, match="expected a GPU"):
        own = settings.model_copy(update={"readers_config": config, "device": "cuda"})
        build.work(own, REAL, "retinanet", PART, "r", "s0")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    ran = []
    monkeypatch.setattr(build.shards, "assigned", lambda *_: 0)
    monkeypatch.setattr(build.shards, "run_shard", lambda work, payload, settings, *_: ran.append(settings.workers))
    build.work(own, REAL, "retinanet", PART, "r", "s0")
    build.work(own, REAL, "blob", PART, "r", "s0")
    assert ran == [6, 5]
