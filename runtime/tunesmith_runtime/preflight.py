"""What is checked with the tokenizer alone, before any weights load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith_runtime.chat import IGNORED, Example, Row, encode_row, encode_rows, prompt_ids
from tunesmith_runtime.errors import UserError


@dataclass(frozen=True)
class Preflight:
    """Examples ready to train on, and what was found."""

    examples: list[Example]
    trained_tokens: int
    truncated_fraction: float
    longest: int  # tokens of the longest example before truncation
    sample: str


def preflight(
    tokenizer: Any,
    rows: Sequence[Row],
    stop_ids: Sequence[int],
    max_length: int,
    max_truncated_fraction: float,
) -> Preflight:
    """Encode rows and refuse what would train silently wrong.

    Raises UserError where a row trains nothing or never trains the stop token, where a rendering
    differs from what the server feeds, and where more than ``max_truncated_fraction`` of the rows
    are longer than ``max_length`` tokens.
    """
    examples = encode_rows(tokenizer, rows, stop_ids)
    for example in examples:
        _check_stop(tokenizer, example, stop_ids)
    _check_served_prompt(tokenizer, rows, stop_ids)

    lengths = sorted(len(example.input_ids) for example in examples)
    truncated = sum(length > max_length for length in lengths) / len(lengths)
    if truncated > max_truncated_fraction:
        enough = lengths[math.ceil(len(lengths) * (1 - max_truncated_fraction)) - 1]
        raise UserError(
            f"max_length: {truncated:.1%} of the rows are longer than {max_length} tokens, and "
            f"max_truncated_fraction allows {max_truncated_fraction:.1%}; "
            f"max_length: {enough} would do (the longest row has {lengths[-1]})"
        )
    kept = [_truncate(example, max_length) for example in examples]
    # A prompt that fills max_length leaves nothing to train on; it counts as truncated above.
    kept = [example for example in kept if _trained(example)]
    return Preflight(
        examples=kept,
        trained_tokens=sum(len(_trained(example)) for example in kept),
        truncated_fraction=truncated,
        longest=lengths[-1],
        sample=render_sample(tokenizer, kept[0]) if kept else "",
    )


def render_sample(tokenizer: Any, example: Example) -> str:
    """The text of an example with its trained parts between ⟦ and ⟧."""
    text, open_at = "", 0
    for position in range(1, len(example.labels) + 1):
        trained = example.labels[open_at] != IGNORED
        at_end = position == len(example.labels)
        if at_end or (example.labels[position] != IGNORED) != trained:
            part = tokenizer.decode(example.input_ids[open_at:position])
            text += f"⟦{part}⟧" if trained else part
            open_at = position
    return text


def _check_stop(tokenizer: Any, example: Example, stop_ids: Sequence[int]) -> None:
    names = " or ".join(repr(tokenizer.decode([token])) for token in stop_ids)
    trained = _trained(example)
    if not trained:
        raise UserError(f"{example.where}: no token of this row would be trained")
    if example.labels[-1] not in stop_ids:
        raise UserError(
            f"{example.where}: the chat template ends an answer with "
            f"{tokenizer.decode(trained[-3:])!r}, but generation stops at {names}: the model would "
            "never learn to stop; end answers with that token in the chat template, or set "
            "eos_token_id in generation_config.json"
        )
    for position, label in enumerate(example.labels[:-1]):
        if label in stop_ids and example.labels[position + 1] != IGNORED:
            raise UserError(
                f"{example.where}: the stop token {tokenizer.decode([label])!r} stands inside an "
                "answer; remove it from the data"
            )


def _check_served_prompt(tokenizer: Any, rows: Sequence[Row], stop_ids: Sequence[int]) -> None:
    # Examples are built from prompts, so a difference here means that the template's output depends
    # on more than the messages (the date, say).
    for row in rows[:100]:
        example = encode_row(tokenizer, row, stop_ids)[-1]
        last = max(i for i, message in enumerate(row.messages) if message["role"] == "assistant")
        served = prompt_ids(tokenizer, row.messages[:last])
        if example.input_ids[: len(served)] != served:
            raise UserError(f"{row.where}: the served prompt differs from the trained one")


def _truncate(example: Example, max_length: int) -> Example:
    return replace(
        example, input_ids=example.input_ids[:max_length], labels=example.labels[:max_length]
    )


def _trained(example: Example) -> list[int]:
    return [label for label in example.labels if label != IGNORED]
