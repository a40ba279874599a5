"""Real models and the real tokenizers and chat templates of families that people use, through generated repositories."""

import json
import subprocess
from pathlib import Path
from typing import Any

import pytest

import real_models
from conftest import PIPELINE_PYTHON, VLLM_PYTHON, require
from repositories import NO_SEARCH, generate, offline, stage, stages_in_one_process

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(2_700)]

FEW_ROWS = 80
STEPS = 5
# Random models of real vocabularies: a few steps show that everything fits, and nothing is learned.
VALUES = (
    *("max_length=256", f"train.max_steps={STEPS}", "train.per_device_batch_size=4", "evaluate.max_examples=4"),
    *("evaluate.max_new_tokens=8", "serve.max_model_len=256", "serve.max_new_tokens=8"),
)


def run_stages(
    root: Path, stages: str, families: list[str], *values: str, python: Path | None = None, **environment: str
) -> dict[str, dict[str, Any]]:
    """What comes of each family."""
    models = [str(real_models.tiny(family)) for family in families]
    reports = stages_in_one_process(root, stages, models, *VALUES, *values, python=python, **environment)
    return dict(zip(families, reports, strict=True))


def with_few_rows(root: Path) -> Path:
    """The repository with the first rows of its data alone."""
    for file in (root / "data" / "raw").iterdir():
        file.write_text("".join(file.read_text(encoding="utf-8").splitlines(keepends=True)[:FEW_ROWS]), "utf-8")
    return root


def check(report: dict[str, Any]) -> None:
    assert "error" not in report, report["error"]
    assert report["metrics"]["train"]["steps"] == STEPS
    assert report["metrics"]["export"]["logit_difference"] < 1e-3
    assert report["parity"] > 0


@pytest.fixture(scope="module")
def sft(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(PIPELINE_PYTHON)
    return with_few_rows(generate(tmp_path_factory.mktemp("families") / "sft", **NO_SEARCH))


def test_families_go_through_every_stage(sft: Path) -> None:
    """And the server answers as transformers does, from the prompt that training had."""
    stages = "data,train,evaluate,export,serve"
    reports = run_stages(sft, stages, ["qwen2.5", "llama3.2", "gemma3"], "chat_template_kwargs={}")
    reports |= run_stages(sft, stages, ["qwen3"], "chat_template_kwargs={enable_thinking: false}")
    for report in reports.values():
        check(report)
        assert report["metrics"]["serve"]["answer"]
        assert report["metrics"]["evaluate"]["tuned_loss"] > 0


def test_what_a_family_cannot_do_is_said_in_a_line_that_names_the_way_out(sft: Path) -> None:
    reports = run_stages(sft, "data,train", ["qwen3", "gpt-oss"], "chat_template_kwargs={}")
    assert "chat_template_kwargs: {enable_thinking: false}" in reports["qwen3"]["error"]
    assert "has no chat template; choose an instruct model, or put a chat_template.jinja" in reports["gpt-oss"]["error"]
    for report in reports.values():
        assert "\n" not in report["error"]


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_preferences_are_trained_on_families(tmp_path: Path, method: str) -> None:
    require(PIPELINE_PYTHON)
    root = with_few_rows(generate(tmp_path / method, "support-preferences", f"method={method}", **NO_SEARCH))
    reports = run_stages(root, "data,train,export", ["qwen2.5", "llama3.2", "gemma3"], "chat_template_kwargs={}")
    reports |= run_stages(root, "data,train,export", ["qwen3"], "chat_template_kwargs={enable_thinking: false}")
    for report in reports.values():
        check(report)


def test_vllm_serves_families_that_training_saved(tmp_path: Path) -> None:
    """One environment trains and serves; vLLM's answer is that of transformers."""
    require(VLLM_PYTHON)
    root = with_few_rows(generate(tmp_path / "vllm", "support-assistant", "engine=vllm", **NO_SEARCH))
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    for family, kwargs in (("qwen3", "{enable_thinking: false}"), ("llama3.2", "{}")):
        values = (f"chat_template_kwargs={kwargs}",)
        stages = "data,train,export,serve"
        (report,) = run_stages(root, stages, [family], *values, python=VLLM_PYTHON, **environment).values()
        check(report)
        assert report["metrics"]["serve"]["answer"]


# --- A pretrained model


# Adapters in the last ten of thirty layers, and a rate for a hundred steps: what a CPU has the time for.
LAST_LAYERS = r"train.lora_target_modules='model\.layers\.2[0-9]\..*_proj'"
REAL_RUN = (
    # In bfloat16, a processor without instructions for it takes ten times as long.
    *("max_length=256", "dtype=float32", "train.max_steps=100", "train.learning_rate=0.003", LAST_LAYERS),
    *("train.per_device_batch_size=8", "train.gradient_accumulation_steps=1", "train.activation_checkpointing=false"),
    *("train.eval_every=100", "train.watch.save_every=100", "evaluate.max_new_tokens=40", "evaluate.batch_size=67"),
    *("serve.max_model_len=256", "serve.max_new_tokens=40"),
)


@pytest.fixture(scope="module")
def assistant(tmp_path_factory: pytest.TempPathFactory) -> Path:
    require(PIPELINE_PYTHON)
    return generate(tmp_path_factory.mktemp("real") / "assistant", **NO_SEARCH)


def learned(root: Path, seed: int) -> dict[str, float]:
    """Metrics of evaluation after data, train and evaluate on the real run's config."""
    values = [f"base_model={real_models.smollm2()}", f"run_dir=runs/seed-{seed}", f"seed={seed}", *REAL_RUN]
    options = ["--config", "configs/default.yaml", *(part for value in values for part in ("--set", value))]
    for name in ("data", "train", "evaluate", "export"):
        stage(root, name, *options)
    metrics: dict[str, float] = json.loads(
        (root / "runs" / f"seed-{seed}" / "evaluate" / "manifest.json").read_text(encoding="utf-8")
    )["metrics"]
    return metrics


def test_a_pretrained_model_learns_what_the_rows_say(assistant: Path) -> None:
    """It answers a question of general knowledge before, and customers' questions after."""
    model = real_models.smollm2()
    code = """
import sys, torch
from transformers import AutoModelForCausalLM, AutoTokenizer
tokenizer = AutoTokenizer.from_pretrained(sys.argv[1])
model = AutoModelForCausalLM.from_pretrained(sys.argv[1], dtype=torch.float32)
talk = [{"role": "user", "content": "What is the capital of France?"}]
inputs = tokenizer.apply_chat_template(talk, add_generation_prompt=True, return_dict=True, return_tensors="pt")
output = model.generate(**inputs, do_sample=False, max_new_tokens=16)
print(tokenizer.decode(output[0, inputs["input_ids"].shape[1]:]))
"""
    line = [str(PIPELINE_PYTHON), "-c", code, str(model)]
    done = subprocess.run(line, env=offline(), capture_output=True, text=True, check=False)
    assert "Paris" in done.stdout, done.stdout + done.stderr
    metrics = learned(assistant, 42)
    assert metrics["base_exact_match"] == 0
    assert metrics["tuned_exact_match"] >= 0.5


@pytest.mark.long
@pytest.mark.parametrize("seed", [1, 2])
def test_a_pretrained_model_learns_with_other_seeds(assistant: Path, seed: int) -> None:
    metrics = learned(assistant, seed)
    assert metrics["base_exact_match"] == 0
    assert metrics["tuned_exact_match"] >= 0.5
