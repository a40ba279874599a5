"""The JSON Schema of pipeline.yaml, from which editors complete and check."""

import json
from pathlib import Path

from tunesmith.spec.pipeline import Spec

# The schema as it is committed and put into generated repositories; `make reference` writes it.
SCHEMA_FILE = Path(__file__).with_name("pipeline.schema.json")


def schema_text() -> str:
    """The schema of this version's spec: a line for each definition and each section, so that git shows it well."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
    entries = []
    for key, value in schema.items():
        if key in ("$defs", "properties"):
            lines = (f"    {json.dumps(name)}: {_line(inner)}" for name, inner in value.items())
            entries.append(f"  {json.dumps(key)}: {{\n" + ",\n".join(lines) + "\n  }")
        else:
            entries.append(f"  {json.dumps(key)}: {_line(value)}")
    return "{\n" + ",\n".join(entries) + "\n}\n"


def _line(value: object) -> str:
    return json.dumps(value, ensure_ascii=False)
