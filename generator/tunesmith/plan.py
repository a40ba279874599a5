"""What `apply` would do, file by file. Computes; writes nothing."""

import difflib
import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from tunesmith import __version__
from tunesmith.lock import BASE_PATH, JOURNAL, LOCK_PATH, LockedFile, base_archive, compress, lock_of, read_lock
from tunesmith.problem import TunesmithError
from tunesmith.resources import generator_digest
from tunesmith.tree import FILE_MODE, File, parents

Action = Literal["create", "update", "delete", "keep", "conflict"]
SPEC_NAME = "pipeline.yaml"
MAX_BYTES = 1_000_000


@dataclass(frozen=True)
class Step:
    """What happens to one path, and why.

    Attributes:
        new: The file to write; None where none is written.
        old: The bytes that are there now; None where nothing is, or where it is not a readable file.
    """

    path: str
    action: Action
    reason: str
    new: File | None = None
    old: bytes | None = None

    def diff(self) -> str:
        """The change as a unified diff; empty where nothing is written or deleted."""
        if self.action not in ("create", "update", "delete"):
            return ""
        lines = difflib.unified_diff(
            _lines(self.old),
            _lines(self.new.content if self.new else None),
            f"a/{self.path}" if self.old is not None else "/dev/null",
            f"b/{self.path}" if self.new else "/dev/null",
        )
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)


@dataclass(frozen=True)
class Plan:
    """Every step for the repository at `root`, in order of path, the tool's own record last."""

    root: Path
    steps: tuple[Step, ...]

    @property
    def changes(self) -> list[Step]:
        """The steps that write or delete."""
        return [step for step in self.steps if step.action in ("create", "update", "delete")]

    @property
    def conflicts(self) -> list[Step]:
        """The steps that need the user's decision."""
        return [step for step in self.steps if step.action == "conflict"]


def plan(root: Path) -> Plan:
    """What has to happen for the repository at `root` to match its pipeline.yaml.

    Raises:
        TunesmithError: the spec, a data file that it names, or the lock is unsound; TS413 where an earlier apply was
            killed half-way.
    """
    if root.exists() and not root.is_dir():
        raise TunesmithError.of("TS402", "is a file; name the folder that holds pipeline.yaml", str(root))
    if (root / JOURNAL).exists():
        raise TunesmithError.of(
            "TS413", "an apply was interrupted here; `tunesmith apply` finishes it first", str(root)
        )
    lock = read_lock(root)
    spec_path = root / SPEC_NAME
    inputs = _digest_of_inputs(spec_path)
    if lock is not None and lock.inputs == inputs and (root / BASE_PATH).is_file():
        # The same inputs render the same tree: the one that the lock records.
        return Plan(root, tuple(_step(root, locked.path, None, locked) for locked in lock.files))

    # Here, since pydantic and Jinja cost more to import than an unchanged repository costs to plan.
    from tunesmith.components.repository import sources_of
    from tunesmith.render import render
    from tunesmith.sources import check_sources
    from tunesmith.spec.load import load_spec

    spec = load_spec(spec_path)
    check_sources(spec, spec_path)
    tree = render(sources_of(spec))
    locked_by_id = {locked.id: locked for locked in lock.files} if lock else {}
    steps = []
    for file in tree:
        locked = locked_by_id.get(file.id)
        steps.append(_step(root, file.path, file, locked if locked and locked.path == file.path else None))
    steps += [_removal(root, locked) for locked in locked_by_id.values() if locked.path not in tree]
    steps.sort(key=lambda step: step.path)

    archive = base_archive(tree)
    record = lock_of(tree, __version__, inputs, spec.model_dump(mode="json"), archive)
    steps += [
        _record_step(root, File("tunesmith/base", BASE_PATH, FILE_MODE, "sealed", compress(archive))),
        _record_step(root, File("tunesmith/lock", LOCK_PATH, FILE_MODE, "sealed", record.to_json())),
    ]
    return Plan(root, tuple(steps))


def _digest_of_inputs(spec_path: Path) -> str:
    try:
        content = spec_path.read_bytes() if spec_path.stat().st_size <= MAX_BYTES else b""
    except OSError:
        content = b""  # Reading it again as a spec reports why.
    # Line endings may be git's doing.
    return hashlib.sha256(generator_digest().encode() + content.replace(b"\r\n", b"\n")).hexdigest()


def _step(root: Path, path: str, new: File | None, locked: LockedFile | None) -> Step:
    """What happens at `path`, where `new` is to be (None: what `locked` records) and `locked` was generated."""
    wanted = new.sha256 if new else locked.sha256 if locked else ""
    kind, old = _at(root, path)
    if kind == "nothing":
        if locked is None:
            return Step(path, "create", "new", new)
        return Step(path, "keep", "deleted by you; stays deleted")
    if kind == "other":
        if locked is not None and locked.sha256 == wanted:
            return Step(path, "keep", "replaced by you")
        return Step(path, "conflict", "a folder, a link or something unreadable is in the way")
    current = hashlib.sha256(old or b"").hexdigest()
    if current == wanted:
        return Step(path, "keep", "unchanged", old=old)
    if locked is None:
        return Step(path, "conflict", "a file of yours is in the way", new, old)
    if current == locked.sha256:
        return Step(path, "update", "changed by the spec or by this version of Tunesmith", new, old)
    if locked.sha256 == wanted:
        return Step(path, "keep", "edited by you", old=old)
    return Step(path, "conflict", "edited by you, and changed by the spec or by this version of Tunesmith", new, old)


def _removal(root: Path, locked: LockedFile) -> Step:
    kind, old = _at(root, locked.path)
    if kind == "nothing":
        return Step(locked.path, "keep", "deleted by you; no longer generated")
    if kind == "file" and hashlib.sha256(old or b"").hexdigest() == locked.sha256:
        return Step(locked.path, "delete", "no longer generated", old=old)
    return Step(locked.path, "conflict", "edited by you, and no longer generated", old=old)


def _record_step(root: Path, file: File) -> Step:
    kind, old = _at(root, file.path)
    if kind == "nothing":
        return Step(file.path, "create", "records what was generated", file)
    if kind == "other":
        return Step(file.path, "conflict", "a folder, a link or something unreadable is in the way")
    if old == file.content:
        return Step(file.path, "keep", "unchanged", old=old)
    return Step(file.path, "update", "records what was generated", file, old)


def _at(root: Path, path: str) -> tuple[Literal["nothing", "file", "other"], bytes | None]:
    """What is at `path` now. Links are not followed: they could lead out of the repository."""
    for folder in parents(path):
        status = _lstat(root / folder)
        if status is None:
            return "nothing", None
        if not stat.S_ISDIR(status.st_mode):
            return "other", None
    status = _lstat(root / path)
    if status is None:
        return "nothing", None
    if not stat.S_ISREG(status.st_mode):
        return "other", None
    try:
        return "file", (root / path).read_bytes()
    except OSError:
        return "other", None


def _lstat(path: Path) -> os.stat_result | None:
    try:
        return os.lstat(path)
    except FileNotFoundError:
        return None


def _lines(content: bytes | None) -> list[str]:
    if content is None:
        return []
    try:
        return content.decode("utf-8").splitlines(keepends=True)
    except UnicodeDecodeError:
        return [f"(binary, {len(content)} bytes)\n"]
