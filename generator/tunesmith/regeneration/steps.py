"""What a plan is made of: for each file what happens to it, why, and what that changes on the disk."""

import re
from typing import TYPE_CHECKING, Literal, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from tunesmith.regeneration.merge import Hunk, Side

Action = Literal["create", "update", "merge", "move", "delete", "keep", "conflict"]
OnConflict = Literal["stop", "markers", "ours", "theirs"]

# Reasons of files that are kept; the last by ownership.
UNCHANGED = "unchanged"
DELETED = "deleted by you; stays deleted"
MARKED = "has conflict markers left in it"
OTHERWISE = "yours since it was written; it would be written otherwise today"
NOT_WRITTEN = "not written, since another generated file is in its place"
OUTSIDE = "outside of the sparse checkout"
OUTSIDE_CHANGED = f"{OUTSIDE}; is updated once it is there"
OUTSIDE_NEW = f"{OUTSIDE}; is written once it is there"
OUTSIDE_GONE = f"{OUTSIDE}; no longer generated, and removed once it is there"
DELETED_GONE = "deleted by you; no longer generated"
# Of files that are not there: what is recorded of them stays.
ABSENT = (DELETED, NOT_WRITTEN, OUTSIDE, OUTSIDE_CHANGED, OUTSIDE_GONE, DELETED_GONE)
EDITED = {
    "merge": "edited by you",
    "once": "yours; written once",
    "sealed": "edited by you, though only Tunesmith should write it",
}


class Entry(NamedTuple):
    """A file's bytes and permission bits."""

    content: bytes
    mode: int


class Change(NamedTuple):
    """A path before and after; None for no file."""

    path: str
    old: Entry | None
    new: Entry | None


Changes = tuple[Change, ...]


class Conflict(NamedTuple):
    """What only the user can decide.

    Attributes:
        choices: What each way out would change; a way that is not there is not possible.
        hunks: Both sides of what clashes, where they are text.
    """

    choices: "Mapping[Side, Changes]"
    hunks: "Sequence[Hunk]" = ()


class Step(NamedTuple):
    """What happens to one file, and why.

    Attributes:
        path: Where the file will be, or was, where it is deleted.
        source: Where it is now, if elsewhere.
        id: The file's id; None for the tool's own record and for the spec.
        changes: What is written and removed; of a conflict, by the chosen way out.
    """

    path: str
    action: Action
    reason: str
    changes: Changes = ()
    source: str | None = None
    id: str | None = None
    conflict: Conflict | None = None

    @property
    def place(self) -> str:
        """Where the file is in the end."""
        if self.conflict is None:
            return self.path
        return next((change.path for change in self.changes if change.new), self.source or self.path)

    def diff(self) -> str:
        """The changes as a unified diff."""
        olds = [change for change in self.changes if change.new is None]
        news = [change for change in self.changes if change.new is not None]
        if self.source and len(olds) == len(news) == 1:
            moved = Change(self.path, olds[0].old, news[0].new)
            return f"rename from {self.source}\nrename to {self.path}\n" + _diff(moved, self.source)
        return "".join(_diff(change, change.path) for change in self.changes)


def _diff(change: Change, source: str) -> str:
    import difflib

    old, new = change.old, change.new
    head = f"old mode {old.mode:o}\nnew mode {new.mode:o}\n" if old and new and old.mode != new.mode else ""
    lines = difflib.unified_diff(
        _lines(old),
        _lines(new),
        f"a/{source}" if old is not None else "/dev/null",
        f"b/{change.path}" if new is not None else "/dev/null",
    )
    return head + "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


def _lines(entry: Entry | None) -> list[str]:
    if entry is None:
        return []
    try:
        # Not splitlines: it ends lines at form feeds and the like too.
        return re.findall(r"[^\n]*\n|[^\n]+", entry.content.decode("utf-8"))
    except UnicodeDecodeError:
        return [f"(binary, {len(entry.content)} bytes)\n"]
