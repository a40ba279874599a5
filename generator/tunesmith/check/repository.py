"""Is a repository sound, as it stands?"""

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tunesmith.check import documents, lock, markers, python, workflows
from tunesmith.check.finding import Skipped
from tunesmith.files.git import run
from tunesmith.files.lock import BASE_PATH, LOCK_PATH
from tunesmith.files.worktree import SKIPPED_FOLDERS
from tunesmith.problem import Problem, TunesmithError

CHECKS = (documents, python, workflows)


@dataclass
class Report:
    """What was checked and what was found.

    Attributes:
        skipped: Checks that could not run, with the reason.
    """

    files: int = 0
    problems: list[Problem] = field(default_factory=list)
    skipped: list[str] = field(default_factory=list)


def check(root: Path) -> Report:
    """Check every file of the repository at `root` that git does not ignore.

    Raises:
        TunesmithError: there is no such folder.
    """
    if not root.is_dir():
        code, message = ("TS402", "is a file; name a folder") if root.exists() else ("TS001", "no such folder")
        raise TunesmithError.of(code, message, str(root))
    paths = sorted(_paths(root))
    report = Report(files=len(paths))
    report.problems += lock.problems(root, paths)
    # Of these files the lock's check has said all.
    paths = [path for path in paths if path.as_posix() not in (LOCK_PATH, BASE_PATH)]
    unsettled = list(markers.problems(root, paths))
    report.problems += unsettled
    # Whatever else is wrong with a file that holds both sides of a conflict, is wrong because of that.
    marked = {problem.file for problem in unsettled}
    paths = [path for path in paths if path.as_posix() not in marked]
    for module in CHECKS:
        for found in module.problems(root, paths):
            if isinstance(found, Skipped):
                report.skipped.append(found.reason)
            elif found.file in marked:
                report.skipped.append(f"what needs {found.file}, until its conflict markers are gone")
            else:
                report.problems.append(found)
    report.problems.sort()
    return report


def _paths(root: Path) -> Iterator[Path]:
    """Files relative to `root`: those that git does not ignore; without git, all but well-known folders."""
    listed = run(root, "ls-files", "-z", "--cached", "--others", "--exclude-standard")
    if listed is not None and listed.code == 0:
        names = {os.fsdecode(name) for name in listed.output.split(b"\0") if name}
        yield from (Path(name) for name in names if (root / name).is_file())
        return
    for folder, folders, names_here in os.walk(root):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS]
        paths = (Path(folder) / name for name in names_here)
        yield from (path.relative_to(root) for path in paths if path.is_file())
