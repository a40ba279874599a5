"""Preference accuracy."""

from pathlib import Path

import torch
from transformers import AutoModelForCausalLM
from tunesmith_runtime.chat import IGNORED, Example

from preference_lab.evaluation.likelihood import log_probs
from preference_lab.evaluation.preference_accuracy import preference_accuracy


def test_a_preference_counts_by_the_likelihood_per_token(project: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(project / "base")
    answers = [[7], [8, 9, 10], [11, 12]]
    logits = [
        model(input_ids=torch.tensor([[5, 6, *a]])).logits[0].log_softmax(-1) for a in answers
    ]
    means = [
        sum(log[n + 1, token].item() for n, token in enumerate(a)) / len(a)
        for log, a in zip(logits, answers, strict=True)
    ]
    order = sorted(range(3), key=lambda n: means[n])
    sides = [Example([5, 6, *a], [IGNORED, IGNORED, *a], "") for a in answers]
    worst, middle, best = (sides[n] for n in order)
    pairs = [best, worst, worst, middle, best, middle]
    assert preference_accuracy(pairs, log_probs(model, pairs, batch_size=3, pad_id=0)) == 2 / 3
