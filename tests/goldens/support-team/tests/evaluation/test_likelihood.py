"""Likelihood: sums over the trained tokens, as the logits have them."""

from pathlib import Path

import pytest
import torch
from transformers import AutoModelForCausalLM
from tunesmith_runtime.chat import IGNORED, Example

from support_assistant.evaluation.likelihood import completion_loss, perplexity


def test_loss_weighs_every_trained_token_the_same(project: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(project / "base")
    rows = [[5, 6, 7, 8, 9], [10, 11], [12, 13, 14]]
    labels = [[IGNORED, IGNORED, 7, 8, 9], [IGNORED, 11], [IGNORED, 13, IGNORED]]
    examples = [Example(i, t, "") for i, t in zip(rows, labels, strict=True)]
    total = 0.0
    for ids, target in zip(rows, labels, strict=True):
        logits = model(input_ids=torch.tensor([ids])).logits[0, :-1].log_softmax(-1)
        total -= sum(
            logits[n, label].item() for n, label in enumerate(target[1:]) if label != IGNORED
        )
    expected = pytest.approx(total / 5, rel=1e-4)
    assert completion_loss(model, examples, batch_size=2, pad_id=0) == expected
    assert completion_loss(model, examples, batch_size=1, pad_id=0) == expected


def test_the_perplexity_of_a_runaway_loss_is_infinite() -> None:
    assert perplexity(0.0) == 1.0
    assert perplexity(1e4) == float("inf")
