"""Writes docs/spec.md, docs/errors.md and the picture in docs/architecture.md from code; `make reference` runs it."""

import json
from pathlib import Path
from typing import Any

import grimp

from tunesmith.codes import CODES, RETIRED
from tunesmith.spec.schema import schema_text

HERE = Path(__file__).resolve().parent


def pages() -> dict[str, str]:
    """Text of each page, by file name."""
    return {"spec.md": spec_page(), "errors.md": errors_page(), "architecture.md": architecture_page()}


def architecture_page() -> str:
    """The page as it is, with the picture of today's imports in it."""
    before, fence, rest = (HERE / "architecture.md").read_text(encoding="utf-8").partition("```mermaid\n")
    return before + fence + picture() + rest[rest.index("```") :]


def picture() -> str:
    """The tool's modules and folders, each with an arrow to what it imports; arrows that others imply are left out."""
    graph = grimp.build_graph("tunesmith")
    imports: dict[str, set[str]] = {}
    for module in graph.modules:
        for imported in graph.find_modules_directly_imported_by(module):
            room, other = (name.split(".")[1] if "." in name else "" for name in (module, imported))
            if room and other and room != other:
                imports.setdefault(room, set()).add(other)

    def reached(room: str) -> set[str]:
        return imports.get(room, set()).union(*(reached(other) for other in imports.get(room, ())))

    lines = ["graph TD"]
    for room in sorted(imports):
        implied: set[str] = set().union(*(reached(other) for other in imports[room]))
        lines += [f"  {room} --> {other}" for other in sorted(imports[room] - implied)]
    return "\n".join(lines) + "\n"


def errors_page() -> str:
    """Every code with its explanation; those that are no longer reported come last."""
    lines = ["# Codes", "", "`tunesmith explain CODE` prints the same."]
    for code, explanation in CODES.items():
        if code not in RETIRED:
            lines += ["", f"## {code}: {explanation.title}", "", explanation.text]
    lines += ["", "## Codes of earlier versions"]
    for code, explanation in RETIRED.items():
        lines += ["", f"### {code}: {explanation.title}", "", explanation.text]
    return "\n".join(lines) + "\n"


def spec_page() -> str:
    """Every option with its type, default and description."""
    schema = json.loads(schema_text())
    lines = [
        "# The spec",
        "",
        "Every option of `pipeline.yaml`. Options without a default must be given; unknown keys are refused.",
    ]
    for name, entry in schema["properties"].items():
        section = resolved(schema, entry)
        if "properties" not in section:
            lines += ["", f"## `{name}`", "", f"{entry['description']} One of: {kind(schema, entry)}."]
            continue
        lines += ["", f"## `{name}`", "", section["description"], ""]
        lines += ["| option | type | default | what |", "| --- | --- | --- | --- |"]
        lines += rows(schema, section, "")
    return "\n".join(lines) + "\n"


def rows(schema: dict[str, Any], section: dict[str, Any], prefix: str) -> list[str]:
    """A table row per option, those of sections inside included."""
    found = []
    for name, entry in section["properties"].items():
        inner = resolved(schema, entry)
        if "properties" in inner:
            suffix = "[]" if entry.get("type") == "array" else ""
            found += rows(schema, inner, f"{prefix}{name}{suffix}.")
            continue
        default = f"`{json.dumps(entry['default'], ensure_ascii=False)}`" if "default" in entry else "—"
        if entry.get("default", "") is None:
            default = "—" if name in section.get("required", []) else "left out"
        description = entry["description"].replace("|", "\\|")
        found.append(f"| `{prefix}{name}` | {kind(schema, entry)} | {default} | {description} |")
    return found


def resolved(schema: dict[str, Any], entry: dict[str, Any]) -> dict[str, Any]:
    """The section that an entry, an optional one or a list of one refers to; else the entry."""
    for candidate in [entry, entry.get("items", {}), *entry.get("anyOf", [])]:
        if "$ref" in candidate:
            target: dict[str, Any] = schema["$defs"][candidate["$ref"].rsplit("/", 1)[1]]
            return target
    return entry


def kind(schema: dict[str, Any], entry: dict[str, Any]) -> str:
    """The type of a value, in words."""
    if "enum" in entry or "const" in entry:
        return ", ".join(f"`{value}`" for value in entry.get("enum", [entry.get("const")]))
    if "anyOf" in entry:
        return " or ".join(kind(schema, option) for option in entry["anyOf"] if option.get("type") != "null")
    if entry.get("type") == "array":
        return f"list of {kind(schema, entry['items'])}"
    if entry.get("type") == "object":
        return "mapping"
    bounds = []
    for key, sign in (("minimum", "≥"), ("exclusiveMinimum", ">"), ("maximum", "≤"), ("exclusiveMaximum", "<")):
        if key in entry:
            bounds.append(f"{sign} {entry[key]:g}" if entry[key] < 1e6 else f"{sign} {entry[key]}")
    words = {"string": "text", "integer": "whole number", "number": "number", "boolean": "true or false"}
    return " ".join([words[entry["type"]], ", ".join(bounds)]).strip()


if __name__ == "__main__":
    for name, text in pages().items():
        (HERE / name).write_text(text, encoding="utf-8")
