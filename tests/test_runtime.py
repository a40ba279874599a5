"""Rules of the runtime and of the smoke run that need no torch; the rest is tested in generated repositories."""

import importlib.util
import json
import sys
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT
from tunesmith_runtime.errors import UserError

_loader = importlib.util.spec_from_file_location("stages", PROJECT / "templates" / "smoke" / "stages.py")
assert _loader is not None
assert _loader.loader is not None
stages_module: Any = importlib.util.module_from_spec(_loader)
sys.modules["stages"] = stages_module  # where its dataclasses look for their types
_loader.loader.exec_module(stages_module)
Metrics = dict[str, float | str]
CannotRunError, Stage = stages_module.CannotRunError, stages_module.Stage
require_learning, run_stages = stages_module.require_learning, stages_module.run_stages


@pytest.mark.parametrize(
    ("metrics", "learned"),
    [
        ({"base_perplexity": 10.0, "tuned_perplexity": 5.0}, True),
        ({"base_perplexity": 10.0, "tuned_perplexity": 9.99}, False),
        ({"base_perplexity": 10.0, "tuned_perplexity": 12.0}, False),
        ({"base_perplexity": 10.0, "tuned_perplexity": float("nan")}, False),
        ({"base_loss": 2.0, "tuned_loss": 1.0}, True),
        ({"base_loss": 2.0, "tuned_loss": 2.0}, False),
        ({"base_exact_match": 0.0, "tuned_exact_match": 0.5}, True),
        ({"base_exact_match": 0.0, "tuned_exact_match": 0.0}, False),
        ({"base_bleu": 3.0, "tuned_bleu": 60.0}, True),
        ({"base_rouge_l": 0.5, "tuned_rouge_l": 0.4}, False),
        (
            {"base_preference_accuracy": 0.5, "tuned_preference_accuracy": 0.9, "base_loss": 1.0, "tuned_loss": 2.0},
            True,
        ),
        (
            {"base_preference_accuracy": 0.5, "tuned_preference_accuracy": 0.5, "base_loss": 2.0, "tuned_loss": 1.0},
            False,
        ),
        (
            {"base_perplexity": 9.0, "tuned_perplexity": 3.0, "base_exact_match": 0.5, "tuned_exact_match": 0.2},
            False,
        ),
    ],
)
def test_a_smoke_run_fails_where_nothing_was_learned(metrics: Metrics, learned: bool) -> None:
    if learned:
        assert require_learning(metrics) is metrics
    else:
        with pytest.raises(UserError, match="nothing was learned"):
            require_learning(metrics)


def fails() -> Metrics:
    raise UserError("disk on fire")


def cannot() -> Metrics:
    raise CannotRunError("no such engine here")


def test_the_summary_says_what_passed_failed_and_was_skipped(tmp_path: Path) -> None:
    stages = [Stage("one", lambda: {"rows": 3.0}), Stage("two", cannot), Stage("three", fails), Stage("four", fails)]
    with pytest.raises(UserError, match="smoke: three failed: disk on fire"):
        run_stages(stages, tmp_path / "run")
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())["stages"]
    assert [(stage["name"], stage["status"]) for stage in summary] == [
        ("one", "passed"),
        ("two", "skipped"),
        ("three", "failed"),
        ("four", "skipped"),
    ]
    assert summary[0]["metrics"] == {"rows": 3.0}
    assert summary[1]["metrics"] == {"reason": "no such engine here"}


def test_a_smoke_run_removes_no_folder_that_it_did_not_make(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("keep")
    with pytest.raises(UserError, match="was not made by a smoke run"):
        run_stages([Stage("one", dict)], tmp_path)
    assert (tmp_path / "precious").read_text() == "keep"
