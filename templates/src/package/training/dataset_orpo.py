"""Checked pairs as the rows that TRL's ORPO collator takes."""

from __future__ import annotations

from collections.abc import Sequence

from datasets import Dataset, disable_progress_bars
from tunesmith_runtime.chat import Example


def to_dataset(sides: Sequence[Example]) -> Dataset:
    """Both sequences of a pair in columns of token ids; ``sides`` are chosen, rejected, …"""
    disable_progress_bars()  # TRL goes three times over rows that are ready
    pairs = zip(sides[::2], sides[1::2], strict=True)
    return Dataset.from_list(
        [
            {
                "prompt": "",  # where TRL would look for text to encode
                "chosen": "",
                "rejected": "",
                "chosen_input_ids": chosen.input_ids,
                "chosen_attention_mask": [1] * len(chosen.input_ids),
                "chosen_labels": chosen.labels,
                "rejected_input_ids": rejected.input_ids,
                "rejected_attention_mask": [1] * len(rejected.input_ids),
                "rejected_labels": rejected.labels,
            }
            for chosen, rejected in pairs
        ]
    )
