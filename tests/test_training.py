"""Training, run for real: methods and adapters learn, and agree with TRL alone."""

import itertools
import json
import subprocess
from pathlib import Path

import pytest

from conftest import PIPELINE_PYTHON, PROJECT, require
from repositories import (
    NO_SEARCH,
    generate,
    logged_losses,
    make_base,
    offline,
    repository,
    settings,
    smoke,
    stage,
    stages_in_one_process,
)

pytestmark = pytest.mark.pipeline


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where repositories are generated."""
    require(PIPELINE_PYTHON)
    require("make")
    return tmp_path_factory.mktemp("training")


# Each method and each adapter once: a smoke run takes minutes. The other six run with `make test-long`.
SMOKES = {("dpo", "lora"), ("orpo", "qlora"), ("kto", "full")}
PREFERENCES = list(itertools.product(("dpo", "orpo", "kto"), ("full", "lora", "qlora")))


@pytest.mark.parametrize(
    ("method", "adapter"),
    [
        pytest.param(method, adapter, marks=() if (method, adapter) in SMOKES else pytest.mark.long)
        for method, adapter in PREFERENCES
    ],
)
def test_preferences_are_learned(workplace: Path, method: str, adapter: str) -> None:
    """Each method and adapter, from the starter data to a served answer."""
    answers = (f"method={method}", f"adapter={adapter}")
    root = generate(workplace / f"{method}-{adapter}", "support-preferences", *answers, **NO_SEARCH)
    metrics = smoke(root)
    base, tuned = (metrics["evaluate"][f"{model}_preference_accuracy"] for model in ("base", "tuned"))
    assert base < tuned
    assert tuned >= 0.9
    if method != "orpo":
        # Counts from the base, which already knows most of the pairs by likelihood.
        assert metrics["evaluate"]["tuned_reward_accuracy"] >= 0.9
    assert metrics["train"]["validation_accuracy"] >= 0.8
    assert metrics["train"]["validation_margin"] > 0


@pytest.mark.parametrize(("method", "adapter"), [pair for pair in PREFERENCES if pair not in SMOKES])
def test_every_method_and_adapter_is_trained_evaluated_and_exported(workplace: Path, method: str, adapter: str) -> None:
    """As many steps as show that what is learned is what the pairs say."""
    answers = (f"method={method}", f"adapter={adapter}")
    searches = (method, adapter) == ("dpo", "full")  # one of them, before it trains
    changes = {"hpo": {"trials": 2}} if searches else NO_SEARCH
    root = generate(workplace / f"short-{method}-{adapter}", "support-preferences", *answers, **changes)
    stage(root, "data", *settings())
    make_base(root)
    # ORPO's first steps go into the answers' likelihood.
    steps = 80 if method == "orpo" else 40
    values = (f"train.max_steps={steps}", "evaluate.max_new_tokens=8", *(("hpo.max_steps=4",) if searches else ()))
    stages = "data,hpo,train,evaluate,export" if searches else "data,train,evaluate,export"
    (report,) = stages_in_one_process(root, stages, ["runs/smoke/base"], *values)
    assert "error" not in report, report
    metrics = report["metrics"]
    assert metrics["train"]["steps"] == steps
    assert metrics.get("hpo", {}).get("trials") == (2 if searches else None)
    assert metrics["train"]["validation_margin"] > 0
    assert metrics["evaluate"]["tuned_preference_accuracy"] >= metrics["evaluate"]["base_preference_accuracy"] - 0.05
    if adapter != "full":
        assert metrics["export"]["logit_difference"] < 1e-3
    assert report["parity"] > 0


def test_qlora_learns_by_supervised_fine_tuning(workplace: Path) -> None:
    metrics = smoke(generate(workplace / "sft-qlora", "support-assistant", "adapter=qlora", **NO_SEARCH))
    assert metrics["evaluate"]["base_exact_match"] <= 0.1
    assert metrics["evaluate"]["tuned_exact_match"] >= 0.8


@pytest.mark.parametrize(
    ("method", "adapter"), [("sft", "full"), ("sft", "lora"), ("dpo", "full"), ("orpo", "full"), ("kto", "full")]
)
def test_the_losses_are_those_of_trl_alone(workplace: Path, method: str, adapter: str) -> None:
    """A script that knows TRL and nothing of ours, on the same rows with the same settings."""
    root = repository(workplace / f"trl-{method}-{adapter}", method, adapter)
    values = {"steps": 16, "batch_size": 4, "learning_rate": 1e-3, "beta": 0.1, "seed": 42, "log_every": 1}
    train = ["max_steps=16", "per_device_batch_size=4", "learning_rate=1e-3", "watch.log_every=1"]
    if method != "sft":
        train.append("beta=0.1")
    stage(root, "train", *settings(*(f"train.{value}" for value in train)))
    script = {
        **values,
        "method": method,
        "lora": adapter == "lora",
        "optimizer": "adamw_torch_fused",
        "base": str(root / "runs/smoke/base"),
        "rows": str(root / "runs/smoke/data/train.jsonl"),
        "validation": str(root / "runs/smoke/data/validation.jsonl"),
        "output": str(root / "trl.json"),
    }
    (root / "trl-settings.json").write_text(json.dumps(script))
    line = [str(PIPELINE_PYTHON), str(PROJECT / "bench" / "minimal_trl.py"), str(root / "trl-settings.json")]
    done = subprocess.run(line, env=offline(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    alone = {int(step): loss for step, loss in json.loads((root / "trl.json").read_text())["losses"].items()}
    ours = logged_losses(root / "runs" / "smoke" / "train")
    assert len(alone) == 16
    assert ours == pytest.approx(alone, abs=1e-4)


def test_the_parts_of_trl_that_are_built_on_are_there() -> None:
    """ORPO is experimental, and token ids reach the others through a private method (huggingface/trl#2368)."""
    require(PIPELINE_PYTHON)
    code = """
import inspect
from trl import DPOTrainer, KTOTrainer, SFTTrainer
from trl.experimental.orpo import ORPOConfig, ORPOTrainer
for trainer in (DPOTrainer, KTOTrainer):
    parameters = list(inspect.signature(trainer._prepare_dataset).parameters)
    assert parameters == ["self", "dataset", "processing_class", "args", "dataset_name"], parameters
    assert "self._prepare_dataset(train_dataset" in inspect.getsource(trainer.__init__)
    parameters = list(inspect.signature(trainer._precompute_ref_logps).parameters)
    assert parameters == ["self", "dataset", "name", "batch_size"], parameters
    assert 'os.environ.get("TQDM_DISABLE"' in inspect.getsource(trainer._precompute_ref_logps)
assert list(inspect.signature(ORPOTrainer.tokenize_row).parameters) == ["self", "feature", "model"]
assert "map(self.tokenize_row" in inspect.getsource(ORPOTrainer.__init__)
assert {"beta", "max_length"} <= set(inspect.signature(ORPOConfig.__init__).parameters)
assert "skip_prepare_dataset" in inspect.getsource(SFTTrainer.__init__)
"""
    done = subprocess.run([PIPELINE_PYTHON, "-c", code], env=offline(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2_000:]
