"""Every pair of values of the spec's options, taken from the schema: rendered and checked, or refused by a rule."""

import functools
import itertools
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from conftest import SPEC, spec_with
from tunesmith.check import documents, python, workflows
from tunesmith.generate import generate
from tunesmith.problem import Problem
from tunesmith.spec.pipeline import RULES, Spec
from tunesmith.spec.resolve import resolve

Option = tuple[str | int, ...]
Level = tuple[Option, str]  # an option and the YAML of a value
Row = dict[Option, str]
ABSENT = "(left out)"
SCHEMA = Spec.model_json_schema()
METHOD: Option = ("train", "method")
SOURCE_FORMAT: Option = ("data", "sources", 0, "format")
PROMPT: Option = ("data", "sources", 0, "columns", "prompt")
COMPLETION: Option = ("data", "sources", 0, "columns", "completion")


def options(node: dict[str, Any], path: Option, given: Any) -> Iterator[tuple[Option, list[str]]]:
    """Each option below a node of the schema, with the values to try; `given` is what the smallest spec says."""
    node = resolved(node)
    if "properties" in node:
        for name, inner in node["properties"].items():
            yield from options(inner, (*path, name), given.get(name) if isinstance(given, dict) else None)
        return
    if node.get("type") == "array" and "properties" in resolved(node["items"]):
        yield from options(node["items"], (*path, 0), given[0] if given else None)
        return
    levels = [yaml.safe_dump(value, default_flow_style=True).removesuffix("\n...\n").strip() for value in values(node)]
    if given is not None:
        levels.insert(0, yaml.safe_dump(given).removesuffix("\n...\n").strip())
    if "default" in node:
        levels.append(ABSENT) if given is not None else levels.insert(0, ABSENT)
    yield path, list(dict.fromkeys(levels))


def resolved(node: dict[str, Any]) -> dict[str, Any]:
    """A node without `$ref`, and without the null of what may be left out."""
    kinds = [kind for kind in node.get("anyOf", []) if kind.get("type") != "null"]
    if len(kinds) == 1 and "examples" not in node:
        node = {**node, **kinds[0]}
    if "$ref" in node and "examples" not in node:
        node = {**node, **SCHEMA["$defs"][node["$ref"].rsplit("/", 1)[1]]}
    return node


def values(node: dict[str, Any]) -> list[Any]:
    if "const" in node:
        return [node["const"]]
    if "examples" in node:
        return list(node["examples"])
    kind, default = node.get("type"), node.get("default")
    if "enum" in node or kind == "boolean":
        return list(node.get("enum", [True, False]))
    if kind in ("integer", "number"):
        low = node.get("minimum", node.get("exclusiveMinimum", 0))
        high = node.get("maximum", node.get("exclusiveMaximum", 1))
        near = default or (low + high) / 2
        both = [round(value, 6) for value in (near / 2, near * 1.5) if low < value < high]
        return [int(value) for value in both] if kind == "integer" else both
    if kind == "array":
        inner = values(resolved(node["items"]))
        return [inner[:1], inner]
    if kind == "string":
        return [text for text in (default, None if "pattern" in node else "two words") if text]
    raise AssertionError(f"nothing is known to try for {node}; give the field examples")


OPTIONS = dict(options(SCHEMA, (), SPEC))


def spec_of(row: Row) -> dict[str, Any]:
    spec: dict[str | int, Any] = {"data": {"sources": [{}]}}
    for option, level in row.items():
        if level != ABSENT:
            target: Any = spec
            for key in option[:-1]:
                target = target.setdefault(key, {}) if isinstance(target, dict) else target[key]
            target[option[-1]] = loaded(level)
    return spec


loaded = functools.cache(yaml.safe_load)


def problems(row: Row) -> dict[str, str]:
    """Code by message of all that is wrong with a row; only rules may refuse what the schema allows."""
    resolved = resolve(Spec.model_validate(spec_of(row)))
    return {message: rule.code for rule in RULES for _, message in rule.check(resolved)}


