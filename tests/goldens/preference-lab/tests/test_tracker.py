"""A tracker that is slow, or gone, does not stop the training."""

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace

import pytest

from preference_lab.training.tracker import Tracker


@dataclass(frozen=True)
class Config:
    learning_rate: float = 0.1
    watch: dict[str, int | None] = field(default_factory=lambda: {"log_every": 5, "beyond": None})


def state(step: int = 1) -> SimpleNamespace:
    return SimpleNamespace(
        global_step=step, log_history=[{"step": 1, "loss": 1.0}], is_world_process_zero=True
    )


class SlowTracker(Tracker):
    """Records into a list; ``open`` does what the test says."""

    def __init__(self, directory: Path, begin: Callable[[bool], None]) -> None:
        super().__init__("Slow", directory, Config())
        self.open = begin  # type: ignore[method-assign]
        self.seen: list[int] = []

    def record(self, step: int, values: dict[str, float]) -> None:
        self.seen.append(step)

    def end(self, finished: bool) -> None:
        self.seen.append(-1)


def test_a_tracker_that_fails_is_told_once_and_left_alone(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(resumed: bool) -> None:
        raise ConnectionError("nobody there")

    tracker = SlowTracker(tmp_path, fail)
    tracker.on_train_begin(None, state(), None)
    for step in range(5):
        tracker.on_log(None, state(step), None, {"loss": 1.0})
    tracker.close(finished=True)
    assert capsys.readouterr().out.count("cannot be reached (nobody there)") == 1
    assert tracker.seen == []


def test_training_does_not_wait_for_a_slow_tracker(tmp_path: Path) -> None:
    answered = threading.Event()
    tracker = SlowTracker(tmp_path, lambda resumed: answered.wait(10) and None)
    tracker.on_train_begin(None, state(), None)
    begin = time.monotonic()
    for step in range(100):
        tracker.on_log(None, state(step), None, {"loss": 1.0})
    assert time.monotonic() - begin < 1
    answered.set()
    tracker.close(finished=True)
    assert tracker.seen == [*range(100), -1]


def test_the_config_is_told_key_by_key(tmp_path: Path) -> None:
    tracker = SlowTracker(tmp_path, lambda resumed: None)
    assert tracker.config == {"learning_rate": 0.1, "watch.log_every": 5}
