"""Runs a trainer to its end, watched over: progress, checkpoints, stopping."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING, Any

from transformers import PrinterCallback, TrainerCallback

from .checkpoints import CheckpointCallback
from .progress import Progress
from .resources import ResourceSampler
from .stop import StopOnSignal

if TYPE_CHECKING:
    from .watch import Watch


def run(
    trainer: Any,
    watch: Watch,
    tokens_per_step: float,
    directory: Path,
    checkpoint: str | None,
    *callbacks: TrainerCallback,
) -> dict[str, float | str]:
    """Train on from ``checkpoint`` and save the result in ``directory/final``; its metrics.

    Raises UserError where the loss runs away; SystemExit with 128 and the signal's number after a
    signal, when a checkpoint is saved.
    """
    trainer.remove_callback(PrinterCallback)
    stop = StopOnSignal()
    trainer.add_callback(stop)
    trainer.add_callback(
        Progress(directory / "metrics.jsonl", tokens_per_step, watch.max_loss_growth)
    )
    trainer.add_callback(CheckpointCallback())
    for callback in callbacks:
        trainer.add_callback(callback)
    sampled = directory / "resources.jsonl" if trainer.is_world_process_zero() else None
    with ResourceSampler(sampled, watch.sample_every, resumed=checkpoint is not None):
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
    for draft in (directory / "README.md", directory / "final" / "README.md"):
        draft.unlink(missing_ok=True)  # a card by TRL or PEFT, which know neither base nor data
    speed = float(result.metrics["train_samples_per_second"])
    losses = [entry["loss"] for entry in trainer.state.log_history if "loss" in entry]
    return {
        "steps": float(trainer.state.global_step),
        "train_loss": float(losses[-1]),  # over the last log_every steps
        **({"samples_per_second": speed} if speed else {}),  # of this start, if it trained
    }
