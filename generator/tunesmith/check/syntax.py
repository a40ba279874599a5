"""Do files parse? For files that exist in memory only."""

import tempfile
from collections.abc import Mapping
from pathlib import Path

from tunesmith.check import documents, python
from tunesmith.problem import Problem

# What does not run at all: syntax, undefined names, statements that cannot work.
_RULES = ("--isolated", "--select", "E9,F63,F7,F82")


def broken(files: Mapping[str, bytes]) -> dict[str, list[Problem]]:
    """What is wrong with each file that does not parse or load, by path."""
    paths = [Path(path) for path in files if path.endswith((".py", ".yaml", ".yml", ".toml", ".json"))]
    if not paths:
        return {}
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = Path(folder)
        for path in paths:
            (root / path).parent.mkdir(parents=True, exist_ok=True)
            (root / path).write_bytes(files[path.as_posix()])
        problems = [*documents.problems(root, paths), *python.problems(root, paths, _RULES)]
    by_file: dict[str, list[Problem]] = {}
    for problem in sorted(problems):
        by_file.setdefault(problem.file, []).append(problem)
    return by_file
