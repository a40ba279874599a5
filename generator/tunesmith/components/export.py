"""Export: one folder that any engine serves."""

from dataclasses import dataclass

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim
from tunesmith.spec.resolve import Resolved


@dataclass(frozen=True)
class ExportShape:
    """What decides the export stage's code.

    Attributes:
        adapts: Whether an adapter has to be merged into the base.
        system_prompt: Whether the template has to bring one.
    """

    package: str
    adapts: bool
    system_prompt: bool


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests."""
    shape = ExportShape(resolved.package, resolved.adapts, bool(resolved.asked.data.system_prompt))
    merged = Setting("max_logit_difference", 1e-3, comment="between the merged model and the adapter, in float32")
    return Part(
        outputs=(
            Rendered("export/script", f"src/{shape.package}/export.py", "src/package/export.py.j2", shape),
            Rendered("export/guide", "docs/export.md", "docs/export.md.j2", shape),
            Rendered("export/tests", "tests/test_export.py", "tests/test_export.py.j2", shape),
        ),
        requirements=("safetensors",),
        stages=(
            Stage(
                "export",
                ("merge the adapter into a model" if shape.adapts else "write the model as a folder")
                + " that engines serve",
                reads=Verbatim("`runs/default/train/`"),
                writes=Verbatim("`runs/default/export/`, a model folder"),
            ),
        ),
        settings=(Settings("export", (*((merged,) if shape.adapts else ()), Setting("max_shard_size", "2GB"))),),
        checks=(Check("export"),),
    )
