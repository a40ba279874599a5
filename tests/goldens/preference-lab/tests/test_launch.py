"""Several processes: a launch that is not as the config says is refused, a slow process named."""

from pathlib import Path

import pytest
from tunesmith_runtime.errors import UserError

from preference_lab.training.launch import check_machine, check_processes
from preference_lab.training.ranks import BACKWARD, FORWARD, RankWatch


def write_config(tmp_path: Path, text: str) -> str:
    path = tmp_path / "accelerate.yaml"
    path.write_text(text, encoding="utf-8")
    return str(path)


def test_a_single_process_in_the_place_of_several_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    text = "distributed_type: MULTI_GPU\nnum_processes: 2\nnum_machines: 1\nuse_cpu: true\n"
    with pytest.raises(UserError, match=r"1 processes run, and .* asks for 2"):
        check_processes(write_config(tmp_path, text), "float32")
    check_processes(None, "float32")


@pytest.mark.parametrize("kind", ["FSDP", "DEEPSPEED"])
def test_plain_processes_in_the_place_of_sharded_ones_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    text = f"distributed_type: {kind}\nnum_processes: 2\nnum_machines: 1\nuse_cpu: true\n"
    with pytest.raises(UserError, match=kind):
        check_processes(write_config(tmp_path, text), "float32")


def test_another_precision_than_the_configs_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    text = "distributed_type: MULTI_GPU\nnum_processes: 2\nnum_machines: 1\nuse_cpu: true\n"
    path = write_config(tmp_path, text + "mixed_precision: bf16\n")
    with pytest.raises(UserError, match="mixed_precision is 'bf16', and dtype is float32"):
        check_processes(path, "float32")


@pytest.mark.parametrize(("kind", "processes"), [("'NO'", 1), ("MULTI_GPU", 1), ("TPU", 8)])
def test_a_launch_that_would_not_start_several_processes_is_refused(
    tmp_path: Path, kind: str, processes: int
) -> None:
    text = f"distributed_type: {kind}\nnum_processes: {processes}\nnum_machines: 1\n"
    with pytest.raises(UserError, match=r"set train\.accelerate_config to null"):
        check_machine(write_config(tmp_path, text))


def test_no_accelerate_config_is_said_in_a_line(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="not an accelerate config"):
        check_machine(write_config(tmp_path, "a: 1\n"))


def test_a_process_that_the_others_wait_for_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("WORLD_SIZE", "2")
    watches = []
    for rank in (0, 1):
        monkeypatch.setenv("RANK", str(rank))
        watch = RankWatch(tmp_path, 100.0, 5.0)
        watch.first_step = 0
        watches.append(watch)
    first, second = watches
    first.step, first.phase = 4, BACKWARD  # its gradients are ready
    second.step, second.phase = 4, FORWARD
    first._note()
    second._note()
    first._read_beats()
    assert "process 1 is behind the others, at step 4, computing forward" in first._stalled()
    beats, rose = first.last_beats[1]
    first.last_beats[1] = (beats, rose - 60)
    first._read_beats()
    assert "process 1 has given no sign of life for 60 s" in first._stalled()
