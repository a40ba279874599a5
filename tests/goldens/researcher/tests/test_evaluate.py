"""Evaluation: metrics on answers whose scores are known, and a report of base and tuned model."""

import json
import math
from pathlib import Path

import pytest
from tunesmith_runtime.chat import IGNORED, Example
from tunesmith_runtime.config import load_config
from tunesmith_runtime.metrics import (
    completion_loss,
)

from maths_tutor.evaluate import Config, main


def test_the_report_sets_the_tuned_model_beside_the_base(trained: Path) -> None:
    metrics = main(load_config(Config, "evaluate", [trained / "config.yaml"]))
    measured = {name.removeprefix("tuned_") for name in metrics if name.startswith("tuned_")}
    assert measured == {
        "loss",
        "perplexity",
    }
    assert all(math.isfinite(float(metrics[f"tuned_{name}"])) for name in measured)
    folder = trained / "run" / "evaluate"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["metrics"] == metrics
    text = (folder / "report.md").read_text(encoding="utf-8")
    for name in measured:
        assert f"| {name.replace('_', ' ')} |" in text


def test_loss_weighs_every_trained_token_the_same(project: Path) -> None:
    import torch
    from transformers import AutoModelForCausalLM

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
