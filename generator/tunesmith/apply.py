"""Carry out a plan: the only module that writes into a repository, all or nothing.

New bytes are first staged in `.tunesmith/staging/`, where running out of disk or permission harms nothing. Then a
journal is put beside them in one rename: from there on the change is decided, and whoever finds the journal — this
process, or the next run after a kill — finishes it. A staging folder without a journal is an unfinished attempt, and
is removed.
"""

import errno
import json
import os
import shutil
import subprocess
from pathlib import Path

from tunesmith.lock import FOLDER, JOURNAL, LOCK_PATH, STAGING
from tunesmith.plan import Plan
from tunesmith.problem import TunesmithError
from tunesmith.tree import EXECUTABLE_MODE, FILE_MODE, check_path, parents


def apply(plan: Plan) -> None:
    """Write what `plan` says. Does nothing where the plan has a conflict or no change.

    Raises:
        TunesmithError: TS403 where the folder cannot be written, TS404 where the disk is full; nothing is changed.
    """
    if plan.conflicts or not plan.changes:
        return
    new_folders = [folder for folder in (plan.root, plan.root / FOLDER) if not folder.exists()]
    try:
        _stage(plan)
    except OSError as error:
        shutil.rmtree(plan.root / STAGING, ignore_errors=True)
        for folder in reversed(new_folders):
            if folder.is_dir():
                folder.rmdir()
        raise _cannot_write(plan.root, error) from None
    finish(plan.root)
    if any(step.path == LOCK_PATH and step.action == "create" for step in plan.changes):
        _init_git(plan.root)


def finish(root: Path) -> bool:
    """Complete what a killed run had decided, or clear away what it had not; whether anything was completed.

    Raises:
        TunesmithError: TS403 or TS404 where writing fails; the next run goes on from there. TS411, TS412 where the
            journal is not one that Tunesmith wrote.
    """
    staging, journal = root / STAGING, root / JOURNAL
    if not staging.is_dir() or staging.is_symlink() or staging.parent.is_symlink():
        return False
    if not journal.is_file():
        shutil.rmtree(staging)
        return False
    writes, deletes = _read_journal(journal)
    try:
        for number, (path, mode) in enumerate(writes):
            staged, target = staging / str(number), root / path
            # Missing: moved before the kill.
            if staged.exists():
                _refuse_links(root, path)
                target.parent.mkdir(parents=True, exist_ok=True)
                staged.chmod(mode)
                staged.replace(target)
        for path in deletes:
            _refuse_links(root, path)
            (root / path).unlink(missing_ok=True)
            _remove_empty_folders(root, path)
        # The journal first: without it, the rest of the folder is rubbish.
        journal.unlink()
        shutil.rmtree(staging)
    except OSError as error:
        raise _cannot_write(root, error) from None
    return True


def _stage(plan: Plan) -> None:
    staging = plan.root / STAGING
    staging.mkdir(parents=True)
    writes: list[tuple[str, int]] = []
    for step in plan.changes:
        _check_writable(plan.root, step.path)
        if step.new is not None:
            (staging / str(len(writes))).write_bytes(step.new.content)
            writes.append((step.path, step.new.mode))
    deletes = [step.path for step in plan.changes if step.new is None]
    draft = staging / "draft.json"
    draft.write_text(json.dumps({"writes": writes, "deletes": deletes}), encoding="utf-8")
    draft.replace(plan.root / JOURNAL)


def _init_git(root: Path) -> None:
    """Make a new repository a git repository, unless it is inside one. What to commit is the user's decision."""
    git = shutil.which("git")
    if git is None:
        return
    inside = subprocess.run([git, "rev-parse", "--is-inside-work-tree"], cwd=root, capture_output=True, check=False)
    if inside.returncode != 0:
        subprocess.run([git, "init", "--quiet", "--initial-branch", "main"], cwd=root, capture_output=True, check=False)


def _check_writable(root: Path, path: str) -> None:
    folder = root / next((folder for folder in reversed(parents(path)) if (root / folder).is_dir()), "")
    if not os.access(folder, os.W_OK | os.X_OK):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(folder))


def _read_journal(journal: Path) -> tuple[list[tuple[str, int]], list[str]]:
    damaged = TunesmithError.of(
        "TS412", "is damaged; remove the folder it is in and restore the repository from version control", str(journal)
    )
    try:
        document = json.loads(journal.read_bytes())
        writes = [(str(path), int(mode)) for path, mode in document["writes"]]
        deletes = [str(path) for path in document["deletes"]]
    except (OSError, ValueError, KeyError, TypeError):
        raise damaged from None
    if any(mode not in (FILE_MODE, EXECUTABLE_MODE) for _, mode in writes):
        raise damaged
    for path in [*deletes, *(path for path, _ in writes)]:
        check_path(path)
    return writes, deletes


def _refuse_links(root: Path, path: str) -> None:
    for folder in parents(path):
        if (root / folder).is_symlink():
            raise TunesmithError.of("TS411", f"{path}: {folder} is a symbolic link; nothing is written through it")


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
