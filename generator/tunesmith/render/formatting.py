"""The format of generated Python: ruff's, so that two machines agree on every byte."""

import dataclasses
import subprocess
import tempfile
from pathlib import Path

from tunesmith.files.tree import File


def formatted(files: list[File]) -> list[File]:
    """`files` with their Python formatted by ruff, under the settings of the generated pyproject.toml.

    Line breaks depend on names in the spec, so templates cannot hold them. The order of imports does not.
    """
    # In Markdown, ruff formats the blocks of Python.
    python = [file for file in files if file.path.endswith((".py", ".md"))]
    settings = [file for file in files if file.path == "pyproject.toml"]
    if not python:
        return files
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        root = Path(folder)
        for file in python + settings:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_bytes(file.content)
        _ruff_format(root)
        contents = {file.path: (root / file.path).read_bytes() for file in python}
    return [dataclasses.replace(file, content=contents.get(file.path, file.content)) for file in files]


def _ruff_format(root: Path) -> None:
    from ruff.__main__ import find_ruff_bin

    done = subprocess.run(
        [find_ruff_bin(), "format", "--quiet", "--no-cache", "."],
        cwd=root,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        raise RuntimeError(f"ruff cannot format rendered files:\n{done.stdout}{done.stderr}")
