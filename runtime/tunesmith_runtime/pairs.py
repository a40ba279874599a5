"""Preferences: a prompt with the answer that was chosen and the one that was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from tunesmith_runtime.chat import IGNORED, Chat, Example, Row, completion, prompt_ids
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.preflight import (
    Preflight,
    check_length,
    check_prompts,
    check_stop,
    check_text,
    render_sample,
    trained_tokens,
    truncate,
)


def encode_pair(chat: Chat, row: Row) -> tuple[Example, Example]:
    """Encode the last turn of a row with its chosen and with its rejected answer."""
    prompt = prompt_ids(chat.tokenizer, row.messages[:-1])
    rejected = {"role": "assistant", "content": row.rejected or ""}
    other = replace(row, messages=[*row.messages[:-1], rejected])
    sides = []
    for side in (row, other):
        ids, labels = completion(chat, side, len(row.messages) - 1)
        sides.append(Example(prompt + ids, [IGNORED] * len(prompt) + labels, row.where))
    return sides[0], sides[1]


def preflight_pairs(
    chat: Chat, rows: Sequence[Row], max_length: int, max_truncated_fraction: float
) -> Preflight:
    """As ``preflight``, for the last turn of each row; chosen and rejected sides take turns.

    Raises UserError too where both sides of a pair are the same tokens: it would train nothing.
    """
    check_text(chat, rows)
    check_prompts(chat.tokenizer, rows)
    pairs = [encode_pair(chat, row) for row in rows]
    for pair in pairs:
        for side in pair:
            check_stop(chat, side)
    lengths = [max(len(side.input_ids) for side in pair) for pair in pairs]
    truncated = check_length(lengths, max_length, max_truncated_fraction)

    kept: list[Example] = []
    for pair in pairs:
        chosen, rejected = (truncate(side, max_length) for side in pair)
        # A prompt that fills max_length leaves nothing to train on; it counts as truncated above.
        if not trained_tokens(chosen) or not trained_tokens(rejected):
            continue
        if chosen.input_ids == rejected.input_ids:
            raise UserError(
                f"{chosen.where}: chosen and rejected are the same {len(chosen.input_ids)} tokens "
                f"within max_length ({max_length}); remove the row or raise max_length"
            )
        kept += [chosen, rejected]
    if not kept:
        raise UserError(f"max_length: no row has an answer within its first {max_length} tokens")
    return Preflight(
        examples=kept,
        trained_tokens=sum(len(trained_tokens(side)) for side in kept),
        truncated_fraction=truncated,
        longest=max(lengths),
        sample="\n".join(render_sample(chat.tokenizer, side) for side in kept[:2]),
    )
