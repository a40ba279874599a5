"""YAML, TOML and JSON files load, and give no key twice."""

import json
import tomllib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import yaml

from tunesmith.problem import Problem, shorten

# Data files are the data stage's to check, row by row.
_MAX_BYTES = 5_000_000


def problems(root: Path, paths: list[Path]) -> Iterator[Problem]:
    """Files that do not load."""
    for path in paths:
        if path.suffix not in (".yaml", ".yml", ".toml", ".json") or (root / path).stat().st_size > _MAX_BYTES:
            continue
        name = path.as_posix()
        try:
            text = (root / path).read_text(encoding="utf-8")
        except UnicodeDecodeError:
            yield Problem(name, 0, 0, _code(path), "is not UTF-8")
            continue
        try:
            if path.suffix == ".toml":
                tomllib.loads(text)
            elif path.suffix == ".json":
                json.loads(text, object_pairs_hook=_object)
            else:
                # Events, since composing a deeply nested file recurses in C.
                events = yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
                for event, first in _repeated_keys(events):
                    message = f"the key {shorten(event.value)} is already given on line {first}"
                    yield Problem(name, *_place(event.start_mark), "TS503", message)
        except yaml.MarkedYAMLError as error:
            yield Problem(name, *_place(error.problem_mark), "TS503", error.problem or "is not valid YAML")
        except yaml.YAMLError as error:
            yield Problem(name, 0, 0, "TS503", " ".join(str(error).split()))
        except json.JSONDecodeError as error:
            yield Problem(name, error.lineno, error.colno, "TS505", error.msg)
        except _RepeatedKeyError as error:
            yield Problem(name, 0, 0, "TS505", f"the key {shorten(error)} is given twice in one object")
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            yield Problem(name, 0, 0, _code(path), str(error))


@dataclass
class _Collection:
    """A mapping or a sequence whose end is still to come.

    Attributes:
        lines: The line of each key; None of a sequence.
        at_key: Whether a key comes next, and not its value.
    """

    lines: dict[str, int] | None
    at_key: bool = True


def _repeated_keys(events: Iterable[yaml.Event]) -> Iterator[tuple[yaml.ScalarEvent, int]]:
    """Each key that its own mapping gave before, and the line where it did; keys are the same by their text."""
    collections: list[_Collection] = []
    for event in events:
        if not isinstance(event, (yaml.NodeEvent, yaml.CollectionEndEvent)):
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            collections.pop()
        elif collections and (inside := collections[-1]).lines is not None:
            if inside.at_key and isinstance(event, yaml.ScalarEvent):
                if event.value in inside.lines:
                    yield event, inside.lines[event.value]
                inside.lines.setdefault(event.value, _place(event.start_mark)[0])
            inside.at_key = not inside.at_key
        if isinstance(event, yaml.CollectionStartEvent):
            collections.append(_Collection({} if isinstance(event, yaml.MappingStartEvent) else None))


def _place(mark: "yaml.Mark | yaml._yaml.Mark | None") -> tuple[int, int]:
    """Line and column from 1; 0 where there is none."""
    return (mark.line + 1, mark.column + 1) if mark else (0, 0)


class _RepeatedKeyError(Exception):
    """A key that one object of JSON gives twice."""


def _object(pairs: list[tuple[str, object]]) -> dict[str, object]:
    keys: set[str] = set()
    for key, _ in pairs:
        if key in keys:
            raise _RepeatedKeyError(key)
        keys.add(key)
    return dict(pairs)


def _code(path: Path) -> str:
    return {".toml": "TS504", ".json": "TS505"}.get(path.suffix, "TS503")
