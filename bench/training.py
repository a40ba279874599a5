"""Training by a generated repository beside a minimal script that knows TRL alone: the same rows, base and settings.

Both run as whole commands in the environment of generated repositories, taking turns; what is compared is TRL's own
count of samples per second, so that start-up does not hide the training. A shared machine is slowed down by others, by a
tenth from one round to the next, and never sped up: so beside the median of the rounds' ratios, with the quartiles that
show its scatter, the fastest rounds are compared; and the calls that the training loop makes in a step, Python's and its
libraries', which do not scatter. Both run the same tensor operations, since a test holds that their losses are the same.
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import NamedTuple

sys.path.append(str(Path(__file__).resolve().parents[1] / "tests"))
import real_models  # as the tests have it

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent
TUNESMITH = Path(sys.executable).with_name("tunesmith")
PYTHON = PROJECT / ".venvs" / "pipeline" / "bin" / "python"
PACKAGE = "support_assistant"


class Case(NamedTuple):
    """A training that is compared.

    Attributes:
        pretrained: Whether the base is SmolLM2-135M-Instruct, with its real vocabulary; else the smoke run's.
        rounds: Of eight with the small base, the median moved by five hundredths.
    """

    method: str
    adapter: str
    steps: int
    learning_rate: float
    pretrained: bool = False
    rounds: int = 24


CASES = (
    Case("sft", "lora", 150, 1e-2),
    Case("sft", "full", 150, 3e-3),
    Case("dpo", "full", 60, 1e-3),
    Case("sft", "lora", 8, 1e-3, pretrained=True, rounds=5),
)
ENVIRONMENT = {
    **os.environ,
    "PYTHONPATH": "src:vendor",
    "HF_HUB_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "CUDA_VISIBLE_DEVICES": "",
}


def main() -> None:
    """Print a table."""
    print(f"\n{'':22}  samples per second, fastest       ratio                              calls a step")
    print(
        f"{'':22}{'generated':>12}{'TRL alone':>12}{'fastest':>10}{'median':>10}   quartiles     "
        f"{'generated':>12}{'TRL alone':>12}"
    )
    with tempfile.TemporaryDirectory(prefix="tunesmith-bench-") as folder:
        for case in CASES:
            name = f"{case.method}, {case.adapter}{', SmolLM2' if case.pretrained else ''}"
            root = repository(Path(folder) / name.replace(", ", "-"), case)
            counter = [str(PYTHON), str(HERE / "count_calls.py"), str(root / "calls")]
            calls = []
            # Also warms the disk's cache up.
            for train in (generated, alone):
                train(counter, root, case)
                calls.append(int((root / "calls").read_text(encoding="utf-8")) / case.steps)
            rounds: list[tuple[float, float]] = []
            for number in range(case.rounds):
                # The one that goes first is another each time.
                order = (generated, alone) if number % 2 else (alone, generated)
                speeds = {train: train([str(PYTHON)], root, case) for train in order}
                rounds.append((speeds[generated], speeds[alone]))
            ours, theirs = (max(speeds) for speeds in zip(*rounds, strict=True))
            low, middle, high = statistics.quantiles((a / b for a, b in rounds), n=4)
            print(
                f"{name:22}{ours:12.1f}{theirs:12.1f}{ours / theirs:9.3f}×{middle:9.3f}×"
                f"   {low:.3f}-{high:.3f}   {calls[0]:12,.0f}{calls[1]:12,.0f}",
                flush=True,
            )


def repository(root: Path, case: Case) -> Path:
    """A generated repository with its rows split and its base."""
    blueprint = "support-assistant" if case.method == "sft" else "support-preferences"
    answers = [f"--data=adapter={case.adapter}", f"--data=project_name={PACKAGE.replace('_', '-')}"]
    run([str(TUNESMITH), "init", blueprint, str(root), "--defaults", *answers], root.parent)
    run([str(TUNESMITH), "apply", str(root)], root.parent)
    options = ["--config", "configs/smoke.yaml"]
    run([str(PYTHON), "-m", PACKAGE, "data", *options], root)
    if case.pretrained:
        (root / "runs/smoke/base").symlink_to(real_models.smollm2())
    else:
        run([str(PYTHON), "-m", f"{PACKAGE}.smoke.base", *options, "--set", "base.steps=50"], root)
    return root


def generated(python: list[str], root: Path, case: Case) -> float:
    """Samples per second of the repository's own `train`, run by the command `python`."""
    values = [
        f"max_steps={case.steps}",
        f"learning_rate={case.learning_rate}",
        "per_device_batch_size=8",
        "eval_every=10000",
    ]
    values += ["watch.save_every=10000", f"watch.log_every={min(10, case.steps)}", "watch.max_loss_growth=1e9"]
    run(["rm", "-rf", "runs/smoke/train"], root)
    line = [*python, "-m", PACKAGE, "train", "--config", "configs/smoke.yaml"]
    run([*line, *(part for value in values for part in ("--set", f"train.{value}"))], root)
    steps_done = [json.loads(text) for text in (root / "runs/smoke/train/metrics.jsonl").read_text().splitlines()]
    assert steps_done[-1]["step"] == case.steps, case
    manifest = json.loads((root / "runs/smoke/train/manifest.json").read_text(encoding="utf-8"))
    return float(manifest["metrics"]["samples_per_second"])


def alone(python: list[str], root: Path, case: Case) -> float:
    """Samples per second of the minimal script; both evaluate and save once, at the end."""
    settings = {
        "method": case.method,
        "base": str(root / "runs/smoke/base"),
        "rows": str(root / "runs/smoke/data/train.jsonl"),
        "validation": str(root / "runs/smoke/data/validation.jsonl"),
        "steps": case.steps,
        "batch_size": 8,
        "learning_rate": case.learning_rate,
        "beta": 0.1,
        "seed": 42,
        "log_every": min(10, case.steps),
        "lora": case.adapter == "lora",
        "optimizer": "adamw_torch_fused",
        "output": str(root / "alone.json"),
    }
    (root / "settings.json").write_text(json.dumps(settings), encoding="utf-8")
    run([*python, str(HERE / "minimal_trl.py"), str(root / "settings.json")], root)
    return float(json.loads((root / "alone.json").read_text(encoding="utf-8"))["samples_per_second"])


def run(command: list[str], cwd: Path) -> None:
    """Run a command; its output is shown only where it fails."""
    done = subprocess.run(command, cwd=cwd, env=ENVIRONMENT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(command)}\n{done.stdout}{done.stderr}")


if __name__ == "__main__":
    main()
