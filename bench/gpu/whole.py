"""Whole commands of generated repositories on this machine: a smoke run, and the launch of distributed training.

`python whole.py JOB.json`, run by run.py.
"""

import importlib.util
import json
import os
import shutil
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import yaml
from record import measured
from shapes import SHAPES, TINY, make_model, write_rows

HERE = Path(__file__).resolve().parent
# Few steps where nothing but that it runs is asked.
SHORT = ("base.steps=20", "train.max_steps=2", "evaluate.max_examples=2", "evaluate.max_new_tokens=4")


def main(job: dict[str, Any]) -> None:
    """Each command, until the deadline."""
    output, deadline = Path(job["output"]), job["deadline"]
    for name in ("fsdp", "deepspeed-zero2", "deepspeed-zero3"):
        measured(output, deadline, {"group": "whole", "case": f"starts with {name}"}, partial(launch, name, job))
    measured(output, deadline, {"group": "whole", "case": "smoke"}, partial(smoke, job))


def smoke(job: dict[str, Any]) -> dict[str, Any]:
    """Every stage of a repository, as `make smoke` runs them; seconds of each."""
    root = copy(job, "sft-lora")
    values = SHORT if job["tiny"] else ()
    package = next((root / "src").iterdir()).name
    line = [sys.executable, "-m", package, "smoke", "--config", "configs/smoke.yaml", *sets(*values)]
    run(line, root, job, codes=(0, 1) if job["tiny"] else (0,))  # two steps teach nothing, which a smoke run says
    stages = json.loads((root / "runs/smoke/summary.json").read_text(encoding="utf-8"))["stages"]
    return {stage["name"]: [stage["status"], round(stage["seconds"], 1)] for stage in stages}


def launch(name: str, job: dict[str, Any]) -> dict[str, Any]:
    """Two steps with the repository's own configuration of accelerate: in one process on a GPU, in two without."""
    import torch

    has_gpu = torch.cuda.is_available()
    if name.startswith("deepspeed") and importlib.util.find_spec("deepspeed") is None:
        return {"skipped": "deepspeed is not installed"}
    if name == "fsdp" and not has_gpu:
        return {"skipped": "FSDP needs a GPU"}
    root = copy(job, f"sft-{name}")
    package = next((root / "src").iterdir()).name
    shape, length = "qwen3-0.6b", 64 if job["tiny"] else 1_024
    model = Path(job["work"]) / "models" / shape
    make_model((TINY if job["tiny"] else SHAPES)[shape], model, "cuda" if has_gpu else "cpu")
    file = root / "configs" / "accelerate" / ("default.yaml" if has_gpu else "smoke.yaml")
    if has_gpu:
        config = yaml.safe_load(file.read_text(encoding="utf-8"))
        file.write_text(yaml.safe_dump({**config, "num_processes": 1, "num_machines": 1}), encoding="utf-8")
    write_rows(root / "runs/bench/data", length, {"train": 8, "validation": 2, "test": 2})
    values = (
        *(f"base_model={model}", "chat_template_kwargs={}", f"max_length={length}", "train.max_steps=2"),
        *("train.per_device_batch_size=2", "train.gradient_accumulation_steps=1"),
        *(() if has_gpu else ("dtype=float32",)),
    )
    line = [sys.executable, "-m", "accelerate.commands.launch", "--config_file", str(file), "--main_process_port", "0"]
    begun = time.monotonic()
    run([*line, str(HERE / "launched.py"), package, "runs/bench", *values], root, job)
    return {"started": True, "run_seconds": round(time.monotonic() - begun, 1)}


def copy(job: dict[str, Any], repository: str) -> Path:
    """A repository of the pack to write into."""
    root = Path(job["work"]) / "repositories" / repository
    shutil.rmtree(root, ignore_errors=True)
    return Path(shutil.copytree(Path(job["pack"]) / "repositories" / repository, root))


def sets(*values: str) -> list[str]:
    """Each as `--set` takes it."""
    return [part for value in values for part in ("--set", value)]


def run(line: list[str], root: Path, job: dict[str, Any], codes: tuple[int, ...] = (0,)) -> None:
    """Raises RuntimeError with the end of its output where it fails."""
    path = os.pathsep.join(["src", "vendor", os.environ.get("PYTHONPATH", "")])
    left = max(job["deadline"] - time.time(), 1) + 60
    done = subprocess.run(
        line,
        cwd=root,
        env={**os.environ, "PYTHONPATH": path},
        capture_output=True,
        text=True,
        check=False,
        timeout=left,
    )
    if done.returncode not in codes:
        raise RuntimeError(f"exit code {done.returncode}: {(done.stdout + done.stderr)[-350:]}")


if __name__ == "__main__":
    main(json.loads(Path(sys.argv[1]).read_text(encoding="utf-8")))
