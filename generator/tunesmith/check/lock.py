"""The lock and the base archive are there and belong together, and nothing waits to be finished."""

from collections.abc import Iterator
from pathlib import Path

from tunesmith.files.git import is_ignored, tags
from tunesmith.files.lock import (
    BASE_PATH,
    JOURNAL,
    LOCK_PATH,
    SPEC_NAME,
    STAGING,
    lost_base,
    lost_record,
    never_recorded,
    read_base,
    read_lock,
)
from tunesmith.problem import Problem, TunesmithError


def problems(root: Path, paths: list[Path]) -> Iterator[Problem]:
    """What is unsound about the record of what was generated."""
    if (root / STAGING).is_dir():
        decided = "decided on" if (root / JOURNAL).is_file() else "begun"
        message = f"an apply was interrupted here; `tunesmith apply` finishes or clears away what it had {decided}"
        yield Problem(STAGING, 0, 0, "TS413", message)
    for path, tag in tags(root, LOCK_PATH, BASE_PATH).items():
        if tag == "M":
            yield Problem(
                path, 0, 0, "TS409", "git holds two versions of it; `tunesmith apply --rebase-lock` merges them"
            )
    if (root / LOCK_PATH).is_file() and is_ignored(root, LOCK_PATH) and not is_ignored(root, SPEC_NAME):
        message = "is ignored by git, so no clone will have it: `git add --force .tunesmith`"
        yield Problem(LOCK_PATH, 0, 0, "TS415", f"{message}; `git check-ignore -v {LOCK_PATH}` says why")
    try:
        lock = read_lock(root)
        if lock is None:
            nothing = Problem(str(root), 0, 0, "TS507", "holds no generated repository; `tunesmith apply` makes one")
            yield lost_record(root) or never_recorded(root, [path.as_posix() for path in paths]) or nothing
        elif read_base(root, lock) is None:
            missing = Problem(BASE_PATH, 0, 0, "TS507", "is missing; restore it from version control")
            yield lost_base(root) or missing
    except TunesmithError as error:
        names = {str(root / path): path for path in (LOCK_PATH, BASE_PATH)}
        yield from (problem._replace(file=names.get(problem.file, LOCK_PATH)) for problem in error.problems)
