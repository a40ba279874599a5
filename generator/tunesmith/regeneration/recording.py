"""What the lock and the archive say once a plan is carried out."""

from collections.abc import Collection

from tunesmith.files.lock import Generation, LockedFile, locked
from tunesmith.files.tree import File, Tree
from tunesmith.regeneration.steps import (
    ABSENT,
    DELETED,
    DELETED_GONE,
    NOT_WRITTEN,
    OUTSIDE_CHANGED,
    OUTSIDE_GONE,
    OUTSIDE_NEW,
    Step,
)


def recorded(last: Generation, tree: Tree, steps: list[Step]) -> Generation:
    """The generation that `steps` leave behind.

    A file that is not there is recorded as it was last written, since that is what comes back when git brings it: also one
    that is no longer generated.
    """
    known = {old.id: old for old in last.files}
    generated = {file.id: file for file in tree}
    files: list[LockedFile] = []
    base: dict[str, bytes] = {}
    for step in steps:
        old, file = known.get(step.id or ""), generated.get(step.id or "")
        if old is not None and step.reason in ABSENT:
            files.append(_as_it_was(old, step))
            content = _bytes_of(old, last, file)
        elif file is not None and step.reason != OUTSIDE_NEW:
            files.append(_as_it_is(file, step))
            content = file.content
        else:
            continue
        if content is not None:
            base[files[-1].id] = content
    return Generation(tuple(sorted(files, key=lambda file: (file.path, file.id))), base)


def with_left(last: Generation, new: Generation, left: Collection[str]) -> Generation:
    """What is recorded where the files in the places `left` could not be written: of these, what `last` says."""
    now = {file.id: file for file in new.files}
    kept = {old.id: old for old in last.files if now.get(old.id, old).place in left}
    files = [file for file in new.files if file.id not in kept and file.place not in left]
    files += [old._replace(behind=True) for old in kept.values()]
    base = {**(new.base or {}), **{id_: (last.base or {})[id_] for id_ in kept if id_ in (last.base or {})}}
    return Generation(tuple(sorted(files, key=lambda file: (file.path, file.id))), base)


def _as_it_was(old: LockedFile, step: Step) -> LockedFile:
    deleted = step.reason in (DELETED, DELETED_GONE, NOT_WRITTEN)
    return old._replace(deleted=deleted, behind=step.reason in (OUTSIDE_CHANGED, OUTSIDE_GONE))


def _bytes_of(old: LockedFile, last: Generation, file: File | None) -> bytes | None:
    if last.base is not None and old.id in last.base:
        return last.base[old.id]
    return file.content if file is not None and file.sha256 == old.sha256 else None


def _as_it_is(file: File, step: Step) -> LockedFile:
    if step.reason == NOT_WRITTEN:
        return locked(file, deleted=True)
    return locked(file, step.place if step.place != file.path else None)
