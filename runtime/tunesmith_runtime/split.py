"""Which split a row belongs to, decided by its prompt alone, and how many rows each split has.

A row never moves when others are added, and the same prompt never stands in two splits.
"""

from __future__ import annotations

import hashlib
import unicodedata
from collections import Counter
from collections.abc import Sequence
from typing import Literal

from tunesmith_runtime.records import Message, Record

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


class Splits:
    """Rows on their way into splits: counted there, or under the reason why they are dropped.

    Attributes:
        rows: How many rows each split has.
        dropped: How many rows were dropped, by reason; an exact duplicate is one, too.
        first_dropped: Where the first of them is, by reason.
    """

    def __init__(self, validation_fraction: float, test_fraction: float) -> None:
        self.rows: Counter[str] = Counter()
        self.dropped: Counter[str] = Counter()
        self.first_dropped: dict[str, str] = {}
        self._fractions = (validation_fraction, test_fraction)
        self._seen: set[tuple[str, int]] = set()  # prompts, and hashes of all that is trained

    def assign(self, record: Record) -> Split | None:
        """Count a record; its split, or None where it is dropped."""
        reason, key = record.dropped, ""
        if reason is None:
            key = split_key(record.messages)
            texts = [text for message in record.messages for text in message.values()]
            row = (key, hash((*texts, record.rejected)))
            reason = "duplicate" if row in self._seen else None
            self._seen.add(row)
        if reason is not None:
            self.dropped[reason] += 1
            self.first_dropped.setdefault(reason, record.where)
            return None
        split = assign_split(key, *self._fractions)
        self.rows[split] += 1
        return split

    def drops(self) -> list[str]:
        """What was dropped, a line for each reason."""
        return [
            f"dropped {count} rows: {reason} (first: {self.first_dropped[reason]})"
            for reason, count in self.dropped.items()
        ]

    def empty(self) -> tuple[Split, str] | None:
        """A split without rows, with the reason and what to do; None where every one has some."""
        split = next((split for split in SPLITS if not self.rows[split]), None)
        if split is None:
            return None
        usable = self.rows.total() + self.dropped["duplicate"]
        total = self.rows.total() + self.dropped.total()
        found = "; ".join([f"with {usable} usable rows of {total}", *self.drops()])
        if not usable:
            return split, f"{found}; mend what is dropped, or map other columns"
        prompts = len({prompt for prompt, _ in self._seen})
        if prompts < usable:
            same = "one prompt" if prompts == 1 else f"{prompts} prompts"
            found += f"; the usable rows share {same}, and a prompt is never in two splits"
            return split, f"{found}; add rows with other prompts"
        way = "lower the others' fractions" if split == "train" else f"raise data.{split}_fraction"
        return split, f"{found}; add rows, or {way}"
