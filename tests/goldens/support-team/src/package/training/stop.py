"""Stopping on request: SIGTERM, as schedulers send it, and Ctrl-C."""

from __future__ import annotations

import signal
import time
from typing import Any

import torch
from transformers import TrainerCallback

SAME_REQUEST = 5.0  # seconds: make, launchers and process groups pass a signal on more than once


class StopOnSignal(TrainerCallback):  # type: ignore[misc]
    """After SIGTERM or the first Ctrl-C: ends the step, saves a checkpoint, and stops.

    A validation that is due or has begun is ended too, since early stopping counts it.
    ``stopped_by`` is the signal on which all processes agreed, or 0. Another signal,
    later than ``SAME_REQUEST``, ends the process at once.
    """

    def __init__(self) -> None:
        self.received = self.stopped_by = 0
        self.received_at = 0.0

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.before = {n: signal.signal(n, self._note) for n in (signal.SIGTERM, signal.SIGINT)}

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_if_told(args, control)

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_if_told(args, control)

    def on_train_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self._stop_if_told(args, control)  # while the last step was saved
        for number, handler in self.before.items():
            signal.signal(number, handler)

    def _stop_if_told(self, args: Any, control: Any) -> None:
        if torch.distributed.is_initialized():
            # The processes get the signal at different steps, and have to stop at the same one.
            agreed = torch.tensor([self.received], device=args.device)
            torch.distributed.all_reduce(agreed, op=torch.distributed.ReduceOp.MAX)
            self.stopped_by = int(agreed.item())
        else:
            self.stopped_by = self.received
        if self.stopped_by:
            control.should_save = control.should_training_stop = True

    def _note(self, number: int, frame: object) -> None:
        if self.received and time.monotonic() - self.received_at < SAME_REQUEST:
            return
        if self.received:
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self.received, self.received_at = number, time.monotonic()
        name = signal.Signals(number).name
        print(f"train: {name}: saving after this step or validation", flush=True)
