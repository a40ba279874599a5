"""The last generation, the new tree and the user's folder → what happens to each file. Computes; writes nothing.

Files are told apart by id, so one that the spec moves takes the user's edits along; only one that is no longer in its
place is looked for by content. Where the user's bytes and the generated ones both changed, git merges them, with the
bytes as they were generated before as the base.
"""

from collections.abc import Collection, Mapping
from pathlib import Path

from tunesmith.files.git import has_markers, left_out, tags
from tunesmith.files.lock import Generation, LockedFile
from tunesmith.files.tree import File, Tree, parents
from tunesmith.files.worktree import Found, look
from tunesmith.problem import Problem, TunesmithError
from tunesmith.regeneration import merge
from tunesmith.regeneration.located import Known, locate, moved_twice, target_of
from tunesmith.regeneration.settle import SIDES, clash, clash_of_files, entry_of, in_two_places, merged, settled
from tunesmith.regeneration.steps import (
    DELETED,
    DELETED_GONE,
    EDITED,
    MARKED,
    NOT_WRITTEN,
    OUTSIDE,
    OUTSIDE_CHANGED,
    OUTSIDE_GONE,
    OUTSIDE_NEW,
    UNCHANGED,
    Action,
    Change,
    Conflict,
    Entry,
    Step,
)


def as_first_written(root: Path, last: Generation, tree: Tree, restore: Collection[str] = ()) -> Tree:
    """`tree` with every file that is written `once`, and was, as it was then: what it would be now matters no more.

    Args:
        root: The repository.
        last: What was generated last time.
        tree: What is generated now.
        restore: Paths of files that are to be written anew.
    """
    known = {locked.id: locked for locked in last.files}

    def chosen(file: File) -> File:
        locked = known.get(file.id)
        if file.ownership != "once" or locked is None or {file.path, locked.path} & set(restore):
            return file
        content = (last.base or {}).get(file.id)
        if content is None:
            # The archive is lost; what nobody edited is still known.
            found = look(root, locked.moved_to or locked.path)
            content = found.text if found.sha256 == locked.sha256 else file.content
        return file._replace(mode=locked.mode, content=content)

    return Tree(map(chosen, tree))


def decide(root: Path, last: Generation, tree: Tree, cause: str, restore: Collection[str] = ()) -> list[Step]:
    """What has to happen for the folder at `root` to hold `tree`, with the user's edits in it.

    Args:
        root: The repository.
        last: What was generated last time.
        tree: What is generated now, `as_first_written`.
        cause: Why generated files change, for the reasons of steps.
        restore: Paths of files that the user deleted, to bring back.

    Raises:
        TunesmithError: TS406 where git cannot merge, TS407 where a path to restore is not that of a deleted file.
    """
    outside = _outside(root, {locked.place for locked in last.files} | {file.path for file in tree})
    known = locate(root, last, outside)
    places = _Places(root, tree, known, outside)

    steps = [_removed(old) for old in places.gone]
    merges: list[tuple[File, Known]] = []
    deleted = set()
    for file in tree:
        old = known.get(file.id)
        if old is None:
            steps.append(_new(file, "new", places))
        elif old.outside:
            reason = OUTSIDE if _as_recorded(file, old.locked) else OUTSIDE_CHANGED
            steps.append(Step(old.place, "keep", reason, id=file.id))
        elif old.found.kind == "nothing":
            deleted |= {file.path, old.locked.path}
            if {file.path, old.locked.path} & set(restore):
                steps.append(_new(file, "restored", places))
            elif file.path not in {old.locked.path, *outside} and places.is_users_own(file.path):
                # It is generated elsewhere now, and there is what the user made in its stead.
                steps.append(_new(file, "new", places))
            else:
                steps.append(Step(file.path, "keep", DELETED, id=file.id))
        elif places.is_blocked(file, old) and file.ownership == "once":
            steps.append(Step(old.place, "keep", f"stays here: something of yours is at {file.path}", id=file.id))
        elif places.is_blocked(file, old):
            reason = f"moves here from {old.place}, but something of yours is in the way"
            steps.append(clash(file, old, {"ours": old.found.text}, reason))
        elif step := _decided(file, old, cause):
            steps.append(step)
        else:
            merges.append((file, old))
    if unknown := sorted(set(restore) - deleted):
        raise TunesmithError(
            *(Problem(path, 0, 0, "TS407", _why_not_restored(path, tree, outside)) for path in unknown)
        )
    return sorted(steps + merged(merges, cause), key=lambda step: step.path)


def _outside(root: Path, paths: Collection[str]) -> set[str]:
    """Those of `paths` that are not there because git's sparse checkout leaves them out."""
    missing = [path for path in paths if look(root, path).kind == "nothing"]
    known = tags(root, *missing)
    return {path for path, tag in known.items() if tag == "S"} | left_out(root, sorted(set(missing) - known.keys()))


def _as_recorded(file: File, locked: LockedFile) -> bool:
    return (file.path, file.sha256, file.mode) == (locked.path, locked.sha256, locked.mode)


