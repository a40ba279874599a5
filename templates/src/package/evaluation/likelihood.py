"""How likely a model finds the tokens that it is trained on, in nats."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from tunesmith_runtime.chat import IGNORED, Example


def completion_loss(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> float:
    """Mean negative log-likelihood in nats of the trained tokens, each weighing the same.

    ``exp`` of it is the perplexity. The model is left in evaluation mode.
    """
    found = log_probs(model, examples, batch_size, pad_id)
    return -sum(found) / sum(map(trained_tokens, examples))


def perplexity(loss: float) -> float:
    """``exp`` of a loss in nats; infinite where that overflows."""
    return math.exp(loss) if loss < 700 else math.inf


def log_probs(model: Any, examples: Sequence[Example], batch_size: int, pad_id: int) -> list[float]:
    """Log-likelihood in nats of each example's trained tokens, summed; in evaluation mode."""
    model.eval()
    found = [0.0] * len(examples)
    # Rows of like length share a batch, so that little is spent on padding.
    order = sorted(range(len(examples)), key=lambda n: len(examples[n].input_ids))
    for start in range(0, len(order), batch_size):
        places = order[start : start + batch_size]
        batch = [examples[place] for place in places]
        width = max(len(example.input_ids) for example in batch)
        ids = [e.input_ids + [pad_id] * (width - len(e.input_ids)) for e in batch]
        mask = [[1] * len(e.labels) + [0] * (width - len(e.labels)) for e in batch]
        labels = [e.labels + [IGNORED] * (width - len(e.labels)) for e in batch]
        target = torch.tensor(labels, device=model.device)[:, 1:]
        with torch.no_grad():
            logits = model(
                input_ids=torch.tensor(ids, device=model.device),
                attention_mask=torch.tensor(mask, device=model.device),
                use_cache=False,
            ).logits[:, :-1]
        # Only the positions that count are widened to float32: the vocabulary is large.
        counted = target != IGNORED
        losses = torch.zeros(target.shape, device=model.device)
        losses[counted] = torch.nn.functional.cross_entropy(
            logits[counted].float(), target[counted], reduction="none"
        )
        for place, loss in zip(places, losses.sum(dim=1).tolist(), strict=True):
            found[place] = -loss
    return found


def trained_tokens(example: Example) -> int:
    """How many tokens count; a model never predicts the first one."""
    return sum(label != IGNORED for label in example.labels[1:])
