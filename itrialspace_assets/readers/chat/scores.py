"""Scores of options from a model's logits. Knows no model and no tokenizer.

A score is a log-probability: of all tokens that say the option, or of its likeliest form per token.
"""

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from itrialspace_assets.readers.chat.forms import Tokens

if TYPE_CHECKING:
    import torch

#: Least probability of saying something else that a sum over whole answers can tell from none (single precision).
_LEAST = 2.0**-23


@dataclass(frozen=True)
class OptionScores:
    """Score of each option, and the log-probability of everything else."""

    scores: tuple[float, ...]
    outside: float


def by_first_token(logits: "torch.Tensor", first: tuple[Tokens, ...]) -> OptionScores:
    """log p of the tokens of each option, and of all other tokens.

    Args:
        logits: (V) of the next token.
        first: tokens of each option; no two options share one.
    """
    import torch

    log_p = torch.log_softmax(logits.double(), -1)
    scores = [float(log_p[list(tokens)].logsumexp(-1)) for tokens in first]
    log_p[[token for tokens in first for token in tokens]] = -math.inf
    return OptionScores(tuple(scores), float(log_p.logsumexp(-1)))


def by_sequence(
    first: "torch.Tensor", later: "torch.Tensor", padded: "torch.Tensor", forms: tuple[tuple[Tokens, ...], ...]
) -> OptionScores:
    """Length-normalised log-likelihood of each option: that of its likeliest form, per token.

    Args:
        first: (V) logits of the first token.
        later: (K, T, V) logits after each token of each form.
        padded: (K, T) the forms' tokens, filled up with any token.
        forms: of each option; K forms in all, in this order.
    """
    import torch

    start = torch.log_softmax(first.double(), -1).expand(len(padded), 1, -1)
    log_p = torch.cat([start, torch.log_softmax(later[:, :-1].double(), -1)], 1).gather(-1, padded[..., None])[..., 0]
    flat = [form for of in forms for form in of]
    totals = [float(log_p[k, : len(form)].sum()) for k, form in enumerate(flat)]
    each = iter(zip(flat, totals, strict=True))
    scores = [max(total / len(form) for form, total in (next(each) for _ in of)) for of in forms]
    said = sum(
        math.exp(total)
        for form, total in zip(flat, totals, strict=True)
        if not any(form[: len(other)] == other for other in flat if len(other) < len(form))  # counted with the shorter
    )
    return OptionScores(tuple(scores), math.log(max(1 - said, _LEAST)))
