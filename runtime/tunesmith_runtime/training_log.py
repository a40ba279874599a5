"""What a training run says while it runs: lines for people, and a JSONL file."""

from __future__ import annotations

import json
import math
import time
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from tunesmith_runtime.errors import UserError


class TrainingLog(TrainerCallback):  # type: ignore[misc]
    """Prints a line and appends one to ``path`` per log; ends a run whose loss is no number.

    A resumed run first restores the lines of the steps before it. ``path`` is None for none.
    """

    def __init__(self, path: Path | None) -> None:
        self.path = path

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin, self.first_step = time.monotonic(), state.global_step
        if self.path is not None:
            lines = [json.dumps(entry) + "\n" for entry in state.log_history]
            self.path.write_text("".join(lines), encoding="utf-8")

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        step = state.global_step
        for name in ("loss", "grad_norm", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise UserError(
                    f"train: {name} is {logs[name]} at step {step}; lower train.learning_rate or "
                    "train.max_grad_norm, or look at the data"
                )
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**logs, "step": step}) + "\n")
        per_step = (time.monotonic() - self.begin) / max(step - self.first_step, 1)
        left = f"{per_step * (state.max_steps - step):.0f} s left"
        place = f"train: step {step}/{state.max_steps}"
        if "loss" in logs:
            rate = logs["learning_rate"]
            print(f"{place}  loss {logs['loss']:.4f}  lr {rate:.2e}  {left}", flush=True)
        elif "eval_loss" in logs:
            print(f"{place}  validation loss {logs['eval_loss']:.4f}  {left}", flush=True)
