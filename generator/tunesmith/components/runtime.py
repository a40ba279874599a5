"""The runtime package, vendored so that the repository stands alone."""

from tunesmith.components.part import Copied, Part
from tunesmith.resources import RUNTIME
from tunesmith.spec.resolve import Resolved

# Modules that only some repositories need.
_OF_PAIRS = {"pairs"}


def part(resolved: Resolved) -> Part:
    """The runtime's modules; those of pairs where rows are pairs."""
    modules = [path for path in sorted(RUNTIME.glob("*.py")) if resolved.pairs or path.stem not in _OF_PAIRS]
    return Part(
        outputs=tuple(
            Copied(f"runtime/{path.stem}", f"vendor/tunesmith_runtime/{path.name}", path, "sealed") for path in modules
        ),
        requirements=("pyarrow", "pydantic", "pyyaml", "tokenizers", "torch", "transformers"),
        untyped=("pyarrow", "tokenizers", "torch", "transformers"),
    )
