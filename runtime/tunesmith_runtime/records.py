"""Rows of JSONL, JSON, CSV and Parquet files -> chat messages.

Files are streamed. A row that cannot be read is an error that names file and row; a row that can be
read but not trained on (an empty answer, say) is dropped with a reason, for the caller to count.
"""

from __future__ import annotations

import csv
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar, Literal

from tunesmith_runtime.errors import UserError

Kind = Literal["missing", "empty", "encoding", "malformed", "column"]
Format = Literal["messages", "prompt-completion", "preference"]
Message = dict[str, str]
# What each format reads, under the names that `columns` maps.
COLUMNS: dict[Format, tuple[str, ...]] = {
    "messages": ("messages",),
    "prompt-completion": ("prompt", "completion"),
    "preference": ("prompt", "chosen", "rejected"),
}
ROLES = ("system", "user", "assistant")


class DataError(UserError):
    """A data file, or a row of one, that cannot be read.

    Attributes:
        row: Counts from 1; in JSONL and CSV it is the line. 0 where the file as a whole is meant.
    """

    def __init__(self, kind: Kind, path: str | Path, row: int, message: str) -> None:
        self.kind, self.path, self.row, self.message = kind, str(path), row, message
        super().__init__(f"{path}:{row}: {message}" if row else f"{path}: {message}")


@dataclass(frozen=True)
class Source:
    """One data file. ``columns`` maps the format's names to the file's where they differ."""

    __pydantic_config__: ClassVar[dict[str, str]] = {"extra": "forbid"}

    path: str
    format: Format
    columns: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class FileRow:
    """One row of a file, as it was read."""

    path: Path
    number: int
    values: dict[str, Any]

    def error(self, kind: Kind, message: str) -> DataError:
        """What is wrong with this row."""
        return DataError(kind, self.path, self.number, message)


@dataclass(frozen=True)
class Record:
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
    empty = True
    for row in read_rows(Path(source.path)):
        empty = False
        values = {
            name: _column(row, name, source.columns.get(name, name))
            for name in COLUMNS[source.format]
        }
        where, rejected = f"{row.path}:{row.number}", None
        if source.format == "messages":
            messages, dropped = _messages(row, "messages", values["messages"])
        elif source.format == "prompt-completion":
            messages, dropped = _answered(row, "completion", **values)
        else:
            messages, rejected, dropped = _preference(row, **values)
        if system_prompt and not dropped and messages[0]["role"] != "system":
            messages.insert(0, {"role": "system", "content": system_prompt})
        yield Record(where, messages, rejected, dropped)
    if empty:
        raise DataError("empty", source.path, 0, "no rows")


def read_rows(path: Path) -> Iterator[FileRow]:
    """Yield the rows of a file; raises DataError."""
    readers = {".jsonl": _jsonl, ".json": _json, ".csv": _csv, ".parquet": _parquet}
    reader = readers.get(path.suffix.lower())
    if reader is None:
        known = ", ".join(readers)
        raise DataError("malformed", path, 0, f"unknown file type '{path.suffix}'; use {known}")
    if not path.is_file():
        raise DataError("missing", path, 0, "no such file")
    try:
        yield from reader(path)
    except OSError as error:
        raise DataError("missing", path, 0, f"cannot be read: {error.strerror}") from None