class Covering:
    """Rows that hold every pair of levels that the rules allow, chosen greedily."""

    def __init__(self) -> None:
        self.random = random.Random(0)
        self.rows: list[Row] = []
        self.refused: dict[tuple[Level, Level], set[str]] = {}
        self.uncovered = {
            frozenset((one, other))
            for a, b in itertools.combinations(OPTIONS, 2)
            for one in ((a, level) for level in OPTIONS[a])
            for other in ((b, level) for level in OPTIONS[b])
        }
        for pair in sorted(self.uncovered, key=sorted):
            if pair in self.uncovered:
                self.add(dict(pair))
        # A row that was made for another pair may hold one that the search had given up.
        held = {frozenset(two) for row in self.rows for two in itertools.combinations(row.items(), 2)}
        self.refused = {pair: codes for pair, codes in self.refused.items() if frozenset(pair) not in held}

    def add(self, pair: Row) -> None:
        defaults = {option: levels[0] for option, levels in OPTIONS.items()}
        # Rows of pairs need a method that learns from them, which is more than one step away.
        preferences = {**defaults, METHOD: "dpo", SOURCE_FORMAT: "preference", COMPLETION: ABSENT}
        talks = {**defaults, SOURCE_FORMAT: "messages", PROMPT: ABSENT, COMPLETION: ABSENT}
        starts = (self.filled(pair), *[{**start, **pair} for start in (defaults, preferences, talks)] * 4)
        tries = (self.repaired(start, pair) for start in starts)
        row = next(filter(None, tries), None)
        if row is None:
            one, other = sorted(pair.items())
            self.refused[one, other] = set(problems({**defaults, **pair}).values())
            self.uncovered.discard(frozenset((one, other)))
            return
        self.rows.append(row)
        self.uncovered -= {frozenset(two) for two in itertools.combinations(row.items(), 2)}

    def filled(self, pair: Row) -> Row:
        """A row with as many pairs as possible that no row has yet."""
        row = dict(pair)
        others = [option for option in OPTIONS if option not in row]
        self.random.shuffle(others)
        for option in others:
            gains = {
                level: sum(frozenset(((option, level), known)) in self.uncovered for known in row.items())
                for level in OPTIONS[option]
            }
            row[option] = max(gains, key=lambda level: gains[level])
        return row

    def repaired(self, row: Row, pair: Row) -> Row | None:
        """The row with other levels of what the broken rules name, until no rule is broken; the pair stays."""
        for _ in range(20):
            broken = problems(row)
            if not broken:
                return row
            words = set(re.findall(r"[\w-]+", " ".join(broken)))
            named = [option for option in OPTIONS if option not in pair and set(option[-2:]) & words]
            changed = [{**row, option: level} for option in named for level in OPTIONS[option] if level != row[option]]
            if not changed:
                return None
            # A rule may name one option of several, so a step need not make the list shorter.
            self.random.shuffle(changed)
            row = min(changed, key=lambda candidate: len(problems(candidate)))
        return None


@pytest.fixture(scope="module")
def covering() -> Covering:
    return Covering()


@pytest.mark.slow
@pytest.mark.timeout(2_700)  # the search takes minutes, and several times as many on a busy machine
def test_every_pair_is_covered_or_refused_by_a_rule(covering: Covering) -> None:
    assert len(OPTIONS) > 40
    assert covering.uncovered == set()
    for row in covering.rows:
        assert problems(row) == {}
    assert all(covering.refused.values())
    refused = set(itertools.chain.from_iterable(covering.refused.values()))
    known = {"TS201", "TS204", "TS205", "TS211", "TS213", "TS214", "TS217", "TS218", "TS220"}
    assert refused == known, "rules, and nothing else, refuse pairs"
    held = {frozenset(two) for row in covering.rows for two in itertools.combinations(row.items(), 2)}
    assert {row["data", "sources", 0, "format"] for row in covering.rows} >= {"messages", "prompt-completion"}
    assert held.isdisjoint(map(frozenset, covering.refused))
    levels = sum(len(levels) for levels in OPTIONS.values())
    assert len(held) + len(covering.refused) == (levels**2 - sum(len(levels) ** 2 for levels in OPTIONS.values())) // 2


@pytest.mark.slow
@pytest.mark.timeout(2_700)  # the search takes minutes, and several times as many on a busy machine
def test_every_covering_row_is_rendered_and_sound(covering: Covering, tmp_path: Path) -> None:
    for number, row in enumerate(covering.rows):
        root = tmp_path / str(number)
        tree = generate(Spec.model_validate(spec_of(row)))
        for file in tree:
            (root / file.path).parent.mkdir(parents=True, exist_ok=True)
            (root / file.path).write_bytes(file.content)
        paths = [Path(file.path) for file in tree]
        found = [finding for check in (workflows, documents, python) for finding in check.problems(root, paths)]
        assert [finding for finding in found if isinstance(finding, Problem)] == [], spec_of(row)


def test_options_and_their_values_are_taken_from_the_schema() -> None:
    assert OPTIONS["train", "adapter"] == [ABSENT, "full", "lora", "qlora"]
    assert ("data", "sources", 0, "format") in OPTIONS
    assert spec_with()["model"]["base"] in OPTIONS["model", "base"]
