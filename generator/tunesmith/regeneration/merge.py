"""Three-way merges by git, in an object database of their own: no work tree, index or history is touched.

All files of a regeneration are merged in one run. Each has the same name on both sides, so git has no renames to
guess; what moved where is known from ids.
"""

import hashlib
import os
import re
import tempfile
import zlib
from collections.abc import Sequence
from pathlib import Path
from typing import Literal, NamedTuple

from tunesmith.files import git
from tunesmith.problem import TunesmithError

Side = Literal["markers", "ours", "theirs"]
LABELS = ("yours", "as generated before", "generated now")


class Hunk(NamedTuple):
    """Lines on which both sides differ; `base` is None where nobody knows what was there before."""

    ours: bytes
    base: bytes | None
    theirs: bytes


# A bare repository that lives for one merge, and that nothing but its own settings reach.
_CONFIG = """\
[core]
    repositoryformatversion = 0
    bare = true
    fsync = none
    attributesFile = /dev/null
[merge]
    conflictStyle = zdiff3
    renames = false
"""

# A merged file: text that is settled, and what is not.
Parts = tuple[bytes | Hunk, ...]


class Triple(NamedTuple):
    """One file: as generated before, as the user has it, as generated now."""

    base: bytes
    ours: bytes
    theirs: bytes


def hunks(parts: Parts) -> list[Hunk]:
    """What the user has to decide; nothing where the merge is clean."""
    return [part for part in parts if isinstance(part, Hunk)]


def joined(parts: Parts, side: Side) -> bytes:
    """The merged file, with `side` of every hunk, or with both between markers."""
    return b"".join(part if isinstance(part, bytes) else _resolved(part, side) for part in parts)


def is_binary(content: bytes) -> bool:
    """Whether git would not merge this line by line."""
    return b"\0" in content


def two_way(ours: bytes, theirs: bytes) -> Parts:
    """Both sides as one hunk, without the lines that they begin and end with alike."""
    mine, other = _lines(ours), _lines(theirs)
    start = 0
    while start < min(len(mine), len(other)) and mine[start] == other[start]:
        start += 1
    end = 0
    while end < min(len(mine), len(other)) - start and mine[-1 - end] == other[-1 - end]:
        end += 1
    middle = Hunk(b"".join(mine[start : len(mine) - end]), None, b"".join(other[start : len(other) - end]))
    return tuple(
        part
        for part in (b"".join(mine[:start]), middle, b"".join(mine[len(mine) - end :]))
        if part not in (b"", Hunk(b"", None, b""))
    )


def merge(files: Sequence[Triple]) -> list[Parts]:
    """Merge each file; none of them may be binary.

    Raises:
        TunesmithError: TS406 where git is missing or too old.
    """
    if not files:
        return []
    # Longer than any line of marker signs in the files, so that git's markers can be told from text.
    size = 1 + max(
        (len(run) for file in files for text in file._asdict().values() for run in re.findall(rb"[<=>|]{7,}", text)),
        default=7,
    )
    with tempfile.TemporaryDirectory(prefix="tunesmith-") as folder:
        for name, text in (
            ("HEAD", "ref: refs/heads/none\n"),
            ("config", _CONFIG),
            ("info/attributes", f"* merge=text conflict-marker-size={size}\n"),
            ("objects/none", ""),
            ("refs/none", ""),
        ):
            place = Path(folder, name)
            place.parent.mkdir(parents=True, exist_ok=True)
            place.write_text(text, encoding="ascii")
        base = _commit(folder, [file.base for file in files])
        ours, theirs = (_commit(folder, side, base) for side in zip(*((f.ours, f.theirs) for f in files), strict=True))
        merged = _git(folder, "merge-tree", "--write-tree", "-z", "--name-only", ours, theirs, conflicts=True)
        tree = merged.split(b"\0", 1)[0].decode("ascii")
        names = "".join(f"{tree}:{number}\n" for number in range(len(files)))
        contents = _blobs(_git(folder, "cat-file", "--batch", stdin=names.encode("ascii")), len(files))
    return [_parts(content, size, file) for content, file in zip(contents, files, strict=True)]


