"""pipeline.yaml → Spec, with every problem reported at its line and column."""

import difflib
import re
import types
import typing
from collections.abc import Iterator
from pathlib import Path

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from tunesmith.problem import Problem, TunesmithError, shorten
from tunesmith.spec.document import Document, Location, read_document
from tunesmith.spec.migrations import migrated
from tunesmith.spec.pipeline import RULES, Spec
from tunesmith.spec.resolve import resolve


def load_spec(path: Path) -> Spec:
    """Read and check a spec; one of an older apiVersion as it would be rewritten.

    Raises:
        TunesmithError: every problem of the file at once; TS0xx for the file, TS1xx for a key or value, TS2xx for
            sections that do not fit together.
    """
    document = read_document(path, migrated(path))
    try:
        spec = Spec.model_validate(document.values)
    except ValidationError as error:
        raise TunesmithError(*(_problem(document, details) for details in error.errors(include_url=False))) from None
    resolved = resolve(spec)
    problems = [
        document.problem(location, rule.code, message) for rule in RULES for location, message in rule.check(resolved)
    ]
    if problems:
        raise TunesmithError(*problems)
    return spec


def _problem(document: Document, details: ErrorDetails) -> Problem:
    location = _location_in(document, details["loc"])
    name = _dotted(location) or "the spec"
    kind, value = details["type"], details["input"]
    if kind == "extra_forbidden":
        return document.problem(location, "TS101", f"{shorten(name, 120)[1:-1]}: unknown key; {_near_key(location)}")
    if kind == "missing":
        missing = _dotted(details["loc"])
        return document.problem(location, "TS103", f"{missing} is missing; add it{_example(details['loc'])}")
    if kind == "value_error":
        return document.problem(location, "TS104", f"{name} {details['ctx']['error']}")
    hint = _near_value(details) if kind == "literal_error" else ""
    return document.problem(location, "TS102", f"{name} {_expectation(details)}, not {_shown(value)}{hint}")


def _near_key(location: Location) -> str:
    """What the unknown key at `location` may have been meant as."""
    *above, key = location
    name, known = str(key), _keys_at(tuple(above))
    # `rank` and `lora_rank` are both names of `train.lora.rank`.
    same = [path for path in _paths(Spec) if name in (path[-1], "_".join(map(str, path[-2:])))]
    below = [path for path in same if path[: len(above)] == tuple(above)]
    if len(below) == 1:
        return f"did you mean {_dotted(below[0])}?"
    initials = [other for other in known if name and name == "".join(part[0] for part in other.split("_"))]  # `lr`
    begun = [other for other in known if name and other.startswith(name)]
    near = initials or difflib.get_close_matches(name, known, n=1, cutoff=0.51) or begun
    if near:
        return f"did you mean {' or '.join(map(repr, near))}?"
    return f"did you mean {_dotted(same[0])}?" if len(same) == 1 else f"known here: {', '.join(known)}"


def _near_value(details: ErrorDetails) -> str:
    values = re.findall("'([^']*)'", details["ctx"]["expected"])
    near = difflib.get_close_matches(str(details["input"]).lower(), values, n=1)
    return f"; did you mean {near[0]!r}?" if near and len(values) > 1 else ""


def _expectation(details: ErrorDetails) -> str:
    kind = details["type"]
    if kind == "string_type" and isinstance(details["input"], int | float):
        return "must be text in quotes"
    if kind in ("model_type", "model_attributes_type", "dict_type"):
        return "must be a mapping"
    if kind == "string_pattern_mismatch":
        return f"must match {details['ctx']['pattern']}"
    if kind in ("too_short", "too_long"):
        bound, limit = ("at least", "min_length") if kind == "too_short" else ("at most", "max_length")
        count = details["ctx"][limit]
        return f"must have {bound} {count} {'item' if count == 1 else 'items'}"
    return details["msg"].removeprefix("Input ").removeprefix("String ").replace("should", "must", 1)


def _shown(value: object) -> str:
    if isinstance(value, dict | list):
        return "a mapping" if isinstance(value, dict) else f"a list of {len(value)}"
    if isinstance(value, str):
        return shorten(value)
    if value is None or isinstance(value, bool):
        return {None: "empty", True: "true", False: "false"}[value]
    return str(value)


def _location_in(document: Document, loc: tuple[int | str, ...]) -> Location:
    """`loc` as far as the file has it: the keys that are in the file, and an unknown or missing key's parent."""
    location: Location = ()
    for key in loc:
        if (*location, key) not in document.places:
            break
        location = (*location, key)
    return location


def _dotted(location: Location) -> str:
    text = ""
    for key in location:
        text += f"[{key}]" if isinstance(key, int) else f".{key}"
    return text.removeprefix(".")


def _section_at(location: Location) -> type[BaseModel]:
    section: type[BaseModel] = Spec
    for key in location:
        if isinstance(key, str):
            section = _section_in(section.model_fields[key].annotation) or section
    return section


def _section_in(annotation: object) -> type[BaseModel] | None:
    if isinstance(annotation, types.GenericAlias | types.UnionType) or typing.get_origin(annotation):
        return next(filter(None, map(_section_in, typing.get_args(annotation))), None)
    return annotation if isinstance(annotation, type) and issubclass(annotation, BaseModel) else None


def _keys_at(location: Location) -> list[str]:
    return list(_section_at(location).model_fields)


def _paths(section: type[BaseModel], above: Location = ()) -> Iterator[Location]:
    """The location of every option, but for those within a list."""
    for name, field in section.model_fields.items():
        yield (*above, name)
        inner = _section_in(field.annotation)
        if inner is not None and not isinstance(field.annotation, types.GenericAlias):
            yield from _paths(inner, (*above, name))


def _example(loc: Location) -> str:
    examples = _section_at(loc[:-1]).model_fields[str(loc[-1])].examples
    return f", such as `{loc[-1]}: {examples[0]}`" if examples else ""