def _jsonl(path: Path) -> Iterator[FileRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError as error:
                message = f"not UTF-8 at byte {error.start + 1} of the line"
                raise DataError("encoding", path, number, message) from None
            if text:
                yield _row(path, number, _parse_json(path, number, text))


def _json(path: Path) -> Iterator[FileRow]:
    content = path.read_bytes()
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise DataError("encoding", path, 0, f"not UTF-8 on line {line}") from None
    if not text.strip():
        return
    rows = _parse_json(path, 0, text)
    if not isinstance(rows, list):
        message = "expected an array of rows; for one object per line use .jsonl"
        raise DataError("malformed", path, 0, message)
    for number, values in enumerate(rows, 1):
        yield _row(path, number, values)


def _csv(path: Path) -> Iterator[FileRow]:
    csv.field_size_limit(2**31 - 1)  # long documents exceed Python's 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.DictReader(text, strict=True)
        while True:
            line = 1  # until the header is read
            try:
                names = rows.fieldnames or []
                line = rows.line_num + 1
                values = next(rows, None)
            except UnicodeDecodeError:
                message = "not UTF-8 in this row or one after it"
                raise DataError("encoding", path, line, message) from None
            except csv.Error as error:
                raise DataError("malformed", path, line, f"not valid CSV: {error}") from None
            if values is None:
                return
            row = FileRow(path, line, values)
            if None in values:
                message = f"more than the {len(names)} cells of the header"
                raise row.error("malformed", message)
            yield row


def _parquet(path: Path) -> Iterator[FileRow]:
    import pyarrow as pa
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            for batch in file.iter_batches(batch_size=1024):
                for values in batch.to_pylist():
                    number += 1
                    yield FileRow(path, number, values)
    except UnicodeDecodeError:
        raise DataError("encoding", path, 0, "a text column is not UTF-8") from None
    except (pa.ArrowException, OSError) as error:
        reason = str(error).splitlines()[0]
        raise DataError("malformed", path, number, f"not readable as Parquet: {reason}") from None


def _parse_json(path: Path, number: int, text: str) -> Any:
    try:
        return json.loads(text)
    except json.JSONDecodeError as error:
        place = f"column {error.colno}" if number else f"line {error.lineno} column {error.colno}"
        message = f"not valid JSON: {error.msg} at {place}"
        raise DataError("malformed", path, number, message) from None
    except (RecursionError, ValueError):
        message = "not valid JSON: nested too deeply, or a number too long"
        raise DataError("malformed", path, number, message) from None


def _row(path: Path, number: int, values: Any) -> FileRow:
    if not isinstance(values, dict):
        message = f"expected an object with named columns, not {_kind(values)}"
        raise DataError("malformed", path, number, message)
    return FileRow(path, number, values)


def _column(row: FileRow, name: str, column: str) -> Any:
    if column not in row.values:
        there = ", ".join(sorted(map(str, row.values))) or "none"
        message = f"no column '{column}' (the {name}); columns here: {there}"
        raise row.error("column", message)
    return row.values[column]


def _answered(
    row: FileRow, name: str, prompt: Any, completion: Any
) -> tuple[list[Message], str | None]:
    """A conversation of a prompt and its answer, the column ``name``; each is text or messages."""
    messages: list[Message] = []
    for column, role, value in (("prompt", "user", prompt), (name, "assistant", completion)):
        if isinstance(value, list):
            messages += value
            continue
        if value is not None and not isinstance(value, str):
            raise row.error("malformed", f"the {column} is {_kind(value)}, not text")
        if not (value or "").strip():
            return [], f"empty {column}"
        messages.append({"role": role, "content": str(value)})
    return _messages(row, name, messages)


def _preference(
    row: FileRow, prompt: Any, chosen: Any, rejected: Any
) -> tuple[list[Message], str | None, str | None]:
    """The conversation that ends in the chosen answer, and the rejected answer."""
    sides = []
    for name, answer in (("chosen", chosen), ("rejected", rejected)):
        # Many data sets repeat the prompt in each side.
        whole = isinstance(answer, list) and len(answer) > 1
        messages, dropped = _answered(row, name, [] if whole else prompt, answer)
        if dropped:
            return [], None, dropped
        sides.append(messages)
    if sides[0][:-1] != sides[1][:-1]:
        raise row.error("malformed", "chosen and rejected answer two different conversations")
    if sides[0] == sides[1]:
        return [], None, "chosen equals rejected"
    return sides[0], sides[1][-1]["content"], None


def _messages(row: FileRow, name: str, value: Any) -> tuple[list[Message], str | None]:
    if not isinstance(value, list):
        message = f"{name} is {_kind(value)}, not a list of role and content"
        raise row.error("malformed", message)
    messages: list[Message] = []
    for number, entry in enumerate(value, 1):
        role = entry.get("role") if isinstance(entry, dict) else None
        content = entry.get("content") if isinstance(entry, dict) else None
        if role not in ROLES:
            message = f"message {number} has role {role!r}; expected {', '.join(ROLES)}"
            raise row.error("malformed", message)
        if content is not None and not isinstance(content, str):
            message = f"message {number} has {_kind(content)} as content, not text"
            raise row.error("malformed", message)
        if not (content or "").strip():
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


def _normalized(row: FileRow, value: Any) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise row.error("encoding", "half of a character (a lone surrogate) in the text") from None
    # The same Korean or accented word can be composed or decomposed, and the two tokenise apart.
    return unicodedata.normalize("NFC", value)


def _kind(value: Any) -> str:
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "empty"}
    return names.get(type(value), f"of type {type(value).__name__}")
