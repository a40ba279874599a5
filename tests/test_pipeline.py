"""Generated repositories, run for real: data, training, search, evaluation, export and a served answer.

Each repository is generated as a user does it and run with its own `make`, in the environment that its own
`make setup` made.
"""

import json
import os
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from conftest import PIPELINE_PYTHON, SHARED_DATA, VLLM_PYTHON, require, require_data, tunesmith
from repositories import NO_SEARCH, generate, make, make_base, run_smoke, settings, smoke, stage

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where repositories are generated; needs the environment that `make test` makes."""
    require(PIPELINE_PYTHON)
    require("make")
    return tmp_path_factory.mktemp("repositories")


def learn(root: Path, seed: int) -> dict[str, float]:
    """The stages that show whether a model learns, with a seed of their own; the evaluation's metrics."""
    run = f"runs/seed-{seed}"
    options = settings(f"run_dir={run}", f"base_model={run}/base", f"seed={seed}")
    config = yaml.safe_load((root / "configs" / "smoke.yaml").read_text(encoding="utf-8"))
    stage(root, "data", *options)
    make_base(root, f"seed={seed}", run=run)
    base = json.loads((root / run / "base" / "manifest.json").read_text(encoding="utf-8"))["metrics"]
    step = config["train"]["per_device_batch_size"] * base["tokens_per_row"]
    steps = min(config["train"]["max_steps"], round(config["smoke"]["train_tokens"] / step))
    stage(root, "train", *options, "--set", f"train.max_steps={steps}")
    stage(root, "evaluate", *options)
    metrics: dict[str, float] = json.loads((root / run / "evaluate" / "manifest.json").read_text())["metrics"]
    return metrics


@pytest.fixture(scope="session")
def support(workplace: Path) -> Path:
    """support-assistant as it comes, after its smoke run."""
    root = generate(workplace / "support")
    smoke(root)
    return root


def test_support_assistant_learns_and_answers(support: Path) -> None:
    summary = json.loads((support / "runs" / "smoke" / "summary.json").read_text(encoding="utf-8"))
    metrics = {done["name"]: done["metrics"] for done in summary["stages"]}
    assert metrics["evaluate"]["base_exact_match"] <= 0.1
    assert metrics["evaluate"]["tuned_exact_match"] >= 0.8
    assert metrics["hpo"]["trials"] == 2
    assert set(yaml.safe_load((support / "runs/smoke/hpo/best.yaml").read_text())["train"]) == {
        "learning_rate",
        "lora_rank",
        "lora_alpha",
    }
    for name in ("data", "base", "train", "hpo", "evaluate", "export"):
        manifest = json.loads((support / "runs" / "smoke" / name / "manifest.json").read_text(encoding="utf-8"))
        assert {"config", "packages", "seed", "inputs", "git_commit", "started", "finished"} <= set(manifest)


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_support_assistant_learns_with_other_seeds(support: Path, seed: int) -> None:
    metrics = learn(support, seed)
    assert metrics["base_exact_match"] <= 0.1
    assert metrics["tuned_exact_match"] >= 0.8


def test_the_values_of_the_real_run_work(support: Path) -> None:
    """configs/default.yaml as it is — bfloat16, activation checkpointing, accumulation — but for the model and the length."""
    shutil.rmtree(support / "runs" / "default", ignore_errors=True)
    values = [
        *("base_model=runs/smoke/base", "max_length=512", "chat_template_kwargs={enable_thinking: false}"),
        *("train.max_steps=4", "hpo.trials=2", "hpo.max_steps=4", "evaluate.max_examples=8"),
        *("evaluate.max_new_tokens=32", "serve.max_model_len=512", "serve.max_new_tokens=64"),
    ]
    arguments = "ARGS=" + " ".join(f"--set '{value}'" for value in values)
    output = "".join(make(support, name, arguments) for name in ("data", "hpo", "train", "evaluate", "export"))
    assert "hpo: best is trial" in output
    assert "what is trained between ⟦ and ⟧" in output
    best = arguments + " --config runs/default/hpo/best.yaml --set run_dir=runs/best"
    make(support, "data", arguments + " --set run_dir=runs/best")
    make(support, "train", best)
    trained = json.loads((support / "runs" / "best" / "train" / "manifest.json").read_text(encoding="utf-8"))
    found = yaml.safe_load((support / "runs" / "default" / "hpo" / "best.yaml").read_text(encoding="utf-8"))["train"]
    assert {key: trained["config"][key] for key in found} == found
    weights = json.loads((support / "runs" / "default" / "export" / "config.json").read_text(encoding="utf-8"))
    assert weights["dtype"] == "bfloat16"


def test_a_stage_that_misses_its_input_says_what_to_run(support: Path) -> None:
    for name, missing in (("train", "data"), ("evaluate", "train"), ("export", "train"), ("serve", "export")):
        command = [PIPELINE_PYTHON, "-m", "support_assistant", name, "--config", "configs/smoke.yaml"]
        command += ["--set", "run_dir=runs/nothing"]
        environment = {**os.environ, "PYTHONPATH": "src:vendor", "HF_HUB_OFFLINE": "1"}
        done = subprocess.run(command, cwd=support, env=environment, capture_output=True, text=True, check=False)
        assert done.returncode == 1
        (line,) = [line for line in done.stderr.splitlines() if "runs/nothing" in line]
        assert missing in line
        assert "Traceback" not in done.stderr


