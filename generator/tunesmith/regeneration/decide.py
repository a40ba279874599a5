"""The last generation, the new tree and the user's folder → what happens to each file. Computes; writes nothing.

Files are told apart by id, so one that the spec moves takes the user's edits along; only one that is no longer in its
place is looked for by content. Where the user's bytes and the generated ones both changed, git merges them, with the
bytes as they were generated before as the base.
"""

from collections.abc import Collection
from pathlib import Path

from tunesmith.files.lock import Generation, LockedFile
from tunesmith.files.tree import File, Tree, parents
from tunesmith.files.worktree import has_markers, look
from tunesmith.problem import Problem, TunesmithError
from tunesmith.regeneration import merge
from tunesmith.regeneration.located import Known, locate, moved_twice, target_of
from tunesmith.regeneration.settle import SIDES, clash, clash_of_files, entry_of, in_two_places, merged, settled
from tunesmith.regeneration.steps import (
    DELETED,
    EDITED,
    MARKED,
    NOT_WRITTEN,
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
    known = locate(root, last)
    ids = {file.id for file in tree}
    gone = [old for id_, old in known.items() if id_ not in ids]
    leaving = _leaving(root, tree, known, gone)

    steps = [_removed(old) for old in gone]
    merges: list[tuple[File, Known]] = []
    deleted = set()
    for file in tree:
        old = known.get(file.id)
        if old is None:
            steps.append(_new(root, file, "new", leaving, known))
        elif old.found.kind == "nothing":
            deleted |= {file.path, old.locked.path}
            if {file.path, old.locked.path} & set(restore):
                steps.append(_new(root, file, "restored", leaving, known))
            elif file.path != old.locked.path and _is_users_own(root, file.path, leaving, known):
                # It is generated elsewhere now, and there is what the user made in its stead.
                steps.append(_new(root, file, "new", leaving, known))
            else:
                steps.append(Step(file.path, "keep", DELETED, id=file.id))
        elif _is_blocked(root, file, old, leaving) and file.ownership == "once":
            steps.append(Step(old.place, "keep", f"stays here: something of yours is at {file.path}", id=file.id))
        elif _is_blocked(root, file, old, leaving):
            reason = f"moves here from {old.place}, but something of yours is in the way"
            steps.append(clash(file, old, {"ours": old.found.text}, reason))
        elif step := _decided(file, old, cause):
            steps.append(step)
        else:
            merges.append((file, old))
    if unknown := sorted(set(restore) - deleted):
        raise TunesmithError(*(Problem(path, 0, 0, "TS407", _why_not_restored(path, tree)) for path in unknown))
    return sorted(steps + merged(merges, cause), key=lambda step: step.path)


def _is_blocked(root: Path, file: File, old: Known, leaving: set[str]) -> bool:
    target = target_of(file, old)
    if target == old.place or old.place in leaving or old.found.kind == "other":
        return False
    return not moved_twice(file, old) or not _is_free(root, target, leaving)


def _is_free(root: Path, path: str, leaving: set[str]) -> bool:
    """Whether a file can be put at `path` once every file that moves or goes has done so."""
    return path in leaving or any(folder in leaving for folder in parents(path)) or look(root, path).kind == "nothing"


def _leaving(root: Path, tree: Tree, known: dict[str, Known], gone: list[Known]) -> set[str]:
    """Paths that are free once every file that moves or goes has done so."""
    leaving = {old.place for old in gone if old.found.kind == "file" and not old.edited and not old.guessed}
    moves = {
        old.place: target_of(file, old)
        for file in tree
        if (old := known.get(file.id)) and old.found.kind == "file"
        if target_of(file, old) != old.place and not old.moved
    }
    leaving |= moves.keys()
    while True:
        # What cannot get to its target stays, and may be in the way of the next.
        stuck = {
            source for source, target in moves.items() if source in leaving and not _is_free(root, target, leaving)
        }
        if not stuck:
            return leaving
        leaving -= stuck


def _is_users_own(root: Path, path: str, leaving: set[str], known: dict[str, Known]) -> bool:
    return not _is_free(root, path, leaving) and all(old.place != path for old in known.values())


def _removed(old: Known) -> Step:
    path, id_ = old.place, old.locked.id
    if old.found.kind == "nothing":
        return Step(path, "keep", "deleted by you; no longer generated", id=id_)
    if old.found.kind == "other":
        return Step(path, "keep", "replaced by you; no longer generated", id=id_)
    if old.guessed:
        return Step(path, "keep", f"moved by you from {old.locked.path}; no longer generated", id=id_)
    delete = (Change(path, entry_of(old.found), None),)
    if not old.edited:
        return Step(path, "delete", "no longer generated", delete, id=id_)
    if old.locked.ownership == "once":
        return Step(path, "keep", f"{EDITED['once']}; no longer generated", id=id_)
    conflict = Conflict({"markers": (), "ours": (), "theirs": delete})
    return Step(path, "conflict", "edited by you, and no longer generated", id=id_, conflict=conflict)


def _new(root: Path, file: File, reason: str, leaving: set[str], known: dict[str, Known]) -> Step:
    """A file that is not there yet, or that the user deleted and wants back."""
    found = look(root, file.path)
    entry = Entry(file.content, file.mode)
    if _is_free(root, file.path, leaving):
        return Step(file.path, "create", reason, (Change(file.path, None, entry),), id=file.id)
    if not _is_users_own(root, file.path, leaving, known):
        if file.ownership == "once":
            return Step(file.path, "keep", NOT_WRITTEN, id=file.id)
        return Step(file.path, "conflict", "another generated file is in the way", id=file.id, conflict=Conflict({}))
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


def _why_not_restored(path: str, tree: Tree) -> str:
    if path in tree:
        return "is not one that you deleted; something is there"
    return "is no generated file; `tunesmith plan` lists those that you deleted"
