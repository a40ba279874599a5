"""pipeline.yaml as plain values, with the place of each key and value.

YAML 1.2's core schema decides what a plain scalar is: `2e-4` is a number, `no` is a word.
"""

import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from tunesmith.problem import Problem, TunesmithError, shorten

MAX_BYTES = 1_000_000
MAX_NODES = 100_000
MAX_DEPTH = 50

Key = str | int
Location = tuple[Key, ...]

_INTEGER = re.compile(r"[-+]?[0-9]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_SPECIAL = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
# What the loader tags a scalar with by itself; any other tag was written in the file.
_SCALAR_TAGS = {
    f"tag:yaml.org,2002:{name}" for name in ("null", "bool", "int", "float", "str", "timestamp", "merge", "value")
}
_LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass
class Document:
    """A parsed YAML file.

    `values` is what the file says; `places` maps the location of a value, such as
    `("train", "epochs")`, to the line and column (from 1) of its key, or of the item of a list.
    """

    file: str
    values: object = None
    places: dict[Location, tuple[int, int]] = field(default_factory=dict)

    def place(self, location: Location) -> tuple[int, int]:
        """Line and column of `location`, or of the nearest thing around it that the file has."""
        while location and location not in self.places:
            location = location[:-1]
        return self.places.get(location, (1, 1))

    def problem(self, location: Location, code: str, message: str) -> Problem:
        """A problem at `location`."""
        line, column = self.place(location)
        return Problem(self.file, line, column, code, message)


def read_document(path: Path, content: bytes | None = None) -> Document:
    """Read a YAML file of one mapping: the one at `path`, or `content` in its stead.

    Raises:
        TunesmithError: TS001–TS007, all that is wrong with the file as YAML.
    """
    name = str(path)
    content = _content(path) if content is None else content
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise TunesmithError.of("TS003", f"is not UTF-8 (byte {error.start}); save it as UTF-8", name, line) from None
    if not text.strip():
        raise TunesmithError.of("TS007", "is empty; `tunesmith init BLUEPRINT DIR` writes a spec to start from", name)
    try:
        _check_depth(text, name)
        node = yaml.compose(text, Loader=_LOADER)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
        reason = error.problem or error.context
        if mark and "\t" in "".join(text.splitlines()[mark.line : mark.line + 1])[: mark.column + 1]:
            reason = "a tab; indent with spaces"
        raise TunesmithError.of("TS004", f"invalid YAML: {reason}", name, line, column) from None
    except yaml.YAMLError as error:
        reason = getattr(error, "reason", None) or "unreadable"
        raise TunesmithError.of("TS004", f"invalid YAML: {reason}", name) from None
    document = Document(name)
    reader = _Reader(document)
    document.values = reader.value(node, ()) if node is not None else None
    if not reader.problems and not isinstance(document.values, dict):
        reader.problems.append(
            document.problem((), "TS007", "must hold a mapping of sections such as `project:` and `data:`")
        )
    if reader.problems:
        raise TunesmithError(*reader.problems)
    return document


def _content(path: Path) -> bytes:
    name = str(path)
    try:
        # Before reading: the size of a regular file, so that a huge one costs nothing.
        if path.is_file() and os.stat(path).st_size > MAX_BYTES:
            size = os.stat(path).st_size / 1e6
            raise TunesmithError.of("TS002", f"is {size:.0f} MB; a spec is at most 1 MB — is this a data file?", name)
        return path.read_bytes()
    except FileNotFoundError:
        raise TunesmithError.of("TS001", "no such file; `tunesmith init BLUEPRINT DIR` writes one", name) from None
    except OSError as error:
        raise TunesmithError.of("TS001", f"cannot be read: {error.strerror}", name) from None


def _check_depth(text: str, name: str) -> None:
    # Event by event, since the composer recurses in C and would end the process.
    depth = 0
    for event in yaml.parse(text, Loader=_LOADER):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > MAX_DEPTH:
            mark = event.start_mark
            line, column = (mark.line + 1, mark.column + 1) if mark else (0, 0)
            raise TunesmithError.of("TS006", f"is nested deeper than {MAX_DEPTH} levels", name, line, column)


class _Reader:
    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[Problem] = []
        self.nodes = 0

    def value(self, node: yaml.Node, location: Location) -> object:
        # Counted as they are expanded, since aliases can name the same node over and over.
        self.nodes += 1
        line, column = node.start_mark.line + 1, node.start_mark.column + 1
        if self.nodes > MAX_NODES or len(location) > MAX_DEPTH:
            raise TunesmithError.of(
                "TS006",
                f"expands to more than {MAX_NODES:,} values or {MAX_DEPTH} levels; write it without nested anchors",
                self.document.file,
                line,
                column,
            )
        self.document.places.setdefault(location, (line, column))
        if isinstance(node, yaml.MappingNode):
            return self._mapping(node, location)
        if isinstance(node, yaml.SequenceNode):
            return [self.value(item, (*location, index)) for index, item in enumerate(node.value)]
        if node.tag not in _SCALAR_TAGS:
            self._problem(node, "TS004", f"the tag {shorten(node.tag)} is not allowed; write a plain value")
            return None
        assert isinstance(node, yaml.ScalarNode)  # noqa: S101 — there are three kinds of nodes
        return _scalar(node)

    def _mapping(self, node: yaml.MappingNode, location: Location) -> dict[str, object]:
        values: dict[str, object] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, yaml.ScalarNode):
                self._problem(key_node, "TS004", "a key must be a word, not a list or a mapping")
                continue
            key = key_node.value
            if key in values:
                first = self.document.place((*location, key))[0]
                self._problem(key_node, "TS005", f"duplicate key {shorten(key)}; it is already given on line {first}")
                continue
            self.document.places[(*location, key)] = (
                key_node.start_mark.line + 1,
                key_node.start_mark.column + 1,
            )
            values[key] = self.value(value_node, (*location, key))
        return values

    def _problem(self, node: yaml.Node, code: str, message: str) -> None:
        self.problems.append(
            Problem(self.document.file, node.start_mark.line + 1, node.start_mark.column + 1, code, message)
        )


def _scalar(node: yaml.ScalarNode) -> object:
    text: str = node.value
    if node.style in ("'", '"', "|", ">"):
        return text
    if text in _SPECIAL:
        return _SPECIAL[text]
    # Python refuses to convert integers of thousands of digits; none is meant as a number.
    if _INTEGER.fullmatch(text) and len(text) < 40:
        return int(text)
    if _FLOAT.fullmatch(text):
        return float(text)
    return text
