"""The laws of regeneration, over specs and edits that nobody thought of.

No edits: A→B equals a fresh B, and A→B→A equals A; a file that is written once is in B what it was in A, where A has it.
With edits: every line that the user added is in the result or in a
reported conflict; files of the user's own are as they were; what the user left alone equals a fresh B; plan writes
nothing and says what apply does; applying twice changes nothing. A file that is written once is never in conflict, and
keeps the user's bytes wherever it is.
"""

import functools
import json
import os
import random
import shutil
import tempfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, seed, settings
from hypothesis import strategies as st

import tunesmith.files.lock
import tunesmith.generate
from conftest import snapshot, spec_with, write_spec
from tunesmith.files.lock import BASE_PATH, LOCK_PATH
from tunesmith.files.tree import Tree
from tunesmith.regeneration import apply as application
from tunesmith.regeneration.plan import plan
from tunesmith.regeneration.steps import OnConflict
from tunesmith.spec.pipeline import Spec

SCENARIOS = 2_000
# Written once here, whatever components say: one that each spec changes, one that comes and goes, one that moves.
ONCE = {"project/readme", "project/license", "hpo/guide", "data/script"}
RECORDS = (LOCK_PATH, BASE_PATH)
SPECS = st.fixed_dictionaries(
    {},
    optional={
        "project__name": st.sampled_from(["order-helper", "a"]),
        "project__license": st.sampled_from(["mit", "apache-2.0"]),
        "train__adapter": st.just("full"),
        "train__epochs": st.sampled_from([5, 7]),
        "hpo__enabled": st.just(False),
        "evaluate__metrics": st.sampled_from([["loss"], ["bleu", "exact-match"]]),
        "serve__engine": st.just("vllm"),
        "serve__port": st.just(9000),
        "ci__provider": st.just("none"),
    },
)
EDITS = (
    "insert", "insert", "insert", "delete lines", "replace", "no final newline", "strip", "crlf", "some crlf", "signature",
    "re-encode", "executable", "move", "rename", "delete", "add",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def rendered_once() -> Iterator[None]:
    """Rendering is deterministic, which another test holds; here the same spec is rendered and packed only once."""
    original = tunesmith.generate.generate
    trees: dict[str, Tree] = {}

    def remembered(spec: Spec) -> Tree:
        key = spec.model_dump_json()
        if key not in trees:
            trees[key] = Tree(file._replace(ownership="once") if file.id in ONCE else file for file in original(spec))
        return trees[key]

    compress = tunesmith.files.lock.compress
    tunesmith.generate.generate, tunesmith.files.lock.compress = remembered, functools.cache(compress)
    yield
    tunesmith.generate.generate, tunesmith.files.lock.compress = original, compress


@functools.cache
def generated(spec: str) -> Path:
    """A fresh repository of a spec, to copy from."""
    root = write_spec(Path(tempfile.mkdtemp(prefix="law-")), json.loads(spec))
    application.apply(plan(root))
    shutil.rmtree(root / ".git", ignore_errors=True)
    return root


def written_once(files: dict[str, bytes]) -> dict[str, str]:
    """Places of the files that a lock says are written once, by id."""
    entries = json.loads(files[LOCK_PATH])["files"]
    return {entry["id"]: entry.get("moved_to", entry["path"]) for entry in entries if entry["ownership"] == "once"}


@dataclass
class Edits:
    """What the user did."""

    lines: list[str] = field(default_factory=list)
    own: dict[str, bytes] = field(default_factory=dict)
    touched: set[str] = field(default_factory=set)
    deleted: set[str] = field(default_factory=set)


def edit(root: Path, choice: random.Random, names: list[str]) -> Edits:
    """Do each of `names` to a random generated file."""
    edits = Edits()
    kept = (".tunesmith/", "data/", "pipeline.yaml")
    for number, name in enumerate(names):
        files = sorted(path for path in snapshot(root) if not path.startswith(kept) and path not in edits.own)
        path = choice.choice(files)
        if name == "add":
            own = os.path.dirname(path) + f"/own {number}.md"
            (root / own.lstrip("/")).write_bytes(edits.own.setdefault(own.lstrip("/"), b"own %d\n" % number))
            continue
        edits.touched.add(path)
        content = (root / path).read_bytes()
        lines = content.splitlines(keepends=True)
        place = choice.randint(0, len(lines))
        line = f"# user line {number} {choice.random()}"
        if name in ("insert", "replace"):
            lines[place : place + (name == "replace")] = [line.encode() + b"\n"]
            edits.lines.append(line)
        elif name == "delete lines":
            del lines[place : place + choice.randint(1, 5)]
        elif name == "no final newline":
            lines.append(line.encode())
            edits.lines.append(line)
        elif name == "crlf":
            lines = [line.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") for line in lines]
        elif name == "some crlf":
            lines = [
                line.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n") if choice.random() < 0.3 else line
                for line in lines
            ]
        elif name == "signature":
            lines.insert(0, b"" if content.startswith(b"\xef\xbb\xbf") else b"\xef\xbb\xbf")
        elif name == "strip":
            lines[-1:] = [line.rstrip(b"\r\n") for line in lines[-1:]]
        elif name == "re-encode":
            lines.insert(place, line.encode() + "é".encode("latin-1") + b"\n")
            edits.lines.append(line)
        elif name == "executable":
            (root / path).chmod(0o755)
        elif name in ("move", "rename"):
            target = (
                f"moved {number}/{os.path.basename(path)}" if name == "move" else f"{path}.{number}{Path(path).suffix}"
            )
            (root / target).parent.mkdir(parents=True, exist_ok=True)
            (root / path).rename(root / target)
            edits.touched.add(target)
            continue
        elif name == "delete":
            (root / path).unlink()
            edits.deleted.add(path)
            continue
        (root / path).write_bytes(b"".join(lines))
    everything = b"\n".join(snapshot(root).values())
    edits.lines = [line for line in edits.lines if line.encode() in everything]
    return edits


def check_laws(root: Path, fresh: Path, edits: Edits, way: OnConflict) -> None:
    """Regenerate, and hold the result against every law."""
    before = snapshot(root)
    planned = plan(root)
    assert snapshot(root) == before, "plan writes nothing"
    if planned.conflicts:
        application.apply(planned)
        assert snapshot(root) == before, "a conflict writes nothing"
        planned = plan(root, on_conflict=way)
    application.apply(planned)
    after = snapshot(root)
    if planned.blocking:
        assert after == before
        return
    changed = {path for path in before.keys() | after.keys() if before.get(path) != after.get(path)}
    assert changed == {
        change.path
        for change in planned.changes
        if (change.old.content if change.old else None) != (change.new.content if change.new else None)
    }
    clashing = {step.path for step in planned.conflicts} | {step.source for step in planned.conflicts}
    everything = b"\n".join(after.values())
    known = b"\n".join(before.values())
    lost = [line for line in edits.lines if line.encode() in known and line.encode() not in everything]
    if way != "theirs":
        assert lost == []
    for line in lost:
        assert any(line.encode() in content for path, content in before.items() if path in clashing), line
    assert {path: after.get(path) for path in edits.own} == edits.own
    new = snapshot(fresh)
    once = written_once(before).keys()
    for step in planned.steps:
        if step.id in once:
            assert step.conflict is None, step
            source = step.source or step.path
            assert step.path not in after or source not in before or after[step.path] == before[source], step
            continue
        alone = step.id and step.conflict is None and not {step.path, step.source} & edits.touched
        if alone and step.path in after and step.path in new:
            assert after[step.path] == new[step.path], step
    assert plan(root).changes == [], "applying twice changes nothing"


def scenario(old: dict[str, Any], new: dict[str, Any], names: list[str], number: int, way: OnConflict) -> None:
    with tempfile.TemporaryDirectory(prefix="law-") as place:
        root = shutil.copytree(generated(json.dumps(spec_with(**old))), Path(place) / "repository")
        edits = edit(root, random.Random(number), names)
        write_spec(root, spec_with(**new))
        check_laws(root, generated(json.dumps(spec_with(**new))), edits, way)
        # And back: what the first regeneration recorded is what the second one starts from.
        write_spec(root, spec_with(**old))
        check_laws(root, generated(json.dumps(spec_with(**old))), edits, way)


def laws(examples: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    inputs = given(
        old=SPECS,
        new=SPECS,
        names=st.lists(st.sampled_from(EDITS), min_size=1, max_size=12),
        number=st.integers(0, 2**32),
        way=st.sampled_from(["markers", "ours", "theirs"]),
    )
    limits = settings(
        max_examples=examples, deadline=None, suppress_health_check=list(HealthCheck), database=None, derandomize=False
    )
    return lambda test: limits(inputs(test))


@seed(0)
@laws(40)
def test_edits_survive_a_change_of_the_spec(**scenario_: Any) -> None:
    scenario(**scenario_)


@pytest.mark.slow
@pytest.mark.parametrize("part", range(2))
def test_edits_survive_hundreds_of_changes_of_the_spec(part: int) -> None:
    seed(part + 1)(laws(100)(scenario))()


@pytest.mark.long
@pytest.mark.parametrize("part", range(4))
def test_edits_survive_thousands_of_changes_of_the_spec(part: int) -> None:
    seed(part)(laws(SCENARIOS // 4)(scenario))()


@seed(0)
@settings(max_examples=15, deadline=None, database=None)
@given(old=SPECS, new=SPECS)
def test_without_edits_a_change_equals_a_fresh_repository_and_back_again(
    old: dict[str, Any], new: dict[str, Any]
) -> None:
    with tempfile.TemporaryDirectory(prefix="law-") as place:
        first, fresh = (generated(json.dumps(spec_with(**spec))) for spec in (old, new))
        root = shutil.copytree(first, Path(place) / "repository")
        write_spec(root, spec_with(**new))
        application.apply(plan(root))
        before, wanted, after = snapshot(first), snapshot(fresh), snapshot(root)
        sources, targets = written_once(before), written_once(wanted)
        wanted |= {targets[id_]: before[sources[id_]] for id_ in sources.keys() & targets.keys()}
        assert {path: after[path] for path in after if path not in RECORDS} == {
            path: wanted[path] for path in wanted if path not in RECORDS
        }
        write_spec(root, spec_with(**old))
        application.apply(plan(root))
        assert snapshot(root) == before
