"""What watches over a training run: modules that are the same whatever the method, each where it is needed."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components import train
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec

MODULES = TEMPLATES / "src" / "package" / "training"


@dataclass(frozen=True)
class Training:
    """What the templates of training/ see.

    Attributes:
        method: What the script itself decides, in words.
    """

    package: str
    method: str
    bitsandbytes: bool
    distributed: bool
    early_stopping: bool
    tracker: str | None


def sources(spec: Spec) -> Iterator[Source]:
    """The modules of training/ that this repository's script uses."""
    stage = train.context(spec)
    folder = f"src/{stage.package}/training"
    seen = Training(
        stage.package,
        _method(stage),
        stage.bitsandbytes,
        stage.distributed is not None,
        stage.early_stopping_patience is not None,
        stage.tracker,
    )
    yield Copied("training/init", f"{folder}/__init__.py", MODULES / "__init__.py", "merge")
    yield Rendered("training/arguments", f"{folder}/arguments.py", "src/package/training/arguments.py.j2", seen)
    yield Rendered("training/checkpoints", f"{folder}/checkpoints.py", "src/package/training/checkpoints.py.j2", seen)
    yield Rendered("training/run", f"{folder}/run.py", "src/package/training/run.py.j2", seen)
    modules = ["failures", "progress", "report", "resources", "stop"]
    modules += ["launch", "ranks"] if seen.distributed else []
    modules += ["packing"] if stage.packing else []
    modules += ["quantization"] if stage.qlora else []
    modules += ["tracker"] if seen.tracker is not None else []
    for name in modules:
        yield Copied(f"training/{name}", f"{folder}/{name}.py", MODULES / f"{name}.py", "merge")
    # Modules of one name, of which a repository has the one that it chose.
    if stage.tracker is not None:
        origin = MODULES / f"tracking_{stage.tracker}.py"
        yield Copied("training/tracking", f"{folder}/tracking.py", origin, "merge")
    if stage.preference:
        origin = MODULES / f"dataset_{stage.method}.py"
        yield Copied("training/dataset", f"{folder}/dataset.py", origin, "merge")
    yield Rendered("training/tests", "tests/test_training.py", "tests/test_training.py.j2", seen)


def _method(stage: train.Train) -> str:
    words = [stage.method, stage.what]
    words += ["rsLoRA"] if stage.lora is not None and stage.lora.rslora else []
    words += ["single quantisation"] if stage.qlora and not stage.double_quantization else []
    return ", ".join(words)
