"""How options are said in a vocabulary, and scores from logits; no model."""

import math
from typing import Any

import pytest

from itrialspace_assets.base.errors import ConfigError
from itrialspace_assets.readers.chat.forms import closed_set, single_tokens, spoken
from itrialspace_assets.records.tables import TASK_OPTIONS


class Words:
    """A tokenizer with one token a word of its list, and one for each other character."""

    all_special_ids = (0,)

    def __init__(self, *words: str) -> None:
        self.vocabulary = {word: i for i, word in enumerate(["<no>", *words])}

    def get_vocab(self) -> dict[str, int]:
        return self.vocabulary

    def encode(self, text: str, add_special_tokens: bool) -> list[int]:
        assert not add_special_tokens
        return [t for part in text.split() for t in self._of(part)]

    def _of(self, word: str) -> list[int]:
        return [self.vocabulary[word]] if word in self.vocabulary else [1000 + ord(c) for c in word]


def _set(tokenizer: Any, task: str) -> Any:
    return closed_set(tokenizer, single_tokens(tokenizer), TASK_OPTIONS[task])


def test_every_token_that_is_the_word_counts_whatever_its_case_and_blank() -> None:
    tokenizer = Words("yes", "▁Yes", "ĠYES", "no", "▁no", "nodule", "yesterday", "absent")
    found = _set(tokenizer, "presence")
    assert found.first == ((1, 2, 3), (4, 5, 8))
    turned = closed_set(tokenizer, single_tokens(tokenizer), TASK_OPTIONS["presence"][::-1])
    assert turned.first == found.first[::-1]


def test_options_that_begin_alike_or_have_no_token_are_sequences() -> None:
    assert _set(Words("right", "left", "upper", "lower", "lobe"), "lobe").first is None
    assert _set(Words("yes"), "presence").first is None
    assert _set(Words("malignant", "benign"), "malignancy").first == ((1,), (2,))
    known = Words("right", "left", "Right", "upper", "middle", "lobe", "right_lung_upper_lobe")
    forms = dict(zip(TASK_OPTIONS["lobe"], _set(known, "lobe").sequences, strict=True))
    told = "the label, its words, and its words at the start of a sentence"
    assert forms["right_lung_upper_lobe"] == ((7,), (1, 4, 6), (3, 4, 6)), told
    assert [spoken(o) for o in TASK_OPTIONS["size"]] == ["<5 mm", "5-10 mm", "10-20 mm", ">20 mm"]


def test_a_vocabulary_that_cannot_tell_options_apart_is_refused() -> None:
    class Blind(Words):
        def _of(self, word: str) -> list[int]:
            return [1]

    with pytest.raises(ConfigError, match="expected different tokens for each"):
        _set(Blind("x"), "size")


def test_scores_and_the_mass_outside_are_the_models_probabilities() -> None:
    import torch

    from itrialspace_assets.readers.chat.scores import by_first_token, by_sequence

    p = torch.tensor([0.4, 0.1, 0.2, 0.05, 0.25], dtype=torch.float64)
    got = by_first_token(p.log() + 3, ((0, 1), (2,)))
    assert got.scores == pytest.approx((math.log(0.5), math.log(0.2)))
    assert got.outside == pytest.approx(math.log(0.3))
    # two options that begin with token 0: (0, 1) and (0, 2); the second may also be said as token 4 alone
    forms = (((0, 1),), ((0, 2), (4,)))
    padded = torch.tensor([[0, 1], [0, 2], [4, 4]])
    later = torch.stack([p.log(), p.log(), p.log()])[:, None].expand(3, 2, 5)
    got = by_sequence(p.log(), later, padded, forms)
    assert got.scores == pytest.approx((math.log(0.4 * 0.1) / 2, max(math.log(0.4 * 0.2) / 2, math.log(0.25))))
    assert got.outside == pytest.approx(math.log(1 - 0.04 - 0.08 - 0.25))
    within = by_sequence(p.log(), later, padded, (((0,), (0, 1)), ((4,),)))
    assert within.outside == pytest.approx(math.log(1 - 0.4 - 0.25)), "what goes on from a form counts with it"
