"""Evaluation: metrics on answers whose scores are known, and a report of base and tuned model."""

import json
import math
from pathlib import Path

import pytest
from tunesmith_runtime.answers import greedy_answers
from tunesmith_runtime.chat import IGNORED, Example
from tunesmith_runtime.config import load_config
from tunesmith_runtime.metrics import (
    completion_loss,
    exact_match,
    rouge_l,
)

from support_assistant.evaluate import Config, main


def test_the_report_sets_the_tuned_model_beside_the_base(trained: Path) -> None:
    metrics = main(load_config(Config, "evaluate", [trained / "config.yaml"]))
    measured = {name.removeprefix("tuned_") for name in metrics if name.startswith("tuned_")}
    assert measured == {
        "exact_match",
        "loss",
        "perplexity",
        "rouge_l",
    }
    assert all(math.isfinite(float(metrics[f"tuned_{name}"])) for name in measured)
    folder = trained / "run" / "evaluate"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["metrics"] == metrics
    assert len(report["answers"]) == metrics["examples"]
    text = (folder / "report.md").read_text(encoding="utf-8")
    for name in measured:
        assert f"| {name.replace('_', ' ')} |" in text


def test_answers_come_in_the_order_of_their_prompts_however_they_share_batches(
    project: Path,
) -> None:
    import torch
    from transformers import AutoModelForCausalLM, AutoTokenizer

    model = AutoModelForCausalLM.from_pretrained(project / "base")
    torch.manual_seed(0)
    for parameter in model.parameters():  # else it says the same whatever it is asked
        torch.nn.init.normal_(parameter)
    tokenizer = AutoTokenizer.from_pretrained(project / "base")
    prompts = [
        tokenizer(text * n)["input_ids"] for n, text in ((9, "a b "), (1, "Where? "), (4, "no "))
    ]
    alone = [greedy_answers(model, tokenizer, [prompt], [], 8, 1, "alone") for prompt in prompts]
    together = greedy_answers(model, tokenizer, prompts, [], 8, 2, "together")
    assert together == [answer for (answer,) in alone]
    assert len(set(together)) == 3


def test_exact_match_ignores_spaces_and_composition() -> None:
    answers = ["cafe\u0301  open ", "no"]
    assert exact_match(answers, ["caf\u00e9 open", "yes"]) == 0.5


def test_rouge_counts_korean_words() -> None:
    assert rouge_l(["환불은 이틀 걸립니다"], ["환불은 이틀 걸립니다"]) == 1.0
    assert rouge_l(["환불은 사흘 걸립니다"], ["환불은 이틀 걸립니다"]) == pytest.approx(2 / 3)


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
