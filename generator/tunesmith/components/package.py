"""The Python package: its front door and its command line."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components import train
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import PAIR_METHODS


@dataclass(frozen=True)
class Package:
    """What the package's templates see.

    Attributes:
        what: What is trained, in words.
        method: How, in words.
        distributed: Whether training is several processes.
    """

    name: str
    package: str
    what: str
    method: str
    lora: bool
    preference: bool
    hpo: bool
    distributed: bool
    deepspeed: bool
    tracker: str


def sources(spec: Spec) -> Iterator[Source]:
    """`__init__`, `__main__` and the command line."""
    distributed, hpo = spec.train.distributed != "none", spec.hpo.enabled
    seen = Package(
        name=spec.project.name,
        package=spec.project.package,
        what=train.what_is_trained(spec),
        method=spec.train.method.upper(),
        lora=spec.train.adapter != "full",
        preference=spec.train.method in PAIR_METHODS,
        hpo=hpo,
        distributed=distributed,
        tracker=spec.tracking.provider,
        deepspeed=spec.train.distributed.startswith("deepspeed"),
    )
    folder = f"src/{seen.package}"
    yield Copied("package/init", f"{folder}/__init__.py", TEMPLATES / "src" / "package" / "__init__.py", "merge")
    markdown = TEMPLATES / "src" / "package" / "markdown.py"
    yield Copied("package/markdown", f"{folder}/markdown.py", markdown, "merge")
    yield Rendered("package/main", f"{folder}/__main__.py", "src/package/__main__.py.j2", seen)
    yield Rendered("package/cli", f"{folder}/cli.py", "src/package/cli.py.j2", seen)
    yield Rendered("package/conftest", "tests/conftest.py", "tests/conftest.py.j2", seen)
    yield Rendered("package/config-tests", "tests/test_config.py", "tests/test_config.py.j2", seen)
