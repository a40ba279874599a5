"""The laws of regeneration where git takes files away and brings them back, and where it merges two branches.

Files that are away during a regeneration, outside of a sparse checkout or deleted and brought back by git, end up as if
they had been there. Two branches that both regenerated are never taken for one, however git merges them: it is said, and
nothing is written; then, with both records, no line that a user added is lost, and what nobody edited equals a fresh
repository of the merged spec.
"""

import json
import random
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, seed, settings
from hypothesis import strategies as st

from conftest import require, snapshot, spec_with, write_spec
from test_regeneration_laws import (
    RECORDS,
    SCENARIOS,
    SPECS,
    edit,
    generated,
    rendered_once,  # noqa: F401 — a fixture of this module too
    written_once,
)
from tunesmith.problem import TunesmithError
from tunesmith.regeneration import apply as application
from tunesmith.regeneration.plan import plan
from tunesmith.regeneration.steps import OnConflict

# What leaves a file in its place.
IN_PLACE = (
    "insert",
    "insert",
    "delete lines",
    "replace",
    "no final newline",
    "strip",
    "crlf",
    "some crlf",
    "signature",
)
MERGES = ("merge", "merge --squash", "cherry-pick", "rebase", "stash pop")


def git(root: Path, *arguments: str, code: int | None = 0) -> str:
    identity = ("-c", "user.name=t", "-c", "user.email=t@example.org", "-c", "core.editor=true", "-c", "gc.auto=0")
    done = subprocess.run(
        [require("git"), *identity, *arguments], cwd=root, check=False, capture_output=True, text=True
    )
    assert code is None or done.returncode == code, done.stdout + done.stderr
    return done.stdout


def commit(root: Path) -> None:
    git(root, "add", "-A")
    git(root, "commit", "-qm", "c", "--allow-empty")


def regenerate(root: Path, spec: dict[str, Any], way: OnConflict) -> bool:
    """Whether it went through without a conflict."""
    write_spec(root, spec)
    planned = plan(root, on_conflict=way)
    application.apply(planned)
    assert planned.blocking or plan(root).changes == [], "applying twice changes nothing"
    return not planned.conflicts


def absence(
    specs: list[dict[str, Any]], names: list[str], number: int, how: str, share: float, way: OnConflict
) -> None:
    """Regenerate with some files away, bring them back, regenerate; and the same with all of them there."""
    choice = random.Random(number)
    first, *rest = (spec_with(**spec) for spec in specs)
    with tempfile.TemporaryDirectory(prefix="law-") as place:
        root = shutil.copytree(generated(json.dumps(first)), Path(place) / "away")
        edits = edit(root, choice, names)
        git(root, "init", "-q")
        commit(root)
        there = shutil.copytree(root, Path(place) / "there")
        files = [path for path in snapshot(root) if not path.startswith((".tunesmith/", "data/", "pipeline.yaml"))]
        away = [path for path in files if choice.random() < share] or files[:1]
        if how == "sparse checkout":
            git(root, "sparse-checkout", "set", "--no-cone", "/*", *(f"!/{path}" for path in away))
        else:
            for path in away:
                (root / path).unlink()
        settled = [regenerate(folder, spec, way) for folder in (there, root) for spec in rest]
        assert not snapshot(root).keys() & set(away), "what is away is not written"
        if how == "sparse checkout":
            git(root, "sparse-checkout", "disable")
        else:
            git(root, "checkout", "--", *away)
        settled.append(regenerate(root, rest[-1], way))
        if all(settled):
            after = snapshot(root)
            everything = b"\n".join(after.values())
            assert [line for line in edits.lines if line.encode() not in everything] == []
            wanted = snapshot(there)
            # What is written once, and goes on the way, is written anew where it was there, and was never gone where not.
            once = {*written_once(after).values(), *RECORDS} if len(rest) > 1 else set()
            assert after.keys() == wanted.keys()
            assert {path for path in after if after[path] != wanted[path]} <= once


