"""Python files parse, and pass ruff under the repository's own settings."""

import json
import os
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

from tunesmith.problem import Problem

_COMMAND = ("check", "--no-cache", "--output-format", "json")
_BATCH = 500


def problems(root: Path, paths: list[Path], options: Sequence[str] = ()) -> Iterator[Problem]:
    """What ruff reports; a file that Python cannot parse comes under a code of its own."""
    from ruff.__main__ import find_ruff_bin

    files = [path.as_posix() for path in paths if path.suffix == ".py"]
    # In batches, since a command line has its limits.
    for start in range(0, len(files), _BATCH):
        yield from _problems(root, [find_ruff_bin(), *_COMMAND, *options, "--", *files[start : start + _BATCH]])


def _problems(root: Path, command: list[str]) -> Iterator[Problem]:
    done = subprocess.run(command, cwd=root, capture_output=True, encoding="utf-8", errors="replace", check=False)
    if done.returncode not in (0, 1):
        yield Problem("pyproject.toml", 0, 0, "TS502", f"ruff cannot run: {' '.join(done.stderr.split())}")
        return
    # As ruff shows it where the name is no UTF-8.
    shown = os.fsencode(root.resolve()).decode(errors="replace") + os.sep
    for found in json.loads(done.stdout):
        path = found["filename"].removeprefix(shown)
        place = found["location"]
        rule = found["code"]
        parses = rule not in (None, "invalid-syntax")
        code, message = ("TS502", f"{rule} {found['message']}") if parses else ("TS501", found["message"])
        yield Problem(path, place["row"], place["column"], code, message)
