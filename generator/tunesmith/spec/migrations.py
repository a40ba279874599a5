"""Specs of an older apiVersion, rewritten into the present one; comments and order stay."""

import io
from collections.abc import Callable, Mapping, MutableMapping
from pathlib import Path
from typing import Any

from tunesmith.spec.document import read_document

Migrate = Callable[[MutableMapping[str, Any]], None]

# For each older apiVersion the next one, and what rewrites the document in place. v1 is the first version.
MIGRATIONS: Mapping[str, tuple[str, Migrate]] = {}


def migrated(path: Path) -> bytes | None:
    """The file rewritten for the present apiVersion; None where it is of it, or of one that nobody knows.

    Raises:
        TunesmithError: TS001–TS007, where the file is not even YAML.
    """
    if not MIGRATIONS:
        return None
    version = _version(read_document(path).values)
    if version not in MIGRATIONS:
        return None
    from ruamel.yaml import YAML

    yaml = YAML(typ="rt")
    yaml.preserve_quotes, yaml.width = True, 2**31 - 1
    yaml.indent(mapping=2, sequence=4, offset=2)
    text = path.read_text(encoding="utf-8-sig")
    document = yaml.load(text)
    while version in MIGRATIONS:
        version, migrate = MIGRATIONS[version]
        migrate(document)
        document["apiVersion"] = version
    buffer = io.StringIO()
    yaml.dump(document, buffer)
    return buffer.getvalue().encode("utf-8")


def _version(values: object) -> str:
    return str(values.get("apiVersion")) if isinstance(values, dict) else ""
