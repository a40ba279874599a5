"""Runs a trainer to its end, watched over: progress, checkpoints, stopping, failures."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback
from tunesmith_runtime.chat import Example

from .checkpoints import CheckpointCallback, is_finished
from .progress import Progress, tokens_per_step
from .resources import ResourceSampler
from .stop import StopOnSignal

if TYPE_CHECKING:
    from ..train import Config


def run(
    trainer: Any,
    config: Config,
    examples: list[Example],
    directory: Path,
    checkpoint: str | None,
) -> dict[str, float | str]:
    """Train on from ``checkpoint`` and save the result in ``directory/final``; its metrics.

    Raises UserError where the loss runs away; SystemExit with 128 and the signal's number after a
    signal, when a checkpoint is saved.
    """
    tokens = tokens_per_step(trainer, sum(len(example.input_ids) for example in examples))
    trainer.remove_callback(PrinterCallback)
    stop = StopOnSignal()
    trainer.add_callback(stop)
    trainer.add_callback(Progress(directory / "metrics.jsonl", tokens, config.max_loss_growth))
    trainer.add_callback(CheckpointCallback())
    sampled = directory / "resources.jsonl"
    if checkpoint and is_finished(checkpoint):
        trainer._run_epoch = lambda **_: None  # stopped after the last step: what is left is saving
    with ResourceSampler(sampled, config.sample_every, resumed=checkpoint is not None):
        result = trainer.train(resume_from_checkpoint=checkpoint)
        if stop.stopped_by:
            name = signal.Signals(stop.stopped_by).name
            print(
                f"train: stopped by {name} at step {trainer.state.global_step}, which is saved; "
                "the same command goes on from there",
                flush=True,
            )
            raise SystemExit(128 + stop.stopped_by)
        trainer.save_model(str(directory / "final"))  # writes the tokenizer and its template too
    speed = float(result.metrics["train_samples_per_second"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "steps": float(trainer.state.global_step),
        "train_loss": float(losses[-1]),  # over the last log_every steps
        **({"samples_per_second": speed} if speed else {}),  # of this start, if it trained
    }
