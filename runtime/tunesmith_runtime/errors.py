"""What a user can repair."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

Kind = Literal["missing", "empty", "encoding", "malformed", "column", "unread"]


class UserError(Exception):
    """One line per problem: what, where, what to do. Printed without a traceback; exit code 1."""


def in_one_line(error: Exception) -> str:
    """What a library said, at most 160 characters of it; its kind where it said nothing."""
    text = " ".join(str(error).split()) or type(error).__name__
    return text if len(text) <= 160 else text[:159] + "…"


class DataError(UserError):
    """A data file, or a row of one, that cannot be read.

    Attributes:
        row: Counts from 1; in JSONL and CSV it is the line. 0 where the file as a whole is meant.
    """

    def __init__(self, kind: Kind, path: str | Path, row: int, message: str) -> None:
        self.kind, self.path, self.row, self.message = kind, str(path), row, message
        super().__init__(f"{path}:{row}: {message}" if row else f"{path}: {message}")
