"""Token-exact encoding of chats: what is trained on is what the server feeds.

The prompt of every assistant turn is the chat template's rendering of the messages before it with
the generation prompt, which is what a server sends to the model. The completion is what the
template adds for the answer, up to and including the token that stops generation.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith_runtime.errors import UserError
from tunesmith_runtime.records import Message

IGNORED = -100  # a label that torch's cross entropy leaves out


@dataclass(frozen=True)
class Row:
    """One line of a split file, and where it came from."""

    messages: list[Message]
    where: str
    rejected: str | None = None  # the answer that loses against the last message


@dataclass(frozen=True)
class Example:
    """Token ids of one training sequence; ``labels`` are ids where trained, IGNORED elsewhere."""

    input_ids: list[int]
    labels: list[int]
    where: str


def read_split(path: Path) -> list[Row]:
    """Rows of a file that the data stage wrote. Raises UserError where it is missing."""
    if not path.is_file():
        raise UserError(f"{path}: no such file; run the data stage first")
    with path.open(encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [Row(row["messages"], row["source"], row.get("rejected")) for row in rows]


def prompt_ids(tokenizer: Any, messages: Sequence[Message]) -> list[int]:
    """What a server feeds to the model for these messages."""
    ids: list[int] = tokenizer.apply_chat_template(
        list(messages), add_generation_prompt=True, tokenize=True, return_dict=False
    )
    return ids


def encode_row(tokenizer: Any, row: Row, stop_ids: Sequence[int]) -> list[Example]:
    """Encode every assistant turn of a row; turns that continue one sequence share an example.

    Templates that rewrite earlier answers (dropping their reasoning, say) give one example per
    turn. Raises UserError where the template renders an answer unlike its generation prompt.
    """
    examples: list[Example] = []
    for index, message in enumerate(row.messages):
        if message["role"] != "assistant":
            continue
        prompt = prompt_ids(tokenizer, row.messages[:index])
        completion = completion_ids(tokenizer, row, index, stop_ids)
        previous = examples[-1] if examples else None
        if previous and prompt[: len(previous.input_ids)] == previous.input_ids:
            examples.pop()
            between = [IGNORED] * (len(prompt) - len(previous.input_ids))
            labels = previous.labels + between + completion
        else:
            labels = [IGNORED] * len(prompt) + completion
        examples.append(Example(prompt + completion, labels, row.where))
    return examples


def encode_rows(tokenizer: Any, rows: Iterable[Row], stop_ids: Sequence[int]) -> list[Example]:
    """Encode rows in order."""
    return [example for row in rows for example in encode_row(tokenizer, row, stop_ids)]


def completion_ids(tokenizer: Any, row: Row, index: int, stop_ids: Sequence[int]) -> list[int]:
    """What the template adds for message ``index`` of a row, up to the token that stops.

    Raises UserError where it renders the answer unlike the generation prompt.
    """
    prompt = tokenizer.apply_chat_template(
        row.messages[:index], add_generation_prompt=True, tokenize=False
    )
    full = tokenizer.apply_chat_template(row.messages[: index + 1], tokenize=False)
    if not full.startswith(prompt):
        raise UserError(
            f"{row.where}: the chat template renders an answer unlike the prompt that the server "
            f"feeds (which ends in {prompt[-40:]!r}); see chat_template_kwargs"
        )
    completion = full[len(prompt) :]
    answer = row.messages[index]["content"].split()
    if completion.split()[: len(answer) - 1] != answer[:-1]:
        raise UserError(
            f"{row.where}: the chat template puts {completion[:40]!r} where the answer begins, and "
            "the model would learn to say it; for Qwen3: chat_template_kwargs: "
            "{enable_thinking: false}"
        )
    ids: list[int] = tokenizer.encode(completion, add_special_tokens=False)
    stops = [position for position, token in enumerate(ids) if token in stop_ids]
    # What the template writes after the stop token belongs to the next turn.
    return ids[: stops[-1] + 1] if stops else ids