def _resolved(hunk: Hunk, side: Side) -> bytes:
    if side != "markers":
        return hunk.ours if side == "ours" else hunk.theirs
    mine, before, now = LABELS
    text = b"<<<<<<< " + mine.encode() + b"\n" + _ended(hunk.ours)
    if hunk.base is not None:
        text += b"||||||| " + before.encode() + b"\n" + _ended(hunk.base)
    return text + b"=======\n" + _ended(hunk.theirs) + b">>>>>>> " + now.encode() + b"\n"


def _ended(text: bytes) -> bytes:
    return text if not text or text.endswith(b"\n") else text + b"\n"


def _commit(folder: str, contents: Sequence[bytes], parent: str = "") -> str:
    """Write a commit of files called 0, 1, 2, …; its id. As loose objects, since git's own importer takes longer."""
    entries = sorted((str(number).encode(), _object(folder, b"blob", text)) for number, text in enumerate(contents))
    tree = _object(folder, b"tree", b"".join(b"100644 %b\0%b" % (name, bytes.fromhex(id_)) for name, id_ in entries))
    parents = f"parent {parent}\n" if parent else ""
    text = f"tree {tree}\n{parents}author t <t> 0 +0000\ncommitter t <t> 0 +0000\n\n"
    return _object(folder, b"commit", text.encode("ascii"))


def _object(folder: str, kind: bytes, content: bytes) -> str:
    data = b"%b %d\0%b" % (kind, len(content), content)
    id_ = hashlib.sha1(data, usedforsecurity=False).hexdigest()
    place = Path(folder, "objects", id_[:2], id_[2:])
    place.parent.mkdir(exist_ok=True)
    place.write_bytes(zlib.compress(data, 1))
    return id_


def _blobs(batch: bytes, count: int) -> list[bytes]:
    contents, position = [], 0
    for _ in range(count):
        end = batch.index(b"\n", position)
        size = int(batch[position:end].rsplit(b" ", 1)[1])
        contents.append(batch[end + 1 : end + 1 + size])
        position = end + size + 2
    return contents


def _parts(merged: bytes, size: int, file: Triple) -> Parts:
    parts: list[bytes | Hunk] = []
    sides: list[list[bytes]] = [[]]
    for line in _lines(merged):
        sign = line[:1]
        if not (sign and sign in b"<|=>" and line.startswith(sign * size)):
            sides[-1].append(line)
        elif sign == b"<":
            parts.append(b"".join(sides[0]))
            sides = [[]]
        elif sign in b"|=":
            sides.append([])
        else:
            parts.append(Hunk(*map(b"".join, sides)))
            sides = [[]]
    parts.append(b"".join(sides[0]))
    settled = [part for part in parts if part]
    if settled and isinstance(settled[-1], Hunk):
        # git ends the last line of a hunk, where the file did not.
        last = settled[-1]
        settled[-1] = Hunk(
            _as_ended(last.ours, file.ours), _as_ended(last.base or b"", file.base), _as_ended(last.theirs, file.theirs)
        )
    return tuple(settled)


def _lines(content: bytes) -> list[bytes]:
    return re.findall(rb"[^\n]*\n|[^\n]+", content)


def _as_ended(part: bytes, whole: bytes) -> bytes:
    return part if whole.endswith(b"\n") else part.removesuffix(b"\n")


def _git(folder: str, *arguments: str, stdin: bytes = b"", conflicts: bool = False) -> bytes:
    # The user's settings may not change how lines are merged.
    settings = {"GIT_CONFIG_NOSYSTEM": "1", "GIT_CONFIG_GLOBAL": os.devnull, "GIT_ATTR_NOSYSTEM": "1"}
    done = git.run(Path(folder), "--git-dir", ".", *arguments, stdin=stdin, **settings)
    if done is None:
        raise TunesmithError.of("TS406", "merging your edits needs git 2.38 or newer, and none is on PATH")
    if done.code != 0 and not (conflicts and done.code == 1):
        reason = " ".join(done.errors.decode("utf-8", "replace").split())
        raise TunesmithError.of("TS406", f"git {arguments[0]} failed; 2.38 or newer is needed: {reason}")
    return done.output
