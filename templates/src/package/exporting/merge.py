"""An adapter becomes part of the base model's weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.pretrained import load_model


def merged_model(
    base_model: str, revision: str, adapter: Path, ids: list[int], max_logit_difference: float
) -> tuple[Any, float]:
    """The merged model in float32, and how far its logits for ``ids`` are from the adapter's.

    Raises UserError where that is more than ``max_logit_difference``.
    """
    # In bfloat16 the sum would round small updates away.
    model = load_model(base_model, revision, "float32")
    model = PeftModel.from_pretrained(model, adapter).eval()
    with_adapter = logits(model, ids)
    model = model.merge_and_unload()
    difference = (logits(model, ids) - with_adapter).abs().max().item()
    if not difference <= max_logit_difference:
        raise UserError(
            f"export: the merged model's logits differ from the adapter's by {difference:.2g} "
            f"(max_logit_difference allows {max_logit_difference:.2g})"
        )
    return model, difference


def logits(model: Any, ids: list[int]) -> torch.Tensor:
    """Next-token logits at every position, (tokens, vocabulary)."""
    with torch.no_grad():
        return model(input_ids=torch.tensor([ids])).logits[0]
