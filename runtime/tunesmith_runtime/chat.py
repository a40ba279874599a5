"""Token-exact encoding of chats: what is trained on is what the server feeds.

The prompt of every assistant turn is the chat template's rendering of the messages before it with
the generation prompt, which is what a server sends to the model. The completion is what the
template adds for the answer, up to and including the token that stops generation. Where the
template puts something between the two, ``thinking`` says what becomes of it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tunesmith_runtime.chat_template import NOTHING, Opening, Thinking, render, ways_out
from tunesmith_runtime.errors import UserError
from tunesmith_runtime.records import Message

IGNORED = -100  # a label that torch's cross entropy leaves out


@dataclass(frozen=True)
class Chat:
    """A tokenizer, how its template opens an answer, and the ids that end one."""

    tokenizer: Any
    stop_ids: Sequence[int]
    opening: Opening = NOTHING
    thinking: Thinking | None = None

    def decode(self, ids: Sequence[int]) -> str:
        """The text of tokens, control tokens included."""
        text: str = self.tokenizer.decode(
            ids, skip_special_tokens=False, clean_up_tokenization_spaces=False
        )
        return text

    def encode(self, text: str) -> list[int]:
        """The tokens of a part of a chat."""
        ids: list[int] = self.tokenizer.encode(text, add_special_tokens=False)
        return ids

    def answer_ids(self, generated: Sequence[int]) -> list[int]:
        """What was generated, without the reasoning before the answer."""
        added = self.tokenizer.added_tokens_decoder
        marks = [token for token in self.encode(self.opening.text) if token in added]
        ids = list(generated)
        if marks and marks[-1] in ids:
            ids = ids[len(ids) - ids[::-1].index(marks[-1]) :]
        return ids

    def answer(self, text: str) -> str:
        """A text without the reasoning before its answer."""
        if not self.opening.text:
            return text
        ids = self.answer_ids(self.encode(text))
        answer: str = self.tokenizer.decode(ids, skip_special_tokens=True)
        return answer


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


def encode_row(chat: Chat, row: Row) -> list[Example]:
    """Encode every assistant turn of a row; turns that continue one sequence share an example.

    Templates that rewrite earlier answers (dropping their reasoning, say) give one example per
    turn. Raises UserError as ``completion``.
    """
    examples: list[Example] = []
    for index, message in enumerate(row.messages):
        if message["role"] != "assistant":
            continue
        ids, labels = completion(chat, row, index)
        prompt = prompt_ids(chat.tokenizer, row.messages[:index])
        previous = examples[-1] if examples else None
        if previous and prompt[: len(previous.input_ids)] == previous.input_ids:
            examples.pop()
            between = [IGNORED] * (len(prompt) - len(previous.input_ids))
            labels = previous.labels + between + labels
        else:
            labels = [IGNORED] * len(prompt) + labels
        examples.append(Example(prompt + ids, labels, row.where))
    return examples


def encode_rows(chat: Chat, rows: Iterable[Row]) -> list[Example]:
    """Encode rows in order."""
    return [example for row in rows for example in encode_row(chat, row)]


def completion(chat: Chat, row: Row, index: int) -> tuple[list[int], list[int]]:
    """What follows the prompt of message ``index``, up to the token that stops; ids and labels.

    Raises UserError where the template refuses the messages, where it renders the answer unlike
    its prompt or changes it, and where it puts something before it that ``thinking`` leaves open.
    """
    opening, answer = chat.opening, row.messages[index]["content"]
    prompt = render(chat.tokenizer, row.messages[:index], row.where, add_generation_prompt=True)
    full = render(chat.tokenizer, row.messages[: index + 1], row.where)
    start = prompt.removesuffix(opening.prompt_end)
    if not full.startswith(start):
        if own := re.match(r"\s*<([^<>/]+)>.*</\1>", answer, re.DOTALL):
            raise UserError(
                f"{row.where}: the answer brings a reasoning of its own, in <{own[1]}>, for which "
                f"the prompt leaves no place (it ends in {prompt[-40:]!r}); remove it from the "
                "rows, or take model.thinking: keep in place of what leaves reasoning out"
            )
        raise UserError(
            f"{row.where}: the chat template renders an answer unlike the prompt that the server "
            f"feeds (which ends in {prompt[-40:]!r}); see chat_template_kwargs"
        )
    rest, before = full[len(start) :].removeprefix(opening.in_its_place), opening.text
    if opening.is_rendered and before:
        # An answer may bring its own reasoning, be it an empty one.
        is_own = not rest.startswith(before) or _dense(answer).startswith(_dense(before))
        before = "" if is_own else before
        rest = rest.removeprefix(before)
    ids = chat.encode(rest)
    # A reasoning that the prompt opens, or holds, is not repeated.
    held = re.search(r"<([^<>/]+)>\s*(</\1>\s*)?$", prompt)
    _check_answer(chat, row.where, answer, ids, _dense(held[0]) if held else "")
    if before and chat.thinking is None:
        raise _something_before(chat, row.where, before)
    # What the template writes after the stop token belongs to the next turn.
    stop = next((place for place, token in enumerate(ids) if token in chat.stop_ids), len(ids))
    ids = ids[: stop + 1]
    first = chat.encode(before) if before else []
    labels = first if chat.thinking == "train-empty" else [IGNORED] * len(first)
    return first + ids, labels + ids


def _check_answer(chat: Chat, where: str, answer: str, ids: Sequence[int], held: str) -> None:
    """Raises UserError unless what is trained begins with the answer, white space apart.

    What the prompt ends in, ``held``, may be missing at its beginning.
    """
    # Both through the tokenizer, which may normalise text.
    wanted, trained = (_dense(chat.decode(each)) for each in (chat.encode(answer), ids))
    wanted = wanted.removeprefix(held)
    if trained.startswith(wanted):
        return
    if wanted in trained:
        raise _something_before(chat, where, trained[: trained.index(wanted)])
    raise UserError(
        f"{where}: the chat template does not render the answer as it is: {answer[:40]!r} becomes "
        f"{chat.decode(ids)[:40]!r}; what it leaves out (reasoning, say) would not be trained: "
        "remove it from the row, or give the model another chat template"
    )


def _dense(text: str) -> str:
    return "".join(text.split())


def _something_before(chat: Chat, where: str, before: str) -> UserError:
    return UserError(
        f"{where}: the chat template puts {before[:60]!r} between the prompt and the answer, and "
        f"the model would learn to say it; {ways_out(chat.tokenizer, chat.opening)}"
    )
