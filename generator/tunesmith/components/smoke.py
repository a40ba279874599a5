"""Smoke: every stage for real on a small model, offline."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Smoke:
    """What the smoke run's template sees."""

    package: str
    hpo: bool
    vllm: bool


def sources(spec: Spec) -> Iterator[Source]:
    """The script that runs the stages one after another, and what it runs them with."""
    seen = Smoke(spec.project.package, spec.hpo.enabled, spec.serve.engine == "vllm")
    folder = f"src/{seen.package}"
    yield Rendered("smoke/script", f"{folder}/smoke.py", "smoke/smoke.py.j2", seen)
    yield Copied("smoke/stages", f"{folder}/stages.py", TEMPLATES / "smoke" / "stages.py", "merge")
