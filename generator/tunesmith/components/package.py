"""The Python package: its front door and its command line."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Package:
    """What the package's templates see."""

    name: str
    package: str
    lora: bool
    hpo: bool


def sources(spec: Spec) -> Iterator[Source]:
    """`__init__`, `__main__` and the command line."""
    seen = Package(spec.project.name, spec.project.package, spec.train.adapter == "lora", spec.hpo.enabled)
    folder = f"src/{seen.package}"
    yield Rendered("package/init", f"{folder}/__init__.py", "package/init.py.j2", seen)
    yield Rendered("package/main", f"{folder}/__main__.py", "package/main.py.j2", seen)
    yield Rendered("package/cli", f"{folder}/cli.py", "package/cli.py.j2", seen)
    yield Rendered("package/conftest", "tests/conftest.py", "package/conftest.py.j2", seen)
    yield Rendered("package/config-tests", "tests/test_config.py", "package/test_config.py.j2", seen)
