"""What `apply` would do, file by file. Computes; writes nothing."""

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from tunesmith import __version__
from tunesmith.files.git import has_markers, tags
from tunesmith.files.lock import (
    BASE_PATH,
    JOURNAL,
    LOCK_PATH,
    NOTHING,
    SPEC_NAME,
    Generation,
    Lock,
    LockedFile,
    check_base,
    lost_base,
    lost_record,
    never_recorded,
    read_lock,
)
from tunesmith.files.tree import FILE_MODE
from tunesmith.files.worktree import Found, look
from tunesmith.problem import Problem, TunesmithError
from tunesmith.regeneration.steps import (
    ABSENT,
    DELETED,
    EDITED,
    MARKED,
    OTHERWISE,
    OUTSIDE,
    OUTSIDE_CHANGED,
    OUTSIDE_NEW,
    UNCHANGED,
    Change,
    Entry,
    OnConflict,
    Step,
)
from tunesmith.resources import generator_digest

if TYPE_CHECKING:
    from tunesmith.files.tree import Tree
    from tunesmith.regeneration.spec_changes import OptionChange

MAX_BYTES = 1_000_000


class Plan(NamedTuple):
    """Every step for the repository at `root`, in order of path, the tool's own record last.

    Attributes:
        on_conflict: The way out of conflicts that was asked for; `stop` writes nothing at all.
        spec_changes: How the resolved spec differs from the one that was generated last.
        unchecked: Data files that are not there, each with the reason why it could not be read.
        lost: What is missing of the record, so that more is in conflict than has to be.
    """

    root: Path
    steps: tuple[Step, ...]
    on_conflict: OnConflict = "stop"
    spec_changes: "tuple[OptionChange, ...]" = ()
    unchecked: Mapping[str, str] = {}
    lost: Problem | None = None

    @property
    def conflicts(self) -> list[Step]:
        """The steps that are the user's to decide, whether or not a way out was asked for."""
        return [step for step in self.steps if step.conflict is not None]

    @property
    def blocking(self) -> list[Step]:
        """The conflicts because of which nothing is written."""
        return [
            step
            for step in self.steps
            if step.conflict is not None
            and (self.on_conflict == "stop" or self.on_conflict not in step.conflict.choices)
        ]

    @property
    def changes(self) -> list[Change]:
        """What is written, once for each path, in order of path."""
        if self.blocking:
            return []
        by_path: dict[str, Change] = {}
        for change in (change for step in self.steps for change in step.changes):
            # One file may leave a path to which another one goes.
            known = by_path.get(change.path, Change(change.path, None, None))
            if known.new and change.new:
                raise RuntimeError(f"two files would be written to {change.path}")
            by_path[change.path] = Change(change.path, known.old or change.old, known.new or change.new)
        return [by_path[path] for path in sorted(by_path)]


def plan(
    root: Path, *, on_conflict: OnConflict = "stop", restore: Collection[str] = (), rebase_lock: bool = False
) -> Plan:
    """What has to happen for the repository at `root` to match its pipeline.yaml, with the user's edits in it.

    Args:
        root: The folder that holds pipeline.yaml.
        on_conflict: The way out of conflicts.
        restore: Paths of files that the user deleted, to bring back, from `root`.
        rebase_lock: Whether to take what was generated before from both branches of an unfinished git merge.

    Raises:
        TunesmithError: the spec, a data file that is there, or the record is unsound; TS407 where a file cannot be
            restored; TS408 where git knows of no two branches; TS409 where it does, and nobody asked for them; TS413
            where an earlier apply was killed half-way; TS415 where git has the record, and the folder has not.
    """
    if root.exists() and not root.is_dir():
        raise TunesmithError.of("TS402", "is a file; name the folder that holds pipeline.yaml", str(root))
    if look(root, JOURNAL).kind == "file":
        raise TunesmithError.of(
            "TS413", "an apply was interrupted here; `tunesmith apply` finishes it first", str(root)
        )
    if not rebase_lock:
        _check_settled(root)
    lock = None if rebase_lock else read_lock(root)
    if lock is None and not rebase_lock and (lost := lost_record(root)):
        raise TunesmithError(lost)
    spec_path = root / SPEC_NAME
    as_before = lock is not None and lock.inputs == _digest_of_inputs(_content(spec_path))
    if lock is not None and as_before and not restore and (root / BASE_PATH).is_file():
        # The same inputs render the same tree: the one that the lock records.
        check_base(root, lock)
        unchanged = _unchanged(root, lock)
        if unchanged is not None:
            return Plan(root, tuple(unchanged), on_conflict)

    # Here, since pydantic and Jinja cost more to import than an unchanged repository costs to plan.
    from tunesmith.data_files import check_data_files_there
    from tunesmith.files.lock import read_base
    from tunesmith.generate import generate
    from tunesmith.regeneration.decide import as_first_written, decide
    from tunesmith.regeneration.rebase import generation_of_both_branches
    from tunesmith.regeneration.recording import recorded
    from tunesmith.regeneration.spec_changes import spec_changes
    from tunesmith.spec.load import load_spec
    from tunesmith.spec.migrations import migrated
    from tunesmith.spec.resolve import resolve

    spec = load_spec(spec_path)
    missing = check_data_files_there(spec, spec_path).missing
    resolved = resolve(spec)
    if rebase_lock:
        last = generation_of_both_branches(root)
    else:
        last = Generation(lock.files, read_base(root, lock)) if lock else NOTHING
    today = generate(spec)
    tree = as_first_written(root, last, today, restore)
    changes = spec_changes(lock.spec, resolved) if lock else ()
    cause = _cause(lock, changes)
    steps = [_resolved(step, on_conflict) for step in decide(root, last, tree, cause, restore)]
    if lock is not None and changes:
        steps = _told(root, steps, today, tree, lock.spec)
    if (content := migrated(spec_path)) is not None:
        steps.append(_record_step(root, SPEC_NAME, content, "rewritten for this version of Tunesmith"))
    unchecked = {spec.data.sources[index].path: error.message for index, error in missing.items()}
    planned = Plan(root, tuple(steps), on_conflict, changes, unchecked)
    if planned.conflicts and last.base is None:
        generated = [step.path for step in steps if step.action != "create"]
        planned = planned._replace(lost=lost_base(root) if lock else never_recorded(root, generated))
    if planned.blocking:
        return planned
    inputs = _digest_of_inputs(_content(spec_path) if content is None else content)
    if any(step.reason == OUTSIDE_NEW for step in steps):
        inputs = ""  # the same inputs would make more than is recorded
    return planned._replace(
        steps=(*steps, *_record_steps(root, recorded(last, tree, steps), inputs, resolved.values()))
    )


