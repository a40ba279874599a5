"""Whether rows that share a sequence stay apart."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from tunesmith_runtime.chat import Example
from tunesmith_runtime.errors import UserError


def check_packing(model: Any, examples: Sequence[Example]) -> None:
    """Raises UserError where the model's attention lets a packed row see the one before it.

    Compares the logits of a row that is packed behind another with those of the row alone; what a
    whole view of the other row would change is the measure.
    """
    first, second = (e.input_ids for e in sorted(examples, key=lambda e: len(e.input_ids))[:2])
    apart = [*range(len(first)), *range(len(second))]
    alone = _logits(model, second, [*range(len(second))])
    packed = _logits(model, first + second, apart)[len(first) :]
    mixed = _logits(model, first + second, [*range(len(apart))])[len(first) :]
    if (packed - alone).abs().max() > 0.2 * (mixed - alone).abs().max():
        raise UserError(
            "train: this model's attention mixes rows that are packed into one sequence; set "
            "train.packing: false"
        )


def _logits(model: Any, ids: list[int], positions: list[int]) -> torch.Tensor:
    was_training = model.training
    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(
            input_ids=torch.tensor([ids], device=model.device),
            position_ids=torch.tensor([positions], device=model.device),
            use_cache=False,
        ).logits[0]
    model.train(was_training)
    return logits.float()
