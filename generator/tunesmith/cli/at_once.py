"""The version, a plan and applying it: asked for all the time; loading Typer would more than double the first two.

Exactly `tunesmith --version`, `tunesmith plan [DIR]` and `tunesmith apply [DIR]` are run from here. All else is for Typer
to read, these commands with options too; it calls the same functions.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith import __version__
from tunesmith.cli.output import CHANGES, CONFLICTS, say, say_json

if TYPE_CHECKING:
    from tunesmith.regeneration.steps import OnConflict


def run(arguments: Sequence[str]) -> int | None:
    """The exit code of what `arguments` ask for; None where it is for Typer."""
    match arguments:
        case ["--version"]:
            version()
            return 0
        case ["plan"]:
            return plan(Path())
        case ["plan", directory] if not directory.startswith("-"):
            return plan(Path(directory))
        case ["apply"]:
            return apply(Path())
        case ["apply", directory] if not directory.startswith("-"):
            return apply(Path(directory))
    return None


def version() -> None:
    """Print it."""
    say(f"tunesmith {__version__}\n")


def plan(
    directory: Path,
    *,
    diff: bool = False,
    as_json: bool = False,
    on_conflict: "OnConflict" = "stop",
    restore: Sequence[str] = (),
    rebase_lock: bool = False,
) -> int:
    """Print what apply would do; the exit code says whether that is something."""
    from tunesmith import report
    from tunesmith.regeneration.plan import plan as plan_of

    planned = plan_of(directory, on_conflict=on_conflict, restore=within(directory, restore), rebase_lock=rebase_lock)
    if as_json:
        say_json(report.plan_document(planned, diff=diff))
    else:
        say(report.lost_text(planned), err=True)
        say(report.plan_text(planned, diff=diff) + report.summary_text(planned, done=False))
    if planned.conflicts:
        return CONFLICTS
    return CHANGES if planned.changes else 0


def apply(
    directory: Path,
    *,
    as_json: bool = False,
    on_conflict: "OnConflict" = "stop",
    restore: Sequence[str] = (),
    rebase_lock: bool = False,
) -> int:
    """Carry out a plan and print what was done; the exit code says whether something is the user's to decide."""
    from tunesmith import report
    from tunesmith.regeneration import apply as application
    from tunesmith.regeneration.plan import plan as plan_of

    with application.alone(directory):
        found = application.finish(directory)
        if found is not None:
            say(report.interrupted_text(found), err=True)
        planned = plan_of(
            directory, on_conflict=on_conflict, restore=within(directory, restore), rebase_lock=rebase_lock
        )
        is_new = not (directory / ".tunesmith" / "lock.json").exists()
        finished = application.apply(planned)
        say(report.edited_since_text(finished), err=True)
    if as_json:
        say_json(report.plan_document(planned))
    else:
        say(report.lost_text(planned), err=True)
        say(report.plan_text(planned))
    if planned.blocking:
        say(report.blocked_text(planned, directory), err=True)
    elif not as_json:
        say(report.summary_text(planned, done=True))
    if planned.conflicts or any(done and (done.marked or done.left) for done in (found, finished)):
        return CONFLICTS
    if not as_json:
        is_here = directory.resolve() == Path.cwd()
        say(report.next_text(planned, None if is_here else directory, is_new=is_new))
    return 0


def within(directory: Path, paths: Sequence[str]) -> list[str]:
    """Paths as the lock has them: relative to the repository, however they were given."""
    root = str(directory.absolute())
    return [os.path.relpath(os.path.join(root, path), root) for path in paths]
