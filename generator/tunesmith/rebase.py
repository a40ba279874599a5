"""What was generated last time, where two branches that both regenerated are being merged by git."""

import shutil
import subprocess
from pathlib import Path

from tunesmith.lock import BASE_PATH, LOCK_PATH, Lock, Record, parse_base, parse_lock
from tunesmith.problem import TunesmithError


def record_of_both_branches(root: Path) -> Record:
    """Our branch's record, and of the other one's what ours does not have.

    The files in the work tree hold what both branches generated, and the edits of both. Merged against what ours
    generated, the other branch's share is the same on both sides, and only edits remain.

    Raises:
        TunesmithError: TS408 where git is not merging two branches here; TS410, TS411, TS414 where a record is unsound.
    """
    for ours, theirs in ((":2:", ":3:"), ("HEAD:", "MERGE_HEAD:")):
        first, second = _record(root, ours), _record(root, theirs)
        if first and second:
            ids, paths = {file.id for file in first.files}, {file.path for file in first.files}
            added = tuple(file for file in second.files if file.id not in ids and file.path not in paths)
            return Record(first.files + added, {**(second.base or {}), **(first.base or {})})
    raise TunesmithError.of(
        "TS408",
        "git is not merging two branches here; take .tunesmith from one of them (`git checkout BRANCH -- .tunesmith`) "
        "and apply",
        str(root),
    )


def _record(root: Path, revision: str) -> Record | None:
    lock_bytes, base_bytes = _show(root, f"{revision}./{LOCK_PATH}"), _show(root, f"{revision}./{BASE_PATH}")
    if lock_bytes is None or base_bytes is None:
        return None
    lock: Lock = parse_lock(lock_bytes, f"{revision}{LOCK_PATH}")
    return Record(lock.files, parse_base(base_bytes, lock, f"{revision}{BASE_PATH}"))


def _show(root: Path, name: str) -> bytes | None:
    git = shutil.which("git")
    if git is None:
        raise TunesmithError.of("TS406", "reading both branches needs git, and none is on PATH")
    done = subprocess.run([git, "cat-file", "blob", name], cwd=root, capture_output=True, check=False)
    return done.stdout if done.returncode == 0 else None
