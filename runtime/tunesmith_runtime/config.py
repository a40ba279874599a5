"""YAML config files -> frozen dataclasses, with the position of every mistake.

The first file is the complete one. Later files and ``--set`` override it key by key (lists and
scalars are replaced whole) and may add no key, so that a misspelt key there is an error too.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, fields, is_dataclass
from pathlib import Path
from typing import Any, TypeVar, get_type_hints

import yaml
from pydantic import TypeAdapter, ValidationError
from pydantic_core import ErrorDetails
from tunesmith_runtime.errors import UserError

T = TypeVar("T")
Keys = tuple[str | int, ...]


@dataclass
class _Document:
    """What a file says, and the place (``file:line:column``) of each key."""

    values: dict[str, Any]
    places: dict[Keys, str]

    def place(self, keys: Keys) -> str:
        """The place of a key, or of what is around it."""
        while keys not in self.places:
            keys = keys[:-1]
        return self.places[keys]


class _Loader(yaml.SafeLoader):
    """Reads 1e-4 as a number, as YAML 1.2 does."""


_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(r"[-+]?[0-9]+(\.[0-9]*)?[eE][-+]?[0-9]+$"),
    [*"-+0123456789"],
)


def load_config(
    cls: type[T],
    section: str,
    paths: Sequence[str | Path],
    overrides: Sequence[str] = (),
) -> T:
    """Fill ``cls`` from the top-level values it declares and from its section.

    A field that is typed as a dataclass is filled from the keys below it in the section, or from
    the section of its name.
    Raises UserError with one line per problem: unknown, missing or mistyped keys, bad YAML.
    """
    document = _read(Path(paths[0]))
    problems: list[str] = []
    for overlay in [*(_read(Path(path)) for path in paths[1:]), *map(_parse_override, overrides)]:
        _merge(document.values, overlay.values, (), document, overlay, problems)
    origins: dict[Keys, Keys] = {}
    values = _gather(cls, (section,), document, (), origins, problems)
    try:
        # As JSON, in which lists are tuples too, and nothing is converted silently.
        config = TypeAdapter(cls).validate_json(json.dumps(values, default=str), strict=True)
    except ValidationError as error:
        problems += [_mistake(document, origins, details) for details in error.errors()]
    if problems:
        raise UserError("\n".join(dict.fromkeys(problems)))
    return config


def _read(path: Path) -> _Document:
    try:
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise UserError(f"{path}: cannot read the config ({error.strerror})") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: not UTF-8 at byte {error.start}") from None
    return _parse(text, str(path))


def _parse(text: str, name: str) -> _Document:
    try:
        loader = _Loader(text)
        node = loader.get_single_node()
        places: dict[Keys, str] = {(): name}
        if node is not None:
            _locate(node, (), name, places)
        values = {} if node is None else loader.construct_document(node)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"{name}:{mark.line + 1}:{mark.column + 1}" if mark else name
        raise UserError(f"{place}: not valid YAML: {error.problem}") from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise UserError(f"{name}: not valid YAML: {' '.join(str(error).split())}") from None
    if not isinstance(values, dict):
        raise UserError(f"{name}:1:1: expected keys and values at the top of the file")
    return _Document(values, places)


def _locate(node: yaml.Node, keys: Keys, name: str, places: dict[Keys, str]) -> None:
    if isinstance(node, yaml.MappingNode):
        for key_node, value_node in node.value:
            mark, inner = key_node.start_mark, (*keys, str(key_node.value))
            place = f"{name}:{mark.line + 1}:{mark.column + 1}"
            if inner in places:
                key = key_node.value
                raise UserError(f"{place}: '{key}' is written twice; first {places[inner]}")
            places[inner] = place
            _locate(value_node, inner, name, places)
    elif isinstance(node, yaml.SequenceNode):
        for index, item in enumerate(node.value):
            places[*keys, index] = f"{name}:{item.start_mark.line + 1}:{item.start_mark.column + 1}"
            _locate(item, (*keys, index), name, places)


def _parse_override(override: str) -> _Document:
    key, equals, text = override.partition("=")
    if not equals or not all(key.split(".")):
        raise UserError(f"--set {override}: expected key=value, e.g. train.learning_rate=1e-4")
    try:
        ((_, value),) = _parse(f"value: {text}", "").values.items()
    except (UserError, ValueError):
        raise UserError(f"--set {override}: the value is not valid YAML") from None
    for part in reversed(key.split(".")):
        value = {part: value}
    return _Document(value, {(): f"--set {key}"})


def _merge(
    base: dict[str, Any],
    overlay: dict[str, Any],
    keys: Keys,
    into: _Document,
    source: _Document,
    problems: list[str],
) -> None:
    """Lay ``overlay`` over ``base`` in place."""
    # An empty mapping, such as chat_template_kwargs: {}, takes any keys.
    takes_any = not base
    for key, value in overlay.items():
        inner = (*keys, key)
        if key not in base and not takes_any:
            problems.append(_unknown(source.place(inner), inner, list(base)))
        elif isinstance(value, dict) and isinstance(base.get(key), dict):
            _merge(base[key], value, inner, into, source, problems)
        else:
            base[key] = value
            into.places[inner] = source.place(inner)


def _gather(
    cls: type,
    place: Keys,
    document: _Document,
    prefix: Keys,
    origins: dict[Keys, Keys],
    problems: list[str],
) -> dict[str, Any]:
    """The values of ``cls``'s fields, from the keys at ``place`` and, for a section, the top.

    ``origins`` says where in the file each value, at ``prefix`` in the result, came from.
    """
    own: Any = document.values
    for key in place:
        own = own.get(key) or {}
        if not isinstance(own, dict):
            problems.append(f"{document.place(place)}: {_name(place)}: expected keys and values")
            own = {}
    top = document.values if len(place) == 1 else {}
    names = [field.name for field in fields(cls)]
    hints = get_type_hints(cls)
    values: dict[str, Any] = {}
    for name in names:
        # A field that is missing is looked for in its section.
        origins[*prefix, name] = (*place, name)
        if name not in own and name not in top:
            continue
        if is_dataclass(hints[name]):
            inner = hints[name]
            assert isinstance(inner, type)
            at = (*place, name) if name in own else (name,)
            values[name] = _gather(inner, at, document, (*prefix, name), origins, problems)
        elif name in own:
            values[name] = own[name]
        else:
            values[name] = top[name]
            origins[*prefix, name] = (name,)
    for key in own:
        if key not in names:
            left = [name for name in names if name not in values]
            keys = (*place, str(key))
            problems.append(_unknown(document.place(keys), keys, left))
    return values


def _mistake(document: _Document, origins: dict[Keys, Keys], details: ErrorDetails) -> str:
    location = details["loc"]
    known = location
    while known and known not in origins:
        known = known[:-1]
    keys = origins.get(known, ()) + location[len(known) :]
    name = _name(keys)
    if details["type"] == "missing":
        top = " or at the top of the file" if len(keys) == 2 else ""
        return f"{document.place(keys)}: {name}: missing; add it there{top}"
    if details["type"] == "unexpected_keyword_argument":
        return f"{document.place(keys)}: {name}: unknown key"
    message = details["msg"].replace("Input should be", "expected")
    return f"{document.place(keys)}: {name}: {message}, not {details['input']!r}"


def _name(keys: Keys) -> str:
    """A key as it is written on the command line."""
    return "".join(f"[{key}]" if isinstance(key, int) else f".{key}" for key in keys)[1:]


def _unknown(place: str, keys: Keys, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(keys[-1]), known, n=1, cutoff=0.6)
    hint = f"; did you mean '{near[0]}'?" if near else ""
    return f"{place}: {'.'.join(map(str, keys))}: unknown key{hint}"
