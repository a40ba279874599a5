"""Export: one folder that any engine serves, with a model card."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components import train
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Export:
    """What the export stage's templates see.

    Attributes:
        adapts: Whether an adapter was trained, which is merged.
        system_prompt: Whether the exported chat template brings one.
        what: What is trained, in words.
        method_name: The method, in words.
        tags: By which the model is found on the Hub.
        description: What the model is for; a value of configs/ alone.
    """

    package: str
    name: str
    adapts: bool
    system_prompt: bool
    what: str
    method_name: str
    tags: list[str]
    description: str


def context(spec: Spec) -> Export:
    """What `spec` decides for this stage."""
    adapts = spec.train.adapter != "full"
    return Export(
        package=spec.project.package,
        name=spec.project.name,
        adapts=adapts,
        system_prompt=bool(spec.data.system_prompt),
        what=train.what_is_trained(spec),
        method_name=train.method_name(spec),
        tags=[spec.train.method, *([spec.train.adapter] if adapts else [])],
        description=spec.project.description,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests, and the modules that it puts the folder together with."""
    seen = context(spec)
    folder, origin = f"src/{seen.package}/exporting", TEMPLATES / "src" / "package" / "exporting"
    yield Rendered("export/script", f"src/{seen.package}/export.py", "src/package/export.py.j2", seen)
    yield Rendered("export/guide", "docs/export.md", "docs/export.md.j2", seen)
    yield Rendered("export/tests", "tests/test_export.py", "tests/test_export.py.j2", seen)
    yield Copied("exporting/init", f"{folder}/__init__.py", origin / "__init__.py", "merge")
    modules = ["card", *(["merge"] if seen.adapts else []), *(["system_prompt"] if seen.system_prompt else [])]
    for name in modules:
        yield Copied(f"exporting/{name}", f"{folder}/{name}.py", origin / f"{name}.py", "merge")
    yield Rendered("exporting/card-tests", "tests/exporting/test_card.py", "tests/exporting/test_card.py.j2", seen)
