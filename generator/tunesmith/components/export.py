"""Export: one folder that any engine serves."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Export:
    """What the export stage's templates see."""

    package: str
    lora: bool
    system_prompt: bool


def context(spec: Spec) -> Export:
    """What `spec` decides for this stage."""
    return Export(spec.project.package, spec.train.adapter != "full", bool(spec.data.system_prompt))


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = context(spec)
    yield Rendered("export/script", f"src/{seen.package}/export.py", "src/package/export.py.j2", seen)
    yield Rendered("export/guide", "docs/export.md", "docs/export.md.j2", seen)
    yield Rendered("export/tests", "tests/test_export.py", "tests/test_export.py.j2", seen)
