"""What was generated last time: `.tunesmith/lock.json` and `.tunesmith/base.tar.xz`.

Both are committed in the generated repository, and both are untrusted when read.
"""

import hashlib
import io
import json
import lzma
import re
import tarfile
from dataclasses import dataclass
from pathlib import Path

from tunesmith.problem import TunesmithError
from tunesmith.tree import EXECUTABLE_MODE, FILE_MODE, Ownership, Tree, check_path

FOLDER = ".tunesmith"
LOCK_PATH = f"{FOLDER}/lock.json"
BASE_PATH = f"{FOLDER}/base.tar.xz"
# A change that is being written; the journal is there once it is decided.
STAGING = f"{FOLDER}/staging"
JOURNAL = f"{STAGING}/journal.json"
FORMAT = 1
MAX_LOCK_BYTES = 20_000_000
MAX_BASE_BYTES = 200_000_000

_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True)
class LockedFile:
    """A file as it was generated."""

    id: str
    path: str
    mode: int
    sha256: str
    ownership: Ownership


@dataclass(frozen=True)
class Lock:
    """The record of a generation.

    Attributes:
        tool: Version of Tunesmith that generated the repository.
        inputs: Digest of the spec file's bytes and of the generator; the same inputs render the same tree.
        spec: The spec with every default filled in.
        base: sha256 of the uncompressed base archive.
        files: Every generated file.
    """

    tool: str
    inputs: str
    spec: dict[str, object]
    base: str
    files: tuple[LockedFile, ...]

    def to_json(self) -> bytes:
        """The lock as it is written: sorted, one file a line, so that git merges and shows it well."""
        head = {"format": FORMAT, "tool": self.tool, "inputs": self.inputs, "base": self.base, "spec": self.spec}
        text = json.dumps(head, ensure_ascii=False, indent=2)
        rows = ",\n".join(
            "    " + json.dumps({**vars(file), "mode": f"{file.mode:o}"}, ensure_ascii=False) for file in self.files
        )
        return f'{text[:-2]},\n  "files": [\n{rows}\n  ]\n}}\n'.encode()


def lock_of(tree: Tree, tool: str, inputs: str, spec: dict[str, object], archive: bytes) -> Lock:
    """The lock that records `tree`; `archive` is its uncompressed base archive."""
    files = tuple(LockedFile(file.id, file.path, file.mode, file.sha256, file.ownership) for file in tree)
    return Lock(tool, inputs, spec, hashlib.sha256(archive).hexdigest(), files)


def base_archive(tree: Tree) -> bytes:
    """The uncompressed base archive: the bytes as they were generated, with nothing of time, place or user in it."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for file in tree:
            member = tarfile.TarInfo(file.path)
            member.size, member.mode = len(file.content), file.mode
            archive.addfile(member, io.BytesIO(file.content))
    return buffer.getvalue()


def compress(archive: bytes) -> bytes:
    """The archive as it is written."""
    # The usual preset, 6, takes four times as long and saves 8 %.
    return lzma.compress(archive, format=lzma.FORMAT_XZ, check=lzma.CHECK_CRC32, preset=2)


def read_lock(root: Path) -> Lock | None:
    """The lock of the repository at `root`; None where there is none.

    Raises:
        TunesmithError: TS410 where the lock is damaged or was written by a newer format, TS411 where a path in it
            is not safe.
    """
    path = root / LOCK_PATH
    if path.is_symlink() or path.parent.is_symlink():
        raise _damaged(path, "is behind a symbolic link")
    try:
        if path.stat().st_size > MAX_LOCK_BYTES:
            raise _damaged(path, "is too large to be a lock")
        document = json.loads(path.read_bytes())
    except FileNotFoundError:
        return None
    except (ValueError, RecursionError):
        raise _damaged(path, "is not valid JSON") from None
    except OSError as error:
        raise _damaged(path, f"cannot be read: {error.strerror}") from None
    if not isinstance(document, dict) or not isinstance(document.get("format"), int):
        raise _damaged(path, "has no format number")
    if document["format"] > FORMAT:
        raise TunesmithError.of(
            "TS410",
            f"was written by a newer Tunesmith ({document.get('tool')}); upgrade this one",
            str(path),
        )
    try:
        files = tuple(_locked_file(entry) for entry in document["files"])
        lock = Lock(
            _text(document["tool"]), _text(document["inputs"]), dict(document["spec"]), _sha256(document["base"]), files
        )
    except (KeyError, TypeError, ValueError):
        raise _damaged(path, "is not a lock that Tunesmith wrote") from None
    if len({file.path for file in files}) != len(files) or len({file.id for file in files}) != len(files):
        raise _damaged(path, "names a file twice")
    return lock


def _locked_file(entry: dict[str, object]) -> LockedFile:
    path, mode, ownership = _text(entry["path"]), int(_text(entry["mode"]), 8), entry["ownership"]
    check_path(path)
    if mode not in (FILE_MODE, EXECUTABLE_MODE) or ownership not in ("merge", "sealed"):
        raise ValueError
    return LockedFile(_text(entry["id"]), path, mode, _sha256(entry["sha256"]), ownership)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError
    return value


def _sha256(value: object) -> str:
    if not _SHA256.fullmatch(_text(value)):
        raise ValueError
    return str(value)


def _damaged(path: Path, why: str) -> TunesmithError:
    return TunesmithError.of("TS410", f"{why}; restore it from version control", str(path))
