"""What a training run says while it runs: lines for people, and a JSONL file."""

from __future__ import annotations

import json
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from transformers import TrainerCallback
from tunesmith_runtime.chat import Example
from tunesmith_runtime.errors import UserError


class Progress(TrainerCallback):  # type: ignore[misc]
    """Prints a line and appends one to ``path`` per log; ends a run whose loss runs away.

    A resumed run first restores the lines of the steps before it. ``path`` is None for none.
    ``max_loss_growth`` is how many times its first value the loss may reach.
    """

    def __init__(self, path: Path | None, tokens_per_step: float, max_loss_growth: float) -> None:
        self.path, self.tokens_per_step = path, tokens_per_step
        self.max_loss_growth = max_loss_growth

    def on_train_begin(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.begin, self.first_step = time.monotonic(), state.global_step
        self.since, self.logged_step = self.begin, self.first_step  # the line before
        if not state.is_world_process_zero:
            self.path = None
        if self.path is not None:
            lines = [json.dumps(entry) + "\n" for entry in state.log_history]
            self.path.write_text("".join(lines), encoding="utf-8")

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        # Logged first, a loss that is no number ends the run before its weights are saved.
        control.should_log |= control.should_save or control.should_evaluate

    def on_evaluate(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.since = time.monotonic()

    def on_save(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        self.since = time.monotonic()

    def on_log(self, args: Any, state: Any, control: Any, logs: Any = None, **kwargs: Any) -> None:
        if is_repeated(logs, state):
            return
        step = state.global_step
        self._check(args, state, logs)
        if "loss" in logs:
            # Since the line before, without evaluating and saving; for a tracker too.
            tokens = self.tokens_per_step * (step - self.logged_step)
            logs["tokens_per_second"] = round(tokens / (time.monotonic() - self.since))
            self.since, self.logged_step = time.monotonic(), step
        state.log_history[-1].update(logs)  # and, with a checkpoint, for the run that resumes it
        if self.path is not None:
            with self.path.open("a", encoding="utf-8") as file:
                file.write(json.dumps({**logs, "step": step}) + "\n")
        per_step = (time.monotonic() - self.begin) / max(step - self.first_step, 1)
        left = f"{duration(per_step * (state.max_steps - step))} left"
        place = f"train: step {step}/{state.max_steps}"
        if "loss" in logs:
            rate = f"lr {logs['learning_rate']:.2e}  {logs['tokens_per_second']:,} tokens/s"
            print(f"{place}  loss {logs['loss']:.4f}  {rate}  {left}", flush=True)
        elif "eval_loss" in logs:
            print(f"{place}  validation loss {logs['eval_loss']:.4f}  {left}", flush=True)

    def _check(self, args: Any, state: Any, logs: dict[str, Any]) -> None:
        step = state.global_step
        # In float16 the first gradients overflow until their scale is found, which is harmless.
        for name in ("loss", "eval_loss") if args.fp16 else ("loss", "grad_norm", "eval_loss"):
            if not math.isfinite(logs.get(name, 0.0)):
                raise UserError(
                    f"train: {name} is {logs[name]} at step {step}; lower train.learning_rate or "
                    "train.max_grad_norm, or look at the data. The checkpoints before it are whole"
                )
        first = next((entry["loss"] for entry in state.log_history if "loss" in entry), math.inf)
        if logs.get("loss", 0.0) > self.max_loss_growth * first:
            raise UserError(
                f"train: the loss grew from {first:.4g} to {logs['loss']:.4g} at step {step}; "
                "lower train.learning_rate, or raise train.watch.max_loss_growth if that is meant. "
                "The checkpoints before it are whole"
            )


def is_repeated(logs: dict[str, Any], state: Any) -> bool:
    """Whether this is the summary at the end, or the validation of a step that has one already."""
    if "eval_loss" not in logs:
        return "train_runtime" in logs
    before = state.log_history[:-1]
    return any("eval_loss" in entry and entry["step"] == state.global_step for entry in before)


def tokens_per_step(trainer: Any, examples: Sequence[Example]) -> float:
    """Tokens of one update, over all processes, where ``examples`` are the train set."""
    args, tokens = trainer.args, sum(len(example.input_ids) for example in examples)
    rows = args.train_batch_size * args.gradient_accumulation_steps * args.world_size
    return tokens / len(trainer.train_dataset) * float(rows)


def duration(seconds: float) -> str:
    """Such as ``1 h 5 min``, ``2 min 3 s`` or ``4 s``."""
    minutes, seconds = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f"{hours} h {minutes} min"
    return f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
