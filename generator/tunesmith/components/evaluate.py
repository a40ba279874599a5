"""Evaluation: the base beside the tuned model on held-out rows."""

from typing import NamedTuple

from tunesmith.components.part import Check, Output, Part, Rendered, Setting, Settings, Stage, Verbatim, module
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.resolve import Resolved

_REQUIREMENTS: dict[Metric, str] = {"rouge-l": "rouge-score", "bleu": "sacrebleu"}
# Modules that were vendored before they were the owner's.
_FORMER_IDS = {"answers": "runtime/answers", "likelihood": "runtime/metrics"}
# Where no reward is trained, preferences decide. Else the loss does, since it moves before the answers do.
_DECIDING: list[Metric] = ["preference-accuracy", "perplexity", "loss", "exact-match", "rouge-l", "bleu"]
# In the order of reports.
_ALL: tuple[Metric, ...] = (
    *("loss", "perplexity", "preference-accuracy", "reward-accuracy", "exact-match", "rouge-l", "bleu"),
)
_OF_LOSS: set[Metric] = {"loss", "perplexity"}
_OF_PAIRS: set[Metric] = {"preference-accuracy", "reward-accuracy"}
_OF_ANSWERS: set[Metric] = {"exact-match", "rouge-l", "bleu"}


class EvaluateShape(NamedTuple):
    """What decides the evaluation stage's code.

    Attributes:
        adapts: Whether an adapter was trained.
        metrics: Their names as the report has them, in its order.
        imports: The modules of evaluation/ that the script itself imports.
        generates: Whether any metric looks at generated answers.
        thinking: Whether the spec says what becomes of the template's text before an answer.
    """

    package: str
    method: str
    adapts: bool
    metrics: list[str]
    imports: list[str]
    generates: bool
    thinking: bool


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, and the modules that it measures with."""
    metrics, package = resolved.evaluate.metrics, resolved.package
    judge = "comparison"
    if resolved.has_reference:
        # Their reward is what they train; all answers may get less likely meanwhile.
        judge = "reward" if "reward-accuracy" in metrics else "margin"
    shape = _shape(resolved)
    outputs: list[Output] = [
        Rendered("evaluate/script", f"src/{package}/evaluate.py", "src/package/evaluate.py.j2", shape),
        Rendered("evaluate/guide", "docs/evaluate.md", "docs/evaluate.md.j2", shape),
        Rendered("evaluate/tests", "tests/test_evaluate.py", "tests/test_evaluate.py.j2", shape),
        module("evaluation/init", package, "evaluation/__init__.py"),
        module("smoke/learning", package, "smoke/learning.py", f"smoke/learning_{judge}.py"),
    ]
    for name in _modules(resolved):
        id_ = _FORMER_IDS.get(name, f"evaluation/{name}")
        outputs.append(module(id_, package, f"evaluation/{name}.py"))
        if name not in ("report", "text"):  # which the others' tests cover
            test = f"tests/evaluation/test_{name}.py"
            outputs.append(Rendered(f"evaluation/{name}-tests", test, f"{test}.j2", shape))
    return Part(
        outputs=tuple(outputs),
        requirements=tuple(_REQUIREMENTS[metric] for metric in metrics if metric in _REQUIREMENTS),
        untyped=tuple(_REQUIREMENTS[metric].replace("-", "_") for metric in metrics if metric in _REQUIREMENTS),
        stages=(
            Stage(
                "evaluate",
                "compare the base model with the tuned one",
                reads=Verbatim("the base and the trained model"),
                writes=Verbatim("`runs/default/evaluate/report.md`"),
            ),
        ),
        settings=(
            Settings("evaluate", _settings(resolved)),
            *((_judged(metrics),) if judge == "comparison" else ()),
        ),
        checks=(Check("evaluate", "learning", "evaluate_and_judge"),),
    )


def _shape(resolved: Resolved) -> EvaluateShape:
    metrics = [metric for metric in _ALL if metric in resolved.evaluate.metrics]
    imports = {_name(metric) for metric in metrics if metric not in _OF_LOSS}
    imports |= {"pairs" if _OF_PAIRS.intersection(metrics) else "outcome", "report"}
    if "perplexity" in metrics:
        imports.add("likelihood")
    return EvaluateShape(
        package=resolved.package,
        method=resolved.train.method,
        adapts=resolved.adapts,
        metrics=[_name(metric) for metric in metrics],
        imports=sorted(imports),
        generates=bool(_OF_ANSWERS.intersection(metrics)),
        thinking=resolved.model.thinking is not None,
    )


def _name(metric: Metric) -> str:
    return metric.replace("-", "_")


def _modules(resolved: Resolved) -> list[str]:
    """The modules of evaluation/ that the repository has."""
    metrics = set(resolved.evaluate.metrics)
    names = {"answers", "likelihood", "outcome", "report", *map(_name, metrics - _OF_LOSS)}
    if metrics & _OF_ANSWERS:
        names.add("text")
    if metrics & _OF_PAIRS:
        names.add("pairs")
    if resolved.train.method == "kto" and not resolved.is_distributed:
        names.add("preference_accuracy")  # by which training is validated, since TRL does not measure it
    return sorted(names)


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    evaluate = resolved.evaluate
    settings = [
        Setting("max_examples", evaluate.max_examples, smoke=48),
        Setting("batch_size", evaluate.batch_size, smoke=32),
        Setting("max_new_tokens", evaluate.max_new_tokens, smoke=64),
    ]
    if "bleu" in evaluate.metrics:
        settings.append(Setting("bleu_tokenizer", evaluate.bleu_tokenizer))
    return tuple(settings)


def _judged(metrics: list[Metric]) -> Settings:
    decides = next(metric for metric in _DECIDING if metric in metrics)
    judged = Setting("metric", decides.replace("-", "_"), comment="has to be better than the base's by 1 %")
    return Settings("learning", (judged,), only_smoke=True)
