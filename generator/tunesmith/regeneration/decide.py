"""The last generation, the new tree and the user's folder → what happens to each file. Computes; writes nothing.

Files are told apart by id, so one that the spec moves takes the user's edits along; only one that is no longer in its
place is looked for by content. Where the user's bytes and the generated ones both changed, git merges them, with the
bytes as they were generated before as the base.
"""

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import NamedTuple

from tunesmith.check.syntax import broken
from tunesmith.files.lock import Generation, LockedFile
from tunesmith.files.tree import File, Tree, parents
from tunesmith.files.worktree import Found, find_moved, has_markers, look
from tunesmith.problem import Problem, TunesmithError
from tunesmith.regeneration import merge
from tunesmith.regeneration.merge import Parts, Side
from tunesmith.regeneration.steps import (
    DELETED,
    EDITED,
    MARKED,
    NOT_WRITTEN,
    UNCHANGED,
    Action,
    Change,
    Changes,
    Conflict,
    Entry,
    Step,
)

_SIDES: tuple[Side, ...] = ("markers", "ours", "theirs")


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
            steps.append(_conflict(file, old, {"ours": old.found.text}, reason))
        elif step := _decided(file, old, cause):
            steps.append(step)
        else:
            merges.append((file, old))
    if unknown := sorted(set(restore) - deleted):
        raise TunesmithError(*(Problem(path, 0, 0, "TS407", _why_not_restored(path, tree)) for path in unknown))
    return sorted(steps + _merged(merges, cause), key=lambda step: step.path)


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


def _target(file: File, old: Known) -> str:
    """Where a file goes. What the user moved stays where it is, unless the spec moves it too and it is not theirs."""
    return old.place if old.moved and (file.path == old.locked.path or file.ownership == "once") else file.path


def _moved_twice(file: File, old: Known) -> bool:
    """Whether the user and the spec moved it to different places."""
    return old.moved and _target(file, old) != old.place


def _is_blocked(root: Path, file: File, old: Known, leaving: set[str]) -> bool:
    target = _target(file, old)
    if target == old.place or old.place in leaving or old.found.kind == "other":
        return False
    return not _moved_twice(file, old) or not _is_free(root, target, leaving)


def _is_free(root: Path, path: str, leaving: set[str]) -> bool:
    """Whether a file can be put at `path` once every file that moves or goes has done so."""
    return path in leaving or any(folder in leaving for folder in parents(path)) or look(root, path).kind == "nothing"


