"""Continuous integration: one GitHub Actions workflow."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.project import PYTHON
from tunesmith.components.source import Rendered, Source
from tunesmith.spec import stacks
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Workflow:
    """What the workflow's template sees."""

    python: str
    uv: str


def sources(spec: Spec) -> Iterator[Source]:
    """The workflow, where the spec asks for one."""
    if spec.ci.provider == "github":
        context = Workflow(python=PYTHON, uv=stacks.read(spec.stack).versions["uv"])
        yield Rendered("ci/workflow", ".github/workflows/ci.yml", "github/workflows/ci.yml.j2", context)
