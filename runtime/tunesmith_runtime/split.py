"""Which split a row belongs to, decided by its prompt alone.

A row never moves when others are added, and the same prompt never stands in two splits.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections.abc import Sequence
from typing import Literal

from tunesmith_runtime.records import Message

Split = Literal["train", "validation", "test"]
SPLITS: tuple[Split, ...] = ("train", "validation", "test")


def split_key(messages: Sequence[Message]) -> str:
    """SHA-256 of what the user says before the first answer, in NFC, with spaces made equal.

    The system prompt is left out: changing it must not move rows between splits.
    """
    opening: list[str] = []
    for message in messages:
        if message["role"] == "assistant":
            break
        if message["role"] == "user":
            opening.append(" ".join(unicodedata.normalize("NFC", message["content"]).split()))
    return hashlib.sha256("\n".join(opening).encode()).hexdigest()


def assign_split(key: str, validation_fraction: float, test_fraction: float) -> Split:
    """Map a key to a split; the fractions are shares of all rows, met on average."""
    share = int(key[:16], 16) / 16**16
    if share < test_fraction:
        return "test"
    return "validation" if share < test_fraction + validation_fraction else "train"
