"""git, as everything here calls it: in a folder, and in nobody else's environment."""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

# Where git may look for a repository; all else of git's in the environment names one, or changes what git says of it.
_KEPT = {"GIT_CEILING_DIRECTORIES", "GIT_DISCOVERY_ACROSS_FILESYSTEM"}


class Done(NamedTuple):
    """What git said."""

    code: int
    output: bytes
    errors: bytes


def run(folder: Path, *arguments: str, stdin: bytes = b"", **environment: str) -> Done | None:
    """What git says in `folder`; None where there is no git.

    A hook has the repository that it belongs to in its environment, which may not be the one that `folder` is in.
    """
    import shutil
    import subprocess

    git = shutil.which("git")
    if git is None:
        return None
    done = subprocess.run(
        [git, *arguments],
        cwd=folder,
        env={**_environment(), **environment},
        input=stdin,
        capture_output=True,
        check=False,
    )
    return Done(done.returncode, done.stdout, done.stderr)


def _environment() -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("GIT_") or name in _KEPT}
    return {**kept, "LC_ALL": "C", "GIT_OPTIONAL_LOCKS": "0"}


def tags(root: Path, *paths: str) -> dict[str, str]:
    """What git's index says of those `paths` that it knows; nothing where there is no git, or no repository.

    `M` is a path of which several versions wait to be merged, `S` one outside of the sparse checkout, `H` any other.
    """
    if not paths or not is_inside(root):
        return {}
    entries = [entry.split(" ", 1) for entry in os.fsdecode(_listed(root, paths)).split("\0") if entry]
    return {path: tag for tag, path in entries}


def _listed(root: Path, paths: Sequence[str]) -> bytes:
    """What `run` would give for `ls-files`. Every plan asks, and importing subprocess takes three times as long."""
    reading, writing = os.pipe()
    with open(reading, "rb") as answer:
        files = [(os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0), (os.POSIX_SPAWN_DUP2, writing, 1)]
        files.append((os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0))
        command = ["git", "--literal-pathspecs", "-C", str(root), "ls-files", "-t", "-z", "--", *paths]
        try:
            process = os.posix_spawnp("git", command, _environment(), file_actions=files)
        except OSError:
            return b""  # no git
        finally:
            os.close(writing)
        output = answer.read()
    return output if os.waitpid(process, 0)[1] == 0 else b""


def left_out(root: Path, paths: Sequence[str]) -> set[str]:
    """Those of `paths`, which git's index does not know, that the sparse checkout leaves out."""
    if not paths or not _may_be_sparse(root):
        return set()
    asked = run(root, "config", "--bool", "core.sparseCheckout")
    if asked is None or asked.output.strip() != b"true":
        return set()
    import tempfile

    found = [run(root, "rev-parse", what) for what in ("--absolute-git-dir", "--show-prefix")]
    folder, prefix = (os.fsdecode(done.output).rstrip("\n") if done else "" for done in found)
    # git of Debian 12 has no command that says it: it checks empty files of these names out, elsewhere.
    with tempfile.TemporaryDirectory() as place:
        names = {"GIT_WORK_TREE": "work", "GIT_INDEX_FILE": "index", "GIT_OBJECT_DIRECTORY": "objects"}
        environment = {"GIT_DIR": folder, **{name: os.path.join(place, file) for name, file in names.items()}}
        work = Path(place, "work")
        for new in (work, Path(place, "objects")):
            new.mkdir()

        def said(*arguments: str, stdin: bytes = b"") -> str:
            done = run(work, *arguments, stdin=stdin, **environment)
            return os.fsdecode(done.output).strip() if done and done.code == 0 else ""

        blob = said("hash-object", "-w", "--stdin")
        entries = "".join(f"100644 {blob}\t{prefix}{path}\0" for path in paths)
        said("update-index", "-z", "--index-info", stdin=os.fsencode(entries))
        tree = said("write-tree")
        os.unlink(environment["GIT_INDEX_FILE"])
        done = run(work, "read-tree", "-m", "-u", tree, stdin=b"", **environment)
        if done is None or done.code != 0:
            return set()
        return {path for path in paths if not os.path.lexists(work / prefix / path)}


def _may_be_sparse(root: Path) -> bool:
    place = next((at / ".git" for at in (root.absolute(), *root.absolute().parents) if (at / ".git").exists()), None)
    # A file stands for a folder elsewhere.
    return place is not None and (place.is_file() or (place / "info" / "sparse-checkout").is_file())


def restoring(root: Path, path: str) -> str | None:
    """The command that brings a committed file back, which is not there; None where git does not know it."""
    folder = path.split("/", 1)[0]
    tag = tags(root, path).get(path)
    if tag is not None:
        return f"git sparse-checkout add {folder}" if tag == "S" else f"git checkout -- {folder}"
    committed = run(root, "cat-file", "-e", f"HEAD:./{path}") if is_inside(root) else None
    return f"git checkout HEAD -- {folder}" if committed is not None and committed.code == 0 else None


def is_ignored(root: Path, path: str) -> bool:
    """Whether git neither knows a file nor would be told of it by `git add .`."""
    done = run(root, "check-ignore", "--quiet", "--", path) if is_inside(root) else None
    return done is not None and done.code == 0


def is_inside(root: Path) -> bool:
    """Whether `root` is there and may be in a repository of git's; asking git itself takes longer."""
    folders = (root.absolute(), *root.absolute().parents)
    return root.is_dir() and any(os.path.lexists(folder / ".git") for folder in folders)


def has_markers(content: bytes) -> bool:
    """Whether conflict markers, git's or Tunesmith's, are left in `content`."""
    # One after the other, whatever is in between.
    wanted = [b"<<<<<<< ", b"=======", b">>>>>>> "]
    for line in content.splitlines():
        if line.startswith(wanted[0]) and (wanted[0] != b"=======" or line == b"======="):
            del wanted[0]
            if not wanted:
                return True
    return False
