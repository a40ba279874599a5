"""Rows of data files -> chat messages.

A row that cannot be read, or asks for what training would leave out, is an error that names file
and row; a row that can be read but not trained on (an empty answer, say) is dropped with a reason,
for the caller to count.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import zip_longest
from pathlib import Path
from typing import Any, ClassVar, Literal, NamedTuple

from tunesmith_runtime.errors import DataError
from tunesmith_runtime.rows import FileRow, kind_of, quoted, read_rows, separator_hint
from tunesmith_runtime.unread import OF_NO_TEMPLATE, SWITCHES, UNREAD_COLUMNS, asks, is_missing

Format = Literal["messages", "prompt-completion", "preference"]
Message = dict[str, str]
# What each format reads, under the names that `columns` maps.
COLUMNS: dict[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
}
ROLES = ("system", "user", "assistant")


@dataclass(frozen=True)
class Source:
    """One data file. ``columns`` maps the format's names to the file's where they differ."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str
    format: Format
    columns: dict[str, str] = field(default_factory=dict)


class Record(NamedTuple):
    """A readable row: its messages, or the reason why it is dropped.

    Of a preference, ``messages`` end in the chosen answer, and ``rejected`` is the other one.
    """

    where: str  # data/raw/support.jsonl:12
    messages: list[Message]
    rejected: str | None = None
    dropped: str | None = None


def read_records(source: Source, system_prompt: str | None) -> Iterator[Record]:
    """Yield every row of a source as messages in NFC.

    ``system_prompt`` opens conversations that bring none. Raises DataError at the first row that
    cannot be read, and where the file is missing or holds no rows.
    """
    path = Path(source.path)
    columns = {name: source.columns.get(name, name) for name in COLUMNS[source.format]}
    read = set(columns.values())
    harmless = set(read)  # grows by what the file turns out to have
    empty = True
    for row in read_rows(path, lambda name: name in read or name.strip().lower() in UNREAD_COLUMNS):
        empty = False
        try:
            values = {name: row.values[column] for name, column in columns.items()}
        except KeyError:
            raise _no_column(row, columns) from None
        if not row.values.keys() <= harmless:
            _refuse_unread(row, harmless)
        rejected = None
        if source.format == "messages":
            messages, dropped = _messages(row, "messages", values["messages"])
        elif source.format == "prompt-completion":
            messages, dropped = _answered(row, "completion", **values)
        else:
            messages, rejected, dropped = _preference(row, **values)
        if system_prompt and not dropped and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system_prompt})
        yield Record(f"{path}:{row.number}", messages, rejected, dropped)
    if empty:
        raise DataError("empty", path, 0, "no rows")


def _no_column(row: FileRow, columns: dict[str, str]) -> DataError:
    """The first of ``columns`` that a row lacks, and what to do."""
    there = sorted([*row.values, *row.unread])
    name, column = next(item for item in columns.items() if item[1] not in row.values)
    near = [other for other in there if other.strip().lower() == column.strip().lower()]
    hint = separator_hint(there) or f"; name the right one in columns: {{{name}: …}}"
    if near:
        hint = f"; for {near[0]!r}, write columns: {{{name}: {near[0]!r}}}"
    # Quoted where spaces, say, would not show.
    shown = ", ".join(other if other.isidentifier() else quoted(other) for other in there)
    message = f"no column '{column}' (the {name}); columns here: {shown or 'none'}{hint}"
    return row.error("column", message)


def _refuse_unread(row: FileRow, harmless: set[str]) -> None:
    """Raises DataError for a column that changes what is trained; all others become harmless."""
    for column, value in row.values.items():
        if column in harmless:
            continue
        if column.strip().lower() not in UNREAD_COLUMNS:
            harmless.add(column)
        elif asks(column, value):
            found = f"the column {quoted(column)} holds {quoted(value)}"
            way = "write it into the texts, or rename or remove the column"
            raise row.error("unread", f"{found}, which training would leave out; {way}")


def _answered(
    row: FileRow, name: str, prompt: Any, completion: Any
) -> tuple[list[Message], str | None]:
    """A conversation of a prompt and its answer, the column ``name``; each is text or messages."""
    messages: list[Message] = []
    for column, role, value in (("prompt", "user", prompt), (name, "assistant", completion)):
        if isinstance(value, list):
            messages += value
            continue
        if not isinstance(value, str) and not is_missing(value):
            message = f"the {column} is {kind_of(value)}, not text: {quoted(value)}; write text"
            raise row.error("malformed", message)
        if is_missing(value) or not value.strip():
            return [], f"empty {column}"
        messages.append({"role": role, "content": value})
    return _messages(row, name, messages)


