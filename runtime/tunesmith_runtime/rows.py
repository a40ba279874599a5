"""JSONL, JSON, CSV and Parquet files -> rows of named values.

Files are streamed. What cannot be read is one error that names the file and the row, quotes what
was found, and says what to do.
"""

from __future__ import annotations

import csv
import json
import re
import reprlib
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import islice, product
from pathlib import Path
from typing import Any, NamedTuple

from tunesmith_runtime.errors import DataError, Kind
from tunesmith_runtime.not_rows import not_utf8, refuse_others

Wanted = Callable[[str], bool]  # whether the column of a name is to be read


class FileRow(NamedTuple):
    """One row of a file; ``unread`` names the columns that nobody wanted to read."""

    path: Path
    number: int
    values: dict[str, Any]
    unread: Sequence[str] = ()

    def error(self, kind: Kind, message: str) -> DataError:
        """What is wrong with this row."""
        return DataError(kind, self.path, self.number, message)


def read_rows(path: Path, wanted: Wanted) -> Iterator[FileRow]:
    """Yield the rows of a file; raises DataError.

    Of a Parquet file, only the columns are read of which ``wanted`` is true.
    """
    reader = _READERS.get(path.suffix.lower())
    if reader is None:
        message = (
            f"unknown file type '{path.suffix}'; use {', '.join(_READERS)}; unpack or convert it"
        )
        raise DataError("malformed", path, 0, message)
    try:
        refuse_others(path)
        yield from reader(path, wanted)
    except FileNotFoundError:
        raise DataError("missing", path, 0, "no such file") from None
    except OSError as error:
        raise DataError("missing", path, 0, f"cannot be read: {error.strerror}") from None


def kind_of(value: Any) -> str:
    """What a value is, in words."""
    names = {dict: "an object", list: "a list", str: "text", bool: "true or false"}
    names |= {int: "a number", float: "a number", type(None): "empty"}
    return names.get(type(value), f"of type {type(value).__name__}")


def quoted(value: Any) -> str:
    """A value as it was found, in quotes if it is text, and cut where it is long."""
    if isinstance(value, str):
        return repr(value if len(value) <= 40 else value[:39] + "…")
    shown = reprlib.repr(value)
    return shown if len(shown) <= 40 else shown[:39] + "…"


def separator_hint(columns: Iterable[str]) -> str:
    """What to do where a header was not split into columns; empty where it was."""
    for column, separator in product(columns, ";\t|"):
        if separator in column:
            return f"; {quoted(column)} is separated by {separator!r}: separate cells by ','"
    return ""


class _RepeatedKeyError(Exception):
    """A key that one object of JSON gives twice."""


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    values = dict(pairs)
    if len(values) < len(pairs):
        raise _RepeatedKeyError(_repeated(key for key, _ in pairs))
    return values


def _repeated(names: Iterable[str]) -> str | None:
    """The first name that is there more than once."""
    return next((name for name, times in Counter(names).items() if times > 1), None)


# Python's own takes the last of two values in silence.
_JSON = json.JSONDecoder(object_pairs_hook=_object)
_BAD_JSON = (_RepeatedKeyError, ValueError, RecursionError)  # what it raises
_COMMA = re.compile(r"[ \t\n\r]*,[ \t\n\r]*")


def _jsonl(path: Path, _: Wanted) -> Iterator[FileRow]:
    with path.open("rb") as lines:
        for number, line in enumerate(lines, 1):
            try:
                text = line.decode("utf-8-sig" if number == 1 else "utf-8").strip()
            except UnicodeDecodeError:
                raise not_utf8(path) from None
            if not text:
                continue
            try:
                values = _JSON.decode(text)
            except _BAD_JSON as error:
                raise _bad_json(path, number, text, error) from None
            yield _row(path, number, text, values)


def _json(path: Path, _: Wanted) -> Iterator[FileRow]:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError:
        raise not_utf8(path) from None
    at = _past_space(text, 0)
    if at == len(text):
        return
    if text[at] != "[":
        raise _no_array(path, text, at)
    number, at = 0, _past_space(text, at + 1)
    more = text[at : at + 1] != "]"
    while more:
        # One by one, so that what is wrong has the number of its row.
        number += 1
        values, at = _value(path, number, text, at)
        yield _row(path, number, text, values)
        comma = _COMMA.match(text, at)
        more = comma is not None
        at = comma.end() if comma else _past_space(text, at)
    if text[at : at + 1] != "]":
        raise _bad_json(path, number, text, json.JSONDecodeError("Expecting ',' or ']'", text, at))
    at = _past_space(text, at + 1)
    if at < len(text):
        raise _bad_json(path, 0, text, json.JSONDecodeError("Text after the array", text, at))


def _value(path: Path, number: int, text: str, at: int) -> tuple[Any, int]:
    """The JSON value that begins at a place of the text, and where it ends."""
    try:
        return _JSON.raw_decode(text, at)
    except _BAD_JSON as error:
        raise _bad_json(path, number, text, error) from None


def _no_array(path: Path, text: str, at: int) -> DataError:
    """What is wrong with the text of a .json file that is no array."""
    values, end = _value(path, 0, text, at)
    what = f"{kind_of(values)}, {quoted(text[at:end])}; put the rows into one array"
    if isinstance(values, dict) and _past_space(text, end) < len(text):
        what = "one object after another, as in JSON Lines; name the file .jsonl"
    return DataError("malformed", path, 0, f"expected an array of rows, not {what}")


