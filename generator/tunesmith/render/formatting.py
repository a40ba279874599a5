"""The format of generated Python: ruff's, so that two machines agree on every byte."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tunesmith.files.tree import File

_SETTINGS = "pyproject.toml"


def concerns_ruff(path: str) -> bool:
    """Whether ruff formats the file at `path`, or reads in it how; in Markdown, it formats the blocks of Python."""
    return path.endswith((".py", ".md")) or path == _SETTINGS


@contextmanager
def formatting(files: list[File]) -> Iterator[Callable[[], list[File]]]:
    """Let ruff format `files`, under the settings in their pyproject.toml, while the body runs.

    Line breaks depend on names in the spec, so templates cannot hold them. The order of imports does not.

    Yields:
        What waits for ruff, and returns the files as it leaves them.
    """
    from ruff.__main__ import find_ruff_bin

    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = Path(folder)
        for parent in {(root / file.path).parent for file in files}:
            parent.mkdir(parents=True, exist_ok=True)
        for file in files:
            (root / file.path).write_bytes(file.content)
        command = [find_ruff_bin(), "format", "--quiet", "--no-cache", "."]
        with subprocess.Popen(
            command, cwd=root, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace"
        ) as process:

            def formatted() -> list[File]:
                said = process.communicate()[0]
                if process.returncode != 0:
                    raise RuntimeError(f"ruff cannot format rendered files:\n{said}")
                return [file._replace(content=(root / file.path).read_bytes()) for file in files]

            yield formatted