def _preference(
    row: FileRow, prompt: Any, chosen: Any, rejected: Any
) -> tuple[list[Message], str | None, str | None]:
    """The conversation that ends in the chosen answer, and the rejected answer."""
    if isinstance(prompt, list):
        for number, entry in enumerate(prompt, 1):
            _role_and_content(row, number, entry)  # below, it may not be needed
    sides = []
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        # Many data sets repeat the prompt in each side.
        whole = isinstance(answer, list) and len(answer) > 1
        messages, dropped = _answered(row, name, [] if whole else prompt, answer)
        if dropped:
            return [], None, dropped
        sides.append(messages)
    if sides[0][:-1] != sides[1][:-1]:
        turns = zip_longest(*(side[:-1] for side in sides))
        differing = next(turn for turn in turns if turn[0] != turn[1])
        found = " and ".join(quoted(one["content"]) if one else "nothing" for one in differing)
        message = f"chosen and rejected answer two different conversations: {found}"
        raise row.error("malformed", f"{message}; pair answers to the same one")
    if isinstance(chosen, list) or isinstance(rejected, list):
        _check_repeated(row, prompt, sides[0][:-1])
    if sides[0] == sides[1]:
        return [], None, "chosen equals rejected"
    return sides[0], sides[1][-1]["content"], None


def _check_repeated(row: FileRow, prompt: Any, before: list[Message]) -> None:
    """Raises DataError for what the prompt says and the conversation before the answer does not."""
    said = {" ".join(message["content"].split()) for message in before}
    texts = [entry["content"] for entry in prompt] if isinstance(prompt, list) else [prompt]
    for text in texts:
        words = "" if is_missing(text) else " ".join(_normalized(row, str(text)).split())
        if words and words not in said:
            found = f"the prompt says {quoted(text)}, which the answers' conversation does not say"
            raise row.error("unread", f"{found}, and training would leave it out; make them agree")


def _messages(row: FileRow, name: str, value: Any) -> tuple[list[Message], str | None]:
    if is_missing(value):
        return [], f"empty {name}"
    if not isinstance(value, list):
        message = f"{name} is {kind_of(value)}, {quoted(value)}, not a list of role and content"
        raise row.error("malformed", message)
    messages: list[Message] = []
    for number, entry in enumerate(value, 1):
        role, content = _role_and_content(row, number, entry)
        if is_missing(content) or not content.strip():
            return [], "empty completion" if role == "assistant" else f"empty {role} message"
        messages.append({"role": role, "content": _normalized(row, content)})
    turns = [message["role"] for message in messages]
    if "assistant" not in turns:
        return [], "no assistant message"
    if "user" not in turns[: turns.index("assistant")]:
        return [], "empty prompt"
    while messages[-1]["role"] != "assistant":
        messages.pop()  # nothing answers the last question, so nothing there can be trained
    return messages, None


def _role_and_content(row: FileRow, number: int, entry: Any) -> tuple[str, Any]:
    """Of one message; the content is text or missing."""
    if not isinstance(entry, dict):
        message = f"message {number} is {kind_of(entry)}, {quoted(entry)}, not role and content"
        raise row.error("malformed", message)
    role, content = entry.get("role"), entry.get("content")
    if role is None:
        keys = ", ".join(map(quoted, list(entry)[:9])) or "nothing"
        if "from" in entry and "value" in entry:
            keys += ", as in ShareGPT: write role for from, content for value, user for 'human', "
            keys += "and assistant for 'gpt'"
        raise row.error("malformed", f"message {number} has no role, but {keys}")
    if role not in ROLES:
        expected = f"expected {', '.join(ROLES)}"
        raise row.error("malformed", f"message {number} has role {quoted(role)}; {expected}")
    if "content" not in entry and not any(map(entry.get, ("tool_calls", "function_call"))):
        keys = ", ".join(quoted(key) for key in list(entry)[:9] if key != "role") or "nothing else"
        raise row.error("malformed", f"message {number} has no content, but {keys}; write content")
    if len(entry) > 2 or "content" not in entry:
        for key, value in entry.items():
            if key not in ("role", "content", *OF_NO_TEMPLATE) and asks(key, value):
                found = f"message {number} has {quoted(key)}, {quoted(value)}"
                way = "remove the row" if key in SWITCHES else "remove the key, or the row"
                raise row.error("unread", f"{found}, which training would leave out; {way}")
    if not isinstance(content, str) and not is_missing(content):
        message = f"message {number} has {kind_of(content)} as content, not text: {quoted(content)}"
        raise row.error("malformed", message)
    return role, content


def _normalized(row: FileRow, value: str) -> str:
    if value.isascii():
        return value
    try:
        value.encode()
    except UnicodeEncodeError:
        raise row.error("encoding", "half of a character (a lone surrogate) in the text") from None
    # The same Korean or accented word can be composed or decomposed, and the two tokenise apart.
    return unicodedata.normalize("NFC", value)
