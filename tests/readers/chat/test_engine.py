"""Language models of three families: scores against a plain computation, batches, texts, what a folder must hold."""

import dataclasses
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.api import Read, Request
from itrialspace_assets.readers.chat.forms import closed_set
from itrialspace_assets.readers.chat.turns import turn
from tests.readers.chat.conftest import FAMILIES, ask

Loaded = Callable[..., Read]


def _log_p(engine: Any, request: Request, form: tuple[int, ...]) -> list[float]:
    """log p of each token of a form behind a request: one forward pass over all of it, without cache or batch."""
    import torch

    inputs = engine.processor.apply_chat_template(
        turn(request), add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
    )
    length = inputs["input_ids"].shape[1]
    added = torch.tensor([form])
    zeros = torch.zeros_like(added)
    grown = {"input_ids": added, "attention_mask": zeros + 1, "token_type_ids": zeros, "mm_token_type_ids": zeros}
    whole = {k: torch.cat([v, grown[k]], 1) if k in grown else v for k, v in inputs.items()}
    with torch.inference_mode():
        if hasattr(engine.model.model, "rope_deltas"):
            engine.model.model.rope_deltas = None
        logits = engine.model(**whole).logits[0].double()
    log_p = logits.log_softmax(-1)
    return [float(log_p[length - 1 + i, token]) for i, token in enumerate(form)]


@pytest.mark.parametrize("family", FAMILIES)
def test_scores_are_those_of_a_plain_forward_pass(loaded: Loaded, family: str) -> None:
    read = loaded(family)
    engine: Any = read.__self__
    requests = [ask(1, "presence"), ask(2, "lobe", 2), ask(2, "size", 0)]
    for request, got in zip(requests, read(requests), strict=True):
        options = closed_set(engine.processor.tokenizer, engine.words, request.options)
        assert (options.first is None) == (request.task != "presence")
        if options.first:
            each = [math.log(sum(math.exp(_log_p(engine, request, (t,))[0]) for t in of)) for of in options.first]
            said = sum(map(math.exp, each))
        else:
            totals = [[_log_p(engine, request, form) for form in of] for of in options.sequences]
            each = [max(sum(p) / len(p) for p in of) for of in totals]
            said = sum(math.exp(sum(p)) for of in totals for p in of)
        assert got.option_scores == pytest.approx(each, abs=1e-4)
        assert got.outside_log_mass == pytest.approx(math.log1p(-said), abs=1e-5)
        assert got.raw_text is None


@pytest.mark.parametrize("family", FAMILIES)
def test_what_a_request_gets_depends_on_it_alone(loaded: Loaded, family: str) -> None:
    read = loaded(family, answer="both")
    about = (("presence", 1), ("lobe", 1), ("presence", 3), ("lobe", 0))
    requests = [ask(i, task, n) for i in (1, 2) for task, n in about]
    together = read(requests)
    assert [*read(requests[:1]), *read(requests[:0:-1])[::-1]] == together
    assert len({generation.option_scores for generation in together}) == 7, "it looks at the pictures: 2 have none"


def test_a_text_is_what_the_model_writes_greedily(loaded: Loaded) -> None:
    import torch

    read = loaded("gemma", answer="text")
    engine: Any = read.__self__
    request = ask(4, "presence")
    (got,) = read([request])
    assert got.option_scores is None and got.outside_log_mass is None
    said: tuple[int, ...] = ()
    for _ in range(3):
        inputs = engine._inputs([request])
        del inputs["attention_mask"]
        for name, added in (("input_ids", said), ("token_type_ids", (0,) * len(said))):
            inputs[name] = torch.cat([inputs[name], torch.tensor([added] * 3, dtype=torch.long)], 1)
        with torch.inference_mode():
            said += (int(engine.model(**inputs).logits[0, -1].argmax()),)
    assert got.raw_text == engine.processor.tokenizer.decode(said, skip_special_tokens=True).strip()


def test_pictures_are_squares_of_three_channels_in_order_and_the_question_comes_last() -> None:
    wide = np.zeros((4, 6), np.uint8)
    request = dataclasses.replace(ask(1, "presence"), pictures=(wide, wide + 7, wide + 9))
    ((_, content),) = (message.values() for message in turn(request))
    assert [part.get("text") for part in content] == [
        None, "SLICE 1", None, "SLICE 2", None, "SLICE 3", request.prompt,
    ]  # fmt: skip
    shown = [np.asarray(part["image"]) for part in content if part["type"] == "image"]
    assert [s.shape for s in shown] == [(6, 6, 3)] * 3
    assert [int(s.max()) for s in shown] == [0, 7, 9]
    one = turn(dataclasses.replace(request, pictures=(wide,)))[0]["content"]
    assert [part["type"] for part in one] == ["image", "text"], "a single picture has no number"


def test_a_picture_that_the_processor_would_crop_is_no_answer(loaded: Loaded, monkeypatch: pytest.MonkeyPatch) -> None:
    read = loaded("llava")
    engine: Any = read.__self__
    assert read([ask(1, "presence", shape=(9, 4))])[0].failure is None, "padded to a square it loses nothing"
    monkeypatch.setattr(engine.processor.image_processor, "crop_size", {"height": 6, "width": 8})
    (got,) = read([ask(1, "presence", shape=(8, 8))])
    assert got.failure is not None and "got 16 pixels cut off" in got.failure
    assert got.option_scores is None


def test_a_folder_that_is_not_the_models_is_refused(weights: Path, tmp_path: Path) -> None:
    from safetensors.torch import load_file, save_file

    from itrialspace_assets.readers.chat.engine import load
    from itrialspace_assets.readers.chat.options import ChatOptions

    options = ChatOptions(dtype="float32")
    copy = tmp_path / "gemma"
    shutil.copytree(weights / "gemma", copy)
    tensors = load_file(copy / "model.safetensors")
    lost = next(name for name in tensors if name.endswith("q_proj.weight") and "vision" not in name)
    kept = {name: t for name, t in tensors.items() if name != lost}
    save_file(kept, copy / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(ConfigError, match=r"of Gemma3ForConditionalGeneration, got 1 missing keys, first .*q_proj"):
        load(copy, options, "cpu")
    more = {"model.language_model.rotary_emb.inv_freq": tensors[lost][0].clone()}
    save_file(
        tensors | more | {"model.other": tensors[lost].clone()}, copy / "model.safetensors", metadata={"format": "pt"}
    )
    with pytest.raises(ConfigError, match=r"got 1 unexpected keys, first model\.other$"):
        load(copy, options, "cpu")
    save_file(tensors | more, copy / "model.safetensors", metadata={"format": "pt"})
    (copy / "chat_template.jinja").unlink()
    with pytest.raises(ConfigError, match=r"expected a chat template, got none; give options.template"):
        load(copy, options, "cpu")
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | {"model_type": "llava_mistral"}))
    with pytest.raises(ConfigError, match="expected an image-text-to-text model of transformers, got: "):
        load(copy, options, "cpu")


def test_a_template_of_the_entry_comes_before_that_of_the_folder(loaded: Loaded) -> None:
    own = "{{ bos_token }}{% for part in messages[0]['content'] %}{{ part['text'] or '<start_of_image>' }}{% endfor %}?"
    request = ask(1, "presence")
    assert loaded("gemma", template=own)([request]) != loaded("gemma")([request])
