"""Training runs, for real: over several processes, stopped and resumed, tracked, and when something fails."""

import json
import os
import shutil
import signal
import socket
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from conftest import PIPELINE_PYTHON, require
from repositories import generate, logged_losses, make, offline, repository, settings, stage

pytestmark = pytest.mark.pipeline

MODULE = [str(PIPELINE_PYTHON), "-m", "support_assistant"]


@pytest.fixture(scope="session")
def workplace(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where repositories are generated."""
    require(PIPELINE_PYTHON)
    require("make")
    return tmp_path_factory.mktemp("training")


@pytest.fixture(scope="session")
def support(workplace: Path) -> Path:
    """Supervised fine-tuning with LoRA."""
    return repository(workplace / "support", "sft")


def weights(directory: Path) -> dict[str, Any]:
    """Tensors of the trained adapter, by name, as lists of numbers; read by torch in its own environment."""
    code = (
        "import json, sys; from safetensors.torch import load_file; "
        "print(json.dumps({k: v.flatten().tolist() for k, v in load_file(sys.argv[1]).items()}))"
    )
    file = directory / "final" / "adapter_model.safetensors"
    done = subprocess.run([PIPELINE_PYTHON, "-c", code, file], capture_output=True, text=True, check=True)
    tensors: dict[str, Any] = json.loads(done.stdout)
    return tensors


# --- Several processes


TOGETHER = ["train.max_steps=16", "train.per_device_batch_size=4", "train.watch.log_every=1"]


@pytest.fixture(scope="session")
def alone(support: Path) -> dict[int, float]:
    """Losses of one process of four rows that accumulates two."""
    shutil.copytree(support / "runs/smoke/data", support / "runs/alone/data")
    stage(support, "train", *settings(*TOGETHER, "train.gradient_accumulation_steps=2", "run_dir=runs/alone"))
    return logged_losses(support / "runs/alone/train")


@pytest.mark.parametrize("distributed", ["ddp", "deepspeed-zero2", "deepspeed-zero3"])
def test_two_processes_learn_what_one_does(
    workplace: Path, support: Path, alone: dict[int, float], distributed: str
) -> None:
    """At the same global batch: two processes of four rows, and one of four rows that accumulates two."""
    root = repository(workplace / distributed, "sft", like=support, train={"distributed": distributed})
    output = stage(root, "train", *settings(*TOGETHER))
    assert "forward tokens/s by process: " in output
    assert output.count("train: validation_loss = ") == 1, "one process speaks for all"
    notes = [json.loads((root / f"runs/smoke/train/rank-{rank}.json").read_text()) for rank in (0, 1)]
    assert [note["step"] for note in notes] == [16, 16]
    assert all(note["tokens_per_second"] > 0 for note in notes)

    together = logged_losses(root / "runs" / "smoke" / "train")
    assert len(together) == 16
    assert together == pytest.approx(alone, abs=1e-3)

    # As after a kill between the last step and the end: nothing is trained any more.
    directory = root / "runs" / "smoke" / "train"
    before = weights(directory)
    shutil.rmtree(directory / "final")
    assert "resuming from" in stage(root, "train", *settings(*TOGETHER))
    assert weights(directory) == before
    assert logged_losses(directory) == together


@pytest.fixture(scope="session")
def ddp(workplace: Path) -> Path:
    """Supervised fine-tuning with LoRA in two processes."""
    return repository(workplace / "two-processes", "sft", train={"distributed": "ddp"})


def test_a_launch_that_falls_back_to_one_process_fails(ddp: Path) -> None:
    """`accelerate launch --cpu --num_processes 2` without a config starts one process, and says nothing."""
    accelerate = PIPELINE_PYTHON.with_name("accelerate")
    line = [accelerate, "launch", "--cpu", "--num_processes", "2", "--module", "support_assistant", "train"]
    line += settings("run_dir=runs/smoke")
    environment = offline(LOCAL_RANK="0", WORLD_SIZE="1", RANK="0")
    done = subprocess.run(line, cwd=ddp, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "train: 1 processes run, and configs/accelerate/smoke.yaml asks for 2" in done.stderr
    assert not (ddp / "runs" / "smoke" / "train" / "final").exists()


def test_more_processes_than_gpus_are_refused_before_they_start(ddp: Path) -> None:
    output = stage(ddp, "train", *settings("train.accelerate_config=configs/accelerate/default.yaml"), code=1)
    assert "configs/accelerate/default.yaml: 8 processes on this machine need a GPU each, and it has 0" in output
    assert "Traceback" not in output


def test_a_mistake_in_the_rows_is_told_once_and_before_processes_start(ddp: Path) -> None:
    output = stage(ddp, "train", *settings("max_length=16", "train.max_truncated_fraction=0.0"), code=1)
    assert output.count("max_length: ") == 1 + output.count("would do")
    assert "process 1" not in output
    assert "Traceback" not in output


def test_a_process_that_the_others_wait_for_is_named(ddp: Path) -> None:
    """One of two processes is stopped for a while; the run ends well once it goes on."""
    shutil.copytree(ddp / "runs/smoke/data", ddp / "runs/stalled/data")
    directory = ddp / "runs" / "stalled" / "train"
    options = settings(
        "run_dir=runs/stalled", "train.max_steps=60", "train.watch.stall_seconds=3.0", "train.watch.log_every=5"
    )
    run = start(ddp, *options)
    try:
        wait_for(run, lambda: logged(directory) >= 5)
        second = child_with(run.pid, "RANK", "1")
        os.kill(second, signal.SIGSTOP)
        time.sleep(20)
        os.kill(second, signal.SIGCONT)
        output, _ = run.communicate(timeout=240)
    finally:
        end(run)
    assert run.returncode == 0, output[-3_000:]
    assert "process 1 has given no sign of life for" in output


def test_a_process_that_dies_is_named(ddp: Path) -> None:
    shutil.copytree(ddp / "runs/smoke/data", ddp / "runs/killed/data")
    run = start(ddp, *settings("run_dir=runs/killed", "train.max_steps=400", "train.watch.log_every=5"))
    try:
        wait_for(run, lambda: logged(ddp / "runs" / "killed" / "train") >= 5)
        os.kill(child_with(run.pid, "RANK", "1"), signal.SIGKILL)
        output, _ = run.communicate(timeout=120)
    finally:
        end(run)
    assert run.returncode == 137
    assert "train: process 1 was ended by SIGKILL, often for want of memory" in output
    assert "Traceback" not in output


# --- Stop and resume


def test_a_stopped_run_ends_with_the_weights_of_an_undisturbed_one(support: Path) -> None:
    """SIGTERM saves and exits; after SIGKILL, and with a torn checkpoint, training goes on from the newest whole one."""
    train = ["train.max_steps=60", "train.watch.log_every=5", "train.watch.save_every=10", "train.eval_every=20"]
    train.append("train.lora_dropout=0.1")  # so that random numbers matter
    for name in ("calm", "rough"):
        shutil.copytree(support / "runs/smoke/data", support / "runs" / name / "data")
    calm, rough = support / "runs/calm/train", support / "runs/rough/train"
    stage(support, "train", *settings("run_dir=runs/calm", *train))

    options = settings("run_dir=runs/rough", *train)
    run = start(support, *options)
    wait_for(run, lambda: logged(rough) >= 15)
    run.send_signal(signal.SIGTERM)
    output, _ = run.communicate(timeout=60)
    assert run.returncode == 143, output[-3_000:]
    assert "stopped by SIGTERM at step" in output
    assert "Traceback" not in output
    stopped = int(output.split("stopped by SIGTERM at step ")[1].split(",")[0])
    assert (rough / f"checkpoint-{stopped}" / "files.json").is_file()

    run = start(support, *options)
    wait_for(run, lambda: any(whole(rough, step) for step in (30, 40, 50)))
    run.kill()
    run.communicate(timeout=60)
    newest = max(rough.glob("checkpoint-*"), key=lambda path: int(path.name.split("-")[1]))
    torn = newest / "optimizer.pt"
    torn.write_bytes(torn.read_bytes()[:1_000])

    output = stage(support, "train", *options, *settings("train.watch.save_every=5"))
    assert f"warning: {newest.relative_to(support)} is torn (optimizer.pt has 1000 of" in output
    assert "resuming from" in output
    assert {path.name for path in rough.glob("checkpoint-*")} == {"checkpoint-55", "checkpoint-60"}
    first, second = weights(calm), weights(rough)
    assert first.keys() == second.keys()
    for name, values in first.items():
        assert second[name] == pytest.approx(values, abs=1e-6), name
    # A line is the mean since the line before, and the run that was stopped has one more.
    later = {step: loss for step, loss in logged_losses(calm).items() if step > stopped + 5}
    assert len(later) >= 5
    assert {step: logged_losses(rough)[step] for step in later} == pytest.approx(later, abs=1e-6)


def test_a_signal_in_a_validation_stops_after_it(support: Path) -> None:
    """The step and its validation, which early stopping would count, are both in the checkpoint."""
    shutil.copytree(support / "runs/smoke/data", support / "runs/validating/data")
    rows = support / "runs/validating/data/validation.jsonl"
    rows.write_text(rows.read_text(encoding="utf-8") * 60, encoding="utf-8")  # several seconds of validation
    directory = support / "runs/validating/train"
    values = ["train.max_steps=60", "train.watch.log_every=5", "train.watch.save_every=10", "train.eval_every=5"]
    run = start(support, *settings("run_dir=runs/validating", *values))
    wait_for(run, lambda: logged(directory) >= 5)
    time.sleep(0.5)  # the line is written before the validation begins
    run.send_signal(signal.SIGTERM)
    time.sleep(0.2)
    run.send_signal(signal.SIGTERM)  # as make passes it on where the whole group got it
    output, _ = run.communicate(timeout=120)
    assert run.returncode == 143, output[-3_000:]
    assert "stopped by SIGTERM at step 5," in output
    assert (directory / "checkpoint-5" / "files.json").is_file()
    lines = [json.loads(line) for line in (directory / "metrics.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [(line["step"], "eval_loss" in line) for line in lines] == [(5, False), (5, True)]


def test_processes_that_are_stopped_stop_together(ddp: Path) -> None:
    shutil.copytree(ddp / "runs/smoke/data", ddp / "runs/stopped/data")
    directory = ddp / "runs" / "stopped" / "train"
    options = settings("run_dir=runs/stopped", "train.max_steps=400", "train.watch.log_every=5")
    run = start(ddp, *options)
    try:
        wait_for(run, lambda: logged(directory) >= 5)
        run.send_signal(signal.SIGTERM)
        output, _ = run.communicate(timeout=60)
    finally:
        end(run)
    assert run.returncode == 143, output[-3_000:]
    step = int(output.split("stopped by SIGTERM at step ")[1].split(",")[0])
    assert (directory / f"checkpoint-{step}" / "files.json").is_file()
    files = json.loads((directory / f"checkpoint-{step}" / "files.json").read_text())
    assert {"rng_state_0.pth", "rng_state_1.pth"} <= set(files)


# --- Trackers


def test_mlflow_has_the_metrics_and_the_report(workplace: Path) -> None:
    """Those of metrics.jsonl and no others, after a kill between the last step and the end too."""
    root = repository(workplace / "mlflow", "sft", tracking={"provider": "mlflow"})
    options = settings("train.max_steps=10", "train.watch.log_every=2")
    stage(root, "train", *options)
    shutil.rmtree(root / "runs" / "smoke" / "train" / "final")
    stage(root, "train", *options)
    with sqlite3.connect(root / "runs" / "smoke" / "mlflow" / "mlflow.db") as database:
        (run,) = database.execute("select run_uuid, status, artifact_uri from runs").fetchall()
        metrics = database.execute("select key, step from metrics").fetchall()
        rate = database.execute("select value from params where key = 'learning_rate'").fetchall()
    assert run[1] == "FINISHED"
    assert {("loss", step) for step in range(2, 11, 2)} <= set(metrics)
    lines = (root / "runs" / "smoke" / "train" / "metrics.jsonl").read_text(encoding="utf-8").splitlines()
    written = [(key.replace("eval_", "eval/"), line["step"]) for line in map(json.loads, lines) for key in line]
    assert sorted(metrics) == sorted((key, step) for key, step in written if key != "step")
    assert rate == [("0.01",)]
    folder = Path(run[2].removeprefix("file://"))
    assert (root / folder / "report.html").is_file()
    assert (root / folder / "manifest.json").is_file()


def test_a_tracker_that_cannot_be_reached_does_not_stop_training(workplace: Path) -> None:
    """Nobody listens at the server's address, and then somebody who never answers."""
    root = repository(workplace / "unreachable", "sft", tracking={"provider": "mlflow"})
    shutil.copytree(root / "runs/smoke/data", root / "runs/mute/data")
    with socket.socket() as closed, socket.socket() as mute:
        closed.bind(("127.0.0.1", 0))
        mute.bind(("127.0.0.1", 0))
        mute.listen(8)
        nowhere = f"http://127.0.0.1:{closed.getsockname()[1]}"
        silent = f"http://127.0.0.1:{mute.getsockname()[1]}"
        values = ("train.max_steps=10", "train.watch.log_every=2")
        output = stage(root, "train", *settings(*values), MLFLOW_TRACKING_URI=nowhere)
        assert output.count("MLflow cannot be reached") == 1
        assert (root / "runs" / "smoke" / "train" / "final").is_dir()
        output = stage(root, "train", *settings(*values, "run_dir=runs/mute"), MLFLOW_TRACKING_URI=silent)
        assert "train: validation_loss = " in output
        assert output.count("train: warning: MLflow") == 1


def test_wandb_writes_its_offline_files(workplace: Path) -> None:
    root = repository(workplace / "wandb", "sft", tracking={"provider": "wandb"})
    stage(root, "train", *settings("train.max_steps=10", "train.watch.log_every=2"))
    (run,) = (root / "runs" / "smoke" / "train" / "wandb").glob("offline-run-*/run-*.wandb")
    content = run.read_bytes()
    for word in (b"learning_rate", b"tokens_per_second", b"grad_norm"):
        assert word in content
    assert (run.parent / "files" / "report.html").exists()


# --- Failures


def test_a_full_disk_is_said_and_the_run_goes_on_once_there_is_space(support: Path, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", disk], check=False, capture_output=True)
    if mounted.returncode != 0:
        require("mount as root")
    try:
        shutil.copytree(support / "runs/smoke/data", disk / "run" / "data")
        values = [
            f"run_dir={disk / 'run'}",
            "train.max_steps=20",
            "train.watch.save_every=4",
            "train.watch.keep_checkpoints=10",
        ]
        output = stage(support, "train", *settings(*values), code=1)
        assert f"train: the disk of {disk}/run/train is full" in output
        assert "Traceback" not in output
        subprocess.run(["mount", "-o", "remount,size=40m", disk], check=True)
        fewer = [*values[:-1], "train.watch.keep_checkpoints=2"]  # as the message says
        output = stage(support, "train", *settings(*fewer))
        assert "resuming from" in output
    finally:
        subprocess.run(["umount", disk], check=True)


def test_running_out_of_memory_says_what_to_change(support: Path) -> None:
    shutil.copytree(support / "runs/smoke/data", support / "runs/large/data")
    # What is loaded already, and a GB more: enough for what is imported later, and for no batch of 4,096.
    code = (
        "import resource, sys; import support_assistant.train, support_assistant.cli as cli; "
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize(); "
        "resource.setrlimit(resource.RLIMIT_AS, (used + (1 << 30),) * 2); sys.exit(cli.main(sys.argv[1:]))"
    )
    options = settings("run_dir=runs/large", "train.per_device_batch_size=4096", "train.max_steps=2")
    line = [str(PIPELINE_PYTHON), "-c", code, "train", *options]
    done = subprocess.run(line, cwd=support, env=offline(), capture_output=True, text=True, check=False)
    assert done.returncode == 1, done.stdout[-2_000:] + done.stderr[-2_000:]
    (told,) = [text for text in done.stderr.splitlines() if text.startswith("train: out of memory")]
    assert "halve train.per_device_batch_size" in told
    assert "Traceback" not in done.stderr


def test_an_optimizer_that_needs_a_gpu_is_refused_without_one(workplace: Path) -> None:
    root = repository(workplace / "paged", "sft", train={"optimizer": "paged_adamw_8bit"})
    output = stage(root, "train", *settings("train.optimizer=paged_adamw_8bit"), code=1)
    assert "train.optimizer: paged_adamw_8bit needs a GPU" in output
    assert "Traceback" not in output


# --- The repositories' own tests and lint, where there is more than one method, adapter, tracker and process


@pytest.mark.parametrize(
    ("method", "adapter", "changes"),
    [
        ("dpo", "full", {"train": {"distributed": "fsdp"}, "tracking": {"provider": "wandb"}}),
        (
            "kto",
            "qlora",
            {"train": {"early_stopping_patience": 2, "optimizer": "adamw_8bit"}, "tracking": {"provider": "mlflow"}},
        ),
        ("orpo", "lora", {"train": {"distributed": "deepspeed-zero3", "nodes": 2, "lora": {"rslora": True}}}),
        ("sft", "qlora", {"train": {"packing": True, "early_stopping_patience": 3, "lora": {"dora": True}}}),
    ],
)
def test_repositories_pass_their_own_tests_and_lint(
    workplace: Path, method: str, adapter: str, changes: dict[str, Any]
) -> None:
    root = workplace / f"own-{method}-{adapter}"
    blueprint, answers = "support-assistant", [f"adapter={adapter}"]
    if method != "sft":
        blueprint, answers = "support-preferences", [f"adapter={adapter}", f"method={method}"]
    generate(root, blueprint, *answers, **changes)
    output = make(root, "test")
    assert " passed" in output
    assert "skipped" not in output
    assert "Success: no issues found" in make(root, "lint")


# --- Processes under test


def start(root: Path, *options: str) -> "subprocess.Popen[str]":
    """`train` in the background."""
    return subprocess.Popen(
        [*MODULE, "train", *options],
        cwd=root,
        env=offline(),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def end(run: "subprocess.Popen[str]") -> None:
    """End a process that a failed test left behind."""
    if run.poll() is None:
        run.kill()
        run.communicate()


def wait_for(run: "subprocess.Popen[str]", condition: Any, seconds: float = 240.0) -> None:
    """Wait until something is so; fails where the process ends before."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert run.poll() is None, run.communicate()[0][-3_000:]
        assert time.monotonic() < deadline
        time.sleep(0.05)


def logged(directory: Path) -> int:
    """The last step with a line in the metrics."""
    path = directory / "metrics.jsonl"
    lines = path.read_text(encoding="utf-8").splitlines() if path.exists() else []
    return int(json.loads(lines[-1])["step"]) if lines else 0


def whole(directory: Path, step: int) -> bool:
    """Whether a checkpoint was written to its end."""
    return (directory / f"checkpoint-{step}" / "files.json").is_file()


def descendants(pid: int) -> Iterator[int]:
    """Processes that a process started, and those that they did."""
    children = Path(f"/proc/{pid}/task/{pid}/children")
    for child in map(int, children.read_text().split()):
        yield child
        yield from descendants(child)


def child_with(pid: int, variable: str, value: str) -> int:
    """The process below `pid` that has this in its environment."""
    for child in descendants(pid):
        environment = Path(f"/proc/{child}/environ").read_bytes().split(b"\0")
        if f"{variable}={value}".encode() in environment:
            return child
    raise AssertionError(f"no process has {variable}={value}")
