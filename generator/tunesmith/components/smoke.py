"""Smoke: every stage for real on a small model, offline."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.evaluate import metrics_of
from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import REFERENCE_METHODS


@dataclass(frozen=True)
class Smoke:
    """What the smoke run's template sees.

    Attributes:
        decides: The metric by which something was learned or not.
        lower_is_better: Whether that metric falls as the model learns.
        requires_answers: Whether the exact match may not fall meanwhile.
    """

    package: str
    hpo: bool
    vllm: bool
    decides: str
    lower_is_better: bool
    requires_answers: bool


# Where there is no reference model, preferences decide. Else the loss does, since it moves before the answers do.
_DECIDING: list[Metric] = ["preference-accuracy", "perplexity", "loss", "exact-match", "rouge-l", "bleu"]


def deciding(spec: Spec) -> str:
    """What says whether something was learned, as the evaluation or the training reports it."""
    metrics = metrics_of(spec)
    if spec.train.method in REFERENCE_METHODS:
        # Their reward is what they train; all answers may get less likely meanwhile.
        return "reward_accuracy" if "reward-accuracy" in metrics else "validation_margin"
    return next(metric for metric in _DECIDING if metric in metrics).replace("-", "_")


def context(spec: Spec) -> Smoke:
    """What `spec` decides for this stage."""
    decides = deciding(spec)
    lower_is_better = decides in ("perplexity", "loss")
    return Smoke(
        package=spec.project.package,
        hpo=spec.hpo.enabled,
        vllm=spec.serve.engine == "vllm",
        decides=decides,
        lower_is_better=lower_is_better,
        requires_answers=lower_is_better and "exact-match" in metrics_of(spec),
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The script that runs the stages one after another, and what it runs them with."""
    seen = context(spec)
    folder = f"src/{seen.package}"
    yield Rendered("smoke/script", f"{folder}/smoke/run.py", "src/package/smoke/run.py.j2", seen)
    yield Copied("smoke/init", f"{folder}/smoke/__init__.py", TEMPLATES / "src/package/smoke/__init__.py", "merge")
    yield Copied("smoke/stages", f"{folder}/smoke/stages.py", TEMPLATES / "src/package/smoke/stages.py", "merge")
