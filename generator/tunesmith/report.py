"""What the tool did and found: text for people, ending in a newline, and documents for programs.

Every face prints these, and none formats on its own. A document is a dict or a list of what JSON knows.
"""

import shlex
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from tunesmith.problem import Problem, printable

if TYPE_CHECKING:
    from tunesmith.blueprints import Blueprint
    from tunesmith.check.repository import Report
    from tunesmith.codes import Explanation
    from tunesmith.data_files import DataSummary
    from tunesmith.regeneration.apply import Finished
    from tunesmith.regeneration.merge import Hunk
    from tunesmith.regeneration.plan import Plan
    from tunesmith.regeneration.steps import Step
    from tunesmith.spec.pipeline import Spec

_DONE = {"create": "created", "update": "updated", "merge": "merged", "move": "moved", "delete": "deleted"}
_SETTLED = {"stop": "", "markers": ", marked", "ours": ", your lines kept", "theirs": ", generated lines taken"}
_WAYS_OUT = {
    "markers": "writes both sides into the files, for you to choose",
    "ours": "keeps your lines where they clash",
    "theirs": "takes the generated lines where they clash",
}
# How many lines of a conflict's side are shown.
_SHOWN_LINES = 20


def problems_text(problems: Iterable[Problem]) -> str:
    """One line each."""
    return _text(map(str, problems))


def problems_document(problems: Iterable[Problem]) -> dict[str, object]:
    """`{"problems": [{"file", "line", "column", "code", "message"}]}`."""
    return {"problems": [problem._asdict() for problem in problems]}


def plan_text(planned: "Plan", *, diff: bool = False) -> str:
    """How the spec changed, what data is not there, and a line for each file that is not as it was generated.

    Args:
        planned: The plan.
        diff: Whether each change is shown, line by line.
    """
    from tunesmith.regeneration.steps import UNCHANGED

    text = _text(f"spec     {change}" for change in planned.spec_changes)
    if planned.unchecked:
        missing = ", ".join(f"{printable(path)} ({printable(why)})" for path, why in planned.unchecked.items())
        text += f"data     not checked: {missing}\n"
    for step in planned.steps:
        if step.reason == UNCHANGED:
            continue
        text += f"{step.action:9}{step.path}  ({step.reason})\n"
        if diff and not step.path.startswith(".tunesmith/"):
            text += step.diff()
        if step.conflict is not None and step in planned.blocking:
            text += "".join(map(_both_sides, step.conflict.hunks))
    return text


def plan_document(planned: "Plan", *, diff: bool = False) -> dict[str, object]:
    """`{"spec": [{"option", "old", "new", "reason"}], "steps": [{"path", "action", "reason", …}]}`, every file in it.

    And `"data_not_checked": {path: reason}`, the data files that are not there.
    `problems` is there too, where the record of what was generated is not.

    Args:
        planned: The plan.
        diff: Whether each step holds its unified diff.
    """
    return {
        "spec": [change._asdict() for change in planned.spec_changes],
        "data_not_checked": dict(planned.unchecked),
        "steps": [_step_document(step, diff) for step in planned.steps],
        **(problems_document([planned.lost]) if planned.lost else {}),
    }


def lost_text(planned: "Plan") -> str:
    """What is missing of the record, if anything is."""
    return problems_text([planned.lost] if planned.lost else ())


def summary_text(planned: "Plan", *, done: bool) -> str:
    """The plan in one line.

    Args:
        planned: The plan.
        done: Whether it was carried out.
    """
    if not planned.changes and not planned.conflicts:
        return f"Nothing to do: none of {len(planned.steps)} files has to change.\n"
    counts = {action: sum(step.action == action for step in planned.steps) for action in _DONE}
    parts = [f"{count} {_DONE[action] if done else f'to {action}'}" for action, count in counts.items() if count]
    if planned.conflicts:
        parts.append(f"{len(planned.conflicts)} in conflict{_SETTLED[planned.on_conflict]}")
    return ", ".join(parts) + "\n"


def blocked_text(planned: "Plan", directory: Path) -> str:
    """Why nothing was written, and what there is to do."""
    blocking = planned.blocking
    ways = [way for way in _WAYS_OUT if all(way in step.conflict.choices for step in blocking if step.conflict)]
    head = f"Nothing was written: {len(blocking)} in conflict. Edit or move what is in the way, and apply again"
    return (
        problems_text(Problem(step.path, 0, 0, "TS405", step.reason) for step in blocking)
        + f"{head}{', or:' if ways else '.'}\n"
        + _text(f"  tunesmith apply {directory} --on-conflict {way:9}{_WAYS_OUT[way]}" for way in ways)
    )


def interrupted_text(found: "Finished") -> str:
    """What became of a change that an earlier, interrupted apply had staged."""
    done = "Finished what" if found.decided else "Nothing was changed, and nothing is left, of what"
    return f"{done} an interrupted apply had begun.\n" + edited_since_text(found)


def edited_since_text(finished: "Finished") -> str:
    """The files that were edited between the plan and its last step."""
    return _text(
        [
            *(f"{path}: you edited it since; both changes are in it" for path in finished.merged),
            *(
                f"{path}: you edited it since; both sides are between markers, for you to choose"
                for path in finished.marked
            ),
            *(f"{path}: you changed it since, and it is left as it is" for path in finished.left),
        ]
    )


