"""The lock and the base archive belong together."""

from collections.abc import Iterator
from pathlib import Path

from tunesmith.files.lock import BASE_PATH, read_base, read_lock
from tunesmith.problem import Problem, TunesmithError


def problems(root: Path, paths: list[Path]) -> Iterator[Problem]:  # noqa: ARG001 — every check is asked in the same way
    """A base archive that is not the one that the lock was written with."""
    lock = read_lock(root)
    if lock is None:
        yield Problem(str(root), 0, 0, "TS507", "holds no generated repository; `tunesmith apply` makes one")
        return
    try:
        if read_base(root, lock) is None:
            yield Problem(BASE_PATH, 0, 0, "TS507", "is missing; restore it from version control")
    except TunesmithError as error:
        yield from (Problem(BASE_PATH, 0, 0, problem.code, problem.message) for problem in error.problems)
