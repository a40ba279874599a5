"""Carry out a plan: the only module that writes into a repository, all or nothing.

New bytes are first staged in `.tunesmith/staging/`, where running out of disk or permission harms nothing. Then a
journal is put beside them in one rename: from there on the change is decided, and whoever finds the journal — this
process, or the next run after a kill — finishes it. A staging folder without a journal is an unfinished attempt, and
is removed.
"""

import errno
import fcntl
import hashlib
import json
import os
import shutil
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from tunesmith.files.form import formed, plain
from tunesmith.files.git import has_markers, run
from tunesmith.files.lock import (
    BASE_PATH,
    FOLDER,
    JOURNAL,
    LOCK_PATH,
    NOTHING,
    STAGING,
    Generation,
    packed,
    parse_base,
    parse_lock,
    read_base,
    read_lock,
)
from tunesmith.files.tree import FILE_MODE, check_path, parents
from tunesmith.problem import TunesmithError
from tunesmith.regeneration import merge
from tunesmith.regeneration.plan import Plan
from tunesmith.regeneration.recording import with_left


class Finished(NamedTuple):
    """What became of a change that had been staged.

    Attributes:
        decided: Whether its change was complete, and is carried out now; else it is cleared away.
        merged: Paths that were edited since, with both changes in them now.
        marked: Paths that were edited since, with both changes between conflict markers now.
        left: Paths that were edited since and cannot be merged: they are as they were.
    """

    decided: bool
    merged: tuple[str, ...] = ()
    marked: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


@contextmanager
def alone(root: Path) -> Iterator[None]:
    """Wait until no other process applies in the repository at `root`, and let none begin."""
    try:
        folder = os.open(root, os.O_RDONLY)
    except OSError:
        yield  # Planning says what is wrong with it.
        return
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def apply(plan: Plan) -> Finished:
    """Write what `plan` says. Does nothing where a conflict blocks the plan, or nothing changes.

    Raises:
        TunesmithError: TS403 where the folder cannot be written, TS404 where the disk is full; nothing is changed.
    """
    if not plan.changes:
        return Finished(decided=True)
    new_folders = [folder for folder in (plan.root, plan.root / FOLDER) if not folder.exists()]
    try:
        _stage(plan)
    except OSError as error:
        shutil.rmtree(plan.root / STAGING, ignore_errors=True)
        for folder in reversed(new_folders):
            if folder.is_dir():
                folder.rmdir()
        raise _cannot_write(plan.root, error) from None
    finished = finish(plan.root)
    if any(change.path == LOCK_PATH and change.old is None for change in plan.changes):
        _init_git(plan.root)
    return finished or Finished(decided=True)


def finish(root: Path) -> Finished | None:
    """Complete what a killed run had decided, or clear away what it had not; None where there was nothing.

    Raises:
        TunesmithError: TS403 or TS404 where writing fails; the next run goes on from there. TS411, TS412 where the
            journal is not one that Tunesmith wrote.
    """
    staging, journal = root / STAGING, root / JOURNAL
    if not staging.is_dir() or staging.is_symlink() or staging.parent.is_symlink():
        return None
    if not journal.is_file():
        shutil.rmtree(staging)
        return Finished(decided=False)
    merged: list[str] = []
    marked: list[str] = []
    left: list[str] = []
    try:
        changes = _read_journal(journal, root)
        for change in changes:
            for folder in parents(change.path):
                if (root / folder).is_symlink():
                    raise TunesmithError.of("TS411", f"{change.path}: {folder} is a symbolic link")
        # Removals first: a path may be left by one file and taken by another, or become a folder.
        for change in sorted(changes, key=lambda change: change.new is not None):
            staged, target = staging / str(change.number), root / change.path
            current = _digest(target)
            if change.new is not None and _digest(staged) not in (change.new, None):
                raise _damaged(journal)
            if current == change.new:
                # Done before the kill, or only the permissions change.
                if change.new is not None and stat.S_IMODE(target.stat().st_mode) != change.mode:
                    target.chmod(change.mode)
            elif current != change.old:
                parts = _with_what_was_edited_since(staging, change, target)
                if not parts:
                    left.append(change.path)
                    continue
                (marked if merge.hunks(parts) else merged).append(change.path)
                both = staging / f"{change.number}.both"
                both.write_bytes(formed(merge.joined(parts, "markers"), target.read_bytes()))
                both.chmod(change.mode)
                both.replace(target)
                staged.unlink()  # Should this be killed too, nothing is left to merge a second time.
            elif change.new is None:
                target.unlink()
                _remove_empty_folders(root, change.path)
            elif staged.exists():
                target.parent.mkdir(parents=True, exist_ok=True)
                staged.chmod(change.mode)
                staged.replace(target)
            else:
                raise _damaged(journal)
        if left:
            _record_left(root, changes, left)
        # The journal first: without it, the rest of the folder is rubbish.
        journal.unlink()
        shutil.rmtree(staging)
    except OSError as error:
        raise _cannot_write(root, error) from None
    return Finished(decided=True, merged=tuple(merged), marked=tuple(marked), left=tuple(left))


