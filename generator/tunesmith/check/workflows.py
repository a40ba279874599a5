"""GitHub Actions workflows are ones that GitHub accepts."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

from tunesmith.problem import Problem


def problems(root: Path, paths: list[Path]) -> tuple[list[Problem], str | None]:
    """What actionlint reports, or the reason why it did not run."""
    files = [path.as_posix() for path in paths if path.parts[:2] == (".github", "workflows")]
    if not files:
        return [], None
    # Installed beside this interpreter, or anywhere on PATH.
    actionlint = shutil.which("actionlint", path=str(Path(sys.executable).parent)) or shutil.which("actionlint")
    if actionlint is None:
        return [], "workflows: actionlint is not installed; the extra `validators` brings it"
    done = subprocess.run(
        [actionlint, "-format", "{{json .}}", *files], cwd=root, capture_output=True, text=True, check=False
    )
    if done.returncode not in (0, 1):
        return [], f"workflows: actionlint cannot run: {' '.join(done.stderr.split())}"
    return [
        Problem(found["filepath"], found["line"], found["column"], "TS506", found["message"])
        for found in json.loads(done.stdout)
    ], None
