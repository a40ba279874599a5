"""Checked pairs as the rows that TRL's DPO collator takes."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset
from tunesmith_runtime.chat import IGNORED, Example


def to_dataset(sides: Sequence[Example]) -> Dataset:
    """A prompt and its two answers in columns of token ids; ``sides`` are chosen, rejected, …"""
    pairs = zip(sides[::2], sides[1::2], strict=True)
    return Dataset.from_list(
        [
            {
                "prompt_ids": chosen.input_ids[: chosen.labels.count(IGNORED)],
                "chosen_ids": chosen.input_ids[chosen.labels.count(IGNORED) :],
                "rejected_ids": rejected.input_ids[rejected.labels.count(IGNORED) :],
            }
            for chosen, rejected in pairs
        ]
    )
