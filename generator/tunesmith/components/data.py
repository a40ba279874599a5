"""Data: read, check, clean and split the rows."""

from typing import NamedTuple

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim
from tunesmith.spec.resolve import Resolved
from tunesmith_runtime.records import COLUMNS


class DataShape(NamedTuple):
    """What decides the data stage's code.

    Attributes:
        pairs: Whether rows hold a chosen and a rejected answer.
        system_prompt: Whether conversations that have none get one.
    """

    package: str
    pairs: bool
    system_prompt: bool


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests."""
    shape = DataShape(resolved.package, resolved.pairs, bool(resolved.asked.data.system_prompt))
    return Part(
        outputs=(
            Rendered("data/script", f"src/{shape.package}/data.py", "src/package/data.py.j2", shape),
            Rendered("data/guide", "docs/data.md", "docs/data.md.j2", shape),
            Rendered("data/tests", "tests/test_data.py", "tests/test_data.py.j2", shape),
        ),
        stages=(
            Stage(
                "data",
                "clean the source files and split them",
                reads=Verbatim("the files named in `configs/default.yaml`"),
                writes=Verbatim("`runs/default/data/`"),
            ),
        ),
        settings=(Settings("data", _settings(resolved)),),
        checks=(Check("data"),),
    )


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    data = resolved.asked.data
    sources = []
    for source in data.sources:
        columns = {name: getattr(source.columns, name) for name in COLUMNS[source.format]}
        sources.append((Setting("path", source.path), Setting("format", source.format), Setting("columns", columns)))
    return (
        Setting("sources", sources),
        Setting("validation_fraction", data.validation_fraction),
        Setting("test_fraction", data.test_fraction),
    )
