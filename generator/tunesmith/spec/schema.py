"""The JSON Schema of pipeline.yaml, from which editors complete and check."""

import json
from pathlib import Path

from tunesmith.spec.pipeline import Spec

# The schema as it is committed and put into generated repositories; `make reference` writes it.
SCHEMA_FILE = Path(__file__).with_name("pipeline.schema.json")


def schema_text() -> str:
    """The schema of this version's spec."""
    schema = {"$schema": "https://json-schema.org/draft/2020-12/schema", **Spec.model_json_schema()}
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"
