"""What is to be measured on a GPU is kept ready: it runs on a CPU, with models that a CPU can train."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from conftest import EXTRAS_PYTHON, PROJECT, require

BENCH = PROJECT / "bench" / "gpu"
sys.path.append(str(BENCH))
from shapes import SHAPES  # noqa: E402

# What no CPU has, or what our environments do not hold.
NOT_HERE = (
    *("attention: flash_attention_2", "attention: flash_attention_3", "attention: flex_attention"),
    *("liger", "starts with fsdp"),
)


@pytest.mark.parametrize(
    ("shape", "published"),
    [("qwen3-0.6b", 0.596e9), ("qwen3-1.7b", 1.72e9), ("qwen3-8b", 8.19e9), ("llama3.1-8b", 8.03e9)],
)
def test_the_shapes_are_those_of_the_published_models(shape: str, published: float) -> None:
    assert SHAPES[shape].parameters == pytest.approx(published, rel=0.003)


def test_a_trained_token_takes_as_many_operations_as_others_count() -> None:
    """NVIDIA publishes 12,473 tokens/s for LoRA on Llama 3 8B as 402 TFLOP/s: 32.2e9 a token, at 4,096 tokens."""
    counted = SHAPES["llama3.1-8b"].flops_per_token(4_096, trains_all=False)
    assert counted == pytest.approx(402e12 / 12_473, rel=0.05)


@pytest.mark.pipeline
@pytest.mark.parametrize(
    "groups",
    [
        ("throughput", "memory", "others", "generation"),
        # A smoke run and processes of DeepSpeed, which other tests have too.
        pytest.param(("whole",), marks=pytest.mark.long),
    ],
)
def test_the_bench_runs_on_a_cpu(groups: tuple[str, ...], tmp_path: Path) -> None:
    """Every case is measured, or says why not; what travels to a machine without a network is small enough."""
    python = require(EXTRAS_PYTHON)
    pack, output = tmp_path / "pack", tmp_path / "results"
    done = subprocess.run(
        [sys.executable, str(BENCH / "pack.py"), str(pack)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr  # 64 MB or more are refused there
    assert len(list((pack / "wheels").glob("*.whl"))) > 30
    (pack / "wheels").rename(tmp_path / "wheels")  # for another Python

    line = [str(python), str(BENCH / "run.py"), "--pack", str(pack), "--output", str(output), "--tiny"]
    line += ["--minutes", "10", "--only", *groups]
    done = subprocess.run(line, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3_000:] + done.stderr[-3_000:]
    results = [json.loads(line) for line in (output / "results.jsonl").read_text(encoding="utf-8").splitlines()]
    cases = {(result["group"], result["case"], result.get("shape")): result for result in results}
    assert len(cases) == len(results)
    for (group, case, _), result in cases.items():
        if case in NOT_HERE:
            assert "failed" in result or "skipped" in result, case
            continue
        assert "failed" not in result, (case, result["failed"], done.stderr[-2_000:])
        assert "skipped" not in result, case
        if group in ("throughput", "memory", "others"):
            assert result["tokens_per_second"] > 0
    assert {group for group, _, _ in cases} == set(groups)
    assert sum(group == "memory" for group, _, _ in cases) >= 12 or groups == ("whole",)
    assert json.loads((output / "environment.json").read_text(encoding="utf-8"))["packages"]["trl"]
    table = (output / "table.md").read_text(encoding="utf-8")
    assert all(f"| {group} | {case} |" in table for group, case, _ in cases)
