"""Smoke: every stage for real on a small model, offline."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.evaluate import metrics_of
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.pipeline import Spec


@dataclass(frozen=True)
class Smoke:
    """What the smoke run's template sees.

    Attributes:
        decides: The metric by which something was learned or not, as the report has it.
        lower_is_better: Whether that metric falls as the model learns.
        requires_answers: Whether the exact match may not fall meanwhile.
    """

    package: str
    hpo: bool
    vllm: bool
    decides: str
    lower_is_better: bool
    requires_answers: bool


# Preferences decide where they were measured: they may be learned while answers get less likely. Else the loss does, since
# it moves before the answers do.
_DECIDING: list[Metric] = [
    "reward-accuracy",
    "preference-accuracy",
    "perplexity",
    "loss",
    "exact-match",
    "rouge-l",
    "bleu",
]


def context(spec: Spec) -> Smoke:
    """What `spec` decides for this stage."""
    metrics = metrics_of(spec)
    decides = next(metric for metric in _DECIDING if metric in metrics)
    lower_is_better = decides in ("perplexity", "loss")
    return Smoke(
        package=spec.project.package,
        hpo=spec.hpo.enabled,
        vllm=spec.serve.engine == "vllm",
        decides=decides.replace("-", "_"),
        lower_is_better=lower_is_better,
        requires_answers=lower_is_better and "exact-match" in metrics,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The script that runs the stages one after another, and what it runs them with."""
    seen = context(spec)
    folder = f"src/{seen.package}"
    yield Rendered("smoke/script", f"{folder}/smoke.py", "smoke/smoke.py.j2", seen)
    yield Copied("smoke/stages", f"{folder}/stages.py", TEMPLATES / "smoke" / "stages.py", "merge")
