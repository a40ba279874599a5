"""Evaluation: the base beside the tuned model on held-out rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.pipeline import Spec
from tunesmith.spec.train import PAIR_METHODS

# Languages that do not part words with spaces, or glue endings to them, are compared by character.
_BY_CHARACTER = {"ja", "ko", "km", "lo", "my", "th", "zh"}
_FUNCTIONS: dict[Metric, tuple[str, ...]] = {
    "loss": ("completion_loss",),
    "perplexity": ("completion_loss",),
    "exact-match": ("exact_match",),
    "rouge-l": ("rouge_l",),
    "bleu": ("bleu",),
    "preference-accuracy": ("log_probs", "preference_accuracy"),
    "reward-accuracy": ("reward_accuracy",),
}
# Metrics of answers; each has a module of its own name.
_OF_ANSWERS: tuple[Metric, ...] = ("exact-match", "rouge-l", "bleu")
_OF_PAIRS: tuple[Metric, ...] = ("preference-accuracy", "reward-accuracy")
_METRICS: list[Metric] = ["loss", "perplexity", "exact-match", "rouge-l"]
_PREFERENCE_METRICS: dict[str, list[Metric]] = {
    "dpo": ["preference-accuracy", "reward-accuracy", "exact-match", "rouge-l"],
    "orpo": ["preference-accuracy", "exact-match", "rouge-l"],
    "kto": ["preference-accuracy", "reward-accuracy", "exact-match", "rouge-l"],
}


@dataclass(frozen=True)
class Evaluate:
    """What the evaluation stage's templates see.

    Attributes:
        generates: Whether any metric looks at generated answers.
        scores: Whether any metric looks at the loss.
        compares_pairs: Whether any metric looks at the likelihood of both answers of a pair.
        keeps_more: Whether more than metrics is kept of each model.
        measured: Names of the metrics as the report has them.
        names: What the tests import of the runtime's metrics.
        preference: Whether rows hold a chosen and a rejected answer.
    """

    package: str
    lora: bool
    loss: bool
    perplexity: bool
    exact_match: bool
    rouge_l: bool
    bleu: bool
    method: str
    preference: bool
    preference_accuracy: bool
    reward_accuracy: bool
    generates: bool
    scores: bool
    compares_pairs: bool
    keeps_more: bool
    measured: list[str]
    names: list[str]
    bleu_tokenizer: str
    max_examples: int
    batch_size: int
    max_new_tokens: int


def metrics_of(spec: Spec) -> list[Metric]:
    """What is measured; what suits the method where the spec does not say."""
    return spec.evaluate.metrics or _PREFERENCE_METRICS.get(spec.train.method, _METRICS)


def context(spec: Spec) -> Evaluate:
    """What `spec` decides for this stage."""
    metrics = set(metrics_of(spec))
    generates = bool(metrics & {"exact-match", "rouge-l", "bleu"})
    return Evaluate(
        package=spec.project.package,
        lora=spec.train.adapter != "full",
        loss="loss" in metrics,
        perplexity="perplexity" in metrics,
        exact_match="exact-match" in metrics,
        rouge_l="rouge-l" in metrics,
        bleu="bleu" in metrics,
        method=spec.train.method,
        preference=spec.train.method in PAIR_METHODS,
        preference_accuracy="preference-accuracy" in metrics,
        reward_accuracy="reward-accuracy" in metrics,
        generates=generates,
        scores=bool(metrics & {"loss", "perplexity"}),
        compares_pairs=bool(metrics & {"preference-accuracy", "reward-accuracy"}),
        keeps_more=generates or "reward-accuracy" in metrics,
        measured=sorted(metric.replace("-", "_") for metric in metrics),
        names=sorted({name for metric in metrics for name in _FUNCTIONS[metric]}),
        bleu_tokenizer="char" if spec.data.language.split("-")[0] in _BY_CHARACTER else "13a",
        max_examples=spec.evaluate.max_examples,
        batch_size=spec.evaluate.batch_size,
        max_new_tokens=spec.evaluate.max_new_tokens,
    )


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests."""
    seen = context(spec)
    yield Rendered("evaluate/script", f"src/{seen.package}/evaluate.py", "src/package/evaluate.py.j2", seen)
    yield Rendered("evaluate/guide", "docs/evaluate.md", "docs/evaluate.md.j2", seen)
    yield Rendered("evaluate/tests", "tests/test_evaluate.py", "tests/test_evaluate.py.j2", seen)
    for name in modules(spec):
        origin = TEMPLATES / "src" / "package" / "evaluation" / f"{name}.py"
        stem = "init" if name == "__init__" else name
        yield Copied(f"evaluation/{stem}", f"src/{seen.package}/evaluation/{name}.py", origin, "merge")


def modules(spec: Spec) -> list[str]:
    """The modules of evaluation/ that this repository has."""
    metrics = set(metrics_of(spec))
    names = {"__init__", "answers", "likelihood"}
    names |= {metric.replace("-", "_") for metric in metrics & {*_OF_ANSWERS, *_OF_PAIRS}}
    if metrics & set(_OF_ANSWERS):
        names.add("text")
    if spec.train.method == "kto" and spec.train.distributed == "none":
        names.add("preference_accuracy")  # which TRL does not measure as it trains
    return sorted(names)
