"""Whole generated repositories as text: one in full, the others as what differs from it.

`make goldens` writes them anew, after a change of templates that is meant; review the difference like code.
"""

import difflib
import hashlib
import sys
from pathlib import Path

from tunesmith.generate import generate
from tunesmith.spec.load import load_spec

FOLDER = Path(__file__).parent / "goldens"
# Written in full; the others are shown beside it.
FIRST = "support-team"


def personas() -> list[str]:
    """Names of the specs, the one that is written in full first."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return sorted(names, key=lambda name: name != FIRST)


def golden(persona: str) -> str:
    """What `persona`'s spec is rendered to, as text."""
    files = _files(persona)
    if persona == FIRST:
        return "".join(f"{'=' * 120}\n{path}\n{'=' * 120}\n{text}" for path, text in files.items())
    first = _files(FIRST)
    parts = []
    for path in sorted(first.keys() | files.keys()):
        if path not in files:
            parts.append(f"--- {path}: not there\n")
        elif first.get(path) != files[path]:
            old, new = (texts.get(path, "").splitlines(keepends=True) for texts in (first, files))
            parts += difflib.unified_diff(old, new, path if path in first else "-", path, n=1)
    return "".join(parts)


def _files(persona: str) -> dict[str, str]:
    """Text by id and path; of vendored files, which are the same in every repository, the digest."""
    files = {}
    for file in generate(load_spec(FOLDER / f"{persona}.yaml")):
        text = file.content.decode("utf-8")
        if file.ownership == "sealed":
            text = f"sha256 {hashlib.sha256(file.content).hexdigest()}\n"
        # An id in the place of a path, so that a package of another name is no difference.
        files[f"{file.id} ({file.mode:o})"] = f"path: {file.path}\n{text}" + (
            "" if text.endswith("\n") else "\n(no end)\n"
        )
    return files


if __name__ == "__main__":
    for name in personas():
        (FOLDER / f"{name}.txt").write_text(golden(name), encoding="utf-8")
        sys.stdout.write(f"{name}\n")
