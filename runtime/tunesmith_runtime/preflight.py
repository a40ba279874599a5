"""What is checked with the tokenizer alone, before any weights load."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith_runtime.chat import (
    IGNORED,
    Example,
    Row,
    encode_pair,
    encode_row,
    encode_rows,
    prompt_ids,
)
from tunesmith_runtime.errors import UserError


@dataclass(frozen=True)
class Preflight:
    """Examples ready to train on, and what was found.

    Of preferences, ``examples`` hold the chosen and the rejected side of each pair in turn.
    """

    examples: list[Example]
    trained_tokens: int
    truncated_fraction: float
    longest: int  # tokens of the longest example before truncation
    sample: str

    def summary(self, stage: str) -> str:
        """What was found, in lines for people."""
        return (
            f"{stage}: {len(self.examples)} examples, {self.trained_tokens} trained tokens, the "
            f"longest of {self.longest}, {self.truncated_fraction:.1%} truncated\n"
            f"{stage}: a sample, what is trained between ⟦ and ⟧:\n{self.sample}"
        )


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
    return _checked(
        tokenizer,
        rows,
        encode_rows(tokenizer, rows, stop_ids),
        1,
        stop_ids,
        max_length,
        max_truncated_fraction,
    )


def preflight_pairs(
    tokenizer: Any,
    rows: Sequence[Row],
    stop_ids: Sequence[int],
    max_length: int,
    max_truncated_fraction: float,
) -> Preflight:
    """As ``preflight``, for the last turn of each row, chosen and rejected.

    Raises UserError too where both sides of a pair are the same tokens: it would train nothing.
    """
    sides = [side for row in rows for side in encode_pair(tokenizer, row, stop_ids)]
    checked = _checked(tokenizer, rows, sides, 2, stop_ids, max_length, max_truncated_fraction)
    for chosen, rejected in zip(checked.examples[::2], checked.examples[1::2], strict=True):
        if chosen.input_ids == rejected.input_ids:
            raise UserError(
                f"{chosen.where}: chosen and rejected are the same {len(chosen.input_ids)} tokens "
                f"within max_length ({max_length}); remove the row or raise max_length"
            )
    return checked


def _checked(
    tokenizer: Any,
    rows: Sequence[Row],
    examples: Sequence[Example],
    sides: int,
    stop_ids: Sequence[int],
    max_length: int,
    max_truncated_fraction: float,
) -> Preflight:
    for example in examples:
        _check_stop(tokenizer, example, stop_ids)
    _check_served_prompt(tokenizer, rows, stop_ids)

    # The sides of a pair stay together.
    groups = [examples[start : start + sides] for start in range(0, len(examples), sides)]
    lengths = sorted(max(len(side.input_ids) for side in group) for group in groups)
    truncated = sum(length > max_length for length in lengths) / len(lengths)
    if truncated > max_truncated_fraction:
        enough = lengths[math.ceil(len(lengths) * (1 - max_truncated_fraction)) - 1]
        raise UserError(
            f"max_length: {truncated:.1%} of the rows are longer than {max_length} tokens, and "
            f"max_truncated_fraction allows {max_truncated_fraction:.1%}; "
            f"max_length: {enough} would do (the longest row has {lengths[-1]})"
        )
    cut = [[_truncate(side, max_length) for side in group] for group in groups]
    # A prompt that fills max_length leaves nothing to train on; it counts as truncated above.
    kept = [side for group in cut if all(map(_trained, group)) for side in group]
    if not kept:
        raise UserError(f"max_length: no row has an answer within its first {max_length} tokens")
    return Preflight(
        examples=kept,
        trained_tokens=sum(len(_trained(example)) for example in kept),
        truncated_fraction=truncated,
        longest=lengths[-1],
        sample="\n".join(render_sample(tokenizer, side) for side in kept[:sides]),
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
