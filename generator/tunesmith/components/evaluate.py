"""Evaluation: the base beside the tuned model on held-out rows."""

from collections.abc import Iterator
from dataclasses import dataclass

from tunesmith.components.source import Copied, Rendered, Source
from tunesmith.resources import TEMPLATES
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.pipeline import Spec

# Languages that do not part words with spaces, or glue endings to them, are compared by character.
_BY_CHARACTER = {"ja", "ko", "km", "lo", "my", "th", "zh"}
# In the order of reports.
_ALL: tuple[Metric, ...] = (
    *("loss", "perplexity", "preference-accuracy", "reward-accuracy", "exact-match", "rouge-l", "bleu"),
)
_OF_LOSS: set[Metric] = {"loss", "perplexity"}
_OF_PAIRS: set[Metric] = {"preference-accuracy", "reward-accuracy"}
_OF_ANSWERS: set[Metric] = {"exact-match", "rouge-l", "bleu"}
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
        adapts: Whether an adapter was trained.
        metrics: Their names as the report has them, in its order.
        imports: The modules of evaluation/ that the script itself imports.
        generates: Whether any metric looks at generated answers.
    """

    package: str
    method: str
    adapts: bool
    metrics: list[str]
    imports: list[str]
    generates: bool
    bleu_tokenizer: str
    max_examples: int
    batch_size: int
    max_new_tokens: int


def metrics_of(spec: Spec) -> list[Metric]:
    """What is measured; what suits the method where the spec does not say."""
    return spec.evaluate.metrics or _PREFERENCE_METRICS.get(spec.train.method, _METRICS)


def context(spec: Spec) -> Evaluate:
    """What `spec` decides for this stage."""
    chosen = metrics_of(spec)
    metrics = [metric for metric in _ALL if metric in chosen]
    imports = {_module(metric) for metric in metrics if metric not in _OF_LOSS}
    imports |= {"pairs" if _OF_PAIRS.intersection(metrics) else "outcome", "report"}
    if "perplexity" in metrics:
        imports.add("likelihood")
    return Evaluate(
        package=spec.project.package,
        method=spec.train.method,
        adapts=spec.train.adapter != "full",
        metrics=[_module(metric) for metric in metrics],
        imports=sorted(imports),
        generates=bool(_OF_ANSWERS.intersection(metrics)),
        bleu_tokenizer="char" if spec.data.language.split("-")[0] in _BY_CHARACTER else "13a",
        max_examples=spec.evaluate.max_examples,
        batch_size=spec.evaluate.batch_size,
        max_new_tokens=spec.evaluate.max_new_tokens,
    )


def _module(metric: Metric) -> str:
    return metric.replace("-", "_")


def modules(spec: Spec) -> list[str]:
    """The modules of evaluation/ that this repository has."""
    metrics = set(metrics_of(spec))
    names = {"answers", "likelihood", "outcome", "report", *map(_module, metrics - _OF_LOSS)}
    if metrics & _OF_ANSWERS:
        names.add("text")
    if metrics & _OF_PAIRS:
        names.add("pairs")
    if spec.train.method == "kto" and spec.train.distributed == "none":
        names.add("preference_accuracy")  # by which training is validated, since TRL does not measure it
    return sorted(names)


def sources(spec: Spec) -> Iterator[Source]:
    """The stage's script, guide and tests, and the modules that it measures with."""
    seen = context(spec)
    folder, origin = f"src/{seen.package}/evaluation", TEMPLATES / "src" / "package" / "evaluation"
    yield Rendered("evaluate/script", f"src/{seen.package}/evaluate.py", "src/package/evaluate.py.j2", seen)
    yield Rendered("evaluate/guide", "docs/evaluate.md", "docs/evaluate.md.j2", seen)
    yield Rendered("evaluate/tests", "tests/test_evaluate.py", "tests/test_evaluate.py.j2", seen)
    yield Copied("evaluation/init", f"{folder}/__init__.py", origin / "__init__.py", "merge")
    for name in modules(spec):
        yield Copied(f"evaluation/{name}", f"{folder}/{name}.py", origin / f"{name}.py", "merge")
        test = f"tests/evaluation/test_{name}.py"
        if name not in ("report", "text"):  # which the others' tests cover
            yield Rendered(f"evaluation/{name}-tests", test, f"{test}.j2", seen)
