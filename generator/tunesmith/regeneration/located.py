"""Where the files of the last generation are now, also those that the user moved."""

from pathlib import Path
from typing import NamedTuple

from tunesmith.files.lock import Generation, LockedFile
from tunesmith.files.tree import File
from tunesmith.files.worktree import Found, find_moved, look


class Known(NamedTuple):
    """A file that was generated before.

    Attributes:
        base: Its bytes then; None where they are lost.
        place: Where it is now.
        found: What is there.
        guessed: Whether the place was found by the file's content, and not recorded before.
    """

    locked: LockedFile
    base: bytes | None
    place: str
    found: Found
    guessed: bool = False

    @property
    def moved(self) -> bool:
        """Whether the user moved it."""
        return self.place != self.locked.path

    @property
    def edited(self) -> bool:
        """Whether it is no longer what was generated."""
        return self.found.kind != "file" or self.found.sha256 != self.locked.sha256


def locate(root: Path, last: Generation) -> dict[str, Known]:
    """Every file of `last` by id, with where it is now, also where the user moved it."""
    places = {}
    claimed = {locked.moved_to for locked in last.files if locked.moved_to}
    for locked in last.files:
        place = locked.moved_to or locked.path
        found = look(root, place)
        if found.kind == "nothing" and locked.moved_to:
            place, found = locked.path, look(root, locked.path)
        if place != locked.moved_to and place in claimed:
            found = Found("nothing")  # another one has moved here
        places[locked.id] = Known(locked, (last.base or {}).get(locked.id), place, found)
    lost = {old.locked.path: old for old in places.values() if old.found.kind == "nothing" and not old.locked.deleted}
    missing = {path: old.base for path, old in lost.items() if old.base}
    for path, place in find_moved(root, missing, {old.place for old in places.values()}).items():
        old = lost[path]
        places[old.locked.id] = Known(old.locked, old.base, place, look(root, place), guessed=True)
    return places


def target_of(file: File, old: Known) -> str:
    """Where a file goes. What the user moved stays where it is, unless the spec moves it too and it is not theirs."""
    return old.place if old.moved and (file.path == old.locked.path or file.ownership == "once") else file.path


def moved_twice(file: File, old: Known) -> bool:
    """Whether the user and the spec moved it to different places."""
    return old.moved and target_of(file, old) != old.place
