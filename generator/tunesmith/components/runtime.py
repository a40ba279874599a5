"""The runtime package, vendored so that the repository stands alone."""

from collections.abc import Iterator

from tunesmith.components.source import Copied, Source
from tunesmith.resources import RUNTIME
from tunesmith.spec.pipeline import Spec


def sources(spec: Spec) -> Iterator[Source]:  # noqa: ARG001 — every component is asked in the same way
    """Every module of the runtime."""
    for path in sorted(RUNTIME.glob("*.py")):
        yield Copied(f"runtime/{path.stem}", f"vendor/tunesmith_runtime/{path.name}", path)