def test_the_repositorys_own_tests_and_lint_pass(support: Path) -> None:
    output = make(support, "test")
    assert " passed" in output
    assert "failed" not in output
    assert "Success: no issues found" in make(support, "lint")


def test_the_repositorys_own_tests_pass_whatever_its_data_looks_like(workplace: Path) -> None:
    root = generate(workplace / "talks")
    talks = [
        {"talk": [{"role": "user", "content": f"Question {n}?"}, {"role": "assistant", "content": f"Answer {n}."}]}
        for n in range(60)
    ]
    (root / "talks.jsonl").write_text("".join(json.dumps(talk) + "\n" for talk in talks))
    spec = yaml.safe_load((root / "pipeline.yaml").read_text(encoding="utf-8"))
    source = {"path": "talks.jsonl", "format": "messages", "columns": {"messages": "talk"}}
    spec["data"] = {"sources": [source], "system_prompt": 'Be {% brief %}, "please".'}
    (root / "pipeline.yaml").write_text(yaml.safe_dump(spec), encoding="utf-8")
    assert tunesmith("apply", root).returncode == 0
    assert " passed" in make(root, "test")


def test_legal_qa_ko_learns_and_answers_in_korean(workplace: Path) -> None:
    metrics = smoke(generate(workplace / "korean", "legal-qa-ko", **NO_SEARCH))
    assert metrics["evaluate"]["tuned_exact_match"] > 0.5 > 0.1 >= metrics["evaluate"]["base_exact_match"]
    assert metrics["evaluate"]["tuned_rouge_l"] > metrics["evaluate"]["base_rouge_l"]
    assert any("가" <= letter <= "힣" for letter in metrics["serve"]["answer"])


def test_full_fine_tuning_served_by_vllm(workplace: Path) -> None:
    """The smoke model, served by the real vLLM and asked through the same client; then the repository's own tests."""
    require(VLLM_PYTHON)
    answers = ("adapter=full", "engine=vllm")
    data = {"system_prompt": "You help the customers of a shop."}
    root = generate(workplace / "vllm", "support-assistant", *answers, data=data, **NO_SEARCH)
    environment = f"VENV={VLLM_PYTHON.parents[1]}"
    metrics = smoke(root, environment)
    assert metrics["evaluate"]["tuned_exact_match"] >= 0.8
    assert "skipped" not in make(root, "test", environment)


def test_without_vllm_its_stage_is_skipped_and_says_why(workplace: Path) -> None:
    """The rest still runs; also with the fewest stages and a single metric."""
    spec = {"evaluate": {"metrics": ["exact-match"]}, **NO_SEARCH}
    root = generate(workplace / "no-vllm")
    text = yaml.safe_load((root / "pipeline.yaml").read_text(encoding="utf-8"))
    text.update(spec, serve={"engine": "vllm"})
    (root / "pipeline.yaml").write_text(yaml.safe_dump(text), encoding="utf-8")
    assert tunesmith("apply", root).returncode == 0
    output = run_smoke(root)
    summary = json.loads((root / "runs" / "smoke" / "summary.json").read_text(encoding="utf-8"))
    statuses = {done["name"]: done["status"] for done in summary["stages"]}
    assert statuses.pop("serve") == "skipped"
    assert set(statuses.values()) == {"passed"}
    assert "hpo" not in statuses
    assert "skipped: vLLM is not installed; add it with `make setup-serve`" in output


def gsm8k(root: Path, adapter: str) -> Path:
    """A repository on real data, where it lies."""
    data = require_data(SHARED_DATA / "gsm8k" / "train.jsonl")
    columns = {"prompt": "question", "completion": "answer"}
    source = {"path": os.path.relpath(data, root), "format": "prompt-completion", "columns": columns}
    return generate(
        root,
        "support-assistant",
        "project_name=maths-tutor",
        f"adapter={adapter}",
        data={"sources": [source]},
        **NO_SEARCH,
    )


@pytest.fixture(scope="session")
def maths(workplace: Path) -> Path:
    """GSM8K with LoRA."""
    return gsm8k(workplace / "maths-lora", "lora")


@pytest.fixture(scope="session")
def maths_full(workplace: Path) -> Path:
    """GSM8K with full fine-tuning."""
    return gsm8k(workplace / "maths-full", "full")


def test_real_data_runs_to_the_end(maths: Path) -> None:
    metrics = smoke(maths)["evaluate"]
    assert metrics["tuned_perplexity"] <= 0.9 * metrics["base_perplexity"]


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_perplexity_of_real_text_falls_with_lora(maths: Path, seed: int) -> None:
    metrics = learn(maths, seed)
    assert metrics["tuned_perplexity"] <= 0.9 * metrics["base_perplexity"]


@pytest.mark.long
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_perplexity_of_real_text_falls_with_full_fine_tuning(maths_full: Path, seed: int) -> None:
    metrics = learn(maths_full, seed)
    assert metrics["tuned_perplexity"] <= 0.75 * metrics["base_perplexity"]