def _record_left(root: Path, changes: "list[_Change]", left: list[str]) -> None:
    """Take back what the new record says of files that were left as they are."""
    numbers = {change.path: change.number for change in changes}
    lock = read_lock(root)
    if LOCK_PATH not in numbers or {LOCK_PATH, BASE_PATH} & {*left} or lock is None:
        return
    before: list[bytes] = []
    for path in (LOCK_PATH, BASE_PATH):
        kept = root / STAGING / f"{numbers[path]}.old" if path in numbers else root / path
        before.append(kept.read_bytes() if kept.is_file() else b"")
    last = NOTHING
    if all(before):
        old = parse_lock(before[0], LOCK_PATH)
        last = Generation(old.files, parse_base(before[1], old, BASE_PATH))
    generation = with_left(last, Generation(lock.files, read_base(root, lock)), left)
    # Other inputs than these, so that the next plan looks at everything.
    for path, content in zip((LOCK_PATH, BASE_PATH), packed(lock._replace(inputs=""), generation), strict=True):
        staged = root / STAGING / "record"
        staged.write_bytes(content)
        staged.chmod(stat.S_IMODE((root / path).stat().st_mode))
        staged.replace(root / path)


def _with_what_was_edited_since(staging: Path, change: "_Change", target: Path) -> merge.Parts:
    """The new text with what the user edited between the kill and now; nothing where that cannot be merged."""
    before, staged = staging / f"{change.number}.old", staging / str(change.number)
    if not (before.is_file() and staged.is_file() and _digest(target) not in (None, _NO_FILE)):
        return ()
    triple = merge.Triple(*(plain(path.read_bytes()) for path in (before, target, staged)))
    if any(map(merge.is_binary, triple._asdict().values())) or has_markers(triple.ours):
        return ()
    return merge.merge([triple])[0]


class _Change(NamedTuple):
    """A line of the journal: digests of what is there and of what is to be; None for no file.

    Attributes:
        number: Name of the staged file.
    """

    number: int
    path: str
    mode: int
    old: str | None
    new: str | None


def _stage(plan: Plan) -> None:
    staging = plan.root / STAGING
    staging.mkdir(parents=True)
    changes = []
    for number, change in enumerate(plan.changes):
        _check_writable(plan.root, change.path)
        old = None if change.old is None else hashlib.sha256(change.old.content).hexdigest()
        new = None if change.new is None else hashlib.sha256(change.new.content).hexdigest()
        changes.append(_Change(number, change.path, change.new.mode if change.new else FILE_MODE, old, new))
        if change.new is not None:
            (staging / str(number)).write_bytes(change.new.content)
        if change.new is not None and change.old is not None:
            (staging / f"{number}.old").write_bytes(change.old.content)
    draft = staging / "draft.json"
    journal = {"place": _place(plan.root), "changes": [change._asdict() for change in changes]}
    draft.write_text(json.dumps(journal), encoding="utf-8")
    _read_journal(draft, plan.root)  # what is decided can be carried out
    draft.replace(plan.root / JOURNAL)


def _place(root: Path) -> list[int]:
    # A journal that came with somebody's repository is not one that was decided here.
    status = root.stat()
    return [status.st_dev, status.st_ino]


_NO_FILE = "no regular file"


def _digest(path: Path) -> str | None:
    """sha256 of a regular file; None where there is nothing, and a word that no file has where it is something else."""
    try:
        regular = stat.S_ISREG(path.lstat().st_mode)
    except FileNotFoundError:
        return None
    except NotADirectoryError:
        return _NO_FILE
    return hashlib.sha256(path.read_bytes()).hexdigest() if regular else _NO_FILE


def _init_git(root: Path) -> None:
    """Make a new repository a git repository, unless it is inside one. What to commit is the user's decision."""
    inside = run(root, "rev-parse", "--is-inside-work-tree")
    if inside is not None and inside.code != 0:
        run(root, "init", "--quiet", "--initial-branch", "main")


def _check_writable(root: Path, path: str) -> None:
    folder = root / next((folder for folder in reversed(parents(path)) if (root / folder).is_dir()), "")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _read_journal(journal: Path, root: Path) -> list[_Change]:
    try:
        document = json.loads(journal.read_bytes())
        changes = [_Change(**entry) for entry in document["changes"]]
        sound = document["place"] == _place(root) and all(
            isinstance(change.path, str)
            and isinstance(change.number, int)
            and isinstance(change.mode, int)
            and 0 <= change.mode <= 0o777
            for change in changes
        )
    except (OSError, ValueError, TypeError, KeyError, RecursionError):
        sound = False
    if not sound:
        raise _damaged(journal)
    for change in changes:
        check_path(change.path)
    return changes


def _damaged(journal: Path) -> TunesmithError:
    return TunesmithError.of(
        "TS412",
        "is damaged, or was not written here; look at what version control says, then remove the folder that it is in",
        str(journal),
    )


def _remove_empty_folders(root: Path, path: str) -> None:
    for folder in reversed(parents(path)):
        try:
            (root / folder).rmdir()
        except OSError:
            return


def _cannot_write(root: Path, error: OSError) -> TunesmithError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return TunesmithError.of("TS404", "no space left on the disk; free some and run it again", str(root))
    place = error.filename if isinstance(error.filename, str) else str(root)
    return TunesmithError.of("TS403", f"cannot be written: {error.strerror}", place)
