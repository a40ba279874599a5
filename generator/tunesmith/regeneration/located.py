"""Where the files of the last generation are now, also those that the user moved."""

from collections import Counter
from collections.abc import Collection
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
        outside: Whether nothing is there because it is outside of git's sparse checkout.
        guessed: Whether the place was found by the file's content, and not recorded before.
    """

    locked: LockedFile
    base: bytes | None
    place: str
    found: Found
    outside: bool = False
    guessed: bool = False

    @property
    def moved(self) -> bool:
        """Whether the user moved it."""
        return self.place != self.locked.path

    @property
    def edited(self) -> bool:
        """Whether it is no longer what was generated."""
        return self.found.kind != "file" or self.found.sha256 != self.locked.sha256


def locate(root: Path, last: Generation, outside: Collection[str] = ()) -> dict[str, Known]:
    """Every file of `last` by id, with where it is now, also where the user moved it; `outside` of the sparse checkout."""
    places = {}
    claimed = {locked.moved_to for locked in last.files if locked.moved_to}
    held = {locked.place for locked in last.files if not locked.absent}
    wanted = Counter(locked.place for locked in last.files)

    def look_for(locked: LockedFile, place: str) -> Found:
        found = look(root, place)
        if locked.absent and (place in held or (wanted[place] > 1 and found.sha256 != locked.sha256)):
            return Found("nothing")  # what is there by now is another one
        return found

    for locked in last.files:
        place = locked.place
        found = look_for(locked, place)
        if found.kind == "nothing" and locked.moved_to and place not in outside:
            place, found = locked.path, look_for(locked, locked.path)
        if place != locked.moved_to and place in claimed:
            found = Found("nothing")  # another one has moved here
        is_outside = found.kind == "nothing" and place in outside
        places[locked.id] = Known(locked, (last.base or {}).get(locked.id), place, found, is_outside)
    missing = [old for old in places.values() if old.found.kind == "nothing" and not old.outside]
    lost = {old.locked.path: old for old in missing if not old.locked.absent}
    bases = {path: old.base for path, old in lost.items() if old.base}
    for path, place in find_moved(root, bases, {old.place for old in places.values()}).items():
        old = lost[path]
        places[old.locked.id] = Known(old.locked, old.base, place, look(root, place), guessed=True)
    return places


def target_of(file: File, old: Known) -> str:
    """Where a file goes. What the user moved stays where it is, unless the spec moves it too and it is not theirs."""
    return old.place if old.moved and (file.path == old.locked.path or file.ownership == "once") else file.path


def moved_twice(file: File, old: Known) -> bool:
    """Whether the user and the spec moved it to different places."""
    return old.moved and target_of(file, old) != old.place
