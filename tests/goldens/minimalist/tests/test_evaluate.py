"""Evaluation: a report that sets the tuned model beside the base."""

import json
import math
from pathlib import Path

import pytest
from tunesmith_runtime.config import load_config

from a import evaluate
from a.evaluate import Config, main


def test_the_report_sets_the_tuned_model_beside_the_base(trained: Path) -> None:
    metrics = main(load_config(Config, "evaluate", [trained / "config.yaml"]))
    measured = {name.removeprefix("tuned_") for name in metrics if name.startswith("tuned_")}
    assert measured == {
        "loss",
    }
    assert all(math.isfinite(float(metrics[f"tuned_{name}"])) for name in measured)
    folder = trained / "run" / "evaluate"
    report = json.loads((folder / "report.json").read_text(encoding="utf-8"))
    assert report["metrics"] == metrics
    text = (folder / "report.md").read_text(encoding="utf-8")
    for name in measured:
        assert f"| {name.replace('_', ' ')} |" in text


def test_another_metric_is_one_entry(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may ask for answers that no other metric reads; the report then shows them."""
    letters = {"letters": lambda model, _: sum(map(len, model.answers)) / len(model.answers)}
    monkeypatch.setattr(evaluate, "METRICS", letters)
    files = [trained / "config.yaml"]
    metrics = main(load_config(Config, "evaluate", files, ["evaluate.max_examples=3"]))
    file = trained / "run" / "evaluate" / "report.json"
    answers = json.loads(file.read_text(encoding="utf-8"))["answers"]
    assert len(answers) == 3
    for name in ("base", "tuned"):
        assert metrics[f"{name}_letters"] == sum(len(answer[name]) for answer in answers) / 3


def test_a_metric_may_compare_with_the_base(trained: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    compared = {
        "loss": lambda model, _: model.loss,
        "gain": lambda model, _: None if model.base is None else model.base.loss - model.loss,
    }
    monkeypatch.setattr(evaluate, "METRICS", compared)
    files = [trained / "config.yaml"]
    metrics = main(load_config(Config, "evaluate", files, ["evaluate.max_examples=3"]))
    assert "base_gain" not in metrics
    assert metrics["tuned_gain"] == float(metrics["base_loss"]) - float(metrics["tuned_loss"])
