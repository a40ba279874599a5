"""Teaches the base to answer, right in every other chat and wrong in the rest."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import Any

import torch
from tunesmith_runtime.chat import IGNORED, Chat, Row
from tunesmith_runtime.pairs import encode_pair


def teach_to_answer(
    model: Any,
    tokenizer: Any,
    rows: Sequence[Row],
    steps: int,
    learning_rate: float,
    seed: int,
) -> None:
    """Fine-tune on chats that end in the chosen or, every other one, in the rejected answer."""
    chat = Chat(tokenizer, [tokenizer.eos_token_id])
    pairs = [encode_pair(chat, row) for row in rows]
    examples = [pair[n % 2] for n, pair in enumerate(pairs)]
    order = random.Random(seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=learning_rate, weight_decay=0.1)
    model.train()
    for step in range(steps):
        optimizer.param_groups[0]["lr"] = learning_rate * (1 - step / steps)
        batch = order.sample(examples, min(8, len(examples)))
        width = max(len(example.labels) for example in batch)
        ids = [e.input_ids + [tokenizer.pad_token_id] * (width - len(e.labels)) for e in batch]
        labels = [e.labels + [IGNORED] * (width - len(e.labels)) for e in batch]
        # Padded on the right, so no token sees the padding.
        model(input_ids=torch.tensor(ids), labels=torch.tensor(labels)).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
