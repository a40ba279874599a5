"""Whole generated repositories as folders: one in full, of the others the files in which they differ from it.

`make goldens` writes them anew, after a change of templates that is meant; review the difference like code.
"""

import hashlib
import shutil
import sys
from pathlib import Path

from tunesmith.files.tree import Tree
from tunesmith.generate import generate
from tunesmith.spec.load import load_spec
from tunesmith.spec.project import Project

FOLDER = Path(__file__).parent / "goldens"
# Written in full; the others are shown beside it.
FIRST = "support-team"
# Every file of a repository: mode, ownership, id, and the digest of what is the same everywhere.
LIST = "files.txt"


def personas() -> list[str]:
    """Names of the specs, the one that is written in full first."""
    names = sorted(path.stem for path in FOLDER.glob("*.yaml"))
    return sorted(names, key=lambda name: name != FIRST)


def golden(persona: str) -> dict[str, str]:
    """The committed files of a persona: text by path, with `package` in the place of the package's name."""
    files, project = _tree(persona)
    listed = "".join(
        f"{file.mode:o} {file.ownership:6} {_place(file.path, project)}  {file.id}"
        + (f"  {hashlib.sha256(file.content).hexdigest()[:16]}" if file.ownership == "sealed" else "")
        + "\n"
        for file in files
    )
    texts = _texts(files, project)
    if persona != FIRST:
        first_files, first_project = _tree(FIRST)
        first = _texts(first_files, first_project)
        # A name is no difference.
        for old, new in ((first_project.package, project.package), (first_project.name, project.name)):
            first = {path: text.replace(old, new).replace(old.upper(), new.upper()) for path, text in first.items()}
        texts = {path: text for path, text in texts.items() if text != first.get(path)}
    return {LIST: listed, **texts}


def committed(persona: str) -> dict[str, str]:
    """What is committed of a persona."""
    root = FOLDER / persona
    return {
        path.relative_to(root).as_posix(): path.read_text(encoding="utf-8")
        for path in sorted(root.rglob("*"))
        if path.is_file()
    }


def _tree(persona: str) -> tuple[Tree, Project]:
    spec = load_spec(FOLDER / f"{persona}.yaml")
    return generate(spec), spec.project


def _texts(files: Tree, project: Project) -> dict[str, str]:
    return {_place(file.path, project): file.content.decode("utf-8") for file in files if file.ownership != "sealed"}


def _place(path: str, project: Project) -> str:
    # A .gitignore here would hide files of this repository.
    return path.replace(f"src/{project.package}/", "src/package/").replace(".gitignore", "gitignore")


if __name__ == "__main__":
    for name in personas():
        shutil.rmtree(FOLDER / name, ignore_errors=True)
        for path, text in golden(name).items():
            (FOLDER / name / path).parent.mkdir(parents=True, exist_ok=True)
            (FOLDER / name / path).write_text(text, encoding="utf-8")
        sys.stdout.write(f"{name}\n")
