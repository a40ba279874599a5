"""Named sets of versions that were tested together; a folder each in `stacks/`."""

from functools import cache
from pathlib import Path
from typing import NamedTuple

_FOLDER = Path(__file__).resolve().parents[1] / "stacks"


class Stack(NamedTuple):
    """Exact versions of what a generated repository installs, by requirement name.

    Attributes:
        versions: What every stage but vLLM's needs.
        serve: What vLLM, or its CPU build, needs beside them, in the same environment.
        python: The Python that they were tested on.
    """

    name: str
    versions: dict[str, str]
    serve: dict[str, str]
    python: str = "3.11"


def names() -> list[str]:
    """The known stacks, oldest first."""
    return sorted(path.name for path in _FOLDER.iterdir() if path.is_dir())


@cache
def read(name: str) -> Stack:
    """The stack called `name`, one of `names()`."""
    return Stack(name, _pins(_FOLDER / name / "constraints.txt"), _pins(_FOLDER / name / "serve.txt"))


def _pins(path: Path) -> dict[str, str]:
    lines = (line for line in path.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#"))
    pairs = (line.partition("==") for line in lines)
    return {requirement: version for requirement, _, version in pairs}
