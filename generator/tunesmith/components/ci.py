"""Continuous integration: one GitHub Actions workflow."""

from typing import NamedTuple

from tunesmith.components.part import Part, Rendered
from tunesmith.spec.resolve import Resolved


class WorkflowShape(NamedTuple):
    """What the workflow's template sees."""

    python: str
    uv: str


def part(resolved: Resolved) -> Part:
    """The workflow, where the spec asks for one."""
    if resolved.asked.ci.provider == "none":
        return Part()
    shape = WorkflowShape(resolved.stack.python, resolved.stack.versions["uv"])
    return Part(outputs=(Rendered("ci/workflow", ".github/workflows/ci.yml", "github/workflows/ci.yml.j2", shape),))