def _past_space(text: str, at: int) -> int:
    while text[at : at + 1] in (" ", "\n", "\r", "\t"):
        at += 1
    return at


def _bad_json(path: Path, number: int, text: str, error: Exception) -> DataError:
    if isinstance(error, _RepeatedKeyError):
        message = f"the key {quoted(error.args[0])} is given twice in one object; keep one of them"
    elif isinstance(error, json.JSONDecodeError):
        found = quoted(text[error.pos : error.pos + 30]) if text[error.pos :] else "where it ends"
        line = f"line {error.lineno} " if path.suffix.lower() == ".json" else ""
        message = f"not valid JSON: {error.msg} at {line}column {error.colno}, {found}"
        message += _line_hint(path, text)
    else:
        message = "not valid JSON: nested too deeply, or a number too long"
    return DataError("malformed", path, number, message)


def _row(path: Path, number: int, text: str, values: Any) -> FileRow:
    if not isinstance(values, dict):
        message = f"expected an object with named columns, not {kind_of(values)}, {quoted(values)}"
        raise DataError("malformed", path, number, message + _line_hint(path, text))
    return FileRow(path, number, values)


def _line_hint(path: Path, text: str) -> str:
    if path.suffix.lower() != ".jsonl":
        return ""
    array = "an array of rows belongs in a .json file"
    return f"; {array if text.startswith('[') else 'each line of a .jsonl file is one object'}"


def _csv(path: Path, _: Wanted) -> Iterator[FileRow]:
    csv.field_size_limit(2**31 - 1)  # long documents exceed Python's 128 KiB
    with path.open(encoding="utf-8-sig", newline="") as text:
        rows = csv.reader(text, strict=True)
        names: list[str] = []
        while True:
            line = rows.line_num + 1
            try:
                cells: list[Any] | None = next(rows, None)
            except UnicodeDecodeError:
                raise not_utf8(path) from None
            except csv.Error as error:
                raise _bad_csv(path, line, error) from None
            if cells is None:
                return
            if not cells:
                continue  # a blank line
            if not names:
                names = cells
                if names[0].lstrip().startswith(('{"', "[{")):
                    message = f"begins with {quoted(names[0])}: for JSON, name it .jsonl or .json"
                    raise DataError("malformed", path, line, message)
                # Spreadsheets leave columns without a name behind, which nothing reads.
                _check_columns(path, line, filter(None, names))
                continue
            missing = len(names) - len(cells)
            if missing < 0:
                hint = separator_hint(names) or "; put cells that hold commas in double quotes"
                left = f"{quoted(cells[len(names)])} is left over"
                message = f"more than the {len(names)} cells of the header: {left}{hint}"
                raise DataError("malformed", path, line, message)
            yield FileRow(path, line, dict(zip(names, cells + [None] * missing, strict=True)))


def _bad_csv(path: Path, number: int, error: csv.Error) -> DataError:
    with path.open(encoding="utf-8-sig", errors="replace", newline="") as lines:
        found = next(islice(lines, number - 1, None), "").rstrip()
    hint = separator_hint([found]) if number == 1 else ""
    message = f"not valid CSV: {error}, in the row that begins {quoted(found)}{hint}"
    return DataError("malformed", path, number, message)


def _check_columns(path: Path, line: int, names: Iterable[str]) -> None:
    if (name := _repeated(names)) is not None:
        message = f"the column {quoted(name)} is there twice; rename or remove one of them"
        raise DataError("malformed", path, line, message)


def _parquet(path: Path, wanted: Wanted) -> Iterator[FileRow]:
    import pyarrow.parquet as pq

    number = 0
    try:
        with pq.ParquetFile(path) as file:
            names = file.schema_arrow.names
            _check_columns(path, 0, names)
            read = [name for name in names if wanted(name)]
            unread = [name for name in names if name not in read]
            # A name with a dot selects what is inside a column of that name, too.
            for batch in file.iter_batches(batch_size=1024, columns=read):
                for values in _converted(path, number, batch.select(read)):
                    number += 1
                    yield FileRow(path, number, values, unread)
    except DataError:
        raise
    except Exception as error:  # whatever pyarrow, or a module that it needs, raises
        after = f" after row {number}" if number else ""
        message = f"not readable as Parquet{after}: {_first_line(error)}; write the file anew"
        raise DataError("malformed", path, 0, message) from None


def _converted(path: Path, number: int, batch: Any) -> list[dict[str, Any]]:
    """The rows of a batch, the first of which comes after row ``number``."""
    try:
        rows: list[dict[str, Any]] = batch.to_pylist()
        return rows
    except Exception as failure:  # a date after the year 9999, a field that is there twice: which?
        for index in range(batch.num_rows):
            for name, column in zip(batch.schema.names, batch.columns, strict=True):
                try:
                    column[index].as_py()
                except Exception as error:
                    message = (
                        f"the column {quoted(name)} ({column.type}) holds what cannot be read: "
                        f"{_first_line(error)}; write it as text, or leave it out"
                    )
                    kind: Kind = "encoding" if isinstance(error, UnicodeError) else "malformed"
                    raise DataError(kind, path, number + index + 1, message) from None
        raise failure


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]


_READERS: dict[str, Callable[[Path, Wanted], Iterator[FileRow]]] = {
    ".jsonl": _jsonl,
    ".json": _json,
    ".csv": _csv,
    ".parquet": _parquet,
}
