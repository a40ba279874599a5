"""What watches over a training run: modules that are the same whatever the method, each where it is needed."""

from collections.abc import Iterator

from tunesmith.components import train
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.pipeline import Spec

MODULES = TEMPLATES / "src" / "package" / "training"


def sources(spec: Spec) -> Iterator[Source]:
    """The modules of training/ that this repository's script uses, and their tests."""
    seen = train.shape(spec)
    folder = f"src/{seen.package}/training"
    for name in ("arguments", "watch"):
        yield Rendered(f"training/{name}", f"{folder}/{name}.py", f"src/package/training/{name}.py.j2", seen)
    distributed, tracked = seen.distributed is not None, seen.tracker is not None
    modules = ["checkpoints", "failures", "progress", "report", "resources", "run", "stop"]
    modules += ["early_stopping"] if seen.early_stopping else []
    modules += ["launch", "ranks"] if distributed else []
    modules += ["packing"] if seen.packing else []
    modules += ["quantization"] if seen.qlora else []
    modules += ["tracker"] if tracked else []
    for name in modules:
        yield Copied(f"training/{name}", f"{folder}/{name}.py", MODULES / f"{name}.py", "merge")
    yield Copied("training/init", f"{folder}/__init__.py", MODULES / "__init__.py", "merge")
    # Modules of one name, of which a repository has the one that it chose.
    if tracked:
        origin = MODULES / f"tracking_{seen.tracker}.py"
        yield Copied("training/tracking", f"{folder}/tracking.py", origin, "merge")
    if seen.pairs:
        origin = MODULES / f"dataset_{seen.method}.py"
        yield Copied("training/dataset", f"{folder}/dataset.py", origin, "merge")

    yield Rendered("training/tests", "tests/test_training.py", "tests/test_training.py.j2", seen)
    optional = ("early_stopping", "launch", "packing", "quantization", "tracker")
    for name in (name for name in optional if name in modules):
        identity = f"training/{name.replace('_', '-')}-tests"
        yield Rendered(identity, f"tests/test_{name}.py", f"tests/test_{name}.py.j2", seen)
