"""The version, and a plan: asked for all the time, and done in less time than it takes to load Typer.

Exactly `tunesmith --version` and `tunesmith plan [DIR]` are run from here. All else is for Typer to read, these commands
with options too; it calls the same functions.
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
        say(report.plan_text(planned, diff=diff) + report.summary_text(planned, done=False))
    if planned.conflicts:
        return CONFLICTS
    return CHANGES if planned.changes else 0


def within(directory: Path, paths: Sequence[str]) -> list[str]:
    """Paths as the lock has them: relative to the repository, however they were given."""
    root = str(directory.absolute())
    return [os.path.relpath(os.path.join(root, path), root) for path in paths]
