"""Entries of language models: what they need, their revision, their defaults, and what is refused."""

import shutil
from pathlib import Path

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.api import Reader
from itrialspace_assets.readers.entry import ReaderEntry, ReaderEnvironment
from itrialspace_assets.readers.registry import entries, make


def _make(name: str, place: ReaderEnvironment, **change: object) -> Reader:
    entry = entries(None)[name]
    return make(ReaderEntry(**entry.model_dump() | change), place)


@pytest.fixture
def place(tmp_path: Path) -> ReaderEnvironment:
    return ReaderEnvironment(tmp_path / "weights", tmp_path / "hashes.sqlite")


def test_the_shipped_entries_are_off_and_say_what_they_lack(place: ReaderEnvironment) -> None:
    wanted = {
        "medgemma": "accept the Health AI Developer Foundations terms",
        "medgemma_volume": "google/medgemma-1.5-4b-it",
        "llava_med": "its weights convert llava-med DIR",
        "llava15": "llava-hf/llava-1.5-7b-hf",
        "lingshu_7b": "an image-text-to-text model of transformers",
        "huatuogpt_vision_7b": "see its own licence",
        "qwen25_vl_7b": "tokenizer.json",
    }
    for name, said in wanted.items():
        assert not entries(None)[name].enabled
        reader = _make(name, place)
        (need,) = reader.needs()
        assert said in need.what + need.fix
        folder = "medgemma" if name == "medgemma_volume" else name
        assert str(place.weights_dir / folder) in need.what
        with pytest.raises(ConfigError, match=f"reader {name}: "):
            _ = reader.revision
        assert reader.trained_on and reader.licence


def test_which_slices_and_words_they_are_shown(place: ReaderEnvironment) -> None:
    slices, scans, llava = (_make(name, place) for name in ("medgemma", "medgemma_volume", "llava_med"))
    assert (slices.profile, slices.z_offsets, slices.scan_levels) == ("lung_axial_medgemma", (-1, 0, 1), None)
    assert (scans.profile, scans.scan_levels, scans.tasks) == ("lung_axial_medgemma", 85, ("presence",))
    assert (llava.profile, llava.z_offsets, llava.scorer) == ("lung_axial", (0,), "option_scores")
    assert set(llava.prompts) == set(llava.tasks) == {"presence", "lobe", "size"}
    text = _make("llava_med", place, options={"answer": "text"})
    assert text.scorer == "text"
    with pytest.raises(ConfigError, match=r"readers\.medgemma_volume: tasks: expected presence alone"):
        _make("medgemma_volume", place, tasks=("presence", "lobe"))
    with pytest.raises(ConfigError, match=r"options: dtypes: unknown key; did you mean 'dtype'"):
        _make("llava_med", place, options={"dtypes": "float16"})
    with pytest.raises(ConfigError, match=r"options: weights"):
        _make("llava_med", place, options={"weights": "../elsewhere"})


def test_the_revision_follows_what_decides_an_answer(place: ReaderEnvironment, weights: Path) -> None:
    shutil.copytree(weights / "gemma", place.weights_dir / "medgemma")
    reader = _make("medgemma", place)
    assert reader.needs() == []
    options = entries(None)["medgemma"].options
    assert _make("medgemma", place, options=options | {"weights": "medgemma"}).revision == reader.revision
    for change in ({"dtype": "float32"}, {"answer": "both"}, {"batch": 2}, {"attention": "eager"}, {"template": "x"}):
        assert _make("medgemma", place, options=options | change).code != reader.code
    before = reader.revision
    template = place.weights_dir / "medgemma" / "chat_template.jinja"
    template.write_text(template.read_text() + " ")
    assert reader.revision != before
    flash = _make("medgemma", place, options=options | {"attention": "flash_attention_2"})
    assert ["flash_attn" in need.what for need in flash.needs()] == [True]


def test_a_version_of_questions_is_for_language_models(place: ReaderEnvironment) -> None:
    asked = _make("llava_med", place, prompts="published_1").prompts["presence"]
    assert asked.options == (("present", "yes"), ("absent", "no"))
    with pytest.raises(ConfigError, match=r"readers\.biomedclip: prompts: expected a caption .* 'published_1'"):
        _make("biomedclip", place, prompts="published_1")
