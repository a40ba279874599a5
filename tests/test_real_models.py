"""Real models and the real tokenizers and chat templates of families that people use, through generated repositories."""

import json
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import real_models
from conftest import PIPELINE_PYTHON, VLLM_PYTHON, require
from repositories import NO_SEARCH, generate, offline, stage, stages_in_one_process

pytestmark = [pytest.mark.pipeline, pytest.mark.timeout(2_700)]

FEW_ROWS = 40
STEPS = 5
# Random models of real vocabularies: a few steps show that everything fits, and nothing is learned.
VALUES = (
    *("max_length=256", f"train.max_steps={STEPS}", "train.per_device_batch_size=2", "train.eval_every=5"),
    "evaluate.max_examples=4",
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


# A template reads those variables that it knows.
KWARGS = 'chat_template_kwargs={enable_thinking: false, date_string: "26 Jul 2024"}'
FAMILIES = ["qwen2.5", "qwen3", "llama3.2", "gemma3"]


def test_families_go_through_every_stage(sft: Path) -> None:
    """And the server answers as transformers does, from the prompt that training had."""
    for report in run_stages(sft, "data,train,evaluate,export,serve", FAMILIES, KWARGS).values():
        check(report)
        assert report["metrics"]["serve"]["answer"]
        assert report["metrics"]["evaluate"]["tuned_loss"] > 0


@pytest.mark.parametrize("thinking", ["drop", "keep", "train-empty"])
def test_families_that_reason_go_through_every_stage(tmp_path: Path, thinking: str) -> None:
    """With what their templates put before an answer; gpt-oss with the day's date fixed."""
    require(PIPELINE_PYTHON)
    model = {"thinking": thinking, "chat_template_kwargs": {"strftime_now": "2025-06-01"}}
    root = with_few_rows(generate(tmp_path / "reasons", model=model, **NO_SEARCH))
    values = (f"thinking={thinking}", 'chat_template_kwargs={strftime_now: "2025-06-01"}')
    for report in run_stages(root, "data,train,evaluate,export,serve", ["qwen3", "gpt-oss"], *values).values():
        check(report)
        assert report["metrics"]["serve"]["answer"]


def with_files(tmp_path: Path, family: str, name: str, **files: dict[str, Any]) -> str:
    """A copy of a family's model under a name, with values in its JSON files set."""
    folder = shutil.copytree(real_models.tiny(family), tmp_path / name)
    for file, values in files.items():
        path = folder / f"{file}.json"
        path.write_text(json.dumps({**json.loads(path.read_text(encoding="utf-8")), **values}), encoding="utf-8")
    return str(folder)


def test_what_a_later_stage_would_refuse_is_refused_before_training(sft: Path, tmp_path: Path) -> None:
    """A model's files are looked at before its weights load; those of Gemma 3 as it is published go through."""
    published = {"cache_implementation": "hybrid", "do_sample": True, "top_k": 64, "top_p": 0.95}
    models = [
        with_files(tmp_path, "gemma3", "published", generation_config=published),
        with_files(tmp_path, "qwen2.5", "repeats", generation_config={"no_repeat_ngram_size": 3}),
        with_files(tmp_path, "qwen2.5", "short", config={"max_position_embeddings": 128}),
        with_files(tmp_path, "qwen2.5", "small", config={"vocab_size": 1_000}),
    ]
    whole, repeats, short, small = stages_in_one_process(sft, "data,train", models, *VALUES, KWARGS)
    assert "error" not in whole, whole
    assert "generation_config.json sets no_repeat_ngram_size" in repeats["error"]
    assert "max_length: 256 tokens are more than the 128 positions of " in short["error"]
    assert "has no place in the embedding of " in small["error"]
    assert "support.jsonl:" in small["error"]
    assert all("\n" not in report["error"] for report in (repeats, short, small))
    (served,) = stages_in_one_process(sft, "export,serve", models[:1], *VALUES, KWARGS)
    assert served["metrics"]["serve"]["answer"]


TARGETS: list[tuple[Any, str]] = [
    (["q_proj", "embed_tokens"], "model.embed_tokens shares its weights with another layer"),
    (["lm_head"], "lm_head shares its weights with another layer"),
    (["q_proj", "mlp"], "takes no adapter; its layers are down_proj, gate_proj, up_proj"),
    (r"model\.layers\.[0-9]+\.attention\.q_proj", "matches no module of "),
    ("q_proj[", "is not a regular expression"),
    (["q_proj", "layers.1.mlp.up_proj"], ""),
    (r"model\.layers\.1\..*_proj", ""),
    ("all-linear", ""),
    ("All-Linear", ""),
]


def test_an_adapter_on_modules_that_are_not_there_or_cannot_be_merged_is_refused(sft: Path) -> None:
    values = (KWARGS, "train.lora_target_modules=[q_proj, v_porj]")
    (report,) = run_stages(sft, "data,train", ["qwen2.5"], *values).values()
    assert "'v_porj' matches no module of " in report["error"]
    assert report["error"].endswith("did you mean 'v_proj'?")
    code = """
import json, sys
from support_assistant.training.target_modules import check_target_modules
from tunesmith_runtime.errors import UserError
found = []
for targets in json.loads(sys.argv[2]):
    try:
        check_target_modules(sys.argv[1], "main", targets)
        found.append("")
    except UserError as error:
        found.append(str(error))
print(json.dumps(found))
"""
    targets = json.dumps([target for target, _ in TARGETS])
    line = [str(PIPELINE_PYTHON), "-c", code, str(real_models.tiny("qwen2.5")), targets]
    done = subprocess.run(line, cwd=sft, env=offline(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    for (target, message), said in zip(TARGETS, json.loads(done.stdout.splitlines()[-1]), strict=True):
        assert (message in said) if message else not said, (target, said)
        assert "\n" not in said


@pytest.mark.parametrize("method", ["dpo", "orpo", "kto"])
def test_preferences_are_trained_on_families(tmp_path: Path, method: str) -> None:
    require(PIPELINE_PYTHON)
    root = with_few_rows(generate(tmp_path / method, "support-preferences", f"method={method}", **NO_SEARCH))
    for report in run_stages(root, "data,train,export", FAMILIES, KWARGS).values():
        check(report)


def test_vllm_serves_families_that_training_saved(tmp_path: Path) -> None:
    """One environment trains and serves; vLLM's answer is that of transformers."""
    require(VLLM_PYTHON)
    root = with_few_rows(generate(tmp_path / "vllm", "support-assistant", "engine=vllm", **NO_SEARCH))
    environment = {"VLLM_CPU_KVCACHE_SPACE": "1"}
    stages = "data,train,export,serve"
    for family in ("qwen3", "llama3.2"):
        (report,) = run_stages(root, stages, [family], KWARGS, python=VLLM_PYTHON, **environment).values()
        check(report)
        assert report["metrics"]["serve"]["answer"]


# --- A pretrained model


# Adapters in the last ten of thirty layers, and a rate for one pass over the rows: what a CPU has the time for.
LAST_LAYERS = r"train.lora_target_modules='model\.layers\.2[0-9]\..*_proj'"
REAL_RUN = (
    # In bfloat16, a processor without instructions for it takes ten times as long.
    *("max_length=256", "dtype=float32", "train.learning_rate=0.005", LAST_LAYERS),
    *("train.per_device_batch_size=4", "train.gradient_accumulation_steps=1", "train.activation_checkpointing=false"),
    *("train.eval_every=1.0", "train.watch.save_every=1.0", "evaluate.max_new_tokens=40", "evaluate.batch_size=67"),
    *("serve.max_model_len=256", "serve.max_new_tokens=40"),
)


@pytest.fixture
def assistant(tmp_path: Path) -> Path:
    require(PIPELINE_PYTHON)
    return generate(tmp_path / "assistant", **NO_SEARCH)


def learned(root: Path, seed: int, steps: int) -> dict[str, float]:
    """Metrics of evaluation after data, train and evaluate on the real run's config."""
    values = [f"base_model={real_models.smollm2()}", f"run_dir=runs/seed-{seed}", f"seed={seed}", *REAL_RUN]
    values.append(f"train.max_steps={steps}")
    options = ["--config", "configs/default.yaml", *(part for value in values for part in ("--set", value))]
    for name in ("data", "train", "evaluate", "export"):
        stage(root, name, *options)
    metrics: dict[str, float] = json.loads(
        (root / "runs" / f"seed-{seed}" / "evaluate" / "manifest.json").read_text(encoding="utf-8")
    )["metrics"]
    return metrics


def test_a_pretrained_model_learns_what_the_rows_say(assistant: Path) -> None:
    """It answers a question of general knowledge before, and customers' questions after: a third of them."""
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
    rows = assistant / "data" / "raw" / "support.jsonl"
    lines = rows.read_text(encoding="utf-8").splitlines(keepends=True)
    some = list(dict.fromkeys(json.loads(line)["answer"] for line in lines))[:16]
    rows.write_text("".join(line for line in lines if json.loads(line)["answer"] in some), encoding="utf-8")
    metrics = learned(assistant, 42, steps=60)
    assert metrics["base_exact_match"] == 0
    assert metrics["tuned_exact_match"] >= 0.5


@pytest.mark.long
@pytest.mark.parametrize("seed", [42, 1, 2])
def test_a_pretrained_model_learns_all_that_the_rows_say(assistant: Path, seed: int) -> None:
    metrics = learned(assistant, seed, steps=120)
    assert metrics["base_exact_match"] == 0
    assert metrics["tuned_exact_match"] >= 0.5
