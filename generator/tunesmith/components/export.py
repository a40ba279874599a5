"""Export: one folder that any engine serves, with a model card."""

from typing import NamedTuple

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim, module
from tunesmith.spec.resolve import Resolved


class ExportShape(NamedTuple):
    """What decides the export stage's code.

    Attributes:
        adapts: Whether an adapter has to be merged into the base.
        system_prompt: Whether the exported chat template brings one.
        thinking: Whether the spec says what becomes of the template's text before an answer.
        what: What is trained, in words.
        method_name: The method, in words.
        tags: By which the model is found on the Hub.
    """

    package: str
    name: str
    adapts: bool
    system_prompt: bool
    thinking: bool
    what: str
    method_name: str
    tags: list[str]


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, and the modules that it puts the folder together with."""
    package = resolved.package
    shape = ExportShape(
        package=package,
        name=resolved.project.name,
        adapts=resolved.adapts,
        system_prompt=bool(resolved.asked.data.system_prompt),
        thinking=resolved.model.thinking is not None,
        what=resolved.what_is_trained,
        method_name=resolved.method_name,
        tags=[resolved.train.method, *([resolved.train.adapter] if resolved.adapts else [])],
    )
    modules = ["card", *(["merge"] if shape.adapts else []), *(["system_prompt"] if shape.system_prompt else [])]
    return Part(
        outputs=(
            Rendered("export/script", f"src/{package}/export.py", "src/package/export.py.j2", shape),
            Rendered("export/guide", "docs/export.md", "docs/export.md.j2", shape),
            Rendered("export/tests", "tests/test_export.py", "tests/test_export.py.j2", shape),
            module("exporting/init", package, "exporting/__init__.py"),
            *(module(f"exporting/{name}", package, f"exporting/{name}.py") for name in modules),
            Rendered("exporting/card-tests", "tests/exporting/test_card.py", "tests/exporting/test_card.py.j2", shape),
        ),
        requirements=("huggingface-hub", "safetensors"),
        untyped=("huggingface_hub", "safetensors"),
        stages=(
            Stage(
                "export",
                ("merge the adapter into a model" if shape.adapts else "write the model as a folder")
                + " that engines serve",
                reads=Verbatim("`runs/default/train/`, and the evaluation for the model card"),
                writes=Verbatim("`runs/default/export/`, a model folder"),
            ),
        ),
        settings=(Settings("export", _settings(resolved)),),
        checks=(Check("export"),),
    )


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    merged = Setting("max_logit_difference", 1e-3, comment="between the merged model and the adapter, in float32")
    return (
        *((merged,) if resolved.adapts else ()),
        Setting("max_shard_size", "2GB"),
        Setting("description", resolved.project.description, comment="of the model card: what the model is for"),
        Setting("license", None, comment="of the model, as the Hub names it, such as apache-2.0; null states none"),
    )
