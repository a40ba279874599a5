"""What watches over a training run: runaway losses, torn checkpoints, failures, the report."""

import errno
import json
import re
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from tunesmith_runtime.errors import UserError

from preference_lab.training.checkpoints import CheckpointCallback, find_checkpoint
from preference_lab.training.failures import translate_failures
from preference_lab.training.progress import Progress
from preference_lab.training.resources import ResourceSampler


@dataclass(frozen=True)
class Watch:
    keep_checkpoints: int = 2


@dataclass(frozen=True)
class Config:
    learning_rate: float
    watch: Watch = Watch()
    run_dir: str = "runs/test"


def state(step: int = 1, first_loss: float = 1.0) -> SimpleNamespace:
    log = [{"step": 1, "loss": first_loss}]
    return SimpleNamespace(
        global_step=step, max_steps=10, log_history=log, is_world_process_zero=True
    )


def make_checkpoint(directory: Path, step: int) -> Path:
    checkpoint = directory / f"checkpoint-{step}"
    checkpoint.mkdir(parents=True)
    (checkpoint / "model.safetensors").write_bytes(b"weights")
    (checkpoint / "optimizer.pt").write_bytes(b"moments")
    CheckpointCallback().on_save(SimpleNamespace(output_dir=str(directory)), state(step), None)
    return checkpoint


@pytest.mark.parametrize(
    ("logs", "fp16", "message"),
    [
        ({"loss": float("nan"), "learning_rate": 1e-3}, False, "loss is nan at step 7"),
        (
            {"loss": 1.0, "grad_norm": float("inf"), "learning_rate": 1e-3},
            False,
            "grad_norm is inf",
        ),
        ({"loss": 9.0, "learning_rate": 1e-3}, False, "grew from 1 to 9 at step 7"),
        ({"loss": 2.5, "learning_rate": 1e-3}, False, None),
        ({"loss": 1.0, "grad_norm": float("inf"), "learning_rate": 1e-3}, True, None),
    ],
)
def test_a_loss_that_runs_away_ends_the_run(
    tmp_path: Path, logs: dict[str, float], fp16: bool, message: str | None
) -> None:
    progress, args = Progress(tmp_path / "metrics.jsonl", 100.0, 3.0), SimpleNamespace(fp16=fp16)
    progress.on_train_begin(args, state(0), None)
    if message is None:
        progress.on_log(args, state(7), None, logs)
        (line,) = (tmp_path / "metrics.jsonl").read_text(encoding="utf-8").splitlines()[1:]
        assert json.loads(line)["step"] == 7
        assert "tokens_per_second" in json.loads(line)
    else:
        with pytest.raises(UserError, match=message):
            progress.on_log(args, state(7), None, logs)


def test_a_torn_checkpoint_is_skipped_and_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert find_checkpoint(Config(0.1), "one way", tmp_path, []) is None  # notes the config
    make_checkpoint(tmp_path, 9)
    make_checkpoint(tmp_path, 20)
    cut = make_checkpoint(tmp_path, 100)
    (cut / "optimizer.pt").write_bytes(b"mom")
    killed = make_checkpoint(tmp_path, 200)
    (killed / "files.json").unlink()
    assert find_checkpoint(Config(0.1), "one way", tmp_path, []) == str(tmp_path / "checkpoint-20")
    output = capsys.readouterr().out
    assert "checkpoint-200 is torn (it was not written to its end)" in output
    assert "checkpoint-100 is torn (optimizer.pt has 3 of 7 bytes)" in output
    with pytest.raises(UserError, match="another learning_rate"):
        find_checkpoint(Config(0.2), "one way", tmp_path, [])
    fewer = find_checkpoint(Config(0.1, Watch(3), "runs/moved"), "one way", tmp_path, [])
    assert fewer == str(tmp_path / "checkpoint-20"), "what changes no weights may change"
    with pytest.raises(UserError, match="another method"):
        find_checkpoint(Config(0.1), "another way", tmp_path, [])


@pytest.mark.parametrize(
    ("error", "message"),
    [
        (torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"), "halve"),
        (MemoryError(), r"out of memory \(MemoryError\)"),
        (RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried"), "out of memory"),
        (OSError(errno.ENOSPC, "No space left on device"), "is full"),
        (RuntimeError("PytorchStreamWriter failed writing file data/0: file write failed"), "full"),
    ],
)
def test_running_out_of_something_is_said_in_a_line(
    tmp_path: Path, error: Exception, message: str
) -> None:
    with pytest.raises(UserError, match=message) as told, translate_failures(tmp_path):
        raise error
    assert "\n" not in str(told.value)


def test_other_errors_are_left_alone(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError, match="shapes"), translate_failures(tmp_path):
        raise RuntimeError("shapes do not match")


def test_the_machine_is_sampled(tmp_path: Path) -> None:
    path = tmp_path / "resources.jsonl"
    path.write_text('{"seconds": 500.0, "cpu_percent": 1.0}\n', encoding="utf-8")  # an older run's
    for resumed in (False, True):
        with ResourceSampler(path, 0.02, resumed=resumed):
            time.sleep(0.5)
    samples = [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]
    seconds = [sample["seconds"] for sample in samples]
    assert seconds == sorted(seconds)
    assert 0.5 < seconds[-1] < 100
    assert samples[0]["memory_mb"] > 10


def test_the_report_stands_alone(trained: Path) -> None:
    directory = trained / "run" / "train"
    page = (directory / "report.html").read_text(encoding="utf-8")
    manifest = json.loads((directory / "manifest.json").read_text(encoding="utf-8"))
    assert page.count("<svg") >= 4
    assert not re.search(r"(src|href)=|@import|url\(", page), "it loads nothing from elsewhere"
    for digest in filter(None, manifest["inputs"].values()):
        assert digest in page
    for word in (
        "learning_rate",
        manifest["packages"]["torch"],
        "Loss",
        "Memory, MB",
        "Margin of rewards",
    ):
        assert word in page


def test_a_checkpoint_of_a_real_run_is_whole(trained: Path, tmp_path: Path) -> None:
    directory = tmp_path / "train"
    shutil.copytree(trained / "run" / "train", directory)
    names = json.loads((directory / "checkpoint-6" / "files.json").read_text(encoding="utf-8"))
    assert {"optimizer.pt", "scheduler.pt", "trainer_state.json"} <= set(names)
    assert all((directory / "checkpoint-6" / name).stat().st_size == names[name] for name in names)
