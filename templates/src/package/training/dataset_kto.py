"""Checked pairs as the rows that TRL's KTO collator takes."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

from datasets import Dataset
from tunesmith_runtime.chat import IGNORED, Example


def to_dataset(sides: Sequence[Example], batch_size: int, seed: int) -> Dataset:
    """A row per answer, shuffled here, since TRL's KTO takes them as they stand.

    ``sides`` are chosen, rejected, … Each answer also gets its neighbour's in the batch, from which
    KTO estimates how far the model has moved from the reference.
    """
    prompts = [side.labels.count(IGNORED) for side in sides]
    rows: list[dict[str, Any]] = [
        {
            "prompt_ids": side.input_ids[:prompt],
            "completion_ids": side.input_ids[prompt:],
            "label": number % 2 == 0,
        }
        for number, (side, prompt) in enumerate(zip(sides, prompts, strict=True))
    ]
    random.Random(seed).shuffle(rows)
    for start in range(0, len(rows), batch_size):
        batch = rows[start : start + batch_size]
        for row, neighbour in zip(batch, [batch[-1], *batch[:-1]], strict=True):
            row["KL_completion_ids"] = neighbour["completion_ids"]
    return Dataset.from_list(rows)
