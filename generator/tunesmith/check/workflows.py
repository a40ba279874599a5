"""GitHub Actions workflows are ones that GitHub accepts."""

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

from tunesmith.check.finding import Finding, Skipped
from tunesmith.problem import Problem


def problems(root: Path, paths: list[Path]) -> Iterator[Finding]:
    """What actionlint reports, or the reason why it did not run."""
    files = [path.as_posix() for path in paths if path.parts[:2] == (".github", "workflows")]
    if not files:
        return
    # Installed beside this interpreter, or anywhere on PATH.
    actionlint = shutil.which("actionlint", path=str(Path(sys.executable).parent)) or shutil.which("actionlint")
    if actionlint is None:
        yield Skipped("workflows: actionlint is not installed; the extra `validators` brings it")
        return
    done = subprocess.run(
        [actionlint, "-format", "{{json .}}", *files],
        cwd=root,
        capture_output=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    if done.returncode not in (0, 1):
        yield Skipped(f"workflows: actionlint cannot run: {' '.join(done.stderr.split())}")
        return
    for found in json.loads(done.stdout):
        yield Problem(found["filepath"], found["line"], found["column"], "TS506", found["message"])
