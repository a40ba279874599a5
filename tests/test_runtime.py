"""Rules of the runtime and of the smoke run that need no torch; the rest is tested in generated repositories."""

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from conftest import PROJECT, spec_with
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pretrained import load_chat

_loader = importlib.util.spec_from_file_location(
    "stages", PROJECT / "templates" / "src" / "package" / "smoke" / "stages.py"
)
assert _loader is not None
assert _loader.loader is not None
stages_module: Any = importlib.util.module_from_spec(_loader)
sys.modules["stages"] = stages_module  # where its dataclasses look for their types
_loader.loader.exec_module(stages_module)
Metrics = dict[str, float | str]
CannotRunError, Run, Step = stages_module.CannotRunError, stages_module.Run, stages_module.Step
run_steps = stages_module.run_steps


def tuned(base: float, after: float, name: str) -> Metrics:
    return {f"base_{name}": base, f"tuned_{name}": after}


PERPLEXITY_AND_ANSWERS = [
    ({**tuned(9.0, 3.0, "perplexity"), **tuned(0.0, 0.0, "exact_match")}, True),
    ({**tuned(9.0, 3.0, "perplexity"), **tuned(0.5, 0.2, "exact_match")}, False),
    ({**tuned(9.0, 9.0, "perplexity"), **tuned(0.0, 0.5, "exact_match")}, False),
]
PERPLEXITY = [(tuned(10.0, after, "perplexity"), after < 9.9) for after in (5.0, 9.95, 12.0, float("nan"))]
LOSS = [(tuned(2.0, after, "loss"), after < 1.98) for after in (1.0, 2.0)]
ANSWERS = [(tuned(0.0, after, "exact_match"), after > 0) for after in (0.5, 0.0)]
WORDS = [({**tuned(0.5, after, "rouge_l"), **tuned(3.0, 60.0, "bleu")}, after > 0.505) for after in (0.6, 0.4)]
# The likelihood of all answers may fall while the right ones come to be preferred.
LIKELIHOODS = [
    ({**tuned(0.5, after, "preference_accuracy"), **tuned(1.0, 2.0, "loss")}, after > 0.505) for after in (0.9, 0.5)
]
# A coin's share of 48 throws is .5, give or take .072. Of one pair, that one has to be right.
REWARDS = [
    *(({"pairs": 48.0, "tuned_reward_accuracy": share}, share > 0.57) for share in (0.6, 0.56, 0.5, 0.0)),
    *(({"pairs": 1.0, "tuned_reward_accuracy": share}, share == 1.0) for share in (1.0, 0.0)),
]
# The answers may get worse meanwhile.
MARGINS = [({"validation_margin": margin}, margin > 0) for margin in (0.1, 0.0, -0.1, float("nan"))]


@pytest.mark.parametrize(
    ("method", "metrics", "cases"),
    [
        ("sft", ["exact-match", "perplexity"], PERPLEXITY_AND_ANSWERS),
        ("sft", ["perplexity"], PERPLEXITY),
        ("sft", ["loss"], LOSS),
        ("sft", ["exact-match"], ANSWERS),
        ("sft", ["bleu", "rouge-l"], WORDS),
        ("orpo", ["loss", "preference-accuracy"], LIKELIHOODS),
        ("dpo", ["preference-accuracy", "reward-accuracy", "exact-match"], REWARDS),
        ("kto", ["preference-accuracy", "exact-match"], MARGINS),
    ],
)
def test_a_smoke_run_fails_where_nothing_was_learned(
    repository: Callable[..., Path], method: str, metrics: list[str], cases: list[tuple[Metrics, bool]]
) -> None:
    spec = spec_with(train__method=method, evaluate__metrics=metrics)
    if method != "sft":
        columns = {"prompt": "question", "chosen": "answer", "rejected": "other"}
        spec["data"]["sources"][0] |= {"format": "preference", "columns": columns}
    root = repository(spec)
    code = """
import json, sys
import yaml
from support_assistant.smoke.learning import UserError, require_learning
judged = yaml.safe_load(open("configs/smoke.yaml")).get("learning", {}).values()
for metrics, learned in json.load(sys.stdin):
    try:
        assert require_learning(metrics, *judged) is metrics
        assert learned, metrics
    except UserError as error:
        assert str(error).startswith("nothing was learned: "), error
        assert not learned, metrics
"""
    paths = os.pathsep.join((str(root / "src"), str(root / "vendor")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        input=json.dumps(cases),
        cwd=root,
        env={**os.environ, "PYTHONPATH": paths},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def smoke_run(root: Path) -> Any:
    """A run that writes below `root`."""
    (root / "smoke.yaml").write_text(f"run_dir: {root / 'run'}\n")
    return Run([str(root / "smoke.yaml")], [])


def fails(run: Any, name: str) -> Metrics:
    raise UserError("disk on fire")


def cannot(run: Any, name: str) -> Metrics:
    raise CannotRunError("no such engine here")


def test_the_summary_says_what_passed_failed_and_was_skipped(tmp_path: Path) -> None:
    steps = [
        Step("one", lambda run, name: {"rows": 3.0}),
        Step("two", cannot),
        Step("three", fails),
        Step("four", fails),
    ]
    with pytest.raises(UserError, match="smoke: three failed: disk on fire"):
        run_steps(steps, smoke_run(tmp_path))
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
    run = smoke_run(tmp_path)
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "precious").write_text("keep")
    with pytest.raises(UserError, match="was not made by a smoke run"):
        run_steps([Step("one", fails)], run)
    assert (tmp_path / "run" / "precious").read_text() == "keep"


@pytest.mark.parametrize("name", ["./models/none", "/models/none", "../none", "models/of/none"])
def test_a_model_folder_that_is_not_there_is_told_before_the_hub_is_asked(
    name: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """In the tool's own environment, which has no transformers."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError, match=f"base_model: {name}: no such folder; name one that is there"):
        load_chat(name, "main", {})
