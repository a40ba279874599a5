"""Search: an Optuna study over the learning rate and, for LoRA, the rank."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Rendered, Source
from tunesmith.components.train import learning_rate
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class HpoShape:
    """What decides the text of the search stage's script, guide and tests.

    Attributes:
        sharded: Whether training spreads one model over several GPUs.
    """

    package: str
    lora: bool
    distributed: bool
    sharded: bool


@dataclass(frozen=True)
class Hpo:
    """What the search stage's part of configs/ sees."""

    lora: bool
    trials: int
    learning_rate_low: float
    learning_rate_high: float
    lora_ranks: list[int]


def context(spec: Spec) -> Hpo | None:
    """The values that `spec` decides for this stage; None where there is no search."""
    if not spec.hpo.enabled:
        return None
    usual = learning_rate(spec)
    bounds = spec.hpo.learning_rate
    return Hpo(
        lora=spec.train.adapter != "full",
        trials=spec.hpo.trials,
        learning_rate_low=bounds.low if bounds else float(f"{usual / 10:.3g}"),
        learning_rate_high=bounds.high if bounds else min(float(f"{usual * 10:.3g}"), 1.0),
        lora_ranks=spec.hpo.lora_ranks or [8, 16, 32],
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests, where the spec asks for a search."""
    if not spec.hpo.enabled:
        return
    seen = HpoShape(
        package=spec.project.package,
        lora=spec.train.adapter != "full",
        distributed=spec.train.distributed != "none",
        sharded=spec.train.distributed not in ("none", "ddp"),
    )
    yield Rendered("hpo/script", f"src/{seen.package}/hpo.py", "src/package/hpo.py.j2", seen)
    yield Rendered("hpo/guide", "docs/hpo.md", "docs/hpo.md.j2", seen)
    yield Rendered("hpo/tests", "tests/test_hpo.py", "tests/test_hpo.py.j2", seen)
