"""Preferences: a prompt with the answer that was chosen and the one that was rejected."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tunesmith_runtime.chat import IGNORED, Example, Row, completion_ids, prompt_ids
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.preflight import (
    Preflight,
    check_length,
    check_served_prompt,
    check_stop,
    render_sample,
    trained_tokens,
    truncate,
)


def encode_pair(tokenizer: Any, row: Row, stop_ids: Sequence[int]) -> tuple[Example, Example]:
    """Encode the last turn of a row with its chosen and with its rejected answer."""
    prompt = prompt_ids(tokenizer, row.messages[:-1])
    last = len(row.messages) - 1
    rejected = {"role": "assistant", "content": row.rejected or ""}
    other = replace(row, messages=[*row.messages[:-1], rejected])
    chosen_ids, rejected_ids = (
        completion_ids(tokenizer, side, last, stop_ids) for side in (row, other)
    )
    ignored = [IGNORED] * len(prompt)
    return (
        Example(prompt + chosen_ids, ignored + chosen_ids, row.where),
        Example(prompt + rejected_ids, ignored + rejected_ids, row.where),
    )


def preflight_pairs(
    tokenizer: Any,
    rows: Sequence[Row],
    stop_ids: Sequence[int],
    max_length: int,
    max_truncated_fraction: float,
) -> Preflight:
    """As ``preflight``, for the last turn of each row; chosen and rejected sides take turns.

    Raises UserError too where both sides of a pair are the same tokens: it would train nothing.
    """
    pairs = [encode_pair(tokenizer, row, stop_ids) for row in rows]
    for pair in pairs:
        for side in pair:
            check_stop(tokenizer, side, stop_ids)
    check_served_prompt(tokenizer, rows, stop_ids)
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
        sample="\n".join(render_sample(tokenizer, side) for side in kept[:2]),
    )
