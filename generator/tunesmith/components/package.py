"""The Python package: its front door and its command line."""

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from tunesmith.components.part import Output, Part, Rendered, Stage, module
from tunesmith.spec.resolve import Resolved


class CommandLineShape(NamedTuple):
    """What the command line's template sees.

    Attributes:
        is_distributed: Whether training is several processes.
    """

    stages: list[Stage]
    is_distributed: bool


class TestsShape(NamedTuple):
    """What the tests of the package as a whole see."""

    package: str
    pairs: bool
    distributed: bool
    mlflow: bool


def outputs(resolved: Resolved, parts: Sequence[Part]) -> Iterator[Output]:
    """`__init__`, `__main__` and the command line."""
    package = resolved.package
    shape = CommandLineShape([stage for part in parts for stage in part.stages], resolved.is_distributed)
    tests = TestsShape(package, resolved.pairs, resolved.is_distributed, resolved.tracker == "mlflow")
    yield module("package/init", package, "__init__.py")
    yield module("package/main", package, "__main__.py")
    yield module("package/markdown", package, "markdown.py")
    yield Rendered("package/cli", f"src/{package}/cli.py", "src/package/cli.py.j2", shape)
    yield Rendered("package/conftest", "tests/conftest.py", "tests/conftest.py.j2", tests)
    yield Rendered("package/config-tests", "tests/test_config.py", "tests/test_config.py.j2", tests)
