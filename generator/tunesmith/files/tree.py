"""The files of a repository, in memory."""

import hashlib
from collections.abc import Iterable, Iterator
from typing import Literal, NamedTuple

from tunesmith.problem import TunesmithError

Ownership = Literal["merge", "once", "sealed"]

FILE_MODE = 0o644
EXECUTABLE_MODE = 0o755


class File(NamedTuple):
    """A file that the tool writes.

    Attributes:
        id: Stays the same when the file moves.
        path: Relative to the repository, with forward slashes.
        mode: Permission bits, `FILE_MODE` or `EXECUTABLE_MODE`.
        ownership: `merge`: the tool and the user both edit it; `once`: the tool writes it, and from then on it is the
            user's; `sealed`: only the tool edits it.
        content: The bytes of the file.
    """

    id: str
    path: str
    mode: int
    ownership: Ownership
    content: bytes

    @property
    def sha256(self) -> str:
        """Hex digest of the content."""
        return hashlib.sha256(self.content).hexdigest()


class Tree:
    """Files by path. No two files share an id, a path (also where case does not count), or a path and a folder."""

    def __init__(self, files: Iterable[File]) -> None:
        self._by_path: dict[str, File] = {}
        ids: dict[str, str] = {}
        folded: dict[str, str] = {}
        for file in sorted(files, key=lambda file: file.path):
            check_path(file.path)
            if file.id in ids:
                raise ValueError(f"{file.path} and {ids[file.id]} have the same id {file.id!r}")
            if file.path.casefold() in folded:
                raise ValueError(f"{file.id!r} claims {file.path}, which is {folded[file.path.casefold()]}'s")
            ids[file.id] = file.path
            folded[file.path.casefold()] = file.path
            self._by_path[file.path] = file
        for path in self._by_path:
            for folder in parents(path):
                if folder.casefold() in folded:
                    raise ValueError(f"{folder} is a file, but {path} needs it to be a folder")

    def __iter__(self) -> Iterator[File]:
        return iter(self._by_path.values())

    def __len__(self) -> int:
        return len(self._by_path)

    def __contains__(self, path: str) -> bool:
        return path in self._by_path

    def __getitem__(self, path: str) -> File:
        return self._by_path[path]


def parents(path: str) -> list[str]:
    """The folders that lead to `path`, outermost first."""
    parts = path.split("/")[:-1]
    return ["/".join(parts[: index + 1]) for index in range(len(parts))]


def check_path(path: str) -> None:
    """Refuse a path that could leave the repository or touch git's own files.

    Raises:
        TunesmithError: TS411.
    """
    reason = _fault(path)
    if reason:
        raise TunesmithError.of("TS411", f"the path {path[:200]!r} {reason}")


def is_allowed(path: str) -> bool:
    """Whether `check_path` would let it pass."""
    return not _fault(path)


def _fault(path: str) -> str:
    parts = path.split("/")
    if not path.isprintable() or "\\" in path or ":" in path:
        return "has a character that is not allowed"
    if any(part in ("", ".", "..") for part in parts):
        return "is not a plain relative path"
    if any(part.casefold() == ".git" for part in parts):
        return "is inside .git"
    return ""
