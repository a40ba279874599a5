"""Search: an Optuna study over the learning rate and, for LoRA, the rank."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.distribution import processes
from tunesmith.components.source import Rendered, Source
from tunesmith.components.train import learning_rate
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Hpo:
    """What the search stage's templates see.

    Attributes:
        sharded: Whether training spreads one model over several GPUs.
    """

    package: str
    lora: bool
    processes: int
    sharded: bool
    accumulation: int
    trials: int
    learning_rate_low: float
    learning_rate_high: float
    lora_ranks: list[int]


def context(spec: Spec) -> Hpo | None:
    """What `spec` decides for this stage; None where there is no search."""
    if not spec.hpo.enabled:
        return None
    usual = learning_rate(spec)
    bounds = spec.hpo.learning_rate
    return Hpo(
        package=spec.project.package,
        lora=spec.train.adapter != "full",
        processes=processes(spec),
        sharded=spec.train.distributed not in ("none", "ddp"),
        accumulation=spec.train.gradient_accumulation_steps,
        trials=spec.hpo.trials,
        learning_rate_low=bounds.low if bounds else float(f"{usual / 10:.3g}"),
        learning_rate_high=bounds.high if bounds else min(float(f"{usual * 10:.3g}"), 1.0),
        lora_ranks=spec.hpo.lora_ranks or [8, 16, 32],
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests, where the spec asks for a search."""
    seen = context(spec)
    if seen is not None:
        yield Rendered("hpo/script", f"src/{seen.package}/hpo.py", "src/package/hpo.py.j2", seen)
        yield Rendered("hpo/guide", "docs/hpo.md", "docs/hpo.md.j2", seen)
        yield Rendered("hpo/tests", "tests/test_hpo.py", "tests/test_hpo.py.j2", seen)