def _leaving(root: Path, tree: Tree, known: dict[str, Known], gone: list[Known]) -> set[str]:
    """Paths that are free once every file that moves or goes has done so."""
    leaving = {old.place for old in gone if old.found.kind == "file" and not old.edited and not old.guessed}
    moves = {
        old.place: _target(file, old)
        for file in tree
        if (old := known.get(file.id)) and old.found.kind == "file"
        if _target(file, old) != old.place and not old.moved
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
    delete = (Change(path, _entry(old.found), None),)
    if not old.edited:
        return Step(path, "delete", "no longer generated", delete, id=id_)
    if old.locked.ownership == "once":
        return Step(path, "keep", f"{EDITED['once']}; no longer generated", id=id_)
    choices: dict[Side, Changes] = {"markers": (), "ours": (), "theirs": delete}
    return Step(path, "conflict", "edited by you, and no longer generated", id=id_, conflict=Conflict(choices))


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
    return _both_sides(file, old, "a file of yours is in the way")


def _decided(file: File, old: Known, cause: str) -> Step | None:
    """What happens to a file that is there; None where both sides changed and have to be merged."""
    changed = file.sha256 != old.locked.sha256
    if old.found.kind == "other":
        if file.ownership == "once" or (not changed and _target(file, old) == old.place):
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
        return _both_sides(file, old, f"{EDITED[file.ownership]}, and {cause}")
    elif has_markers(old.found.text):
        return _both_sides(file, old, MARKED)
    elif old.base is None or any(map(merge.is_binary, (old.base, old.found.text, file.content))):
        return _both_sides(file, old, f"edited by you, and {cause}")
    else:
        return None
    if _moved_twice(file, old):
        return _conflict(file, old, dict.fromkeys(_SIDES, content), _two_places(file, old))
    return _step(file, old, content, action, reason)


def _merged(files: list[tuple[File, Known]], cause: str) -> list[Step]:
    triples = [merge.Triple(old.base or b"", old.found.text, file.content) for file, old in files]
    results = merge.merge(triples)
    faults = _faults(files, results)
    steps = []
    for (file, old), parts in zip(files, results, strict=True):
        fault = faults.get(file.id, {})
        if merge.hunks(parts):
            steps.append(_line_by_line(file, old, parts, f"edited by you, and {cause}", fault))
        elif fault:
            reason = f"your edits and the new text fit line by line, but not together: {fault['ours']}"
            steps.append(_both_sides(file, old, reason))
        elif _moved_twice(file, old):
            contents = dict.fromkeys(_SIDES, merge.joined(parts, "ours"))
            steps.append(_conflict(file, old, contents, _two_places(file, old)))
        else:
            steps.append(_step(file, old, merge.joined(parts, "ours"), "merge", f"your edits, and {cause}"))
    return steps


def _faults(files: list[tuple[File, Known]], results: list[Parts]) -> dict[str, dict[Side, str]]:
    """By id and side, the first thing that is wrong with a merged file, and was not with the user's."""
    candidates: dict[str, bytes] = {}
    for (file, old), parts in zip(files, results, strict=True):
        sides: tuple[Side, ...] = ("ours", "theirs") if merge.hunks(parts) else ("ours",)
        candidates |= {f"{side}/{_target(file, old)}": merge.joined(parts, side) for side in sides}
    problems = broken(candidates)
    if not problems:
        return {}
    # What was broken before is not the merge's doing.
    affected = {path.split("/", 1)[1] for path in problems}
    known = broken({path: old.found.text for file, old in files if (path := _target(file, old)) in affected})
    faults: dict[str, dict[Side, str]] = {}
    for file, old in files:
        path = _target(file, old)
        before = {_said(problem) for problem in known.get(path, [])}
        for side in ("ours", "theirs"):
            new = [problem for problem in problems.get(f"{side}/{path}", []) if _said(problem) not in before]
            if new:
                faults.setdefault(file.id, {})[side] = f"line {new[0].line}: {new[0].message}"
    return faults


def _said(problem: Problem) -> str:
    """A problem's message without the lines in it, which are others in another version of the file."""
    return re.sub(r"\bline \d+", "line", problem.message)


def _line_by_line(file: File, old: Known, parts: Parts, reason: str, faults: Mapping[Side, str]) -> Step:
    """A conflict between lines; a side whose lines would break the file is that side's whole file instead."""
    contents = {side: merge.joined(parts, side) for side in _SIDES}
    wholes: tuple[tuple[Side, bytes, str], ...] = (
        ("ours", old.found.text, "your whole file"),
        ("theirs", file.content, "the whole file as generated"),
    )
    for side, whole, name in wholes:
        if side in faults:
            contents[side] = whole
            reason += f"; `{side}` takes {name}, since its lines alone do not fit the rest: {faults[side]}"
    return _conflict(file, old, contents, reason, parts)


def _both_sides(file: File, old: Known, reason: str) -> Step:
    """A conflict between whole files."""
    ours, theirs = old.found.text, file.content
    if has_markers(ours):
        # To keep it would be to settle it with the markers in it.
        return _conflict(file, old, {"theirs": theirs}, reason)
    if file.ownership == "sealed" or merge.is_binary(ours) or merge.is_binary(theirs):
        return _conflict(file, old, {"ours": ours, "theirs": theirs}, reason)
    return _parts(file, old, merge.two_way(ours, theirs), reason)


def _parts(file: File, old: Known, parts: Parts, reason: str) -> Step:
    return _conflict(file, old, {side: merge.joined(parts, side) for side in _SIDES}, reason, parts)


def _conflict(file: File, old: Known, contents: dict[Side, bytes], reason: str, parts: Parts = ()) -> Step:
    target = _target(file, old)
    # Where both moved it, "theirs" decides about the place too.
    places = {side: target if side == "theirs" or not old.moved else old.place for side in contents}
    if set(contents) == {"ours"}:
        places["ours"] = old.place
    choices = {side: _changes(file, old, places[side], content) for side, content in contents.items()}
    source = old.place if old.place != target else None
    return Step(target, "conflict", reason, source=source, id=file.id, conflict=Conflict(choices, merge.hunks(parts)))


def _step(file: File, old: Known, content: bytes, action: Action, reason: str) -> Step:
    path = _target(file, old)
    changes = _changes(file, old, path, content)
    if path != old.place:
        with_edits = ", with your edits" if old.edited else ""
        return Step(path, "move", f"from {old.place}{with_edits}", changes, source=old.place, id=file.id)
    if old.moved:
        reason = f"{reason}; moved by you from {old.locked.path}"
    if changes and action == "keep":
        action, reason = "update", "its permission to be run changed"
    return Step(path, action, reason, changes, id=file.id)


def _changes(file: File, old: Known, path: str, content: bytes) -> Changes:
    """What has to be written for `content` to be at `path`, with the user's line endings and permissions."""
    if old.found.crlf:
        content = content.replace(b"\n", b"\r\n")
    # What the user did to the permissions stays, unless the generated file's changed.
    mode = old.found.mode if file.mode == old.locked.mode else file.mode
    before, after = _entry(old.found), Entry(content, mode)
    if path != old.place:
        return Change(old.place, before, None), Change(path, None, after)
    return (Change(path, before, after),) if before != after else ()


def _entry(found: Found) -> Entry:
    return Entry(found.content, found.mode)


def _two_places(file: File, old: Known) -> str:
    return f"you moved it from {old.locked.path} to {old.place}, and it is now generated as {file.path}"


def _why_not_restored(path: str, tree: Tree) -> str:
    if path in tree:
        return "is not one that you deleted; something is there"
    return "is no generated file; `tunesmith plan` lists those that you deleted"