def next_text(planned: "Plan", directory: Path | None, *, is_new: bool) -> str:
    """What to do after an apply: set up a new repository, or an old one whose dependencies changed.

    Args:
        planned: What was applied.
        directory: The folder to go to first; None for a user who is there.
        is_new: Whether this was the repository's first apply.
    """
    entering = "" if directory is None else f"cd {shlex.quote(str(directory))} && "
    if is_new:
        return f"Next: {entering}make setup && make smoke\n"
    if any(step.changes and step.path in ("pyproject.toml", "constraints.txt") for step in planned.steps):
        return f"Next: {entering}make setup, since what the repository depends on may have changed\n"
    return ""


def created_text(directory: Path, paths: Iterable[str]) -> str:
    """What an interview wrote into `directory`."""
    return _text(f"create  {directory / path}" for path in paths) + (
        f"Next: look through {directory / 'pipeline.yaml'}, then `tunesmith apply {directory}`\n"
    )


def validation_text(spec_path: Path, rows: "DataSummary") -> str:
    """That a spec and its data are sound, how many rows there are, and which are dropped."""
    return _text(
        [
            *(f"{name}: {count} rows" for name, count in rows.read.items()),
            *map(printable, rows.splits.drops()),
            "used: " + ", ".join(f"{count} for {split}" for split, count in sorted(rows.splits.rows.items())),
            f"{spec_path}: no problem found",
        ]
    )


def validation_document(spec: "Spec", rows: "DataSummary") -> dict[str, object]:
    """`{"problems": [], "spec": …, "rows": {path: count}, "dropped": …, "splits": {split: count}}`.

    The spec is there with its defaults; `dropped` is `{reason: {"rows": count, "first": place}}`.
    """
    splits = rows.splits
    return {
        **problems_document([]),
        "spec": spec.model_dump(mode="json"),
        "rows": rows.read,
        "dropped": {
            reason: {"rows": count, "first": splits.first_dropped[reason]} for reason, count in splits.dropped.items()
        },
        "splits": splits.rows,
    }


def check_text(report: "Report") -> str:
    """The checks that could not run, and the counts; the problems are apart, in `problems_text`."""
    skipped = _text(f"skipped  {reason}" for reason in report.skipped)
    return f"{skipped}{report.files} files checked, {len(report.problems)} problems\n"


def check_document(report: "Report") -> dict[str, object]:
    """`{"files": count, "problems": […], "skipped": [reason]}`."""
    return {"files": report.files, **problems_document(report.problems), "skipped": report.skipped}


def blueprints_text(blueprints: "Iterable[Blueprint]") -> str:
    """Two lines each: what it is for, and what it asks."""
    return "".join(
        f"{found.name:20}{found.description}\n{'':20}asks: {', '.join(found.questions)}\n" for found in blueprints
    )


def blueprints_document(blueprints: "Iterable[Blueprint]") -> list[dict[str, object]]:
    """`[{"name", "description", "questions": [name]}]`."""
    return [found._asdict() for found in blueprints]


def codes_text(codes: "Mapping[str, Explanation]") -> str:
    """One line each: the code and its title."""
    return _text(f"{code}  {explanation.title}" for code, explanation in codes.items())


def code_text(code: str, explanation: "Explanation") -> str:
    """One code with its title and what there is to know."""
    return codes_text({code: explanation}) + f"\n{explanation.text}\n"


def codes_document(codes: "Mapping[str, Explanation]") -> list[dict[str, object]]:
    """`[{"code", "title", "text"}]`."""
    return [{"code": code, **explanation._asdict()} for code, explanation in codes.items()]


def _text(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)


def _step_document(step: "Step", diff: bool) -> dict[str, object]:
    document: dict[str, object] = {"path": step.path, "action": step.action, "reason": step.reason}
    if step.source:
        document["from"] = step.source
    if diff:
        document["diff"] = step.diff()
    if step.conflict is not None:
        document["settled_by"] = sorted(step.conflict.choices)
        document["conflicts"] = [
            {
                name: None if side is None else side.decode("utf-8", "replace")
                for name, side in (("yours", hunk.ours), ("before", hunk.base), ("generated", hunk.theirs))
            }
            for hunk in step.conflict.hunks
        ]
    return document


def _both_sides(hunk: "Hunk") -> str:
    """Both sides of a conflict, for a person to look at."""
    from tunesmith.regeneration.merge import LABELS

    text = ""
    for label, side in zip(LABELS, (hunk.ours, hunk.base, hunk.theirs), strict=True):
        if side is None:
            continue
        lines = [printable(line) for line in side.decode("utf-8", "replace").removesuffix("\n").split("\n")]
        text += f"  {label}:\n" + "".join(f"  | {line}\n" for line in _cut(lines))
    return text


def _cut(lines: Sequence[str]) -> Sequence[str]:
    if len(lines) <= _SHOWN_LINES:
        return lines
    return [*lines[:_SHOWN_LINES], f"… and {len(lines) - _SHOWN_LINES} lines more"]
