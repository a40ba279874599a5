"""What is checked with the tokenizer alone, before any weights load."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tunesmith_runtime.chat import IGNORED, Chat, Example, Row, encode_rows
from tunesmith_runtime.chat_template import check_clock, control_tokens
from tunesmith_runtime.errors import UserError


@dataclass(frozen=True)
class Preflight:
    """Examples ready to train on, and what was found."""

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
    chat: Chat, rows: Sequence[Row], max_length: int, max_truncated_fraction: float
) -> Preflight:
    """Encode rows and refuse what would train silently wrong.

    Raises UserError where a row trains nothing or never trains the stop token, where its text holds
    a control token, where a rendering differs from what the server feeds, and where more than
    ``max_truncated_fraction`` of the examples are longer than ``max_length`` tokens.
    """
    check_text(chat, rows)
    check_prompts(chat.tokenizer, rows)
    examples = encode_rows(chat, rows)
    for example in examples:
        check_stop(chat, example)
    lengths = [len(example.input_ids) for example in examples]
    truncated = check_length(lengths, max_length, max_truncated_fraction)

    # A prompt that fills max_length leaves nothing to train on; it counts as truncated above.
    cut = [truncate(example, max_length) for example in examples]
    kept = [example for example in cut if trained_tokens(example)]
    if not kept:
        raise UserError(f"max_length: no row has an answer within its first {max_length} tokens")
    return Preflight(
        examples=kept,
        trained_tokens=sum(len(trained_tokens(example)) for example in kept),
        truncated_fraction=truncated,
        longest=max(lengths),
        sample=render_sample(chat.tokenizer, kept[0]),
    )


def check_text(chat: Chat, rows: Sequence[Row]) -> None:
    """Raises UserError where text spells a control token: it would be trained as one."""
    tokens = {*control_tokens(chat.tokenizer), *(chat.decode([token]) for token in chat.stop_ids)}
    pattern = re.compile("|".join(map(re.escape, sorted(tokens))))
    found = []
    for row in rows:
        texts = [message["content"] for message in row.messages] + [row.rejected or ""]
        if match := next(filter(None, map(pattern.search, texts)), None):
            found.append(f"{row.where}: the text holds the control token {match[0]!r}")
    if found:
        also = f" (and {len(found) - 1} rows more hold one)" if len(found) > 1 else ""
        raise UserError(
            f"{found[0]}{also}: it would end a turn or begin another, and the server refuses it; "
            "change the rows"
        )


def check_prompts(tokenizer: Any, rows: Sequence[Row]) -> None:
    """Raises UserError where a prompt says when it was written, so that it is served another."""
    for row in rows[:100]:
        last = max(i for i, message in enumerate(row.messages) if message["role"] == "assistant")
        check_clock(tokenizer, row.messages[:last], row.where)


def check_stop(chat: Chat, example: Example) -> None:
    """Raises UserError where an example trains nothing, or not to stop at its end."""
    names = " or ".join(repr(chat.decode([token])) for token in chat.stop_ids)
    trained = trained_tokens(example)
    if not trained:
        raise UserError(f"{example.where}: no token of this row would be trained")
    if example.labels[-1] not in chat.stop_ids:
        raise UserError(
            f"{example.where}: the chat template ends an answer with "
            f"{chat.decode(trained[-3:])!r}, but generation stops at {names}: the model would "
            "never learn to stop; end answers with that token in the chat template, or set "
            "eos_token_id in generation_config.json"
        )


def check_length(lengths: Sequence[int], max_length: int, max_truncated_fraction: float) -> float:
    """The share of ``lengths``, in tokens, over ``max_length``. Raises UserError for too many."""
    ordered = sorted(lengths)
    truncated = sum(length > max_length for length in ordered) / len(ordered)
    if truncated > max_truncated_fraction:
        enough = ordered[math.ceil(len(ordered) * (1 - max_truncated_fraction)) - 1]
        raise UserError(
            f"max_length: {truncated:.1%} of the rows are longer than {max_length} tokens, and "
            f"max_truncated_fraction allows {max_truncated_fraction:.1%}; "
            f"max_length: {enough} would do (the longest row has {ordered[-1]})"
        )
    return truncated


def truncate(example: Example, max_length: int) -> Example:
    """The first ``max_length`` tokens of an example."""
    return replace(
        example, input_ids=example.input_ids[:max_length], labels=example.labels[:max_length]
    )


def trained_tokens(example: Example) -> list[int]:
    """Ids of the tokens that an example trains."""
    return [label for label in example.labels if label != IGNORED]


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
