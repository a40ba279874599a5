"""Preference training on real rows, which are long and hard to tell apart."""

import json
import os
import subprocess
from pathlib import Path

import pytest

from conftest import PIPELINE_PYTHON, SHARED_DATA, require, require_data
from repositories import NO_SEARCH, generate, make_base, offline, settings, stage

pytestmark = pytest.mark.pipeline


@pytest.mark.parametrize(
    ("method", "train"),
    [
        ("dpo", ("max_steps=100",)),
        # Beside the likelihood of long answers, the odds ratio needs weight.
        pytest.param("orpo", ("max_steps=300", "beta=10.0", "learning_rate=1e-3"), marks=pytest.mark.long),
    ],
)
def test_real_preferences_are_learned(tmp_path: Path, method: str, train: tuple[str, ...]) -> None:
    """GSM8K: a right solution has the higher reward than a wrong one to the same question, on held-out long rows."""
    require(PIPELINE_PYTHON)
    data = require_data(SHARED_DATA / "gsm8k" / "preferences.jsonl")
    root = tmp_path / f"maths-{method}"
    source = {"path": os.path.relpath(data, root), "format": "preference"}
    answers = (f"method={method}", "adapter=full")
    generate(root, "support-preferences", *answers, data={"sources": [source]}, **NO_SEARCH)
    stage(root, "data", *settings())
    make_base(root)
    values = ("per_device_batch_size=4", *train)
    output = stage(root, "train", *settings(*(f"train.{value}" for value in values)))
    held_out = sum(1 for _ in (root / "runs/smoke/data/validation.jsonl").open())
    assert held_out > 60
    metrics = json.loads((root / "runs/smoke/train/manifest.json").read_text())["metrics"]
    assert metrics["validation_accuracy"] >= 0.6, output[-2_000:]
    assert metrics["validation_margin"] > 0
    if method == "dpo":
        stage(root, "evaluate", *settings("evaluate.max_examples=200", "evaluate.max_new_tokens=1"))
        metrics = json.loads((root / "runs/smoke/evaluate/manifest.json").read_text())["metrics"]
        assert metrics["tuned_reward_accuracy"] >= 0.6, metrics
        # What the smoke run decides by, where the likelihood per token says nothing.
        code = f"from support_preferences.smoke.learning import require_learning; require_learning({metrics})"
        subprocess.run([str(PIPELINE_PYTHON), "-c", code], cwd=root, env=offline(), check=True)
