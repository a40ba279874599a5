"""Smoke: every stage for real on a small model, offline."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.components.part import Check, Output, Part, Rendered, module
from tunesmith.spec.resolve import Resolved


class SmokeShape(NamedTuple):
    """What the smoke run's template sees.

    Attributes:
        imports: Names that the script takes from each module of smoke/.
    """

    imports: dict[str, list[str]]
    checks: list[Check]


def outputs(resolved: Resolved, parts: Sequence[Part]) -> Iterator[Output]:
    """The script that runs the checks one after another, and what it runs them with."""
    package, checks = resolved.package, [check for part in parts for check in part.checks]
    functions: dict[str, set[str]] = {"stages": {"Metrics", "Run", "Step", "run_stage", "run_steps"}}
    for check in checks:
        functions.setdefault(check.module, set()).add(check.function)
    shape = SmokeShape({name: sorted(functions[name]) for name in sorted(functions)}, checks)
    yield module("smoke/init", package, "smoke/__init__.py")
    yield Rendered("smoke/script", f"src/{package}/smoke/run.py", "src/package/smoke/run.py.j2", shape)
    yield module("smoke/stages", package, "smoke/stages.py")
