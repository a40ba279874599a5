"""Sends a run's metrics and files to a tracker, from a thread that the training never waits for."""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable
from dataclasses import asdict
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from transformers import TrainerCallback
from tunesmith_runtime.errors import in_one_line

from .progress import is_repeated

QUEUED = 1_000  # messages that wait for a slow tracker; later ones are left out
PATIENCE = 60.0  # seconds that the end of a run waits for what is queued


class Tracker(TrainerCallback):  # type: ignore[misc]
    """What trackers have in common; a subclass says how to open, record, store and end.

    Used in a ``with`` statement, whose end closes the tracker's run, as unfinished after an error.
    ``config`` is the stage's dataclass, and ``directory`` where the run writes its own files.
    The first error is printed, and nothing more is sent: ``metrics.jsonl`` has all of it anyway.
    """

    def __init__(self, name: str, directory: Path, config: Any) -> None:
        self.name, self.directory = name, directory
        values = asdict(config)
        values |= {f"watch.{key}": value for key, value in values.pop("watch").items()}
        self.config = {key: value for key, value in values.items() if value is not None}
        self.waiting: queue.Queue[Callable[[], None] | None] = queue.Queue(QUEUED)
        self.lost = False
        self.thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        at: TracebackType | None,
    ) -> None:
        self.close(finished=kind is None)

    def open(self, resumed: bool) -> None:
        """Begin a run, or go on with the one that was begun."""
        raise NotImplementedError

    def record(self, step: int, values: dict[str, float]) -> None:
        """Record metrics of a step."""
        raise NotImplementedError

    def store(self, path: Path) -> None:
        """Keep a file with the run."""
        raise NotImplementedError

    def end(self, finished: bool) -> None:
        """Close the run."""
        raise NotImplementedError

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        if state.is_world_process_zero:
            self.thread = threading.Thread(target=self._run, name=self.name, daemon=True)
            self.thread.start()
            self._send(partial(self.open, state.global_step > 0))

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if is_repeated(logs, state):
            return
        values = {k.replace("eval_", "eval/"): float(v) for k, v in logs.items()}
        self._send(partial(self.record, state.global_step, values))

    def close(self, finished: bool) -> None:
        """Send the run's files and wait, for a while, until all is sent."""
        for name in ("manifest.json", "report.html", "metrics.jsonl"):
            path = self.directory / name
            if path.is_file():
                self._send(partial(self.store, path))
        self._send(partial(self.end, finished))
        self._send(None)
        if self.thread is not None and not self.lost:
            self.thread.join(PATIENCE)
            if self.thread.is_alive():
                print(f"train: warning: {self.name} does not answer; the run goes on", flush=True)

    def _send(self, message: Callable[[], None] | None) -> None:
        if self.thread is None or self.lost:
            return
        try:
            self.waiting.put_nowait(message)
        except queue.Full:
            self._give_up("it is too slow")

    def _run(self) -> None:
        while message := self.waiting.get():
            try:
                message()
            except Exception as error:
                self._give_up(in_one_line(error))
                return

    def _give_up(self, reason: str) -> None:
        self.lost = True
        metrics = json.dumps(str(self.directory / "metrics.jsonl"))
        print(
            f"train: warning: {self.name} cannot be reached ({reason}); training goes on without "
            f"it, and {metrics} has every metric",
            flush=True,
        )
