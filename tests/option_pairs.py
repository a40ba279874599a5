"""Every pair of values of the spec's options, taken from the schema: a table of specs that hold them, or are refused.

The search for few specs that hold all pairs takes minutes, so what it finds is committed beside this file:
`make pairs` searches anew, which a change of options or rules asks for, and tests verify the table.
"""

import functools
import itertools
import json
import random
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from conftest import SPEC
from tunesmith.spec.pipeline import RULES, Spec
from tunesmith.spec.resolve import resolve

TABLE = Path(__file__).with_suffix(".json")

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


Pair = tuple[Level, Level]


def document(rows: list[Row], refused: dict[Pair, set[str]]) -> str:
    """The table as JSON, a line each: levels are named by their number in the list of their option's."""
    numbers = {option: {level: str(n) for n, level in enumerate(levels)} for option, levels in OPTIONS.items()}
    places = {option: n for n, option in enumerate(OPTIONS)}

    def short(level: Level) -> str:
        return f"{places[level[0]]}:{numbers[level[0]][level[1]]}"

    table = {
        "options": {json.dumps(option): levels for option, levels in OPTIONS.items()},
        "rows": [" ".join(numbers[option][row[option]] for option in OPTIONS) for row in rows],
        "refused": sorted(f"{short(one)} {short(other)} {' '.join(sorted(c))}" for (one, other), c in refused.items()),
    }
    return json.dumps(table, indent=0, ensure_ascii=False) + "\n"


def is_current() -> bool:
    """Whether the options and values of the table are today's."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    return list(table["options"].items()) == [(json.dumps(option), levels) for option, levels in OPTIONS.items()]


def read() -> tuple[list[Row], dict[Pair, set[str]]]:
    """Rows that hold every pair between them, and the pairs that no row can hold, with the codes of what refuses them."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    rows = [
        {option: OPTIONS[option][int(number)] for option, number in zip(OPTIONS, line.split(), strict=True)}
        for line in table["rows"]
    ]
    options = list(OPTIONS)

    def level(text: str) -> Level:
        option, number = map(int, text.split(":"))
        return options[option], OPTIONS[options[option]][number]

    refused = {}
    for one, other, *codes in map(str.split, table["refused"]):
        refused[level(one), level(other)] = set(codes)
    return rows, refused


if __name__ == "__main__":
    found = Covering()
    TABLE.write_text(document(found.rows, found.refused), encoding="utf-8")
