"""No conflict is left unresolved."""

from collections.abc import Iterator
from pathlib import Path

from tunesmith.files.form import plain
from tunesmith.files.git import has_markers
from tunesmith.problem import Problem

# Nobody writes longer files by hand.
_MAX_BYTES = 1_000_000


def problems(root: Path, paths: list[Path]) -> Iterator[Problem]:
    """Files with conflict markers, and the line of the first one."""
    for path in paths:
        if (root / path).is_symlink() or (root / path).stat().st_size > _MAX_BYTES:
            continue
        content = plain((root / path).read_bytes())
        if has_markers(content):
            line = next(number for number, text in enumerate(content.splitlines(), 1) if text.startswith(b"<<<<<<< "))
            yield Problem(path.as_posix(), line, 0, "TS508", "has conflict markers; keep the lines that are right")
