"""Data: read, check, clean and split the rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import PAIR_METHODS
from tunesmith_runtime.records import COLUMNS


@dataclass(frozen=True)
class SourceFile:
    """A data file, as the runtime's reader takes it."""

    path: str
    format: str
    columns: dict[str, str]


@dataclass(frozen=True)
class Data:
    """What the data stage's templates see."""

    package: str
    preference: bool
    sources: list[SourceFile]
    system_prompt: str | None
    validation_fraction: float
    test_fraction: float


def context(spec: Spec) -> Data:
    """What `spec` decides for this stage."""
    files = []
    for source in spec.data.sources:
        columns = {name: getattr(source.columns, name) for name in COLUMNS[source.format]}
        files.append(SourceFile(source.path, source.format, columns))
    data = spec.data
    preference = spec.train.method in PAIR_METHODS
    return Data(
        spec.project.package, preference, files, data.system_prompt, data.validation_fraction, data.test_fraction
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = context(spec)
    yield Rendered("data/script", f"src/{seen.package}/data.py", "src/package/data.py.j2", seen)
    yield Rendered("data/guide", "docs/data.md", "docs/data.md.j2", seen)
    yield Rendered("data/tests", "tests/test_data.py", "tests/test_data.py.j2", seen)
