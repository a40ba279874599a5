"""YAML, TOML and JSON files load."""

import json
import tomllib
from collections.abc import Iterator
from pathlib import Path

import yaml

from tunesmith.problem import Problem

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
                json.loads(text)
            else:
                # Events, since composing a deeply nested file recurses in C.
                for _ in yaml.parse(text, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader)):
                    pass
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            yield Problem(name, line, column, "TS503", error.problem or "is not valid YAML")
        except yaml.YAMLError as error:
            yield Problem(name, 0, 0, "TS503", " ".join(str(error).split()))
        except json.JSONDecodeError as error:
            yield Problem(name, error.lineno, error.colno, "TS505", error.msg)
        except (tomllib.TOMLDecodeError, RecursionError) as error:
            yield Problem(name, 0, 0, _code(path), str(error))


def _code(path: Path) -> str:
    return {".toml": "TS504", ".json": "TS505"}.get(path.suffix, "TS503")
