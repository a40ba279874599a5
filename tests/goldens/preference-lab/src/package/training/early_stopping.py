"""Training that ends when the validation loss falls no more; its best step is the result."""

from __future__ import annotations

from pathlib import Path

from transformers import TrainerState
from tunesmith_runtime.errors import UserError

from . import checkpoints


def check_intervals(eval_every: float, save_every: float) -> None:
    """Raises UserError where a step may be evaluated and not saved."""
    if save_every != eval_every:
        raise UserError(
            f"train.watch.save_every: {save_every} is not train.eval_every ({eval_every}); "
            "early stopping keeps the best evaluated step, which has to be a saved one"
        )


def is_finished(checkpoint: str) -> bool:
    """Whether no step is left to train after ``checkpoint``, or patience had run out there."""
    state = TrainerState.load_from_json(str(Path(checkpoint) / "trainer_state.json"))
    early = state.stateful_callbacks["EarlyStoppingCallback"]
    waited = early["attributes"]["early_stopping_patience_counter"]
    ran_out = waited >= early["args"]["early_stopping_patience"]
    return bool(ran_out) or checkpoints.is_finished(checkpoint)
