"""A folder of weights: what it lacks and how to fix it, its hash; and pictures padded to a square."""

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.square import coloured, pixels_lost, squared
from itrialspace_assets.readers.weights import ExpectedFiles, ReaderWeights, missing_packages, weights_of

EXPECTED = ExpectedFiles(
    (("config.json",), ("model.safetensors", "model.safetensors.index.json")), "org/model", "accept the terms of org"
)


@pytest.fixture
def weights(tmp_path: Path) -> ReaderWeights:
    entry = ReaderEntry(name="some_model", kind="blob")
    place = ReaderEnvironment(tmp_path / "weights", tmp_path / "hashes.sqlite")
    made = weights_of(entry, None, place, EXPECTED)
    assert made.folder == tmp_path / "weights" / "some_model"
    made.folder.mkdir(parents=True)
    (made.folder / "config.json").write_text("{}")
    (made.folder / "model.safetensors").write_bytes(b"weights")
    return made


def test_what_is_missing_is_said_with_folder_files_and_licence(weights: ReaderWeights) -> None:
    assert weights.needs() == []
    assert weights.folder is not None
    (weights.folder / "model.safetensors").unlink()
    (need,) = weights.needs()
    assert need.what == f"{weights.folder}: expected model.safetensors or model.safetensors.index.json, found none"
    assert need.fix == "put the files of org/model there (accept the terms of org)"
    with pytest.raises(ConfigError, match=r"reader some_model: .*some_model: expected model\.safetensors"):
        weights.sha256()
    (need,) = replace(weights, folder=weights.folder / "none").needs()
    assert "expected a folder with config.json, model.safetensors or" in need.what
    (need,) = replace(weights, folder=None).needs()
    assert "ITRIALSPACE_WEIGHTS_DIR is not set" in need.what and "a folder some_model" in need.fix


@pytest.mark.parametrize(
    ("content", "said"), [(b"", "empty file"), (b"version https://git-lfs.github.com/spec/v1\noid", "git lfs pull")]
)
def test_a_file_that_holds_no_weights_is_said(weights: ReaderWeights, content: bytes, said: str) -> None:
    assert weights.folder is not None
    (weights.folder / "model.safetensors").write_bytes(content)
    (need,) = weights.needs()
    assert said in need.what


def test_every_shard_that_an_index_names_must_be_there(weights: ReaderWeights) -> None:
    assert weights.folder is not None
    index = weights.folder / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": "model-1.safetensors", "b": "model-2.safetensors"}}))
    (weights.folder / "model-1.safetensors").write_bytes(b"1")
    (need,) = weights.needs()
    assert need.what.endswith("expected model-2.safetensors, found none")
    index.write_text("[]")
    (need,) = weights.needs()
    assert "model.safetensors.index.json with a weight_map" in need.what


def test_the_hash_covers_names_and_contents_and_nothing_hidden(weights: ReaderWeights) -> None:
    assert weights.folder is not None
    first = weights.sha256()
    (weights.folder / ".cache").mkdir()
    (weights.folder / ".cache" / "note").write_text("x")
    (weights.folder / "README.md").write_text("x")
    assert weights.sha256() == first
    (weights.folder / "sub").mkdir()
    (weights.folder / "sub" / "vocab.txt").write_text("a")
    second = weights.sha256()
    (weights.folder / "sub" / "vocab.txt").rename(weights.folder / "sub" / "merges.txt")
    third = weights.sha256()
    (weights.folder / "model.safetensors").write_bytes(b"other")
    assert len({first, second, third, weights.sha256()}) == 4


def test_a_package_that_is_not_there_is_named() -> None:
    assert missing_packages(["numpy"]) == []
    (need,) = missing_packages(["numpy", "no_such_package_here"])
    assert need.what.endswith("found no no_such_package_here") and "pip install" in need.fix


@given(st.integers(1, 40), st.integers(1, 40), st.booleans())
def test_a_squared_picture_is_the_picture_in_black(height: int, width: int, grey: bool) -> None:
    picture = np.arange(1, height * width + 1).astype(np.uint8).reshape(height, width) | 1
    picture = picture if grey else coloured(picture)
    square = squared(picture)
    side = max(height, width)
    assert square.shape == (side, side, 3)[: square.ndim]
    rows, columns = (np.flatnonzero(square.reshape(side, side, -1).any(axis=(axis, 2))) for axis in (1, 0))
    np.testing.assert_array_equal(square[rows[0] : rows[-1] + 1, columns[0] : columns[-1] + 1], picture)
    assert abs(rows[0] - (side - 1 - rows[-1])) <= 1 and abs(columns[0] - (side - 1 - columns[-1])) <= 1
    assert pixels_lost(picture.shape, 224, (224, 224)) == 0


def test_pixels_that_a_crop_cuts_off_are_counted() -> None:
    """A square of 8 is resized to 256 and cut to 224: half a pixel of each edge is lost, so the outermost ring."""
    assert pixels_lost((8, 8), 256, (224, 224)) == 64 - 36
    assert pixels_lost((8, 6), 256, (224, 224)) == 12  # padding at the sides goes first
    assert pixels_lost((8, 8), 224, (224, 112)) == 32