class _Places:
    """Which paths are free, once every file that moves or goes has done so.

    Attributes:
        gone: The files that are no longer generated.
    """

    def __init__(self, root: Path, tree: Tree, known: Mapping[str, Known], outside: Collection[str]) -> None:
        self._root, self.outside = root, outside
        ids = {file.id for file in tree}
        self.gone = [old for id_, old in known.items() if id_ not in ids]
        taken_over = {old.place for old in self.gone if _is_taken_over(old)}
        self._generated = {old.place for old in known.values() if old.found.kind != "nothing"} - taken_over
        self._leaving = {
            old.place for old in self.gone if old.found.kind == "file" and not old.edited and not old.guessed
        }
        moves = {
            old.place: target_of(file, old)
            for file in tree
            if (old := known.get(file.id)) and old.found.kind == "file"
            if target_of(file, old) != old.place and not old.moved
        }
        self._leaving |= moves.keys()
        # What cannot get to its target stays, and may be in the way of the next.
        while stuck := {
            source for source, target in moves.items() if source in self._leaving and not self.is_free(target)
        }:
            self._leaving -= stuck

    def look(self, path: str) -> Found:
        """What is at `path` now."""
        return look(self._root, path)

    def is_free(self, path: str) -> bool:
        """Whether a file can be put at `path`."""
        if path in self._leaving or any(folder in self._leaving for folder in parents(path)):
            return True
        return path not in self.outside and self.look(path).kind == "nothing"

    def is_users_own(self, path: str) -> bool:
        """Whether something is at `path` that was never generated."""
        return not self.is_free(path) and path not in self._generated

    def is_blocked(self, file: File, old: Known) -> bool:
        """Whether a file has to go where it cannot."""
        target = target_of(file, old)
        if target == old.place or old.place in self._leaving or old.found.kind == "other":
            return False
        return not moved_twice(file, old) or not self.is_free(target)


def _is_taken_over(gone: Known) -> bool:
    """Whether the user wrote something else where they had deleted a file that is no longer generated."""
    return gone.locked.deleted and gone.found.kind == "file" and gone.edited


def _removed(old: Known) -> Step:
    path, id_ = old.place, old.locked.id
    if old.outside:
        return Step(path, "keep", OUTSIDE_GONE, id=id_)
    if old.found.kind == "nothing":
        return Step(path, "keep", DELETED_GONE, id=id_)
    if old.found.kind == "other":
        return Step(path, "keep", "replaced by you; no longer generated", id=id_)
    if old.guessed:
        return Step(path, "keep", f"moved by you from {old.locked.path}; no longer generated", id=id_)
    if _is_taken_over(old):
        return Step(path, "keep", "yours; what was generated here, you deleted", id=id_)
    delete = (Change(path, entry_of(old.found), None),)
    if not old.edited:
        return Step(path, "delete", "no longer generated", delete, id=id_)
    if old.locked.ownership == "once":
        return Step(path, "keep", f"{EDITED['once']}; no longer generated", id=id_)
    conflict = Conflict({"markers": (), "ours": (), "theirs": delete})
    return Step(path, "conflict", "edited by you, and no longer generated", id=id_, conflict=conflict)


def _new(file: File, reason: str, places: _Places) -> Step:
    """A file that is not there yet, or that the user deleted and wants back."""
    entry = Entry(file.content, file.mode)
    if file.path in places.outside:
        return Step(file.path, "keep", OUTSIDE_NEW, id=file.id)
    if places.is_free(file.path):
        return Step(file.path, "create", reason, (Change(file.path, None, entry),), id=file.id)
    if not places.is_users_own(file.path):
        if file.ownership == "once":
            return Step(file.path, "keep", NOT_WRITTEN, id=file.id)
        return Step(file.path, "conflict", "another generated file is in the way", id=file.id, conflict=Conflict({}))
    found = places.look(file.path)
    if file.ownership == "once" and (found.kind == "other" or found.sha256 != file.sha256):
        return Step(file.path, "keep", "yours: there was something here when it would have been written", id=file.id)
    if found.kind == "other":
        return Step(
            file.path,
            "conflict",
            "a folder, a link or something unreadable is in the way",
            id=file.id,
            conflict=Conflict({"markers": (), "ours": ()}),
        )
    if found.sha256 == file.sha256:
        return Step(file.path, "keep", UNCHANGED, id=file.id)
    old = Known(LockedFile(file.id, file.path, file.mode, "", file.ownership), None, file.path, found)
    return clash_of_files(file, old, "a file of yours is in the way")


def _decided(file: File, old: Known, cause: str) -> Step | None:
    """What happens to a file that is there; None where both sides changed and have to be merged."""
    changed = file.sha256 != old.locked.sha256
    if old.found.kind == "other":
        if file.ownership == "once" or (not changed and target_of(file, old) == old.place):
            return Step(old.place, "keep", "replaced by you", id=file.id)
        conflict = Conflict({"markers": (), "ours": ()})
        return Step(old.place, "conflict", f"replaced by you, and {cause}", id=file.id, conflict=conflict)
    action: Action
    if old.found.sha256 == file.sha256:
        content, action, reason = old.found.text, "keep", UNCHANGED
    elif not old.edited:
        content, action, reason = file.content, "update", cause
    elif not changed or file.ownership == "once":
        content, action, reason = old.found.text, "keep", EDITED[file.ownership]
    elif file.ownership == "sealed":
        return clash_of_files(file, old, f"{EDITED[file.ownership]}, and {cause}")
    elif has_markers(old.found.text):
        return clash_of_files(file, old, MARKED)
    elif old.base is None or any(map(merge.is_binary, (old.base, old.found.text, file.content))):
        return clash_of_files(file, old, f"edited by you, and {cause}")
    else:
        return None
    if moved_twice(file, old):
        return clash(file, old, dict.fromkeys(SIDES, content), in_two_places(file, old))
    return settled(file, old, content, action, reason)


def _why_not_restored(path: str, tree: Tree, outside: Collection[str]) -> str:
    if path in outside:
        return "is outside of the sparse checkout; `git sparse-checkout add` brings its folder"
    if path in tree:
        return "is not one that you deleted; something is there"
    return "is no generated file; `tunesmith plan` lists those that you deleted"
