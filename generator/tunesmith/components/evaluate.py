"""Evaluation: the base beside the tuned model on held-out rows."""

from dataclasses import dataclass

from tunesmith.components.part import Check, Part, Rendered, Setting, Settings, Stage, Verbatim, module
from tunesmith.spec.evaluate import Metric
from tunesmith.spec.resolve import Resolved

_REQUIREMENTS: dict[Metric, str] = {"rouge-l": "rouge-score", "bleu": "sacrebleu"}
# Where no reward is trained, preferences decide. Else the loss does, since it moves before the answers do.
_DECIDING: list[Metric] = ["preference-accuracy", "perplexity", "loss", "exact-match", "rouge-l", "bleu"]


@dataclass(frozen=True)
class EvaluateShape:
    """OLD NAMES."""

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


_FUNCTIONS: dict[Metric, tuple[str, ...]] = {
    "loss": ("completion_loss",),
    "perplexity": ("completion_loss",),
    "exact-match": ("exact_match",),
    "rouge-l": ("rouge_l",),
    "bleu": ("bleu",),
    "preference-accuracy": ("log_probs", "preference_accuracy"),
    "reward-accuracy": ("reward_accuracy",),
}


def part(resolved: Resolved) -> Part:
    """The stage's script, guide and tests, and a module for each metric."""
    metrics, package = resolved.evaluate.metrics, resolved.package
    m = set(metrics)
    generates = bool(m & {"exact-match", "rouge-l", "bleu"})
    shape = EvaluateShape(
        package,
        resolved.adapts,
        "loss" in m,
        "perplexity" in m,
        "exact-match" in m,
        "rouge-l" in m,
        "bleu" in m,
        resolved.train.method,
        resolved.pairs,
        "preference-accuracy" in m,
        "reward-accuracy" in m,
        generates,
        bool(m & {"loss", "perplexity"}),
        bool(m & {"preference-accuracy", "reward-accuracy"}),
        generates or "reward-accuracy" in m,
        sorted(x.replace("-", "_") for x in m),
        sorted({n for x in m for n in _FUNCTIONS[x]}),
        resolved.evaluate.bleu_tokenizer,
    )
    judge = "comparison"
    if resolved.has_reference:
        # Their reward is what they train; all answers may get less likely meanwhile.
        judge = "reward" if "reward-accuracy" in metrics else "margin"
    return Part(
        outputs=(
            Rendered("evaluate/script", f"src/{package}/evaluate.py", "src/package/evaluate.py.j2", shape),
            Rendered("evaluate/guide", "docs/evaluate.md", "docs/evaluate.md.j2", shape),
            Rendered("evaluate/tests", "tests/test_evaluate.py", "tests/test_evaluate.py.j2", shape),
            module("smoke/learning", package, "smoke/learning.py", f"smoke/learning.{judge}.py"),
        ),
        requirements=tuple(_REQUIREMENTS[metric] for metric in metrics if metric in _REQUIREMENTS),
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


def _settings(resolved: Resolved) -> tuple[Setting, ...]:
    evaluate = resolved.evaluate
    settings = [
        Setting("max_examples", evaluate.max_examples, smoke=48),
        Setting("batch_size", evaluate.batch_size, smoke=32),
    ]
    if {"exact-match", "rouge-l", "bleu"} & set(evaluate.metrics):
        settings.append(Setting("max_new_tokens", evaluate.max_new_tokens, smoke=64))
    if "bleu" in evaluate.metrics:
        settings.append(Setting("bleu_tokenizer", evaluate.bleu_tokenizer))
    return tuple(settings)


def _judged(metrics: list[Metric]) -> Settings:
    decides = next(metric for metric in _DECIDING if metric in metrics)
    judged = Setting("metric", decides.replace("-", "_"), comment="has to be better than the base's by 1 %")
    return Settings("learning", (judged,), only_smoke=True)