def branches(
    specs: tuple[dict[str, Any], dict[str, Any], dict[str, Any]],
    names: tuple[list[str], list[str]],
    number: int,
    how: str,
    keep: str,
    way: OnConflict,
) -> None:
    """Edit and regenerate on two branches, merge them, settle what git asks for, and go on with the spec of `keep`."""
    choice = random.Random(number)
    merged = {"both": {**specs[1], **specs[2]}, "ours": specs[1], "theirs": specs[2]}[keep]
    with tempfile.TemporaryDirectory(prefix="law-") as place:
        root = shutil.copytree(generated(json.dumps(spec_with(**specs[0]))), Path(place) / "repository")
        git(root, "init", "-q", "--initial-branch", "main")
        commit(root)
        git(root, "branch", "other")
        touched: set[str] = set()
        lines: list[str] = []
        for branch, spec, edited in zip(("main", "other"), specs[1:], names, strict=True):
            git(root, "checkout", "-q", branch)
            edits = edit(root, choice, edited)
            touched |= edits.touched
            lines += edits.lines
            regenerate(root, spec_with(**spec), way)
            commit(root)
        git(root, "checkout", "-q", "main")
        if how == "stash pop":
            git(root, "checkout", "-q", "other")
            git(root, "reset", "-q", "--soft", "HEAD^")
            git(root, "stash", "-q", code=None)
            git(root, "checkout", "-q", "main")
            git(root, "stash", "pop", code=None)
        else:
            git(root, *how.split(), "other", code=None)
        waiting = {line.split("\t")[1] for line in git(root, "ls-files", "--unmerged").splitlines()}
        for path in waiting - {*RECORDS}:
            git(root, "checkout", "--ours", "--", path, code=None)
            git(root, "add", "-A", "--", path)
        write_spec(root, spec_with(**merged))
        if not waiting & {*RECORDS}:
            return  # both branches regenerated alike
        before = snapshot(root)
        with pytest.raises(TunesmithError, match="TS409"):
            plan(root)
        planned = plan(root, on_conflict=way, rebase_lock=True)
        assert snapshot(root) == before, "plan writes nothing"
        application.apply(planned)
        if planned.blocking:
            return
        git(root, "add", "-A")
        after = snapshot(root)
        assert plan(root).changes == [], "applying twice changes nothing"
        known, everything = (b"\n".join(files.values()) for files in (before, after))
        if way != "theirs":
            assert [line for line in lines if line.encode() in known and line.encode() not in everything] == []
        fresh = snapshot(generated(json.dumps(spec_with(**merged))))
        once = written_once(after).values()
        clashing = {step.path for step in planned.conflicts}
        for path in after.keys() & fresh.keys() - touched - waiting - clashing - {*once} - {*RECORDS}:
            assert after[path] == fresh[path], path


def laws(examples: int, law: Callable[..., None], **inputs: Any) -> Callable[[], None]:
    limits = settings(
        max_examples=examples,
        deadline=None,
        suppress_health_check=list(HealthCheck),
        database=None,
        phases=[Phase.generate],  # making one smaller takes longer than to understand it
    )
    way = st.sampled_from(["markers", "ours", "theirs"])
    return limits(given(number=st.integers(0, 2**32), way=way, **inputs)(law))


NAMES = st.lists(st.sampled_from(IN_PLACE), max_size=5)
ABSENCE = {
    "specs": st.lists(SPECS, min_size=2, max_size=3),
    "names": NAMES,
    "how": st.sampled_from(["sparse checkout", "deleted"]),
    "share": st.sampled_from([0.05, 0.5, 1.0]),
}
# git itself takes a folder that one branch renames for the other branch's files, too; that is not what is held here.
UNMOVED = SPECS.map(lambda spec: {option: value for option, value in spec.items() if option != "project__name"})
BRANCHES = {
    "specs": st.tuples(UNMOVED, UNMOVED, UNMOVED).filter(lambda specs: all(specs.count(spec) == 1 for spec in specs)),
    "names": st.tuples(NAMES, NAMES),
    "how": st.sampled_from(MERGES),
    "keep": st.sampled_from(["both", "ours", "theirs"]),
}


def test_files_that_were_away_end_up_as_if_they_had_been_there() -> None:
    seed(0)(laws(6, absence, **ABSENCE))()


def test_two_branches_are_merged_however_git_merges_them() -> None:
    seed(0)(laws(4, branches, **BRANCHES))()


@pytest.mark.slow
@pytest.mark.parametrize(("law", "inputs"), [(absence, ABSENCE), (branches, BRANCHES)])
def test_the_laws_in_git_hold_for_dozens_of_scenarios(law: Callable[..., None], inputs: dict[str, Any]) -> None:
    seed(1)(laws(30, law, **inputs))()


@pytest.mark.long
@pytest.mark.parametrize("part", range(2))
@pytest.mark.parametrize(("law", "inputs"), [(absence, ABSENCE), (branches, BRANCHES)])
def test_the_laws_in_git_hold_for_a_thousand_scenarios(
    law: Callable[..., None], inputs: dict[str, Any], part: int
) -> None:
    seed(part + 2)(laws(SCENARIOS // 4, law, **inputs))()