def _check_settled(root: Path) -> None:
    waiting = [path for path, tag in tags(root, LOCK_PATH, BASE_PATH).items() if tag == "M"]
    if waiting:
        raise TunesmithError.of(
            "TS409", "git is merging two branches that both regenerated; add --rebase-lock", str(root / waiting[-1])
        )


def _content(spec_path: Path) -> bytes:
    try:
        return spec_path.read_bytes() if spec_path.stat().st_size <= MAX_BYTES else b""
    except OSError:
        return b""  # Reading it again as a spec reports why.


def _digest_of_inputs(content: bytes) -> str:
    # Line endings may be git's doing.
    return hashlib.sha256(generator_digest().encode() + content.replace(b"\r\n", b"\n")).hexdigest()


def _unchanged(root: Path, lock: Lock) -> list[Step] | None:
    """What there is to say where the generated bytes are those of last time; None where a file has to be found."""
    held = {locked.place for locked in lock.files if not locked.absent}
    steps = []
    away = set()
    for locked in lock.files:
        place = locked.place
        found = Found("nothing") if locked.absent and place in held else look(root, place)
        if locked.absent and found.kind != "nothing":
            return None
        if found.kind == "nothing" and not locked.deleted:
            away.add(place)
        steps.append(Step(place, "keep", _as_it_is(locked, found), id=locked.id))
    if away and away != {path for path, tag in tags(root, *away).items() if tag == "S"}:
        return None
    return steps


def _as_it_is(locked: LockedFile, found: Found) -> str:
    if found.kind == "nothing":
        return DELETED if locked.deleted else OUTSIDE_CHANGED if locked.behind else OUTSIDE
    if found.kind == "other":
        return "replaced by you"
    if found.sha256 == locked.sha256:
        return UNCHANGED
    return MARKED if has_markers(found.text) else EDITED[locked.ownership]


def _cause(lock: Lock | None, spec_changes: "Collection[OptionChange]") -> str:
    """What changes files, in words."""
    if lock is not None and lock.generator == generator_digest():
        return "changed by the spec"
    if lock is not None and not spec_changes:
        return "changed by this version of Tunesmith"
    return "changed by the spec or by this version of Tunesmith"


def _resolved(step: Step, on_conflict: OnConflict) -> Step:
    if step.conflict is None or on_conflict == "stop" or on_conflict not in step.conflict.choices:
        return step
    return step._replace(changes=step.conflict.choices[on_conflict])


def _told(root: Path, steps: list[Step], today: "Tree", tree: "Tree", old: Mapping[str, object]) -> list[Step]:
    """The steps, which say so where the change of the spec from `old` would change a file that is written once."""
    from tunesmith.generate import generate
    from tunesmith.regeneration.spec_changes import spec_of

    kept = {step.id: step.path for step in steps if step.action == "keep" and step.reason not in (*ABSENT, OUTSIDE_NEW)}
    wanted = {file.id: file.sha256 for file in today if file.id in kept and file.sha256 != tree[file.path].sha256}
    wanted = {id_: sha256 for id_, sha256 in wanted.items() if look(root, kept[id_]).sha256 != sha256}
    before = spec_of(old) if wanted else None
    if before is None:
        return steps
    # By this version of the tool: what a newer one alone would write otherwise is nothing to do.
    moved = {file.id for file in generate(before) if wanted.get(file.id, file.sha256) != file.sha256}
    return [step._replace(reason=OTHERWISE) if step.id in moved else step for step in steps]


def _record_steps(root: Path, generation: Generation, inputs: str, spec: dict[str, object]) -> list[Step]:
    """The steps that write the lock and the base archive."""
    from tunesmith.files.lock import packed

    lock, archive = packed(Lock(__version__, generator_digest(), inputs, "", spec, ()), generation)
    reason = "records what was generated"
    return [_record_step(root, BASE_PATH, archive, reason), _record_step(root, LOCK_PATH, lock, reason)]


def _record_step(root: Path, path: str, content: bytes, reason: str) -> Step:
    """A file that only the tool writes."""
    found = look(root, path)
    if found.kind == "other":
        raise TunesmithError.of("TS403", "is a folder, a link or something unreadable; move it away", str(root / path))
    if found.kind == "file" and found.text == content:
        return Step(path, "keep", UNCHANGED)
    old = Entry(found.content, found.mode) if found.kind == "file" else None
    mode = old.mode if old else FILE_MODE
    return Step(path, "update" if old else "create", reason, (Change(path, old, Entry(content, mode)),))
