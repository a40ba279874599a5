"""Two versions of one file → what happens to it: git merges lines that both sides changed, and what clashes is a conflict.

What was merged is checked, since lines that fit one by one may not fit together.
"""

import re
from collections.abc import Mapping

from tunesmith.check.syntax import broken
from tunesmith.files.form import formed
from tunesmith.files.git import has_markers
from tunesmith.files.tree import File
from tunesmith.files.worktree import Found
from tunesmith.problem import Problem
from tunesmith.regeneration import merge
from tunesmith.regeneration.located import Known, moved_twice, target_of
from tunesmith.regeneration.merge import Parts, Side
from tunesmith.regeneration.steps import Action, Change, Changes, Conflict, Entry, Step

SIDES: tuple[Side, ...] = ("markers", "ours", "theirs")


def merged(files: list[tuple[File, Known]], cause: str) -> list[Step]:
    """What git makes of files that both sides changed."""
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
            steps.append(clash_of_files(file, old, reason))
        elif moved_twice(file, old):
            contents = dict.fromkeys(SIDES, merge.joined(parts, "ours"))
            steps.append(clash(file, old, contents, in_two_places(file, old)))
        else:
            steps.append(settled(file, old, merge.joined(parts, "ours"), "merge", f"your edits, and {cause}"))
    return steps


def _faults(files: list[tuple[File, Known]], results: list[Parts]) -> dict[str, dict[Side, str]]:
    """By id and side, the first thing that is wrong with a merged file, and was not with the user's."""
    candidates: dict[str, bytes] = {}
    for (file, old), parts in zip(files, results, strict=True):
        sides: tuple[Side, ...] = ("ours", "theirs") if merge.hunks(parts) else ("ours",)
        candidates |= {f"{side}/{target_of(file, old)}": merge.joined(parts, side) for side in sides}
    problems = broken(candidates)
    if not problems:
        return {}
    # What was broken before is not the merge's doing.
    affected = {path.split("/", 1)[1] for path in problems}
    known = broken({path: old.found.text for file, old in files if (path := target_of(file, old)) in affected})
    faults: dict[str, dict[Side, str]] = {}
    for file, old in files:
        path = target_of(file, old)
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
    contents = {side: merge.joined(parts, side) for side in SIDES}
    wholes: tuple[tuple[Side, bytes, str], ...] = (
        ("ours", old.found.text, "your whole file"),
        ("theirs", file.content, "the whole file as generated"),
    )
    for side, whole, name in wholes:
        if side in faults:
            contents[side] = whole
            reason += f"; `{side}` takes {name}, since its lines alone do not fit the rest: {faults[side]}"
    return clash(file, old, contents, reason, parts)


def clash_of_files(file: File, old: Known, reason: str) -> Step:
    """A conflict between whole files."""
    ours, theirs = old.found.text, file.content
    if has_markers(ours):
        # To keep it would be to settle it with the markers in it.
        return clash(file, old, {"theirs": theirs}, reason)
    if file.ownership == "sealed" or merge.is_binary(ours) or merge.is_binary(theirs):
        return clash(file, old, {"ours": ours, "theirs": theirs}, reason)
    return _parts(file, old, merge.two_way(ours, theirs), reason)


def _parts(file: File, old: Known, parts: Parts, reason: str) -> Step:
    return clash(file, old, {side: merge.joined(parts, side) for side in SIDES}, reason, parts)


def clash(file: File, old: Known, contents: dict[Side, bytes], reason: str, parts: Parts = ()) -> Step:
    """A conflict, with what each way out would write."""
    target = target_of(file, old)
    # Where both moved it, "theirs" decides about the place too.
    places = {side: target if side == "theirs" or not old.moved else old.place for side in contents}
    if set(contents) == {"ours"}:
        places["ours"] = old.place
    choices = {side: _changes(file, old, places[side], content) for side, content in contents.items()}
    source = old.place if old.place != target else None
    return Step(target, "conflict", reason, source=source, id=file.id, conflict=Conflict(choices, merge.hunks(parts)))


def settled(file: File, old: Known, content: bytes, action: Action, reason: str) -> Step:
    """A file that is `content` from now on."""
    path = target_of(file, old)
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
    """What has to be written for the text `content` to be at `path`, stored as the user does, with their permissions."""
    content = formed(content, old.found.content)
    # What the user did to the permissions stays, unless the generated file's changed.
    mode = old.found.mode if file.mode == old.locked.mode else file.mode
    before, after = entry_of(old.found), Entry(content, mode)
    if path != old.place:
        return Change(old.place, before, None), Change(path, None, after)
    return (Change(path, before, after),) if before != after else ()


def entry_of(found: Found) -> Entry:
    """What is at a path, as a change has it."""
    return Entry(found.content, found.mode)


def in_two_places(file: File, old: Known) -> str:
    """The reason of a conflict about the place alone."""
    return f"you moved it from {old.locked.path} to {old.place}, and it is now generated as {file.path}"
