"""Smoke: every stage for real on a small model, offline."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Smoke:
    """What the smoke run's template sees."""

    package: str
    hpo: bool
    vllm: bool


def sources(spec: Spec) -> Iterator[Source]:
    """The script that runs the stages one after another."""
    seen = Smoke(spec.project.package, spec.hpo.enabled, spec.serve.engine == "vllm")
    yield Rendered("smoke/script", f"src/{seen.package}/smoke.py", "smoke/smoke.py.j2", seen)
